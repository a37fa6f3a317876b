#![allow(clippy::unwrap_used)]
use super::*;
use crate::provider;
use rust_decimal::Decimal;
use std::{collections::HashSet, fmt::Write};

fn all() -> impl Iterator<Item = (&'static str, &'static KnownModel)> {
    PROVIDERS.iter().flat_map(|(provider, models)| models.iter().map(|model| (*provider, model)))
}

#[test]
fn a_hundred_models_and_more_each_once() {
    assert!(all().count() > 100, "{}", all().count());
    assert!(PROVIDERS.is_sorted_by(|a, b| a.0 < b.0));
    let mut seen = HashSet::new();
    for (name, model) in all() {
        assert!(provider::find(name).is_some(), "{name} is no provider");
        for name_of_it in [model.name].iter().chain(model.also) {
            assert!(!name_of_it.is_empty() && seen.insert((name, *name_of_it)), "{name} {name_of_it} stands twice");
            assert_eq!(find(name, name_of_it), Some(model));
        }
    }
    for (twin, offers) in TWINS {
        assert!(provider::find(twin).is_some() && !models(offers).is_empty(), "{twin}");
        assert!(PROVIDERS.iter().all(|(name, _)| name != twin), "{twin} has models of its own");
        assert_eq!(models(twin), models(offers));
    }
    assert_eq!(find("openai", "nothing-of-the-kind"), None);
    assert_eq!(models("vllm"), []);
}

#[test]
fn figures_are_possible() {
    let usd = |price: Price| price.usd_per_million();
    for (provider, model) in all() {
        let at = format!("{provider} {}", model.name);
        assert!(model.context.is_none_or(|tokens| (256..=10_000_000).contains(&tokens)), "{at}");
        assert!(model.max_output.is_none_or(|most| most >= 256 && model.context.is_none_or(|all| most <= all)), "{at}");
        assert!(model.can.is_sorted(), "{at}");
        assert!(model.can.len() == 1 || !model.can.contains(&Capability::Embeddings), "{at}");
        let entries: Vec<_> = model.entries().collect();
        assert_eq!(entries.len(), model.prices.len(), "{at}: a date or a price does not parse");
        assert!(entries.is_sorted_by(|a, b| a.from < b.from), "{at}");
        assert!(!entries.is_empty() || model.note.is_some(), "{at}: nothing says why it has no price");
        for (entry, known) in entries.iter().zip(model.prices) {
            let mut steps =
                vec![(entry.input, entry.cached_input, entry.cache_write, entry.cache_write_1h, entry.output)];
            if let Some(long) = entry.long_context {
                assert!(model.context.is_none_or(|all| long.above < u64::from(all)), "{at}");
                assert!(long.input >= entry.input && long.output >= entry.output, "{at}: long prompts are not cheaper");
                assert_eq!(long.cached_input.is_some(), entry.cached_input.is_some(), "{at}");
                assert_eq!(long.cache_write.is_some(), entry.cache_write.is_some(), "{at}");
                assert_eq!(long.cache_write_1h.is_some(), entry.cache_write_1h.is_some(), "{at}");
                steps.push((long.input, long.cached_input, long.cache_write, long.cache_write_1h, long.output));
            }
            let other = known.rates.other;
            for dearer in [other.audio_input, other.audio_output, other.image_input].into_iter().flatten() {
                assert!(dearer.parse::<Price>().is_ok_and(|p| p > entry.input), "{at}: sound and images are dearer");
            }
            // What is paid in another way than by the token.
            if known.rates.input == "0" {
                let each = [other.per_image, other.per_second, other.per_search, other.per_million_characters];
                assert!(
                    each.into_iter()
                        .flatten()
                        .all(|price| price.parse::<Price>().is_ok_and(|p| usd(p) > Decimal::ZERO))
                );
                continue;
            }
            for (input, cached, write, write_1h, output) in steps {
                assert!(usd(input) > Decimal::ZERO, "{at}: nothing is free");
                assert!(cached.is_none_or(|cached| usd(cached) > Decimal::ZERO && cached < input), "{at}");
                assert!(write.is_none_or(|write| write >= input), "{at}");
                assert!(write_1h.is_none_or(|long| write.is_some_and(|write| long > write)), "{at}");
                let embeds = model.can.contains(&Capability::Embeddings);
                assert_eq!(embeds, usd(output) == Decimal::ZERO, "{at}: only embeddings have no output");
                assert!(embeds || output >= input, "{at}");
            }
            for (tier, own) in tiers(entry) {
                let at = format!("{at} {tier}");
                let is_cheaper = tier == "flex";
                assert_eq!(own.input < entry.input, is_cheaper, "{at}");
                assert_eq!(own.output < entry.output, is_cheaper, "{at}");
                assert_eq!(own.cached_input.is_some(), entry.cached_input.is_some(), "{at}");
                assert_eq!(own.cache_write.is_some(), entry.cache_write.is_some(), "{at}");
                assert_eq!(own.cache_write_1h.is_some(), entry.cache_write_1h.is_some(), "{at}");
                match (own.long_context, entry.long_context) {
                    (None, None) => {}
                    (Some(own), Some(long)) => {
                        assert_eq!(own.above, long.above, "{at}");
                        assert!(
                            (own.input < long.input) == is_cheaper && (own.output < long.output) == is_cheaper,
                            "{at}"
                        );
                    }
                    // Who has no price of its own for long prompts is nowhere cheaper than what they cost as usual.
                    (None, Some(long)) => assert!(
                        own.input >= long.input && own.output >= long.output && own.cached_input >= long.cached_input,
                        "{at}"
                    ),
                    (Some(_), None) => panic!("{at}: long prompts cost more only there"),
                }
            }
            if let Some((input, output)) = known.batch {
                let (input, output): (Price, Price) = (input.parse().unwrap(), output.parse().unwrap());
                assert!(usd(input) > Decimal::ZERO && input < entry.input, "{at}: a batch is cheaper");
                assert!(output <= entry.output, "{at}");
            }
        }
    }
}

fn tiers(entry: &PriceEntry) -> Vec<(&'static str, TierPrice)> {
    let Some(tiers) = entry.tiers.as_deref() else { return Vec::new() };
    let all = [tiers.priority, tiers.flex, tiers.ultrafast, tiers.fast, tiers.us];
    Tier::ALL.iter().zip(all).filter_map(|(tier, own)| Some((tier.as_str(), own?))).collect()
}

#[test]
fn every_figure_tells_its_source() {
    let day = |text: &str| format!("{text}T00:00:00Z").parse::<Timestamp>().unwrap();
    for (provider, model) in all() {
        let of_tiers = model.prices.iter().flat_map(|price| price.tiers).map(|tier| tier.source);
        for source in model.prices.iter().map(|price| price.source).chain(of_tiers).chain([model.source]) {
            assert!(source.url.starts_with("https://") || source.by == Read::Ours, "{provider} {}", source.url);
            assert_eq!(source.by == Read::Ours, provider == "sandbox");
            let _ = day(source.read);
        }
        for price in model.prices {
            // What was announced for a later day may be known before, but not by years.
            assert!(day(price.from) < day("2028-01-01"), "{provider} {}", model.name);
        }
    }
}

/// Everything in one list, so that a changed figure shows as what it is.
#[test]
fn the_whole_catalogue() {
    let mut told = String::new();
    for (provider, model) in all() {
        let size = |tokens: Option<u32>| tokens.map_or("?".to_owned(), |tokens| tokens.to_string());
        let can: Vec<_> = model.can.iter().map(|can| can.as_str()).collect();
        let names = [&[model.name], model.also].concat().join(" = ");
        writeln!(told, "{provider}: {names}: {} / {}: {}", size(model.context), size(model.max_output), can.join(", "))
            .unwrap();
        for price in model.prices {
            write!(told, "  {}: {}", price.from, line(&price.rates)).unwrap();
            if let Some((above, rates)) = &price.long {
                write!(told, "; above {above} {}", line(rates)).unwrap();
            }
            if let Some((input, output)) = price.batch {
                write!(told, "; in batches {input} -> {output}").unwrap();
            }
            writeln!(told, " ({})", price.source.by.as_str()).unwrap();
            for ((tier, own), known) in tiers(&price.entry().unwrap()).into_iter().zip(price.tiers) {
                write!(told, "    {tier}: {}", of_tier(own.input, own.cached_input, own.cache_write, own.output))
                    .unwrap();
                if let Some(long) = own.long_context {
                    let prices = of_tier(long.input, long.cached_input, long.cache_write, long.output);
                    write!(told, "; above {} {prices}", long.above).unwrap();
                }
                writeln!(told, " ({})", known.source.by.as_str()).unwrap();
            }
        }
    }
    insta::assert_snapshot!(told);
}

fn of_tier(input: Price, cached: Option<Price>, written: Option<Price>, output: Price) -> String {
    let mut text = input.to_string();
    for (name, price) in [("cached", cached), ("written", written)] {
        if let Some(price) = price {
            write!(text, ", {name} {price}").unwrap();
        }
    }
    format!("{text} -> {output}")
}

fn line(rates: &Rates) -> String {
    let mut text = rates.input.to_owned();
    for (name, price) in
        [("cached", rates.cached_input), ("written", rates.cache_write), ("for an hour", rates.cache_write_1h)]
    {
        if let Some(price) = price {
            write!(text, ", {name} {price}").unwrap();
        }
    }
    text = text + " -> " + rates.output;
    let other = &rates.other;
    for (name, price) in [
        ("image input", other.image_input),
        ("audio input", other.audio_input),
        ("cached image input", other.cached_image_input),
        ("cached audio input", other.cached_audio_input),
        ("audio output", other.audio_output),
        ("an image", other.per_image),
        ("a second", other.per_second),
        ("a search", other.per_search),
        ("a million characters", other.per_million_characters),
    ] {
        if let Some(price) = price {
            write!(text, ", {name} {price}").unwrap();
        }
    }
    text
}
