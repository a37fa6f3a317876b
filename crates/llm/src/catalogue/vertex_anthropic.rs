//! Claude at Google's Vertex AI, at the location `global`: other locations may cost a tenth more.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, anthropic, named, offered, price, rates,
};

/// The models are those of Anthropic, whose overview has their names at Google.
const SIZES: Source = Source::tables("https://platform.claude.com/docs/en/about-claude/models/overview", "2026-11-23");
const PRICES: Source = Source::tables("https://cloud.google.com/vertex-ai/generative-ai/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);
const NO_PRICE: Option<&str> = Some("no price at Google was found that two tables agree on");

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "claude-fable-5-1",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: NO_PRICE,
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: NO_PRICE,
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: NO_PRICE,
        ..OFFERED
    },
    KnownModel { prices: &[], note: NO_PRICE, ..named(anthropic::MODELS, "claude-fable-5") },
    KnownModel { prices: &[], note: NO_PRICE, ..named(anthropic::MODELS, "claude-opus-4-8") },
    KnownModel { prices: &[], note: NO_PRICE, ..named(anthropic::MODELS, "claude-opus-4-7") },
    KnownModel { prices: &[], note: NO_PRICE, ..named(anthropic::MODELS, "claude-opus-4-6") },
    KnownModel { prices: &[], note: NO_PRICE, ..named(anthropic::MODELS, "claude-sonnet-4-6") },
    KnownModel {
        name: "claude-opus-4-5@20251101",
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, Reasoning],
        note: NO_PRICE,
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-4-5@20250929",
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, Reasoning],
        prices: &[price("2026-11-23", rates("3", "15").cached("0.3").written("3.75"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-haiku-4-5@20251001",
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, Reasoning],
        note: NO_PRICE,
        ..OFFERED
    },
];
