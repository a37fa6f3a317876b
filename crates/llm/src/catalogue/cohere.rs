//! The models of Cohere.

use super::{
    Capability::{Embeddings, Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://docs.cohere.com/docs/models", "2026-11-23");
const PRICES: Source = Source::tables("https://cohere.com/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "command-a-plus-05-2026",
        context: Some(128_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: Some("no price by the token was found"),
        ..OFFERED
    },
    KnownModel {
        name: "command-a-03-2025",
        context: Some(256_000),
        max_output: Some(8_000),
        can: &[Tools],
        prices: &[price("2025-03-13", rates("2.5", "10"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "command-r-plus-08-2024",
        context: Some(128_000),
        max_output: Some(4_000),
        can: &[Tools],
        prices: &[price("2024-08-30", rates("2.5", "10"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "command-r-08-2024",
        context: Some(128_000),
        max_output: Some(4_000),
        can: &[Tools],
        prices: &[price("2024-08-30", rates("0.15", "0.6"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "command-r7b-12-2024",
        context: Some(128_000),
        max_output: Some(4_000),
        can: &[Tools],
        prices: &[price("2026-11-23", rates("0.0375", "0.15"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "embed-v4.0",
        context: Some(128_000),
        can: &[Embeddings],
        prices: &[price("2026-11-23", rates("0.12", "0"), PRICES)],
        ..OFFERED
    },
];
