//! The models of Mistral.

use super::{
    Capability::{AudioInput, Embeddings, Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://docs.mistral.ai/models", "2026-11-23");
const PRICES: Source = Source::tables("https://mistral.ai/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "mistral-large-4",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: Some("the public tables disagree about its price since October 2026"),
        ..OFFERED
    },
    KnownModel {
        name: "mistral-large-2512",
        also: &["mistral-large-latest"],
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-12-02", rates("0.5", "1.5").cached("0.05"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "mistral-medium-3-5",
        also: &["mistral-medium-2604", "mistral-medium-latest"],
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-04-29", rates("1.5", "7.5").cached("0.15"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "mistral-small-2603",
        also: &["mistral-small-latest"],
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-03-16", rates("0.15", "0.6").cached("0.015"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "ministral-14b-2512",
        also: &["ministral-14b-latest"],
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-12-02", rates("0.2", "0.2").cached("0.02"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "ministral-8b-2512",
        also: &["ministral-8b-latest"],
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-12-02", rates("0.15", "0.15").cached("0.015"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "ministral-3b-2512",
        also: &["ministral-3b-latest"],
        context: Some(131_072),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-12-02", rates("0.1", "0.1").cached("0.01"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "codestral-2508",
        also: &["codestral-latest"],
        context: Some(256_000),
        can: &[Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("0.3", "0.9").cached("0.03"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "devstral-latest",
        also: &["devstral-medium-latest"],
        context: Some(262_144),
        can: &[Tools, StructuredOutput],
        prices: &[price("2025-12-09", rates("0.4", "2").cached("0.04"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "devstral-small-latest",
        context: Some(256_000),
        can: &[Tools, StructuredOutput],
        prices: &[price("2025-12-09", rates("0.1", "0.3").cached("0.01"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "voxtral-small-2507",
        also: &["voxtral-small-latest"],
        context: Some(32_768),
        can: &[Tools, StructuredOutput, AudioInput],
        prices: &[price("2026-08-11", rates("0.1", "0.4").cached("0.01"), PRICES)],
        note: Some("audio in the prompt costs a fee by the minute beside its tokens"),
        ..OFFERED
    },
    KnownModel {
        name: "zai-glm-5-3",
        max_output: Some(131_072),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-18", rates("1.4", "4.4").cached("0.14"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "zai-glm-5-3-flash",
        max_output: Some(131_072),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.15", "0.5").cached("0.03"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "mistral-embed",
        also: &["mistral-embed-2312"],
        context: Some(8_192),
        can: &[Embeddings],
        prices: &[price("2023-12-11", rates("0.1", "0").cached("0.01"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "codestral-embed",
        also: &["codestral-embed-2505"],
        can: &[Embeddings],
        prices: &[price("2026-11-23", rates("0.15", "0").cached("0.015"), PRICES)],
        ..OFFERED
    },
];
