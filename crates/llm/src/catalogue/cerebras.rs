//! The models of Cerebras.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://inference-docs.cerebras.ai/models/overview", "2026-11-23");
const PRICES: Source = Source::tables("https://inference-docs.cerebras.ai/support/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "gpt-oss-120b",
        context: Some(131_072),
        max_output: Some(32_768),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-05", rates("0.35", "0.75"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "qwen-3.8-27b",
        context: Some(65_536),
        max_output: Some(32_768),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.99", "1.49"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gemma-4-31b",
        context: Some(131_072),
        max_output: Some(40_960),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.99", "1.49"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "zai-glm-4.7",
        context: Some(131_072),
        can: &[Tools],
        prices: &[price("2026-01-10", rates("2.25", "2.75"), PRICES)],
        ..OFFERED
    },
];
