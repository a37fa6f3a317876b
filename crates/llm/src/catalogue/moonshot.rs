//! The models of Moonshot.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://platform.kimi.ai/docs/pricing/chat", "2026-11-23");
const PRICES: Source = Source::tables("https://platform.kimi.ai/docs/pricing/chat", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "kimi-k3.1-pro",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-10-23", rates("2", "10").cached("0.2").written("2").written_1h("4"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "kimi-k3",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-07-17", rates("3", "15").cached("0.3").written("3").written_1h("6"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "kimi-k2.7-code",
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-06-12", rates("0.95", "4").cached("0.19"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "kimi-k2.6",
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-04-21", rates("0.95", "4").cached("0.16"), PRICES)],
        ..OFFERED
    },
];
