#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn target(prices: &str) -> Target {
    serde_json::from_str(&format!(r#"{{"provider":"openai","model":"m","prices":{prices}}}"#)).unwrap()
}

/// One that says nothing of prices.
fn bare(provider: &str, model: &str) -> Target {
    serde_json::from_value(serde_json::json!({"provider": provider, "model": model})).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn known(text: &str) -> Cost {
    Cost::Known(text.parse().unwrap())
}

fn cost(table: &PriceTable, provider: &str, model: &str, now: &str, usage: &TokenUsage) -> Cost {
    table.resolve(&bare(provider, model), None).cost(at(now), usage)
}

const USAGE: TokenUsage =
    TokenUsage { input: 1000, cached_input: 400, cache_write: 0, cache_write_1h: 0, output: 50, reasoning: 20 };

#[test]
fn the_newest_valid_entry_counts() {
    let table = PriceTable::new(&[target(
        r#"[{"from":"2026-06-01T00:00:00Z","input":"1","output":"2"},
            {"from":"2026-01-01T00:00:00Z","input":"0.1","cached_input":"0.01","output":"0.3"}]"#,
    )]);
    let handle = table.resolve(&bare("openai", "m"), None);
    assert_eq!(handle.cost(at("2025-12-31T23:59:59Z"), &USAGE), Cost::UnknownPrice);
    assert_eq!(handle.cost(at("2026-01-01T00:00:00Z"), &USAGE), known("0.000079"));
    assert_eq!(handle.cost(at("2026-05-31T23:59:59Z"), &USAGE), known("0.000079"));
    assert_eq!(handle.cost(at("2026-06-01T00:00:00Z"), &USAGE), known("0.0011"));
    assert_eq!(cost(&table, "openai", "other", "2026-06-01T00:00:00Z", &USAGE), Cost::UnknownPrice);
    assert_eq!(cost(&table, "azure", "m", "2026-06-01T00:00:00Z", &USAGE), Cost::UnknownPrice);
}

#[test]
fn configuration_rules_from_its_first_entry_on() {
    let mut own = target(r#"[{"from":"2024-01-01T00:00:00Z","input":"7","output":"7"}]"#);
    own.provider = "sandbox".parse().unwrap();
    own.model = "sandbox-chat".into();
    let cost = |target: &Target, now: &str| {
        PriceTable::new([&own, target]).resolve(target, Some("sandbox")).cost(at(now), &USAGE)
    };
    let none = bare("sandbox", "sandbox-chat");
    assert_eq!(cost(&none, "2026-06-01T00:00:00Z"), known("0.00026"), "what another one costs is not what is usual");
    assert_eq!(cost(&own, "2026-06-01T00:00:00Z"), known("0.00735"));
    let mut later = own.clone();
    later.prices[0].from = at("2026-01-01T00:00:00Z");
    assert_eq!(cost(&later, "2025-06-01T00:00:00Z"), known("0.00026"));
    assert_eq!(cost(&later, "2026-06-01T00:00:00Z"), known("0.00735"));
}

#[test]
fn the_catalogue_counts_at_the_provider_itself_and_by_every_name() {
    let table = PriceTable::new(&[]);
    let now = at("2026-12-24T00:00:00Z");
    let own = table.resolve(&bare("openai", "gpt-5-mini"), Some("openai"));
    assert_eq!(own.cost(now, &USAGE), known("0.00026")); // 600 × 0.25 + 400 × 0.025 + 50 × 2, per million
    assert_eq!(table.resolve(&bare("openai", "gpt-5-mini-2025-08-07"), Some("openai")), own);
    assert_eq!(table.resolve(&bare("openai-responses", "gpt-5-mini"), Some("openai-responses")), own);
    assert_eq!(table.resolve(&bare("ours", "gpt-5-mini"), Some("openai")), own);
    for (home, model) in [(None, "gpt-5-mini"), (Some("groq"), "gpt-5-mini"), (Some("openai"), "gpt-5-mini-of-ours")] {
        assert_eq!(table.resolve(&bare("openai", model), home).cost(now, &USAGE), Cost::UnknownPrice);
    }
}

#[test]
fn what_was_announced_counts_from_its_day_on() {
    let handle = PriceTable::new(&[]).resolve(&bare("gemini", "gemini-3.8-flash"), Some("gemini"));
    assert_eq!(handle.cost(at("2026-12-31T23:59:59Z"), &USAGE), known("0.0006675"));
    assert_eq!(handle.cost(at("2027-01-01T00:00:00Z"), &USAGE), known("0.001335"));
}

#[test]
fn a_long_prompt_has_its_own_prices() {
    let table = PriceTable::new(&[target(
        r#"[{"from":"2026-01-01T00:00:00Z","input":"2","cached_input":"0.2","output":"10",
             "long_context":{"above":1000,"input":"4","cached_input":"0.4","cache_write":"5","output":"15"}}]"#,
    )]);
    let handle = table.resolve(&bare("openai", "m"), None);
    let now = at("2026-02-01T00:00:00Z");
    // 600 × 2 + 400 × 0.2 + 50 × 10, and of one token more 301 × 4 + 400 × 0.4 + 300 × 5 + 50 × 15, per million.
    assert_eq!(handle.cost(now, &USAGE), known("0.00178"));
    let long = TokenUsage { input: 1001, cache_write: 300, ..USAGE };
    assert_eq!(handle.cost(now, &long), known("0.003614"));
    // At most: every token of the prompt written into the cache.
    assert_eq!(handle.most(now, 1000, 50), Some("0.0025".parse().unwrap()));
    assert_eq!(handle.most(now, 1001, 50), Some("0.005755".parse().unwrap()));
}

#[test]
fn a_prompt_that_may_be_long_costs_at_most_the_dearer_prices() {
    let table = PriceTable::new(&[target(
        r#"[{"from":"2026-01-01T00:00:00Z","input":"2","output":"10",
             "long_context":{"above":1000,"input":"1","output":"20"}}]"#,
    )]);
    let most = table.resolve(&bare("openai", "m"), None).most(at("2026-02-01T00:00:00Z"), 2000, 100);
    assert_eq!(most, Some("0.006".parse().unwrap()));
}

#[test]
fn what_is_written_into_a_cache_has_its_own_price() {
    let usage = TokenUsage { cache_write: 300, cache_write_1h: 100, ..USAGE };
    let cost = |prices: &str| cost(&PriceTable::new(&[target(prices)]), "openai", "m", "2026-02-01T00:00:00Z", &usage);
    // 300 × 4 + 400 × 0.4 + 200 × 5 + 100 × 8 + 50 × 20, per million.
    let all = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","cache_write":"5","cache_write_1h":"8","output":"20"}]"#;
    assert_eq!(cost(all), known("0.00416"));
    let one = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","cache_write":"5","output":"20"}]"#;
    assert_eq!(cost(one), known("0.00386"), "an hour costs what any write costs");
    let none = r#"[{"from":"2026-01-01T00:00:00Z","input":"4","cached_input":"0.4","output":"20"}]"#;
    assert_eq!(cost(none), known("0.00356"), "a write costs what input costs");
}

#[test]
fn a_targets_prices_are_its_own() {
    let retail = target(r#"[{"from":"2026-01-01T00:00:00Z","input":"1","output":"1"}]"#);
    let bank = target(r#"[{"from":"2026-01-01T00:00:00Z","input":"2","output":"2"}]"#);
    let earlier = target(r#"[{"from":"2025-01-01T00:00:00Z","input":"3","output":"3"}]"#);
    let now = "2026-02-01T00:00:00Z";
    let of = |table: &PriceTable, target: &Target| table.resolve(target, None).cost(at(now), &USAGE);
    let table = PriceTable::new([&retail, &bank, &earlier]);
    assert_eq!(of(&table, &retail), known("0.00105"));
    assert_eq!(of(&table, &bank), known("0.0021"));
    assert_eq!(table.resolve(&bank, None).entries().len(), 1, "dates of others are not its own");
    let batch = table.resolve_batch(&retail, None).cost(at(now), &USAGE);
    assert_eq!(batch, known("0.00105"));
    // One that says nothing costs what all others say, and else nobody knows.
    assert_eq!(of(&table, &bare("openai", "m")), Cost::UnknownPrice);
    assert_eq!(of(&PriceTable::new([&retail, &retail.clone()]), &bare("openai", "m")), known("0.00105"));
    assert_eq!(of(&PriceTable::new([&retail]), &bare("openai", "other")), Cost::UnknownPrice);
    // What is usual at the provider comes before.
    let mut dear = bank.clone();
    dear.model = "gpt-5-mini".into();
    let cost = PriceTable::new([&dear]).resolve(&bare("openai", "gpt-5-mini"), Some("openai")).cost(at(now), &USAGE);
    assert_eq!(cost, known("0.00026"));
}

#[test]
fn batches_have_prices_of_their_own() {
    let own = target(
        r#"[{"from":"2026-01-01T00:00:00Z","input":"2","output":"10","per_image":"1",
             "tiers":{"flex":{"input":"1","output":"5"}},"long_context":{"above":1000,"input":"4","output":"20"},
             "batch":{"input":"1","cached_input":"0.1","output":"5","long_context":{"above":2000,"input":"3","output":"6"}}},
            {"from":"2026-06-01T00:00:00Z","input":"4","output":"20"}]"#,
    );
    let (table, before, after) = (PriceTable::default(), at("2026-02-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
    let handle = table.resolve_batch(&own, None);
    // 600 × 1 + 400 × 0.1 + 50 × 5, per million; elsewhere 1000 × 2 + 50 × 10, and later 1000 × 4 + 50 × 20.
    assert_eq!(handle.cost(before, &USAGE), known("0.00089"));
    assert_eq!(table.resolve(&own, None).cost(before, &USAGE), known("0.0025"));
    assert_eq!(handle.cost(after, &USAGE), known("0.005"), "one that says nothing of batches is for them too");
    let long = TokenUsage { input: 1500, cached_input: 0, ..USAGE };
    assert_eq!(handle.cost(before, &long), known("0.00175"), "long prompts are others there");
    assert_eq!(handle.cost(before, &TokenUsage { input: 2001, ..long }), known("0.006303"));
    assert_eq!(handle.at(before).map(|entry| (entry.tiers.is_some(), entry.batch.is_some())), Some((false, false)));
    assert_eq!(handle.most(before, 1000, 50), Some("0.00125".parse().unwrap()));
    // Those of the catalogue count until then.
    let mut known_one = own.clone();
    (known_one.model, known_one.prices[0].from) = ("gpt-5-mini".into(), at("2026-03-01T00:00:00Z"));
    let handle = table.resolve_batch(&known_one, Some("openai"));
    assert_eq!(handle.cost(before, &USAGE), known("0.000175"), "1000 × 0.125 + 50 × 1");
    assert_eq!(handle.cost(at("2026-04-01T00:00:00Z"), &USAGE), known("0.00089"));
}

proptest! {
    #[test]
    fn never_negative_and_never_cheaper_with_more_tokens(input: u64, cached: u64, written: u64, long: u64, output in 0..u64::MAX) {
        let table = PriceTable::new(&[target(
            r#"[{"from":"2026-01-01T00:00:00Z","input":"1000000","cached_input":"0.000001","output":"1000000"}]"#)]);
        let now = "2026-02-01T00:00:00Z";
        let usage = TokenUsage { input, cached_input: cached, cache_write: written, cache_write_1h: long, output, reasoning: 0 };
        let more = TokenUsage { output: output + 1, ..usage };
        let (Cost::Known(less), Cost::Known(more)) = (cost(&table, "openai", "m", now, &usage), cost(&table, "openai", "m", now, &more))
            else { panic!("a known price") };
        prop_assert!(less >= Decimal::ZERO && more > less);
    }

    /// What is held back before a call is enough for it, however long the prompt turns out and whatever a cache did.
    #[test]
    fn nothing_costs_more_than_the_most(
        model in 0..crate::catalogue::models("openai").len(),
        bound in 0..2_000_000u64,
        part in 0.0..=1.0f64,
        cached in 0..2_000_000u64,
        written in 0..2_000_000u64,
        output in 0..200_000u64,
    ) {
        let name = crate::catalogue::models("openai")[model].name;
        let handle = PriceTable::default().resolve(&bare("openai", name), Some("openai"));
        let now = at("2026-11-23T00:00:00Z");
        let input = (bound as f64 * part) as u64;
        let usage = TokenUsage { input, cached_input: cached, cache_write: written, cache_write_1h: 0, output, reasoning: 0 };
        let Cost::Known(cost) = handle.cost(now, &usage) else { panic!("a known price") };
        prop_assert!(cost <= handle.most(now, bound, output).unwrap());
    }
}

/// A price with more than tokens.
fn with(more: &str) -> PriceHandle {
    let price = format!(r#"[{{"from":"2026-01-01T00:00:00Z","input":"2","output":"10"{more}}}]"#);
    PriceTable::new(&[target(&price)]).resolve(&bare("openai", "m"), None)
}

#[test]
fn what_is_no_token_of_a_text_has_a_price_of_its_own() {
    let now = at("2026-06-01T00:00:00Z");
    let none = Units::default();
    let tokens = TokenUsage { input: 100, output: 10, ..TokenUsage::default() };
    let all = r#","image_input":"8","audio_input":"1","per_image":"0.04","per_second":"0.0001","per_search":"0.002","per_million_characters":"15""#;
    let spoken = r#","cached_input":"0.5","audio_input":"32","cached_audio_input":"1","audio_output":"64","cached_image_input":"1""#;
    let talk = TokenUsage { input: 100, cached_input: 30, output: 10, ..TokenUsage::default() };
    let free = r#"[{"from":"2026-01-01T00:00:00Z","input":"0","output":"0"}]"#;
    let free = PriceTable::new(&[target(free)]).resolve(&bare("openai", "m"), None);
    for (handle, tokens, units, expect) in [
        (with(""), Some(&tokens), none, known("0.0003")),
        (with(""), Some(&tokens), Units { images: 4, seconds: 5, ..none }, known("0.0003")),
        (with(all), Some(&tokens), Units { image_tokens: 40, ..none }, known("0.00054")),
        (with(all), Some(&tokens), Units { audio_tokens: 40, ..none }, known("0.00026")),
        (with(all), Some(&tokens), Units { images: 2, ..none }, known("0.0803")),
        (with(all), None, Units { seconds: 90, ..none }, known("0.009")),
        (with(all), None, Units { searches: 3, ..none }, known("0.006")),
        (with(all), None, Units { characters: 1000, ..none }, known("0.015")),
        (
            with(spoken),
            Some(&talk),
            Units { audio_tokens: 50, cached_audio_tokens: 10, audio_output_tokens: 4, ..none },
            known("0.001976"),
        ),
        (with(spoken), Some(&talk), Units { image_tokens: 50, cached_image_tokens: 10, ..none }, known("0.00026")),
        (with(""), Some(&talk), Units { cached_audio_tokens: 10, audio_output_tokens: 4, ..none }, known("0.0003")),
        (with(all), None, none, Cost::UnknownUsage),
        (with(""), None, Units { seconds: 90, ..none }, Cost::UnknownUsage),
        (free.clone(), None, none, known("0")),
        (free, Some(&tokens), Units { images: 1, ..none }, known("0")),
        (PriceHandle::default(), Some(&tokens), none, Cost::UnknownPrice),
        (with(all), None, Units { images: u64::MAX, ..none }, Cost::Known("737869762948382064.6".parse().unwrap())),
    ] {
        assert_eq!(handle.cost_of(now, tokens, &units), expect, "{units:?}");
    }
}

proptest! {
    /// What is held back is enough, whatever of the input turns out to be text, images or sound.
    #[test]
    fn nothing_costs_more_than_the_most_of_its_units(
        (image, audio, spoken) in (0u32..20, 0u32..20, 0u32..20),
        (input, output) in (0u64..100_000, 0u64..10_000),
        (read, of_images, of_sound, said) in (0.0..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64, 0.0..=1.0f64),
        (images, seconds) in (0u64..10, 0u64..1000),
    ) {
        let now = at("2026-06-01T00:00:00Z");
        let more = format!(r#","image_input":"{image}","audio_input":"{audio}","audio_output":"{spoken}","per_image":"0.04","per_second":"0.0001""#);
        let handle = with(&more);
        let audio_output_tokens = output;
        let bound = Units { image_tokens: input, audio_tokens: input, audio_output_tokens, images, seconds, ..Units::default() };
        let part = |of: u64, part: f64| (of as f64 * part) as u64;
        let read = part(input, read);
        let image_tokens = part(read, of_images);
        let (audio_tokens, audio_output_tokens) = (part(read - image_tokens, of_sound), part(output, said));
        let used = Units { image_tokens, audio_tokens, audio_output_tokens, images, seconds, ..Units::default() };
        let tokens = TokenUsage { input: read, output, ..TokenUsage::default() };
        let Cost::Known(cost) = handle.cost_of(now, Some(&tokens), &used) else { panic!("a known price") };
        let most = handle.most_of(now, &Bound { input, output }, &bound).unwrap();
        prop_assert!(cost <= most, "{cost} of {most}");
    }
}

#[test]
fn what_may_cost_more_than_text_and_has_no_price_is_no_exact_cost() {
    let at = Timestamp::from_secs(1_790_000_000);
    let entry = |more: &str| -> PriceHandle {
        let json = format!(r#"{{"from": "2020-01-01T00:00:00Z", "input": "1", "output": "10"{more}}}"#);
        serde_json::from_str::<PriceEntry>(&json).unwrap().into()
    };
    let (heard, drawn) =
        (Units { audio_tokens: 4, ..Units::default() }, Units { image_output_tokens: 4, ..Units::default() });
    assert!(entry("").lacks_price_of(at, &heard) && entry("").lacks_price_of(at, &drawn));
    assert!(!entry("").lacks_price_of(at, &Units::default()));
    let dear = entry(r#", "audio_input": "32""#);
    assert!(!dear.lacks_price_of(at, &heard));
    let tokens = TokenUsage { input: 10, output: 5, ..TokenUsage::default() };
    // 6 of text, 4 of sound, 5 written.
    assert_eq!(dear.cost_of(at, Some(&tokens), &heard), Cost::Known(Decimal::new(6 + 4 * 32 + 50, 6)));
}

/// Usually 1 and 10, first 2 and 20, later half of it; and what else is said.
fn tiered(more: &str) -> PriceHandle {
    let json = format!(
        r#"{{"from":"2020-01-01T00:00:00Z","input":"1","output":"10","long_context":{{"above":1000,"input":"3","output":"30"}},
            "tiers":{{"priority":{{"input":"2","cached_input":"0.2","output":"20",
                "long_context":{{"above":1000,"input":"6","output":"60"}}}},
            "flex":{{"input":"0.5","output":"5"}}}}{more}}}"#
    );
    serde_json::from_str::<PriceEntry>(&json).unwrap().into()
}

const PRIORITY: Asked = Asked::Tier(Tier::Priority, "service_tier");
const FLEX: Asked = Asked::Tier(Tier::Flex, "service_tier");
const FAST: Asked = Asked::Tier(Tier::Fast, "speed");

#[test]
fn a_call_costs_what_it_was_served_by() {
    let now = at("2026-06-01T00:00:00Z");
    let estimated = |text: &str| Cost::Estimated(text.parse().unwrap());
    // 1000 × 1 + 50 × 10; 600 × 2 + 400 × 0.2 + 50 × 20; half of the usual.
    let (usual, first, later) = ("0.0015", "0.00228", "0.00075");
    let served = |tier| Some(Served::Tier(tier));
    let (tokens, none) = (USAGE, Units::default());
    for (asked, told, expect) in [
        (Asked::Usual, None, known(usual)),
        (Asked::Usual, Some(Served::Usual), known(usual)),
        // By the settings of the account.
        (Asked::Usual, served(Tier::Priority), known(first)),
        (Asked::Auto, served(Tier::Priority), known(first)),
        (Asked::Auto, served(Tier::Flex), known(later)),
        (Asked::Auto, Some(Served::Usual), known(usual)),
        (Asked::Auto, None, estimated(usual)),
        (PRIORITY, served(Tier::Priority), known(first)),
        (PRIORITY, Some(Served::Usual), known(usual)),
        (PRIORITY, None, estimated(first)),
        // Another's word says nothing of it.
        (PRIORITY, Some(Served::UsualSpeedAndPlace), estimated(first)),
        (PRIORITY, Some(Served::Dearer), estimated(first)),
        (PRIORITY, served(Tier::Ultrafast), estimated(first)),
        (FLEX, served(Tier::Flex), known(later)),
        (FLEX, Some(Served::Usual), known(usual)),
        (FLEX, None, estimated(later)),
        (Asked::Cheaper, None, estimated(usual)),
        (Asked::Usual, Some(Served::Cheaper), estimated(usual)),
        // Nobody asked for what has no price.
        (Asked::Usual, served(Tier::Ultrafast), estimated(usual)),
        (Asked::Usual, Some(Served::Dearer), estimated(usual)),
        (FAST, None, Cost::UnknownPrice),
        (FAST, served(Tier::Fast), Cost::UnknownPrice),
        (FAST, Some(Served::UsualSpeedAndPlace), known(usual)),
        (FAST, Some(Served::Usual), Cost::UnknownPrice),
        (Asked::Dearer("service_tier"), Some(Served::Usual), Cost::UnknownPrice),
        (Asked::Dearer("service_tier"), served(Tier::Priority), Cost::UnknownPrice),
    ] {
        let handle = tiered("");
        assert_eq!(handle.cost_in(now, (asked, told), Some(&tokens), &none), expect, "{asked:?} {told:?}");
    }
    let long = TokenUsage { input: 2000, ..TokenUsage::default() };
    let cost = |asked, told| tiered("").cost_in(now, (asked, told), Some(&long), &none);
    assert_eq!(cost(PRIORITY, served(Tier::Priority)), known("0.012"), "a tier has long prompts of its own");
    assert_eq!(cost(FLEX, served(Tier::Flex)), known("0.001"), "or the same price for all");
    // Without a tier's price all is as if there were none.
    let plain = with("");
    assert_eq!(plain.cost_in(now, (Asked::Auto, None), Some(&tokens), &none), plain.cost(now, &tokens));
    let flex = plain.cost_in(now, (FLEX, Some(Served::Tier(Tier::Flex))), Some(&tokens), &none);
    assert_eq!(flex, estimated("0.0025"), "the usual price at the most");
    assert_eq!(plain.cost_in(now, (PRIORITY, None), Some(&tokens), &none), Cost::UnknownPrice);
    assert_eq!(plain.cost_in(now, (PRIORITY, None), Some(&TokenUsage::default()), &none), known("0"), "free is free");
    // Sound of a tier has no price.
    let heard = Units { audio_tokens: 4, ..none };
    let loud = tiered(r#","audio_input":"32""#);
    assert_eq!(loud.cost_in(now, (PRIORITY, served(Tier::Priority)), Some(&tokens), &heard), estimated(first));
}

#[test]
fn what_a_tier_may_cost_is_held_back() {
    let now = at("2026-06-01T00:00:00Z");
    let bound = Bound { input: 100, output: 10 };
    let most = |price: &PriceHandle, asked, units: &Units| {
        price.most_in(now, asked, &bound, units).map(|usd| (usd * Decimal::from(1_000_000)).normalize())
    };
    let (none, price) = (Units::default(), tiered(""));
    for (asked, expect) in [
        (Asked::Usual, Some(200)),
        (Asked::Cheaper, Some(200)),
        (FLEX, Some(200)),
        (PRIORITY, Some(400)),
        (Asked::Auto, Some(400)),
        (FAST, None),
        (Asked::Dearer("speed"), None),
    ] {
        assert_eq!(most(&price, asked, &none), expect.map(Decimal::from), "{asked:?}");
        assert_eq!(price.lacks_tier(now, asked).is_some(), expect.is_none(), "{asked:?}");
    }
    assert!(most(&with(""), PRIORITY, &none).is_none() && most(&with(""), FLEX, &none).is_some());
    let heard = Units { audio_tokens: 100, ..none };
    let loud = tiered(r#","audio_input":"32""#);
    assert!(most(&loud, Asked::Usual, &heard).is_some() && most(&loud, PRIORITY, &heard).is_none());
    assert!(most(&loud, PRIORITY, &none).is_some());
}

#[test]
fn what_is_known_of_a_tier_ends_where_a_later_price_says_nothing_of_it() {
    let table = PriceTable::new(&[target(
        r#"[{"from":"2026-01-01T00:00:00Z","input":"1","output":"1","tiers":{"priority":{"input":"2","output":"2"}}},
            {"from":"2026-03-01T00:00:00Z","input":"3","output":"3"},
            {"from":"2026-05-01T00:00:00Z","input":"4","output":"4","tiers":{"priority":{"input":"8","output":"8"},"us":{"input":"5","output":"5"}}}]"#,
    )]);
    let handle = table.resolve(&bare("openai", "m"), None);
    let of = |tier, now: &str| handle.in_tier(tier, at(now)).map(|price| price.cost(at(now), &USAGE));
    assert_eq!(of(Tier::Priority, "2026-02-01T00:00:00Z"), Some(known("0.0021")), "what comes later changes nothing");
    assert_eq!(of(Tier::Priority, "2026-04-01T00:00:00Z"), None);
    assert_eq!(of(Tier::Priority, "2026-05-01T00:00:00Z"), Some(known("0.0084")));
    assert_eq!(of(Tier::Us, "2026-06-01T00:00:00Z"), Some(known("0.00525")));
    assert_eq!(of(Tier::Flex, "2026-06-01T00:00:00Z"), None);
}

#[test]
fn the_catalogue_knows_tiers() {
    let now = at("2026-12-24T00:00:00Z");
    let cost = |provider: &str, model: &str, tier| {
        let handle = PriceTable::new(&[]).resolve(&bare(provider, model), Some(provider));
        handle.in_tier(tier, now).map(|price| price.cost(now, &USAGE))
    };
    // 600 × 12.5 + 400 × 1.25 + 50 × 75, per million.
    assert_eq!(cost("openai", "gpt-5.5", Tier::Priority), Some(known("0.01175")));
    assert_eq!(cost("openai", "gpt-5-mini", Tier::Priority), Some(known("0.000468")));
    assert_eq!(cost("openai", "gpt-5-mini", Tier::Flex), Some(known("0.00013")));
    assert_eq!(cost("openai", "gpt-5-mini", Tier::Us), None);
    assert_eq!(cost("anthropic", "claude-opus-5-5", Tier::Fast), Some(known("0.00696")));
    assert_eq!(cost("anthropic", "claude-opus-5-5", Tier::Us), Some(known("0.003828")));
    assert_eq!(cost("anthropic", "claude-opus-4-5", Tier::Us), None, "it never asks for more there");
    assert_eq!(cost("vertex-anthropic", "claude-opus-4-8", Tier::Us), None);
}
