//! The models of Anthropic.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, KnownTier, Source, offered, price, rates, times,
};
use crate::tier::Tier::{Fast, Us};

const SIZES: Source = Source::tables("https://platform.claude.com/docs/en/about-claude/models/overview", "2026-11-23");
const PRICES: Source = Source::tables("https://platform.claude.com/docs/en/about-claude/pricing", "2026-11-23");
/// The page tells of a tenth more for every kind of token; no table has it.
const RESIDENCE: Source =
    Source::page("https://platform.claude.com/docs/en/build-with-claude/data-residency", "2026-11-23");
const IN_THE_US: &[KnownTier] = &[times(Us, "1.1", RESIDENCE)];
const FAST_OR_IN_THE_US: &[KnownTier] = &[times(Fast, "2", PRICES), times(Us, "1.1", RESIDENCE)];
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "claude-fable-5-1",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-02", rates("10", "50").cached("0.25").written("12.5").written_1h("20"), PRICES)
            .batch("5", "25")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-fable-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-06-09", rates("10", "50").cached("1").written("12.5").written_1h("20"), PRICES)
            .batch("5", "25")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-5-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-22", rates("4", "20").cached("0.2").written("5").written_1h("8"), PRICES)
            .batch("2", "10")
            .tiers(FAST_OR_IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-07-24", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
            .batch("2.5", "12.5")
            .tiers(FAST_OR_IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-4-8",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-05-28", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
            .batch("2.5", "12.5")
            .tiers(FAST_OR_IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-4-7",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-04-16", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
            .batch("2.5", "12.5")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-4-6",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-02-05", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
                .long(200_000, rates("10", "37.5").cached("1").written("12.5").written_1h("20")),
            price("2026-03-13", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
                .batch("2.5", "12.5")
                .tiers(IN_THE_US),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "claude-opus-4-5",
        also: &["claude-opus-4-5-20251101"],
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-11-24", rates("5", "25").cached("0.5").written("6.25").written_1h("10"), PRICES)
            .batch("2.5", "12.5")],
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-5-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-28", rates("2", "10").cached("0.1").written("2.5").written_1h("4"), PRICES)
            .batch("1", "5")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-06-30", rates("2", "10").cached("0.2").written("2.5").written_1h("4"), PRICES)
            .batch("1", "5")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-4-6",
        context: Some(1_000_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-02-17", rates("3", "15").cached("0.3").written("3.75").written_1h("6"), PRICES)
                .long(200_000, rates("6", "22.5").cached("0.6").written("7.5").written_1h("12")),
            price("2026-03-13", rates("3", "15").cached("0.3").written("3.75").written_1h("6"), PRICES)
                .batch("1.5", "7.5")
                .tiers(IN_THE_US),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "claude-sonnet-4-5",
        also: &["claude-sonnet-4-5-20250929"],
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-09-29", rates("3", "15").cached("0.3").written("3.75").written_1h("6"), PRICES)
            .batch("1.5", "7.5")],
        ..OFFERED
    },
    KnownModel {
        name: "claude-haiku-5-5",
        context: Some(1_000_000),
        max_output: Some(128_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-10-07", rates("0.1", "0.5").cached("0.01").written("0.125").written_1h("0.2"), PRICES)
            .long(100_000, rates("0.5", "2.5").cached("0.05").written("0.625").written_1h("1"))
            .batch("0.05", "0.25")
            .tiers(IN_THE_US)],
        ..OFFERED
    },
    KnownModel {
        name: "claude-haiku-4-5",
        also: &["claude-haiku-4-5-20251001"],
        context: Some(200_000),
        max_output: Some(64_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2025-10-15", rates("1", "5").cached("0.1").written("1.25").written_1h("2"), PRICES)
            .batch("0.5", "2.5")],
        ..OFFERED
    },
];
