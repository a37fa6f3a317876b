//! The models of Perplexity.

use super::{Capability::Reasoning, KnownModel, Source, offered, price, rates};

const SIZES: Source = Source::tables("https://docs.perplexity.ai/getting-started/pricing", "2026-11-23");
const PRICES: Source = Source::tables("https://docs.perplexity.ai/getting-started/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "sonar",
        context: Some(128_000),
        prices: &[price("2026-11-23", rates("1", "1"), PRICES)],
        note: Some("each request costs a fee beside its tokens"),
        ..OFFERED
    },
    KnownModel {
        name: "sonar-pro",
        context: Some(200_000),
        prices: &[price("2026-11-23", rates("3", "15"), PRICES)],
        note: Some("each request costs a fee beside its tokens"),
        ..OFFERED
    },
    KnownModel {
        name: "sonar-reasoning-pro",
        context: Some(128_000),
        can: &[Reasoning],
        prices: &[price("2026-11-23", rates("2", "8"), PRICES)],
        note: Some("each request costs a fee beside its tokens"),
        ..OFFERED
    },
    KnownModel {
        name: "sonar-deep-research",
        context: Some(128_000),
        can: &[Reasoning],
        prices: &[price("2026-11-23", rates("2", "8"), PRICES)],
        note: Some("searches, citations and reasoning cost fees beside the tokens"),
        ..OFFERED
    },
];
