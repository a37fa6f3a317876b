//! The models of Google's Gemini.

use super::{
    Capability::{AudioInput, Embeddings, Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Other, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://ai.google.dev/gemini-api/docs/models", "2026-11-23");
const PRICES: Source = Source::tables("https://ai.google.dev/gemini-api/docs/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

/// What sound costs the models of the Live API, and images and films.
const fn spoken(images: &'static str) -> Other {
    Other { image_input: Some(images), audio_input: Some("3"), audio_output: Some("12"), ..Other::NONE }
}

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "gemini-4-argon",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-10-13", rates("2", "10").cached("0.1"), PRICES).batch("1", "5"),
            price("2026-12-01", rates("4", "20").cached("0.2"), PRICES),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.8-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-09-02", rates("0.75", "3.75").cached("0.075"), PRICES).batch("0.375", "1.875"),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), PRICES),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.7-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-08-13", rates("0.75", "3.75").cached("0.075"), PRICES).batch("0.375", "1.875"),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), PRICES),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.6-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[
            price("2026-07-21", rates("0.75", "3.75").cached("0.075"), PRICES).batch("0.375", "1.875"),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), PRICES),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.5-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-05-19", rates("1.5", "9").cached("0.15"), PRICES).batch("0.75", "4.5")],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.5-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-07-21", rates("0.3", "2.5").cached("0.03"), PRICES).batch("0.15", "1.25")],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.1-pro-preview",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-02-19", rates("2", "12").cached("0.2"), PRICES)
            .long(200_000, rates("4", "18").cached("0.4"))
            .batch("1", "6")],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.1-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2026-05-07", rates("0.25", "1.5").cached("0.025"), PRICES).batch("0.125", "0.75")],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3.1-flash-live-preview",
        context: Some(131_072),
        max_output: Some(65_536),
        can: &[Vision, Tools, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.75", "4.5").and(spoken("1")), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-3-flash-preview",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2025-12-17", rates("0.5", "3").cached("0.05"), PRICES).batch("0.25", "1.5")],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-pro",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2025-03-20", rates("1.25", "10").cached("0.125"), PRICES)
            .long(200_000, rates("2.5", "15").cached("0.25"))
            .batch("0.625", "5")],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-flash",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2025-06-17", rates("0.3", "2.5").cached("0.03"), PRICES).batch("0.15", "1.25")],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-flash-native-audio-preview-12-2025",
        context: Some(131_072),
        max_output: Some(8_192),
        can: &[Vision, Tools, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.5", "2").and(spoken("3")), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-2.5-flash-lite",
        context: Some(1_048_576),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning, AudioInput],
        prices: &[price("2025-06-17", rates("0.1", "0.4").cached("0.01"), PRICES).batch("0.05", "0.2")],
        note: Some("audio in the prompt costs more than the price here"),
        ..OFFERED
    },
    KnownModel {
        name: "gemini-embedding-001",
        context: Some(2_048),
        can: &[Embeddings],
        prices: &[price("2025-05-20", rates("0.15", "0"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemini-embedding-2",
        context: Some(8_192),
        can: &[Embeddings],
        prices: &[price("2026-07-23", rates("0.2", "0"), PRICES)],
        note: Some("images, audio and video cost more than the price here, which is for text"),
        ..OFFERED
    },
];
