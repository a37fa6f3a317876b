//! Prints what a record costs the recorder thread: `cargo run --profile quick -p credentialflow-telemetry --example
//! recorder_cost [records]`. Batches of 64; CPU time of the whole process, building the records subtracted.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

#[path = "support/generate.rs"]
mod generate;

use credentialflow_telemetry::{Recorder, RecorderSettings};
use std::{fs, time::Duration};

/// User and system time of this process in milliseconds.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let mut fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11);
    let mut ticks = || fields.next().unwrap().parse::<u64>().unwrap();
    (ticks() + ticks()) * 10
}

fn run(name: &str, records: u64, models: bool, keys: u64) {
    let mut make = generate::Generator::new(keys, models, 0);
    // Warm and measure the making of records alone.
    let before = cpu_ms();
    for i in 0..records / 64 {
        std::hint::black_box(make.batch(64, i));
    }
    let making = cpu_ms() - before;
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(RecorderSettings::new(dir.path())).unwrap();
    let sender = recorder.sender();
    let before = cpu_ms();
    for i in 0..records / 64 {
        sender.send(make.batch(64, i));
        // Roughly the pace of a busy gateway: 128,000 records a second.
        if i % 200 == 199 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    recorder.flush();
    let telemetry = recorder.telemetry();
    recorder.shutdown();
    let all = cpu_ms() - before;
    let status = telemetry.status();
    let bytes: u64 = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    println!(
        "{name:<28} {:.2} µs/record (making {:.2} subtracted), {} rows, {} dropped, {} errors, {} bytes/row",
        (all.saturating_sub(making)) as f64 * 1e3 / records as f64,
        making as f64 * 1e3 / records as f64,
        status.rows,
        status.dropped,
        status.write_errors,
        bytes / status.rows.max(1),
    );
}

fn main() {
    let records = std::env::args().nth(1).map_or(1_280_000, |n| n.parse().unwrap());
    run("plain, one key", records, false, 1);
    run("plain, 100,000 keys", records, false, 100_000);
    run("model calls, one key", records, true, 1);
}
