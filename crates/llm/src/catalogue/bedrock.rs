//! The models of AWS Bedrock, by the ids of their inference profiles and, where they are served in one region, their own.
//!
//! A price is that of the regions of the United States for ids without a place and those that begin with `us.`, of those of
//! Europe for `eu.`, and of all for `global.`; elsewhere it is another. Where the answers of a model end is told by neither
//! of two tables alike, and so it is left out, as are capabilities that no copy of AWS's page at hand tells.

use super::{
    Capability::{self, Embeddings, Reasoning, Tools, Vision},
    KnownModel, KnownPrice, Source, offered, price, rates,
};

const SIZES: Source =
    Source::tables("https://docs.aws.amazon.com/bedrock/latest/userguide/models-supported.html", "2026-11-23");
const CLAUDE: Source = Source::tables("https://platform.claude.com/docs/en/about-claude/models/overview", "2026-11-23");
const FEATURES: Source = Source::page(
    "https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html",
    "2026-11-23",
);
const PRICES: Source = Source::tables("https://aws.amazon.com/bedrock/pricing/", "2026-11-23");
/// The day on which they were read: since when they count is not told.
const FROM: &str = "2026-11-23";

type Names = &'static [&'static str];

const fn offers(name: &'static str, also: Names, context: Option<u32>, prices: &'static [KnownPrice]) -> KnownModel {
    KnownModel { name, also, context, prices, ..offered(SIZES) }
}

/// One of Anthropic's, which can there what it can elsewhere.
const fn claude(name: &'static str, also: Names, context: Option<u32>, prices: &'static [KnownPrice]) -> KnownModel {
    KnownModel { name, also, context, prices, can: &[Vision, Tools, Reasoning], ..offered(CLAUDE) }
}

/// One of which AWS's page tells what it can.
const fn described(
    name: &'static str,
    also: Names,
    context: Option<u32>,
    can: &'static [Capability],
    prices: &'static [KnownPrice],
) -> KnownModel {
    KnownModel { name, also, context, prices, can, ..offered(FEATURES) }
}

/// One that makes embeddings.
const fn embeds(name: &'static str, also: Names, context: u32, prices: &'static [KnownPrice]) -> KnownModel {
    KnownModel { can: &[Embeddings], ..offers(name, also, Some(context), prices) }
}

pub(super) const MODELS: &[KnownModel] = &[
    claude(
        "global.anthropic.claude-fable-5-1",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("10", "50").cached("0.25").written("12.5").written_1h("20"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-fable-5-1",
        &["eu.anthropic.claude-fable-5-1"],
        Some(1_000_000),
        &[price(FROM, rates("11", "55").cached("0.275").written("13.75").written_1h("22"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-fable-5",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("10", "50").cached("1").written("12.5").written_1h("20"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-fable-5",
        &["eu.anthropic.claude-fable-5"],
        Some(1_000_000),
        &[price(FROM, rates("11", "55").cached("1.1").written("13.75").written_1h("22"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-5-5",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("4", "20").cached("0.2").written("5").written_1h("8"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-5-5",
        &["eu.anthropic.claude-opus-5-5"],
        Some(1_000_000),
        &[price(FROM, rates("4.4", "22").cached("0.22").written("5.5").written_1h("8.8"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-5",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-5",
        &["eu.anthropic.claude-opus-5"],
        Some(1_000_000),
        &[price(FROM, rates("5.5", "27.5").cached("0.55").written("6.875").written_1h("11"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-4-8",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-4-8",
        &["eu.anthropic.claude-opus-4-8"],
        Some(1_000_000),
        &[price(FROM, rates("5.5", "27.5").cached("0.55").written("6.875").written_1h("11"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-4-7",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-4-7",
        &["eu.anthropic.claude-opus-4-7"],
        Some(1_000_000),
        &[price(FROM, rates("5.5", "27.5").cached("0.55").written("6.875").written_1h("11"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-4-6-v1",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-4-6-v1",
        &["eu.anthropic.claude-opus-4-6-v1"],
        Some(1_000_000),
        &[price(FROM, rates("5.5", "27.5").cached("0.55").written("6.875").written_1h("11"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-opus-4-5-20251101-v1:0",
        &[],
        Some(200_000),
        &[price(FROM, rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        &["eu.anthropic.claude-opus-4-5-20251101-v1:0"],
        Some(200_000),
        &[price(FROM, rates("5.5", "27.5").cached("0.55").written("6.875").written_1h("11"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-sonnet-5-5",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("2", "10").cached("0.1").written("2.5").written_1h("4"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-sonnet-5-5",
        &["eu.anthropic.claude-sonnet-5-5"],
        Some(1_000_000),
        &[price(FROM, rates("2.2", "11").cached("0.11").written("2.75").written_1h("4.4"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-sonnet-5",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("2", "10").cached("0.2").written("2.5").written_1h("4"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-sonnet-5",
        &["eu.anthropic.claude-sonnet-5"],
        Some(1_000_000),
        &[price(FROM, rates("2.2", "11").cached("0.22").written("2.75").written_1h("4.4"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-sonnet-4-6",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75").written_1h("6"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-sonnet-4-6",
        &["eu.anthropic.claude-sonnet-4-6"],
        Some(1_000_000),
        &[price(FROM, rates("3.3", "16.5").cached("0.33").written("4.125").written_1h("6.6"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
        &[],
        Some(200_000),
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75").written_1h("6"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        &["eu.anthropic.claude-sonnet-4-5-20250929-v1:0"],
        Some(200_000),
        &[price(FROM, rates("3.3", "16.5").cached("0.33").written("4.125").written_1h("6.6"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-sonnet-4-20250514-v1:0",
        &[],
        Some(200_000),
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-sonnet-4-20250514-v1:0",
        &["eu.anthropic.claude-sonnet-4-20250514-v1:0"],
        Some(200_000),
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75"), PRICES)],
    ),
    claude(
        "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        &[],
        Some(200_000),
        &[price(FROM, rates("1", "5").cached("0.1").written("1.25").written_1h("2"), PRICES)],
    ),
    claude(
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        &["eu.anthropic.claude-haiku-4-5-20251001-v1:0"],
        Some(200_000),
        &[price(FROM, rates("1.1", "5.5").cached("0.11").written("1.375").written_1h("2.2"), PRICES)],
    ),
    described(
        "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        &["eu.anthropic.claude-3-7-sonnet-20250219-v1:0"],
        Some(200_000),
        &[Vision, Tools],
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75"), PRICES)],
    ),
    described(
        "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        &["eu.anthropic.claude-3-5-sonnet-20241022-v2:0"],
        Some(200_000),
        &[Vision, Tools],
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75"), PRICES)],
    ),
    described(
        "amazon.nova-premier-v1:0",
        &[],
        Some(1_000_000),
        &[Vision, Tools],
        &[price(FROM, rates("2.5", "12.5").cached("0.625"), PRICES)],
    ),
    described(
        "amazon.nova-pro-v1:0",
        &["us.amazon.nova-pro-v1:0"],
        Some(300_000),
        &[Vision, Tools],
        &[price(FROM, rates("0.8", "3.2").cached("0.2"), PRICES)],
    ),
    described(
        "amazon.nova-lite-v1:0",
        &["us.amazon.nova-lite-v1:0"],
        Some(300_000),
        &[Vision, Tools],
        &[price(FROM, rates("0.06", "0.24").cached("0.015"), PRICES)],
    ),
    described(
        "amazon.nova-micro-v1:0",
        &["us.amazon.nova-micro-v1:0"],
        Some(128_000),
        &[Tools],
        &[price(FROM, rates("0.035", "0.14").cached("0.00875"), PRICES)],
    ),
    offers(
        "global.amazon.nova-2-lite-v1:0",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("0.3", "2.5").cached("0.075"), PRICES)],
    ),
    offers(
        "us.amazon.nova-2-lite-v1:0",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("0.33", "2.75").cached("0.0825"), PRICES)],
    ),
    offers(
        "meta.llama4-maverick-17b-instruct-v1:0",
        &["us.meta.llama4-maverick-17b-instruct-v1:0"],
        Some(1_000_000),
        &[price(FROM, rates("0.24", "0.97"), PRICES)],
    ),
    offers(
        "meta.llama4-scout-17b-instruct-v1:0",
        &["us.meta.llama4-scout-17b-instruct-v1:0"],
        Some(10_000_000),
        &[price(FROM, rates("0.17", "0.66"), PRICES)],
    ),
    offers(
        "meta.llama3-3-70b-instruct-v1:0",
        &["us.meta.llama3-3-70b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.72", "0.72"), PRICES)],
    ),
    offers(
        "meta.llama3-2-90b-instruct-v1:0",
        &["us.meta.llama3-2-90b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.72", "0.72"), PRICES)],
    ),
    offers(
        "meta.llama3-2-11b-instruct-v1:0",
        &["us.meta.llama3-2-11b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.16", "0.16"), PRICES)],
    ),
    offers(
        "meta.llama3-2-3b-instruct-v1:0",
        &["us.meta.llama3-2-3b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.15", "0.15"), PRICES)],
    ),
    offers(
        "meta.llama3-2-1b-instruct-v1:0",
        &["us.meta.llama3-2-1b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.1", "0.1"), PRICES)],
    ),
    offers(
        "meta.llama3-1-70b-instruct-v1:0",
        &["us.meta.llama3-1-70b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.72", "0.72"), PRICES)],
    ),
    offers(
        "meta.llama3-1-8b-instruct-v1:0",
        &["us.meta.llama3-1-8b-instruct-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.22", "0.22"), PRICES)],
    ),
    offers("mistral.mistral-large-3-675b-instruct", &[], Some(256_000), &[price(FROM, rates("0.5", "1.5"), PRICES)]),
    offers("mistral.magistral-small-2509", &[], Some(128_000), &[price(FROM, rates("0.5", "1.5"), PRICES)]),
    offers("mistral.ministral-3-14b-instruct", &[], Some(128_000), &[price(FROM, rates("0.2", "0.2"), PRICES)]),
    offers("mistral.ministral-3-8b-instruct", &[], Some(128_000), &[price(FROM, rates("0.15", "0.15"), PRICES)]),
    offers("mistral.ministral-3-3b-instruct", &[], Some(128_000), &[price(FROM, rates("0.1", "0.1"), PRICES)]),
    offers("mistral.devstral-2-123b", &[], Some(256_000), &[price(FROM, rates("0.4", "2"), PRICES)]),
    offers(
        "mistral.pixtral-large-2502-v1:0",
        &["us.mistral.pixtral-large-2502-v1:0"],
        Some(128_000),
        &[price(FROM, rates("2", "6"), PRICES)],
    ),
    offers("mistral.mistral-small-2402-v1:0", &[], Some(32_000), &[price(FROM, rates("1", "3"), PRICES)]),
    offers("openai.gpt-oss-120b-1:0", &[], Some(128_000), &[price(FROM, rates("0.15", "0.6"), PRICES)]),
    offers("openai.gpt-oss-20b-1:0", &[], Some(128_000), &[price(FROM, rates("0.07", "0.3"), PRICES)]),
    offers("deepseek.r1-v1:0", &["us.deepseek.r1-v1:0"], Some(128_000), &[price(FROM, rates("1.35", "5.4"), PRICES)]),
    offers("qwen.qwen3-32b-v1:0", &[], None, &[price(FROM, rates("0.15", "0.6"), PRICES)]),
    offers("qwen.qwen3-coder-30b-a3b-v1:0", &[], None, &[price(FROM, rates("0.15", "0.6"), PRICES)]),
    offers("qwen.qwen3-coder-480b-a35b-v1:0", &[], None, &[price(FROM, rates("0.45", "1.8"), PRICES)]),
    offers("google.gemma-3-27b-it", &[], Some(128_000), &[price(FROM, rates("0.23", "0.38"), PRICES)]),
    offers("google.gemma-3-12b-it", &[], Some(128_000), &[price(FROM, rates("0.09", "0.29"), PRICES)]),
    offers("google.gemma-3-4b-it", &[], Some(128_000), &[price(FROM, rates("0.04", "0.08"), PRICES)]),
    offers("nvidia.nemotron-super-3-120b", &[], Some(256_000), &[price(FROM, rates("0.15", "0.65"), PRICES)]),
    offers("nvidia.nemotron-nano-3-30b", &[], Some(256_000), &[price(FROM, rates("0.06", "0.24"), PRICES)]),
    offers("nvidia.nemotron-nano-9b-v2", &[], Some(128_000), &[price(FROM, rates("0.06", "0.23"), PRICES)]),
    offers(
        "writer.palmyra-x5-v1:0",
        &["us.writer.palmyra-x5-v1:0"],
        Some(128_000),
        &[price(FROM, rates("0.6", "6"), PRICES)],
    ),
    offers(
        "writer.palmyra-x4-v1:0",
        &["us.writer.palmyra-x4-v1:0"],
        Some(128_000),
        &[price(FROM, rates("2.5", "10"), PRICES)],
    ),
    offers(
        "global.moonshotai.kimi-k3",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("3", "15").cached("0.3").written("3.75"), PRICES)],
    ),
    offers(
        "us.moonshotai.kimi-k3",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("3.3", "16.5").cached("0.33").written("4.125"), PRICES)],
    ),
    offers(
        "global.zai.glm-5.3",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("1.68", "5.28").cached("0.312").written("2.1"), PRICES)],
    ),
    offers(
        "us.zai.glm-5.3",
        &[],
        Some(1_000_000),
        &[price(FROM, rates("1.848", "5.808").cached("0.3432").written("2.31"), PRICES)],
    ),
    embeds("amazon.titan-embed-text-v2:0", &[], 8_192, &[price(FROM, rates("0.02", "0"), PRICES)]),
    embeds("amazon.titan-embed-text-v1", &[], 8_192, &[price(FROM, rates("0.1", "0"), PRICES)]),
    embeds(
        "cohere.embed-v4:0",
        &["us.cohere.embed-v4:0", "global.cohere.embed-v4:0"],
        128_000,
        &[price(FROM, rates("0.12", "0"), PRICES)],
    ),
    embeds("cohere.embed-english-v3", &[], 512, &[price(FROM, rates("0.1", "0"), PRICES)]),
    embeds("cohere.embed-multilingual-v3", &[], 512, &[price(FROM, rates("0.1", "0"), PRICES)]),
];
