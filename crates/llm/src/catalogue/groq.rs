//! The models of Groq.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://console.groq.com/docs/models", "2026-11-23");
const PRICES: Source = Source::tables("https://console.groq.com/docs/models", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "openai/gpt-oss-120b",
        context: Some(131_072),
        max_output: Some(65_536),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-05", rates("0.15", "0.6").cached("0.075"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "openai/gpt-oss-20b",
        context: Some(131_072),
        max_output: Some(65_536),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-05", rates("0.075", "0.3").cached("0.0375"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "openai/gpt-oss-safeguard-20b",
        context: Some(131_072),
        max_output: Some(65_536),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.075", "0.3").cached("0.037"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "qwen/qwen3.8-27b",
        context: Some(131_072),
        max_output: Some(16_384),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.8", "4"), PRICES)],
        ..OFFERED
    },
];
