#![allow(clippy::unwrap_used)]
use super::*;
use crate::testing::{bare, model, plain, untold};

fn add(metrics: &Metrics, names: &mut Interner, records: &[UsageRecord]) {
    let mut tables = metrics.lock();
    for r in records {
        let mut id = |n: Option<&Arc<str>>| n.map(|n| names.id(n));
        let (route, upstream) = (id(r.route.as_ref()), id(r.upstream.as_ref()));
        let model = id(r.model.as_ref().map(|m| &m.model));
        tables.add(r, route, upstream, model, names);
    }
}

#[test]
fn every_metric_is_rendered() {
    let counters = Arc::<Counters>::default();
    counters.dropped.store(7, Ordering::Relaxed);
    let (metrics, mut names) = (Metrics::new(counters), Interner::new());
    let calls = [
        plain(1),
        plain(2),
        bare(3),
        model(4, Some(Cost::Known("0.25".parse().unwrap()))),
        model(5, Some(Cost::UnknownPrice)),
        untold(6),
    ];
    add(&metrics, &mut names, &calls);
    metrics.set_gauge("keys", "Keys that may be used", 12);
    metrics.register_gauge("requests_in_flight", "Requests being served", || 3);
    metrics.register_counter("connections_accepted", "Connections accepted", || 9);
    metrics.register_family("certificate_expiry_timestamp_seconds", "When it ends", &["kind", "place"], || {
        vec![
            (vec!["listener".to_owned(), "gateway".to_owned()], 1_800_000_000),
            (vec!["upstream".to_owned(), "a\"b:443".to_owned()], -5),
        ]
    });
    let text = metrics.render();
    for line in [
        "credentialflow_certificate_expiry_timestamp_seconds{kind=\"listener\",place=\"gateway\"} 1800000000",
        "credentialflow_certificate_expiry_timestamp_seconds{kind=\"upstream\",place=\"a\\\"b:443\"} -5",
        "credentialflow_requests_total{route=\"orders\",outcome=\"served\",status_class=\"2xx\"} 5",
        "credentialflow_requests_total{route=\"\",outcome=\"no_route\",status_class=\"4xx\"} 1",
        "credentialflow_request_duration_seconds_count{route=\"orders\"} 5",
        "credentialflow_request_duration_seconds_bucket{le=\"0.001\",route=\"orders\"} 0",
        "credentialflow_request_duration_seconds_bucket{le=\"0.0025\",route=\"orders\"} 5",
        "credentialflow_upstream_duration_seconds_count{upstream=\"orders\"} 5",
        "credentialflow_response_bytes_total{route=\"orders\"} 5120",
        "credentialflow_llm_tokens_total{model=\"chat-default\",provider=\"openai\",direction=\"output\"} 100",
        "credentialflow_llm_cost_usd_total{model=\"chat-default\",provider=\"openai\"} 0.25",
        "credentialflow_llm_unpriced_calls_total{model=\"chat-default\",provider=\"openai\"} 2",
        "credentialflow_call_log_dropped_total 7",
        "credentialflow_call_log_rows_total 0",
        "credentialflow_keys 12",
        "credentialflow_requests_in_flight 3",
        "credentialflow_connections_accepted_total 9",
    ] {
        assert!(text.lines().any(|l| l == line), "missing {line} in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn label_sets_are_bounded_and_escaped() {
    let (metrics, mut names) = (Metrics::new(Arc::default()), Interner::with_max(3000));
    for n in 0..5000u64 {
        add(&metrics, &mut names, &[UsageRecord { route: Some(format!("r{n}").into()), ..plain(n) }]);
    }
    let mut odd = model(1, Some(Cost::UnknownPrice));
    odd.model.as_mut().unwrap().model = "a\"b\n".into();
    names = Interner::new();
    metrics.lock().forget_ids();
    add(&metrics, &mut names, &[odd]);
    assert!(metrics.lock().routes.len() <= MAX_NAMES + 1);
    let text = metrics.render();
    let of =
        |labels: &str| text.lines().find(|l| l.starts_with(&format!("credentialflow_requests_total{labels}"))).unwrap();
    assert!(of("{route=\"other\"").ends_with(" 4001"), "{}", of("{route=\"other\""));
    assert!(of("{route=\"r0\"").ends_with(" 1"));
    assert!(text.contains("model=\"a\\\"b\\n\""), "a quote in a label is escaped");
}
