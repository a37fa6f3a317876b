#![allow(clippy::unwrap_used)]
use super::*;
use crate::{
    Recorder, RecorderSettings,
    testing::{NOON, bare, model, plain, untold},
};
use credentialflow_model::{
    Fault, KeyId, OutcomeReason, RequestId, Timestamp, UsageRecord,
    usage::{Cost, McpEnd, McpUse},
};
use tempfile::TempDir;

fn settings(dir: &TempDir) -> RecorderSettings {
    RecorderSettings {
        write_every: Duration::from_millis(5),
        retention_days: 100_000,
        ..RecorderSettings::new(dir.path())
    }
}

/// A log with these batches, each on disk before the next is sent.
fn log(settings: RecorderSettings, batches: Vec<Vec<UsageRecord>>) -> (Recorder, CallLog) {
    let recorder = Recorder::start(settings).unwrap();
    for batch in batches {
        recorder.sender().send(batch);
        assert!(recorder.flush());
    }
    let calls = recorder.telemetry().calls().clone();
    (recorder, calls)
}

/// A page as [`CallLog::query`] gives it, with time enough also on a machine that is busy with other things.
fn query(
    calls: &CallLog,
    filter: &CallFilter,
    limit: usize,
    cursor: Option<&str>,
) -> Result<Page<CallRow>, CallLogError> {
    calls.query_until(filter, limit, cursor, Instant::now() + Duration::from_secs(600))
}

fn ids(page: &Page<CallRow>) -> Vec<u64> {
    page.items.iter().map(|r| (r.time.micros() - NOON) as u64).collect()
}

#[test]
fn every_field_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let fine: Cost = Cost::Known("0.0000000000375".parse().unwrap());
    let batch = vec![
        plain(1),
        bare(2),
        model(3, Some(Cost::Known("1.50".parse().unwrap()))),
        model(4, Some(fine)),
        model(5, Some(Cost::UnknownPrice)),
        model(6, None),
        untold(8),
        UsageRecord { status: 0, total_us: u64::MAX, bytes_out: u64::MAX, path: "/ü/\u{0}".into(), ..plain(7) },
    ];
    let (_recorder, calls) = log(settings(&dir), vec![batch]);
    let page = query(&calls, &CallFilter::default(), 100, None).unwrap();
    assert_eq!(page.next, None);
    let [untold, none, unknown, fine, known, bare, plain, huge] = &page.items[..] else { panic!("{page:?}") };
    let expect = CallRow {
        time: Timestamp::from_micros(NOON + 1),
        request_id: RequestId(1 << 64 | 0x8000_0000_0000_0001).to_string(),
        trace_id: "fffffffffffffffffffffffffffffffe".into(),
        source: "127.0.0.1".into(),
        application: Some("checkout".into()),
        key: Some(KeyId::from_bits(77)),
        route: Some("orders".into()),
        method: "GET".into(),
        path: "/orders/1".into(),
        upstream: Some("orders".into()),
        endpoint: Some("127.0.0.1:9001".into()),
        credential: Some("orders-token".into()),
        credential_version: Some(3),
        outcome: OutcomeReason::Served,
        fault: Fault::None,
        status: 200,
        upstream_status: 200,
        attempts: 1,
        bytes_in: 10,
        bytes_out: 1024,
        total_us: 1500,
        upstream_us: 1200,
        ttfb_us: 1300,
        model: None,
        mcp: None,
    };
    assert_eq!(*plain, expect);
    assert_eq!(
        (bare.source.as_str(), bare.outcome, bare.fault),
        ("2001:db8::1", OutcomeReason::NoRoute, Fault::Caller)
    );
    let absent = (&bare.application, bare.key, &bare.route, &bare.upstream, &bare.endpoint, &bare.credential);
    assert_eq!(absent, (&None, None, &None, &None, &None, &None));
    assert_eq!(bare.credential_version, None);
    let m = known.model.as_ref().unwrap();
    assert_eq!(
        (&*m.model, &*m.provider, &*m.provider_model, m.streamed),
        ("chat-default", "openai", "gpt-5-mini", true)
    );
    let tokens = m.tokens.unwrap();
    assert_eq!((tokens.input, tokens.cached_input, tokens.output, tokens.reasoning), (100, 20, 50, 5));
    let cost = |row: &CallRow| row.model.clone().map(|m| (m.cost_usd, m.cost_unknown)).unwrap();
    assert_eq!(cost(known), (Some("1.5".into()), false));
    assert_eq!(cost(fine), (Some("0.0000000000375".into()), false));
    assert_eq!(cost(unknown), (None, true));
    assert_eq!((cost(untold), untold.model.as_ref().unwrap().tokens), ((None, true), None));
    assert_eq!((cost(none), none.model.as_ref().unwrap().tokens), ((None, false), None));
    assert_eq!((huge.status, huge.total_us, huge.bytes_out, &*huge.path), (0, u64::MAX, u64::MAX, "/ü/\u{0}"));
    for row in &page.items {
        let id = row.request_id.parse().unwrap();
        assert_eq!(calls.get(id).unwrap().as_ref(), Some(row));
        assert_eq!(serde_json::from_value::<CallRow>(serde_json::to_value(row).unwrap()).unwrap(), *row);
    }
    assert_eq!(calls.get(RequestId(9)).unwrap(), None);
}

#[test]
fn what_was_asked_of_mcp_servers_comes_back_also_beside_segments_that_tell_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let posted = |n, name: Option<&str>, end| {
        let guardrails = name.map(|_| "secrets/redact:2 answer/words/block".into());
        let used = McpUse { method: "tools/call".into(), name: name.map(Into::into), end, guardrails };
        UsageRecord { mcp: Some(Box::new(used)), ..plain(n) }
    };
    let batch = vec![
        posted(1, Some("add"), McpEnd::Result),
        plain(2),
        posted(3, Some("x\"\u{0}"), McpEnd::ToolFailed),
        posted(4, None, McpEnd::Error(-32602)),
    ];
    let (recorder, calls) = log(settings(&dir), vec![batch]);
    let told = || {
        let items = query(&calls, &CallFilter::default(), 100, None).unwrap().items;
        let told = |row: CallRow| {
            let mcp = row.mcp?;
            let found = if mcp.name.is_some() { &["secrets/redact:2", "answer/words/block"][..] } else { &[] };
            assert_eq!(mcp.guardrails, found);
            Some((mcp.method, mcp.name, mcp.end))
        };
        items.into_iter().map(told).collect::<Vec<_>>()
    };
    let expect =
        |name: Option<&str>, end: &str| Some(("tools/call".to_owned(), name.map(str::to_owned), end.to_owned()));
    let all =
        [expect(None, "error -32602"), expect(Some("x\"\u{0}"), "tool_failed"), None, expect(Some("add"), "result")];
    assert_eq!(told(), all);
    drop(recorder);
    let name = segment::list(dir.path()).unwrap().remove(0);
    rusqlite::Connection::open(name.path(dir.path())).unwrap().execute_batch("DROP TABLE mcp;").unwrap();
    assert_eq!(told(), [None, None, None, None]);
}

#[test]
fn each_filter_finds_its_calls_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let odd = UsageRecord {
        application: Some("odd".into()),
        key: Some(KeyId::from_bits(u64::MAX)),
        route: Some("billing".into()),
        upstream: Some("bank".into()),
        credential: Some(credentialflow_model::usage::CredentialUse { credential: "bank-token".into(), version: 1 }),
        outcome: OutcomeReason::UpstreamTimeout,
        status: 504,
        total_us: 9_000_000,
        source: "2001:db8::7".parse().unwrap(),
        path: "/billing/x".into(),
        ..plain(5000)
    };
    let mut batch: Vec<_> = (0..10_000).filter(|n| *n != 5000).map(plain).collect();
    batch.insert(5000, odd);
    batch.push(model(10_000, None));
    // Several blocks, the last of them without a summary.
    let (_recorder, calls) = log(settings(&dir), vec![batch]);
    let all = CallFilter::default;
    let check = |filter: CallFilter, expect: &[u64]| {
        let page = query(&calls, &filter, 100, None).unwrap();
        assert_eq!(ids(&page), expect, "{filter:?}");
    };
    check(CallFilter { application: Some("odd".into()), ..all() }, &[5000]);
    check(CallFilter { key: Some(KeyId::from_bits(u64::MAX)), ..all() }, &[5000]);
    check(CallFilter { route: Some("billing".into()), ..all() }, &[5000]);
    check(CallFilter { upstream: Some("bank".into()), ..all() }, &[5000]);
    check(CallFilter { credential: Some("bank-token".into()), ..all() }, &[5000]);
    check(CallFilter { model: Some("chat-default".into()), ..all() }, &[10_000]);
    check(CallFilter { outcome: Some(OutcomeReason::UpstreamTimeout), ..all() }, &[5000]);
    check(CallFilter { status: Some(StatusFilter::Exact(504)), ..all() }, &[5000]);
    check(CallFilter { status: Some(StatusFilter::Class(5)), ..all() }, &[5000]);
    check(CallFilter { status: Some(StatusFilter::Class(4)), ..all() }, &[]);
    check(CallFilter { min_duration_us: Some(9_000_000), ..all() }, &[5000]);
    check(CallFilter { min_duration_us: Some(9_000_001), ..all() }, &[]);
    let key = |n| KeyId::from_bits(n);
    check(CallFilter { keys: Some(vec![key(1), key(u64::MAX)]), ..all() }, &[5000]);
    check(CallFilter { keys: Some(vec![key(1)]), ..all() }, &[]);
    check(CallFilter { keys: Some((1000..2000).chain([u64::MAX]).map(key).collect()), ..all() }, &[5000]);
    check(CallFilter { source: Some("2001:db8::7".parse().unwrap()), ..all() }, &[5000]);
    check(CallFilter { path_prefix: Some("/billing".into()), ..all() }, &[5000]);
    check(CallFilter { path_prefix: Some("/bill%".into()), ..all() }, &[]);
    check(CallFilter { application: Some("' OR 1=1 --".into()), ..all() }, &[]);
    let at = |n: i64| Some(Timestamp::from_micros(NOON + n));
    check(CallFilter { since: at(4999), until: at(5002), ..all() }, &[5000, 5001, 4999]);
    check(CallFilter { since: at(4999), until: at(5002), route: Some("orders".into()), ..all() }, &[5001, 4999]);
}

#[test]
fn calls_are_found_by_their_prompt_also_in_segments_whose_blocks_do_not_tell_of_prompts() {
    let dir = tempfile::tempdir().unwrap();
    let mut batch: Vec<_> = (0..10_000).map(plain).collect();
    for (n, prompt) in [(10, "sentiment/1"), (20, "sentiment/12"), (30, "sentiment-2/1"), (9990, "sentiment/2")] {
        let mut record = model(n, None);
        record.model.as_mut().unwrap().prompt = Some(prompt.into());
        batch[n as usize] = record;
    }
    let (recorder, calls) = log(settings(&dir), vec![batch]);
    recorder.shutdown();
    let check = |prompt: &str, prompt_version, expect: &[u64]| {
        let filter = CallFilter { prompt: Some(prompt.into()), prompt_version, ..CallFilter::default() };
        assert_eq!(ids(&query(&calls, &filter, 100, None).unwrap()), expect, "{prompt} {prompt_version:?}");
        let mut walked = Vec::new();
        let until = Instant::now() + Duration::from_secs(600);
        calls.walk(&filter, 100, until, |call| walked.push((call.time.micros() - NOON) as u64)).unwrap();
        assert_eq!(walked, expect);
    };
    check("sentiment", None, &[9990, 20, 10]);
    check("sentiment", Some(1), &[10]);
    check("sentiment", Some(3), &[]);
    check("sentiment-2", None, &[30]);
    check("sentimen", None, &[]);

    // Of blocks that tell of prompts, those that tell of none are not read.
    let names = segment::list(dir.path()).unwrap();
    let db = rusqlite::Connection::open(names[0].path(dir.path())).unwrap();
    db.execute("UPDATE blocks SET filter = zeroblob(length(filter))", []).unwrap();
    check("sentiment", None, &[9990]);
    db.execute_batch("PRAGMA user_version = 7;").unwrap();
    check("sentiment", None, &[9990, 20, 10]);
}

#[test]
fn pages_are_stable_while_calls_are_added_and_cross_segments() {
    let dir = tempfile::tempdir().unwrap();
    let small = RecorderSettings { segment_rows: 100, ..settings(&dir) };
    let (recorder, calls) = log(small, (0..10).map(|b| (b * 50..b * 50 + 50).map(plain).collect()).collect());
    assert_eq!(segment::list(dir.path()).unwrap().len(), 5);
    let (mut seen, mut cursor) = (Vec::new(), None);
    for round in 0..100u64 {
        let page = query(&calls, &CallFilter::default(), 33, cursor.as_deref()).unwrap();
        seen.extend(ids(&page));
        recorder.sender().send(vec![plain(10_000 + round)]);
        assert!(recorder.flush());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..500).rev().collect::<Vec<_>>());
    assert!(matches!(query(&calls, &CallFilter::default(), 5, Some("nonsense")), Err(CallLogError::InvalidCursor)));
}

#[test]
fn calls_that_are_written_together_stand_in_the_order_of_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let recorder =
        Recorder::start(RecorderSettings { write_every: Duration::from_secs(60), ..settings(&dir) }).unwrap();
    // Two workers' batches overlap; the first call of all took longest and ended last.
    let long = UsageRecord { total_us: 1_000_000, ..plain(0) };
    recorder.sender().send([vec![long], (1..100).step_by(2).map(plain).collect()].concat());
    recorder.sender().send((2..100).step_by(2).map(plain).collect());
    assert!(recorder.flush());
    let calls = recorder.telemetry().calls().clone();
    let (mut seen, mut cursor) = (Vec::new(), None);
    for late in 0..100 {
        let page = query(&calls, &CallFilter::default(), 7, cursor.as_deref()).unwrap();
        seen.extend(ids(&page));
        // Later writes, of calls that began before: nothing already paged over may move.
        recorder.sender().send(vec![plain(late)]);
        assert!(recorder.flush());
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, std::iter::once(0).chain((1..100).rev()).collect::<Vec<_>>());
}

#[test]
fn a_page_that_ends_with_the_log_has_no_next() {
    let dir = tempfile::tempdir().unwrap();
    let (_recorder, calls) = log(settings(&dir), vec![(0..10).map(plain).collect()]);
    let page = query(&calls, &CallFilter::default(), 10, None).unwrap();
    assert_eq!((page.items.len(), page.next), (10, None));
    assert_eq!(query(&CallLog::new(dir.path().join("missing")), &CallFilter::default(), 10, None).unwrap().items, []);
}

#[test]
fn the_tail_follows_across_segments_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let small = RecorderSettings { segment_rows: 40, ..settings(&dir) };
    let (recorder, calls) = log(small, vec![(0..30).map(plain).collect()]);
    let first = calls.tail(&CallFilter::default(), 5, None).unwrap();
    assert_eq!(ids(&first), [25, 26, 27, 28, 29]);
    let (mut cursor, mut seen) = (first.next, Vec::new());
    for n in 0..20u64 {
        recorder.sender().send((30 + n * 7..37 + n * 7).map(plain).collect());
        assert!(recorder.flush());
        let page = calls.tail(&CallFilter::default(), 4, cursor.as_deref()).unwrap();
        seen.extend(ids(&page));
        cursor = page.next;
    }
    while seen.len() < 140 {
        let page = calls.tail(&CallFilter::default(), 50, cursor.as_deref()).unwrap();
        assert!(!page.items.is_empty(), "the tail stops at {}", seen.len());
        seen.extend(ids(&page));
        cursor = page.next;
    }
    assert_eq!(seen, (30..170).collect::<Vec<_>>());
    assert_eq!(calls.tail(&CallFilter::default(), 50, cursor.as_deref()).unwrap().items, []);
    let empty = CallLog::new(dir.path().join("missing")).tail(&CallFilter::default(), 5, None).unwrap();
    assert!(empty.items.is_empty() && empty.next.is_some());
}

#[test]
fn names_beyond_the_table_are_written_as_text() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = crate::intern::Interner::with_max(3);
    let mut writer = writer::Writer::create(dir.path(), NOON, 1).unwrap();
    let records: Vec<_> =
        (0..9000).map(|n| UsageRecord { route: Some(format!("r{}", n % 5000).into()), ..plain(n) }).collect();
    assert_eq!(writer.write(records.iter(), &[], &mut names).unwrap(), 9000);
    let filter = CallFilter { route: Some("r4321".into()), ..CallFilter::default() };
    let found = query(&CallLog::new(dir.path()), &filter, 10, None).unwrap();
    assert_eq!(ids(&found), [4321]);
    assert_eq!(found.items[0].route.as_deref(), Some("r4321"));
}

#[test]
fn readers_see_whole_pages_while_rows_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let recorder = Recorder::start(RecorderSettings { segment_rows: 3000, ..settings(&dir) }).unwrap();
    let (sender, calls) = (recorder.sender(), recorder.telemetry().calls().clone());
    let (begun, wait) = std::sync::mpsc::channel();
    let writing = std::thread::spawn(move || {
        for n in 0..200u64 {
            sender.send((n * 50..n * 50 + 50).map(plain).collect());
            std::thread::sleep(Duration::from_millis(1));
            if n == 20 {
                // The rest is written when a reader has seen something.
                wait.recv().unwrap();
            }
        }
    });
    let mut most = 0;
    while !writing.is_finished() {
        let seen = ids(&query(&calls, &CallFilter::default(), 1000, None).unwrap());
        assert!(seen.is_sorted_by(|a, b| a == &(b + 1)), "a gap in {seen:?}");
        if most == 0 && !seen.is_empty() {
            begun.send(()).unwrap();
        }
        most = most.max(seen.len());
    }
    writing.join().unwrap();
    assert!(recorder.flush());
    assert!(most > 0);
    assert_eq!(ids(&query(&calls, &CallFilter::default(), 1, None).unwrap()), [9999]);
    assert_eq!(recorder.telemetry().status().dropped, 0);
}

#[test]
fn ended_segments_are_sealed_summarised_and_deleted_when_old() {
    let dir = tempfile::tempdir().unwrap();
    let (recorder, _) = log(
        RecorderSettings { segment_rows: 10_000, ..settings(&dir) },
        vec![(0..10_000).map(plain).collect(), (0..10).map(|n| plain(n + 86_400_000_000)).collect()],
    );
    recorder.shutdown();
    let names = segment::list(dir.path()).unwrap();
    assert_eq!(names.iter().map(SegmentName::day).collect::<Vec<_>>(), ["20261101", "20261102"]);
    let others: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| !n.ends_with(".db"))
        .collect();
    assert_eq!(others, ["begins"], "a sealed segment is one file");
    let db = segment::open(dir.path(), &names[0]).unwrap().unwrap();
    let blocks: (i64, i64, i64) =
        db.query_row("SELECT count(*), min(first_row), max(last_row) FROM blocks", [], |r| r.try_into()).unwrap();
    assert_eq!(blocks, (2, 1, 8192));
    let at = |day: i64| Timestamp::from_micros(NOON + day * 86_400_000_000);
    assert_eq!(upkeep::delete_old(dir.path(), 30, at(30)).unwrap(), 0);
    assert_eq!(upkeep::delete_old(dir.path(), 30, at(31)).unwrap(), 1);
    assert_eq!(segment::list(dir.path()).unwrap(), names[1..]);
}

#[test]
fn what_a_killed_process_left_is_sealed_but_not_what_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut names = crate::intern::Interner::new();
    let mut writer = writer::Writer::create(dir.path(), NOON, 1).unwrap();
    writer.write([plain(1)].iter(), &[], &mut names).unwrap();
    let segments = segment::list(dir.path()).unwrap();
    assert_eq!(upkeep::seal_leftovers(dir.path(), &segments), 0, "another process writes it");
    writer.write([plain(2)].iter(), &[], &mut names).unwrap();
    // What kill -9 leaves: the file and its write-ahead log.
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    assert_eq!(upkeep::seal_leftovers(copy.path(), &segments), 1);
    assert_eq!(ids(&query(&CallLog::new(copy.path()), &CallFilter::default(), 10, None).unwrap()), [2, 1]);
    assert_eq!(upkeep::seal_leftovers(copy.path(), &segments), 0);
}

#[test]
fn a_page_out_of_time_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let small = RecorderSettings { segment_rows: 80_000, ..settings(&dir) };
    let (_recorder, calls) =
        log(small, (0..20).map(|b| (b * 10_000..b * 10_000 + 10_000).map(plain).collect()).collect());
    // Nothing to skip by: the path is in no summary, so every step is read.
    let filter = CallFilter { path_prefix: Some("/none".into()), ..CallFilter::default() };
    let past = Instant::now();
    let (mut cursor, mut pages) = (None, 0);
    loop {
        let page = calls.query_until(&filter, 10, cursor.as_deref(), past).unwrap();
        assert!(page.items.is_empty());
        pages += 1;
        assert!(pages < 20, "it never ends");
        let Some(next) = page.next else { break };
        assert_ne!(Some(&next), cursor.as_ref(), "it does not get on");
        cursor = Some(next);
    }
    assert!(pages >= 4, "{pages}");
    assert_eq!(query(&calls, &filter, 10, None).unwrap().next, None);
}
