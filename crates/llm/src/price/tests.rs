#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn target(prices: &str) -> Target {
    serde_json::from_str(&format!(r#"{{"provider":"openai","model":"m","prices":{prices}}}"#)).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn known(text: &str) -> Cost {
    Cost::Known(text.parse().unwrap())
}

const USAGE: TokenUsage =
    TokenUsage { input: 1000, cached_input: 400, cache_write: 0, cache_write_1h: 0, output: 50, reasoning: 20 };

#[test]
fn the_newest_valid_entry_counts() {
    let table = PriceTable::new(&[target(
        r#"[{"from":"2026-06-01T00:00:00Z","input":"1","output":"2"},
            {"from":"2026-01-01T00:00:00Z","input":"0.1","cached_input":"0.01","output":"0.3"}]"#,
    )]);
    let handle = table.resolve("openai", "m");
    assert_eq!(handle.cost(at("2025-12-31T23:59:59Z"), &USAGE), Cost::UnknownPrice);
    assert_eq!(handle.cost(at("2026-01-01T00:00:00Z"), &USAGE), known("0.000079"));
    assert_eq!(handle.cost(at("2026-05-31T23:59:59Z"), &USAGE), known("0.000079"));
    assert_eq!(handle.cost(at("2026-06-01T00:00:00Z"), &USAGE), known("0.0011"));
    assert_eq!(table.cost("openai", "other", at("2026-06-01T00:00:00Z"), &USAGE), Cost::UnknownPrice);
    assert_eq!(table.cost("azure", "m", at("2026-06-01T00:00:00Z"), &USAGE), Cost::UnknownPrice);
}

#[test]
fn configuration_rules_from_its_first_entry_on() {
    let mut own = target(r#"[{"from":"2024-01-01T00:00:00Z","input":"7","output":"7"}]"#);
    own.provider = "sandbox".parse().unwrap();
    own.model = "sandbox-chat".into();
    let now = at("2026-06-01T00:00:00Z");
    assert_eq!(PriceTable::new(&[]).cost("sandbox", "sandbox-chat", now, &USAGE), known("0.00026"));
    assert_eq!(PriceTable::new(&[own.clone()]).cost("sandbox", "sandbox-chat", now, &USAGE), known("0.00735"));
    own.prices[0].from = at("2026-01-01T00:00:00Z");
    let table = PriceTable::new(&[own]);
    assert_eq!(table.cost("sandbox", "sandbox-chat", at("2025-06-01T00:00:00Z"), &USAGE), known("0.00026"));
    assert_eq!(table.cost("sandbox", "sandbox-chat", now, &USAGE), known("0.00735"));
}

#[test]
fn what_is_written_into_a_cache_has_its_own_price() {
    let usage = TokenUsage { cache_write: 300, cache_write_1h: 100, ..USAGE };
    let cost =
        |prices: &str| PriceTable::new(&[target(prices)]).cost("openai", "m", at("2026-02-01T00:00:00Z"), &usage);
    // 300 × 4 + 400 × 0.4 + 200 × 5 + 100 × 8 + 50 × 20, per million.
    let all = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","cache_write":"5","cache_write_1h":"8","output":"20"}]"#;
    assert_eq!(cost(all), known("0.00416"));
    let one = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","cache_write":"5","output":"20"}]"#;
    assert_eq!(cost(one), known("0.00386"), "an hour costs what any write costs");
    let none = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","output":"20"}]"#;
    assert_eq!(cost(none), known("0.00356"), "a write costs what input costs");
}

#[test]
fn the_later_target_wins_a_tie() {
    let a = target(r#"[{"from":"2026-01-01T00:00:00Z","input":"1","output":"1"}]"#);
    let b = target(r#"[{"from":"2026-01-01T00:00:00Z","input":"2","output":"2"}]"#);
    assert_eq!(PriceTable::new(&[a, b]).cost("openai", "m", at("2026-02-01T00:00:00Z"), &USAGE), known("0.0021"));
}

proptest! {
    #[test]
    fn never_negative_and_never_cheaper_with_more_tokens(input: u64, cached: u64, written: u64, long: u64, output in 0..u64::MAX) {
        let table = PriceTable::new(&[target(
            r#"[{"from":"2026-01-01T00:00:00Z","input":"1000000","cached_input":"0.000001","output":"1000000"}]"#)]);
        let now = at("2026-02-01T00:00:00Z");
        let usage = TokenUsage { input, cached_input: cached, cache_write: written, cache_write_1h: long, output, reasoning: 0 };
        let more = TokenUsage { output: output + 1, ..usage };
        let (Cost::Known(less), Cost::Known(more)) = (table.cost("openai", "m", now, &usage), table.cost("openai", "m", now, &more))
            else { panic!("a known price") };
        prop_assert!(less >= Decimal::ZERO && more > less);
    }
}
