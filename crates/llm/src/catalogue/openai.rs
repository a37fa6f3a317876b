//! The models of OpenAI.

use super::{
    Capability::{AudioInput, Embeddings, Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, KnownTier, Other, Rates, Source,
    TierRates::{Long, Own},
    offered, price, rates, times,
};
use crate::tier::Tier::{Flex, Priority};

const SIZES: Source = Source::tables("https://developers.openai.com/api/docs/models", "2026-11-23");
const PRICES: Source = Source::tables("https://developers.openai.com/api/docs/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);
const TRANSCRIBE: Source =
    Source::page("https://developers.openai.com/api/docs/models/gpt-4o-transcribe.md", "2026-11-23");
const TRANSCRIBE_MINI: Source =
    Source::page("https://developers.openai.com/api/docs/models/compare?model=gpt-4o-mini-transcribe", "2026-11-23");
const WHISPER: Source = Source::page("https://developers.openai.com/api/docs/models/whisper-1.md", "2026-11-23");
const REALTIME: Source =
    Source::page("https://developers.openai.com/api/docs/models/compare?model=gpt-realtime", "2026-11-23");
const REALTIME_1_5: Source =
    Source::page("https://developers.openai.com/api/docs/models/gpt-realtime-1.5.md", "2026-11-23");
const REALTIME_2: Source =
    Source::page("https://developers.openai.com/api/docs/models/gpt-realtime-2.md", "2026-11-23");
const REALTIME_2_1: Source =
    Source::page("https://developers.openai.com/api/docs/models/gpt-realtime-2.1", "2026-11-23");
const REALTIME_2_1_MINI: Source =
    Source::page("https://developers.openai.com/api/docs/models/gpt-realtime-2.1-mini.md", "2026-11-23");
/// What served first costs twice and later half as much of.
const TWICE_OR_HALF: &[KnownTier] = &[times(Priority, "2", PRICES), times(Flex, "0.5", PRICES)];
const HALF: &[KnownTier] = &[times(Flex, "0.5", PRICES)];
/// Long prompts are not served first: a price without one for those is at least what they cost as usual.
const OF_GPT_5_5: &[KnownTier] = &[
    KnownTier { tier: Priority, rates: Own(rates("12.5", "75").cached("1.25")), source: PRICES },
    times(Flex, "0.5", PRICES),
];
const OF_GPT_5_4: &[KnownTier] = &[
    KnownTier { tier: Priority, rates: Own(rates("5", "30").cached("0.5")), source: PRICES },
    KnownTier {
        tier: Flex,
        rates: Long(rates("1.25", "7.5").cached("0.13"), 272_000, rates("2.5", "11.25").cached("0.25")),
        source: PRICES,
    },
];
/// What sound and images cost the larger models of Realtime.
const SPOKEN: Other = Other {
    image_input: Some("5"),
    cached_image_input: Some("0.5"),
    audio_input: Some("32"),
    cached_audio_input: Some("0.4"),
    audio_output: Some("64"),
    ..Other::NONE
};
/// What they cost the smaller one.
const SPOKEN_MINI: Other = Other {
    image_input: Some("0.8"),
    cached_image_input: Some("0.08"),
    audio_input: Some("10"),
    cached_audio_input: Some("0.3"),
    audio_output: Some("20"),
    ..Other::NONE
};

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "gpt-6-astra",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-04", rates("10", "50").cached("1").written("12.5"), PRICES)
            .long(272_000, rates("20", "75").cached("2").written("25"))
            .batch("5", "25")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-6-sol",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-22", rates("2", "10").cached("0.2").written("2.5"), PRICES)
            .long(272_000, rates("4", "15").cached("0.4").written("5"))
            .batch("1", "5")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-6-luna",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-22", rates("0.1", "0.5").cached("0.01").written("0.125"), PRICES)
            .long(272_000, rates("0.2", "0.75").cached("0.02").written("0.25"))
            .batch("0.05", "0.25")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-6.1-sol",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-29", rates("2", "10").cached("0.1").written("2.5"), PRICES)
            .long(272_000, rates("4", "15").cached("0.2").written("5"))
            .batch("1", "5")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-6.1-terra",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-10-26", rates("1", "5").cached("0.05").written("1.25"), PRICES)
            .long(272_000, rates("2", "7.5").cached("0.1").written("2.5"))
            .batch("0.5", "2.5")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.6-sol",
        also: &["gpt-5.6"],
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-07-09", rates("5", "30").cached("0.5").written("6.25"), PRICES)
                .long(272_000, rates("10", "45").cached("1").written("12.5")),
            price("2026-08-21", rates("4", "20").cached("0.4").written("5"), PRICES)
                .long(272_000, rates("8", "30").cached("0.8").written("10"))
                .batch("2", "10")
                .tiers(TWICE_OR_HALF),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.6-terra",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-07-09", rates("2.5", "15").cached("0.25").written("3.125"), PRICES)
                .long(272_000, rates("5", "22.5").cached("0.5").written("6.25")),
            price("2026-07-30", rates("2", "12").cached("0.2").written("2.5"), PRICES)
                .long(272_000, rates("4", "18").cached("0.4").written("5"))
                .batch("1", "6")
                .tiers(TWICE_OR_HALF),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.6-luna",
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-07-09", rates("1", "6").cached("0.1").written("1.25"), PRICES)
                .long(272_000, rates("2", "9").cached("0.2").written("2.5")),
            price("2026-07-30", rates("0.2", "1.2").cached("0.02").written("0.25"), PRICES)
                .long(272_000, rates("0.4", "1.8").cached("0.04").written("0.5"))
                .batch("0.1", "0.6")
                .tiers(TWICE_OR_HALF),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.5",
        also: &["gpt-5.5-2026-04-23"],
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-04-23", rates("5", "30").cached("0.5"), PRICES)
            .long(272_000, rates("10", "45").cached("1"))
            .batch("2.5", "15")
            .tiers(OF_GPT_5_5)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.5-pro",
        also: &["gpt-5.5-pro-2026-04-23"],
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, Reasoning],
        prices: &[price("2026-04-23", rates("30", "180"), PRICES).long(272_000, rates("60", "270")).batch("15", "90")],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.4",
        also: &["gpt-5.4-2026-03-05"],
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-03-05", rates("2.5", "15").cached("0.25"), PRICES)
            .long(272_000, rates("5", "22.5").cached("0.5"))
            .batch("1.25", "7.5")
            .tiers(OF_GPT_5_4)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.4-pro",
        also: &["gpt-5.4-pro-2026-03-05"],
        context: Some(1_050_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, Reasoning],
        prices: &[price("2026-03-05", rates("30", "180"), PRICES)
            .long(272_000, rates("60", "270"))
            .batch("15", "90")
            .tiers(HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.4-mini",
        also: &["gpt-5.4-mini-2026-03-17"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-03-17", rates("0.75", "4.5").cached("0.075"), PRICES)
            .batch("0.375", "2.25")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.4-nano",
        also: &["gpt-5.4-nano-2026-03-17"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-03-17", rates("0.2", "1.25").cached("0.02"), PRICES).batch("0.1", "0.625").tiers(HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.3-codex",
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-02-05", rates("1.75", "14").cached("0.175"), PRICES).tiers(&[times(Priority, "2", PRICES)])
        ],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.2",
        also: &["gpt-5.2-2025-12-11"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-12-11", rates("1.75", "14").cached("0.175"), PRICES)
            .batch("0.875", "7")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.2-pro",
        also: &["gpt-5.2-pro-2025-12-11"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, Reasoning],
        prices: &[price("2025-12-11", rates("21", "168"), PRICES).batch("10.5", "84")],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5.1",
        also: &["gpt-5.1-2025-11-13"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-11-13", rates("1.25", "10").cached("0.125"), PRICES)
            .batch("0.625", "5")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5",
        also: &["gpt-5-2025-08-07"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-07", rates("1.25", "10").cached("0.125"), PRICES)
            .batch("0.625", "5")
            .tiers(TWICE_OR_HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5-mini",
        also: &["gpt-5-mini-2025-08-07"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-07", rates("0.25", "2").cached("0.025"), PRICES)
            .batch("0.125", "1")
            .tiers(&[times(Priority, "1.8", PRICES), times(Flex, "0.5", PRICES)])],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5-nano",
        also: &["gpt-5-nano-2025-08-07"],
        context: Some(400_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-08-07", rates("0.05", "0.4").cached("0.005"), PRICES).batch("0.025", "0.2").tiers(HALF)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-5-pro",
        also: &["gpt-5-pro-2025-10-06"],
        context: Some(400_000),
        max_output: Some(272_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-10-06", rates("15", "120"), PRICES).batch("7.5", "60")],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-4.1",
        also: &["gpt-4.1-2025-04-14"],
        context: Some(1_047_576),
        max_output: Some(32_768),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-04-14", rates("2", "8").cached("0.5"), PRICES)
            .batch("1", "4")
            .tiers(&[times(Priority, "1.75", PRICES)])],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-4.1-mini",
        also: &["gpt-4.1-mini-2025-04-14"],
        context: Some(1_047_576),
        max_output: Some(32_768),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2025-04-14", rates("0.4", "1.6").cached("0.1"), PRICES)
            .batch("0.2", "0.8")
            .tiers(&[times(Priority, "1.75", PRICES)])],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-4o",
        also: &["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"],
        context: Some(128_000),
        max_output: Some(16_384),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2024-10-01", rates("2.5", "10").cached("1.25"), PRICES)
            .batch("1.25", "5")
            .tiers(&[times(Priority, "1.7", PRICES)])],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-4o-mini",
        also: &["gpt-4o-mini-2024-07-18"],
        context: Some(128_000),
        max_output: Some(16_384),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[price("2024-07-18", rates("0.15", "0.6").cached("0.075"), PRICES)
            .batch("0.075", "0.3")
            .tiers(&[KnownTier { tier: Priority, rates: Own(rates("0.25", "1").cached("0.125")), source: PRICES }])],
        ..OFFERED
    },
    KnownModel {
        name: "o3",
        also: &["o3-2025-04-16"],
        context: Some(200_000),
        max_output: Some(100_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-06-10", rates("2", "8").cached("0.5"), PRICES)
            .batch("1", "4")
            .tiers(&[times(Priority, "1.75", PRICES), times(Flex, "0.5", PRICES)])],
        ..OFFERED
    },
    KnownModel {
        name: "o3-pro",
        also: &["o3-pro-2025-06-10"],
        context: Some(200_000),
        max_output: Some(100_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-06-10", rates("20", "80"), PRICES).batch("10", "40")],
        ..OFFERED
    },
    KnownModel {
        name: "text-embedding-3-large",
        context: Some(8_191),
        can: &[Embeddings],
        prices: &[price("2024-01-25", rates("0.13", "0"), PRICES).batch("0.065", "0")],
        ..OFFERED
    },
    KnownModel {
        name: "text-embedding-3-small",
        context: Some(8_191),
        can: &[Embeddings],
        prices: &[price("2024-01-25", rates("0.02", "0"), PRICES).batch("0.01", "0")],
        ..OFFERED
    },
    KnownModel {
        name: "text-embedding-ada-002",
        context: Some(8_192),
        can: &[Embeddings],
        prices: &[price("2022-12-15", rates("0.1", "0"), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-realtime-2.1",
        context: Some(128_000),
        max_output: Some(32_000),
        can: &[Vision, Tools, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("4", "24").cached("0.4").and(SPOKEN), REALTIME_2_1)],
        ..offered(REALTIME_2_1)
    },
    KnownModel {
        name: "gpt-realtime-2.1-mini",
        context: Some(128_000),
        max_output: Some(32_000),
        can: &[Vision, Tools, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("0.6", "2.4").cached("0.06").and(SPOKEN_MINI), REALTIME_2_1_MINI)],
        ..offered(REALTIME_2_1_MINI)
    },
    KnownModel {
        name: "gpt-realtime-2",
        context: Some(128_000),
        max_output: Some(32_000),
        can: &[Vision, Tools, Reasoning, AudioInput],
        prices: &[price("2026-11-23", rates("4", "24").cached("0.4").and(SPOKEN), REALTIME_2)],
        ..offered(REALTIME_2)
    },
    KnownModel {
        name: "gpt-realtime-1.5",
        context: Some(32_000),
        max_output: Some(4_096),
        can: &[Vision, Tools, AudioInput],
        prices: &[price("2026-11-23", rates("4", "16").cached("0.4").and(SPOKEN), REALTIME_1_5)],
        ..offered(REALTIME_1_5)
    },
    KnownModel {
        name: "gpt-realtime",
        context: Some(32_000),
        max_output: Some(4_096),
        can: &[Vision, Tools, AudioInput],
        prices: &[price("2025-08-28", rates("4", "16").cached("0.4").and(SPOKEN), PRICES)],
        ..offered(REALTIME)
    },
    KnownModel {
        name: "gpt-realtime-mini",
        max_output: Some(4_096),
        can: &[Vision, Tools, AudioInput],
        prices: &[price("2025-10-06", rates("0.6", "2.4").cached("0.06").and(SPOKEN_MINI), PRICES)],
        ..OFFERED
    },
    KnownModel {
        name: "gpt-4o-transcribe",
        context: Some(16_000),
        max_output: Some(2_000),
        can: &[AudioInput],
        prices: &[price("2026-11-23", rates("2.5", "10"), TRANSCRIBE)],
        ..offered(TRANSCRIBE)
    },
    KnownModel {
        name: "gpt-4o-mini-transcribe",
        context: Some(16_000),
        max_output: Some(2_000),
        can: &[AudioInput],
        prices: &[price("2026-11-23", rates("1.25", "5"), TRANSCRIBE_MINI)],
        ..offered(TRANSCRIBE_MINI)
    },
    KnownModel {
        name: "whisper-1",
        can: &[AudioInput],
        prices: &[price("2026-11-23", Rates::other(Other { per_second: Some("0.0001"), ..Other::NONE }), WHISPER)],
        ..offered(WHISPER)
    },
];
