//! Writes a large call log and measures searches: `cargo run --profile quick -p credentialflow-telemetry --example
//! calllog [rows]`. Three million rows over three days by default, with a few rare values planted.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "support/generate.rs"]
mod generate;

use credentialflow_model::{KeyId, OutcomeReason, Timestamp};
use credentialflow_telemetry::{CallFilter, Recorder, RecorderSettings, StatusFilter};
use std::time::Instant;

fn main() {
    let rows: u64 = std::env::args().nth(1).map_or(3_000_000, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(RecorderSettings::new(dir.path())).unwrap();
    let sender = recorder.sender();
    let day = 86_400_000_000;
    let start = Timestamp::from(std::time::SystemTime::now()).micros() - 3 * day;
    let mut make = generate::Generator::new(100_000, false, 3 * day / rows as i64).starting(start);
    let began = Instant::now();
    let mut first = None;
    for i in 0..rows / 256 {
        let mut batch = make.batch(256, i);
        first.get_or_insert(batch[0].request_id);
        if i % 3000 == 1500 {
            batch[7].application = Some("rare-app".into());
            batch[8].key = Some(KeyId::from_bits(4242));
            batch[9].outcome = OutcomeReason::Internal;
            batch[9].status = 500;
            batch[10].total_us = 90_000_000;
            batch[11].path = "/needle/in/hay".into();
        }
        sender.send(batch);
        if i % 400 == 399 {
            recorder.flush();
        }
    }
    recorder.flush();
    println!("{} rows written in {:.1?}; {:?}", rows, began.elapsed(), recorder.telemetry().status());
    let calls = recorder.telemetry().calls().clone();
    let all = CallFilter::default;
    let middle = Timestamp::from_micros(start + day);
    let cases = [
        ("no filter", all()),
        ("common application", CallFilter { application: Some("app-03".into()), ..all() }),
        ("rare application", CallFilter { application: Some("rare-app".into()), ..all() }),
        ("rare key", CallFilter { key: Some(KeyId::from_bits(4242)), ..all() }),
        ("unknown key", CallFilter { key: Some(KeyId::from_bits(1)), ..all() }),
        ("rare outcome", CallFilter { outcome: Some(OutcomeReason::Internal), ..all() }),
        ("5xx", CallFilter { status: Some(StatusFilter::Class(5)), ..all() }),
        ("4xx (none)", CallFilter { status: Some(StatusFilter::Class(4)), ..all() }),
        ("longer than a minute", CallFilter { min_duration_us: Some(60_000_000), ..all() }),
        (
            "two common that never meet",
            CallFilter { application: Some("app-03".into()), route: Some("route-04".into()), ..all() },
        ),
        ("unknown source", CallFilter { source: Some("192.0.2.1".parse().unwrap()), ..all() }),
        ("rare path prefix", CallFilter { path_prefix: Some("/needle".into()), ..all() }),
        (
            "an hour two days ago",
            CallFilter {
                since: Some(middle),
                until: Some(Timestamp::from_micros(middle.micros() + 3_600_000_000)),
                ..all()
            },
        ),
    ];
    for (name, filter) in cases {
        let began = Instant::now();
        let page = calls.query(&filter, 100, None).unwrap();
        println!(
            "{name:<28} {:>8.1?}  {} rows{}",
            began.elapsed(),
            page.items.len(),
            if page.next.is_some() { ", more" } else { "" }
        );
    }
    let began = Instant::now();
    let found = calls.get(first.unwrap()).unwrap();
    println!("{:<28} {:>8.1?}  found: {}", "oldest request id", began.elapsed(), found.is_some());
    let began = Instant::now();
    let stats = recorder
        .telemetry()
        .stats(std::time::Duration::from_secs(86_400), Timestamp::from(std::time::SystemTime::now()));
    println!("{:<28} {:>8.1?}  {} requests", "figures of a day", began.elapsed(), stats.total.requests);
    recorder.shutdown();
    let began = Instant::now();
    let again = Recorder::start(RecorderSettings::new(dir.path())).unwrap();
    while again
        .telemetry()
        .stats(std::time::Duration::from_secs(86_400), Timestamp::from(std::time::SystemTime::now()))
        .total
        .requests
        == 0
    {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    println!("{:<28} {:>8.1?}", "figures back after restart", began.elapsed());
}
