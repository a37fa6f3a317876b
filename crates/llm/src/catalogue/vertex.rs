//! Google's Gemini at Vertex AI, at the location `global`: other locations cost a tenth more for newer models.

use super::{
    Capability::{AudioInput, Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

/// The models are those of Google AI.
const SIZES: Source = Source::tables("https://ai.google.dev/gemini-api/docs/models", "2026-11-23");
const PRICES: Source =
    Source::tables("https://cloud.google.com/gemini-enterprise-agent-platform/generative-ai/pricing", "2026-11-23");
/// Prices that count later, as they are announced for Google AI.
const LATER: Source = Source::tables("https://ai.google.dev/gemini-api/docs/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "gemini-4-argon",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-11-23", rates("2", "10").cached("0.1"), PRICES),
            price("2026-12-01", rates("4", "20").cached("0.2"), LATER),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.8-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.7-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.6-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.5-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("1.5", "9").cached("0.15"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.5-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.3", "2.5").cached("0.03"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.1-pro-preview",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-11-23", rates("2", "12").cached("0.2"), PRICES).long(200_000, rates("4", "18").cached("0.4"))
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.1-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.25", "1.5").cached("0.025"), PRICES)],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3-flash-preview",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.5", "3").cached("0.05"), PRICES)],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-pro",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("1.25", "10").cached("0.125"), PRICES)
            .long(200_000, rates("2.5", "15").cached("0.25"))],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.3", "2.5").cached("0.03"), PRICES)],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.1", "0.4").cached("0.01"), PRICES)],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
];
