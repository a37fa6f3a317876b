//! The models of Z.ai.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://docs.z.ai/guides/overview/pricing", "2026-11-23");
const PRICES: Source = Source::tables("https://docs.z.ai/guides/overview/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "glm-5.3",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-08-25", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-5.3-flash",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-09-02", rates("0.075", "0.25").cached("0.015"), PRICES),
            price("2026-09-10", rates("0.15", "0.5").cached("0.03"), PRICES),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "glm-5.2",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Tools, Reasoning],
        prices: &[price("2026-06-13", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-5.1",
        context: Some(200_000),
        max_output: Some(128_000),
        can: &[Tools, Reasoning],
        prices: &[price("2026-03-27", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-5",
        context: Some(200_000),
        max_output: Some(128_000),
        can: &[Tools, Reasoning],
        prices: &[price("2026-02-11", rates("1", "3.2").cached("0.2"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-4.7",
        context: Some(200_000),
        max_output: Some(128_000),
        can: &[Tools, Reasoning],
        prices: &[price("2025-12-22", rates("0.6", "2.2").cached("0.11"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-4.6",
        context: Some(200_000),
        max_output: Some(128_000),
        can: &[Tools, Reasoning],
        prices: &[price("2025-09-30", rates("0.6", "2.2").cached("0.11"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-4.5",
        context: Some(128_000),
        can: &[Tools],
        prices: &[price("2025-07-28", rates("0.6", "2.2").cached("0.11"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-4.5-air",
        context: Some(128_000),
        can: &[Tools],
        prices: &[price("2025-07-28", rates("0.2", "1.1").cached("0.03"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "glm-4.5v",
        can: &[Vision, Tools],
        prices: &[price("2025-08-11", rates("0.6", "1.8").cached("0.11"), PRICES)],
        ..OFFERED
    },
];
