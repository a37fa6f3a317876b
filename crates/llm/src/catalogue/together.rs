//! The models of Together.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://www.together.ai/pricing", "2026-11-23");
const PRICES: Source = Source::tables("https://www.together.ai/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "MiniMaxAI/MiniMax-M3",
        context: Some(524_288),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.3", "1.2").cached("0.06"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "Qwen/Qwen3.5-9B",
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.17", "0.25"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "deepseek-ai/DeepSeek-V4-Pro-0813",
        context: Some(1_048_576),
        can: &[Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("1.32", "3.96").cached("0.13"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "deepseek-ai/DeepSeek-V4.1-Flash",
        can: &[Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("0.3", "1.2").cached("0.006"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "moonshotai/Kimi-K3",
        context: Some(1_048_576),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("3", "15").cached("0.3"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "nvidia/NVIDIA-Nemotron-3.5-Super-VL",
        context: Some(262_144),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.15", "0.5").cached("0.02"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "openai/gpt-oss-120b",
        context: Some(131_072),
        can: &[Tools, Reasoning],
        prices: &[price("2025-08-05", rates("0.15", "0.6"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "thinkingmachines/Inkling",
        context: Some(524_288),
        can: &[Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("1", "4.05").cached("0.17"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "zai-org/GLM-5.2",
        context: Some(1_048_575),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "zai-org/GLM-5.3",
        context: Some(1_048_575),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "zai-org/GLM-5.3-Flash",
        context: Some(1_048_575),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.15", "0.5").cached("0.03"), PRICES)],
        ..OFFERED
    },
];
