//! The models of Fireworks.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://fireworks.ai/models", "2026-11-23");
const PRICES: Source = Source::tables("https://fireworks.ai/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "accounts/fireworks/models/deepseek-v4p1-flash",
        max_output: Some(393_216),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.3", "1.2").cached("0.006"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/glm-5p3",
        max_output: Some(128_000),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/glm-5p3-flash",
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("0.15", "0.5").cached("0.03"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/glm-5p2",
        context: Some(1_040_000),
        max_output: Some(131_072),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("1.4", "4.4").cached("0.14"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/glm-5p1",
        context: Some(202_752),
        max_output: Some(131_072),
        can: &[Tools, Reasoning],
        prices: &[price("2026-04-01", rates("1.4", "4.4").cached("0.26"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/gpt-oss-120b",
        context: Some(131_072),
        max_output: Some(32_768),
        can: &[Tools, Reasoning],
        prices: &[price("2026-10-19", rates("0.15", "0.6").cached("0.015"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/gpt-oss-20b",
        context: Some(131_072),
        max_output: Some(32_768),
        can: &[Tools, Reasoning],
        prices: &[price("2025-08-05", rates("0.07", "0.3").cached("0.035"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/kimi-k3",
        context: Some(1_040_000),
        max_output: Some(131_072),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("3", "15").cached("0.3"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/kimi-k2p7-code",
        context: Some(262_144),
        max_output: Some(32_768),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.95", "4").cached("0.19"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/kimi-k2p6",
        context: Some(262_000),
        can: &[Vision, Tools, Reasoning],
        prices: &[price("2026-04-17", rates("0.95", "4").cached("0.16"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/minimax-m3",
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.3", "1.2").cached("0.06"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/qwen3p7-plus",
        context: Some(262_144),
        max_output: Some(65_536),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.4", "1.6").cached("0.08"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/nemotron-3-ultra-nvfp4",
        context: Some(262_000),
        max_output: Some(32_768),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-11-23", rates("0.6", "2.4").cached("0.12"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "accounts/fireworks/models/inkling",
        context: Some(1_040_000),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2026-11-23", rates("1", "4.05").cached("0.17"), PRICES)],
        ..OFFERED
    },
];
