//! Google's Gemini at Vertex AI, at the location `global`: other locations cost a tenth more for newer models. The models are
//! those of Google AI.

use super::{KnownModel, KnownPrice, Source, gemini, named, price, rates};

const PRICES: Source =
    Source::tables("https://cloud.google.com/gemini-enterprise-agent-platform/generative-ai/pricing", "2026-11-23");
/// Prices that count later, as they are announced for Google AI.
const LATER: Source = Source::tables("https://ai.google.dev/gemini-api/docs/pricing", "2026-11-23");

/// A model of Google AI's, and what it costs here.
const fn at_vertex(name: &str, prices: &'static [KnownPrice]) -> KnownModel {
    KnownModel { prices, ..named(gemini::MODELS, name) }
}

pub(super) const MODELS: &[KnownModel] = &[
    at_vertex(
        "gemini-4-argon",
        &[
            price("2026-11-23", rates("2", "10").cached("0.1"), PRICES),
            price("2026-12-01", rates("4", "20").cached("0.2"), LATER),
        ],
    ),
    at_vertex(
        "gemini-3.8-flash",
        &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
    ),
    at_vertex(
        "gemini-3.7-flash",
        &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
    ),
    at_vertex(
        "gemini-3.6-flash",
        &[
            price("2026-11-23", rates("0.75", "3.75").cached("0.075"), PRICES),
            price("2027-01-01", rates("1.5", "7.5").cached("0.15"), LATER),
        ],
    ),
    at_vertex("gemini-3.5-flash", &[price("2026-11-23", rates("1.5", "9").cached("0.15"), PRICES)]),
    at_vertex("gemini-3.5-flash-lite", &[price("2026-11-23", rates("0.3", "2.5").cached("0.03"), PRICES)]),
    at_vertex(
        "gemini-3.1-pro-preview",
        &[price("2026-11-23", rates("2", "12").cached("0.2"), PRICES).long(200_000, rates("4", "18").cached("0.4"))],
    ),
    at_vertex("gemini-3.1-flash-lite", &[price("2026-11-23", rates("0.25", "1.5").cached("0.025"), PRICES)]),
    at_vertex("gemini-3-flash-preview", &[price("2026-11-23", rates("0.5", "3").cached("0.05"), PRICES)]),
    at_vertex(
        "gemini-2.5-pro",
        &[price("2026-11-23", rates("1.25", "10").cached("0.125"), PRICES)
            .long(200_000, rates("2.5", "15").cached("0.25"))],
    ),
    at_vertex("gemini-2.5-flash", &[price("2026-11-23", rates("0.3", "2.5").cached("0.03"), PRICES)]),
    at_vertex("gemini-2.5-flash-lite", &[price("2026-11-23", rates("0.1", "0.4").cached("0.01"), PRICES)]),
    at_vertex("gemini-embedding-001", &[price("2026-11-23", rates("0.15", "0"), PRICES)]),
];
