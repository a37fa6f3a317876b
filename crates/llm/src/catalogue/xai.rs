//! The models of xAI.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const SIZES: Source = Source::tables("https://docs.x.ai/developers/models", "2026-11-23");
const PRICES: Source = Source::tables("https://docs.x.ai/developers/models", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "grok-4.7",
        context: Some(500_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-21", rates("2", "6").cached("0.5"), PRICES)
            .long(199_999, rates("4", "12").cached("1"))
            .batch("1.6", "4.8")],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.6",
        context: Some(500_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-08-12", rates("2", "6").cached("0.5"), PRICES).long(199_999, rates("4", "12").cached("1"))
        ],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.5",
        also: &["grok-4.5-latest"],
        context: Some(500_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-07-08", rates("2", "6").cached("0.3"), PRICES).long(199_999, rates("4", "12").cached("0.6"))
        ],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.3",
        also: &["grok-4.3-latest"],
        context: Some(1_000_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-04-17", rates("1.25", "2.5").cached("0.2"), PRICES)
            .long(199_999, rates("2.5", "5").cached("0.4"))
            .batch("1", "2")],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.20-0309-reasoning",
        also: &["grok-4.20-reasoning"],
        context: Some(1_000_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-03-09", rates("2", "6").cached("0.2"), PRICES).long(199_999, rates("4", "12").cached("0.4")),
            price("2026-04-30", rates("1.25", "2.5").cached("0.2"), PRICES)
                .long(199_999, rates("2.5", "5").cached("0.4"))
                .batch("1", "2"),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.20-0309-non-reasoning",
        also: &["grok-4.20-non-reasoning"],
        context: Some(1_000_000),
        can: &[Vision, Tools, StructuredOutput],
        prices: &[
            price("2026-03-09", rates("2", "6").cached("0.2"), PRICES).long(199_999, rates("4", "12").cached("0.4")),
            price("2026-04-30", rates("1.25", "2.5").cached("0.2"), PRICES)
                .long(199_999, rates("2.5", "5").cached("0.4"))
                .batch("1", "2"),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "grok-4.20-multi-agent-0309",
        also: &["grok-4.20-multi-agent"],
        context: Some(1_000_000),
        can: &[Vision, StructuredOutput, Reasoning],
        prices: &[
            price("2026-03-09", rates("2", "6").cached("0.2"), PRICES).long(199_999, rates("4", "12").cached("0.4")),
            price("2026-04-30", rates("1.25", "2.5").cached("0.2"), PRICES)
                .long(199_999, rates("2.5", "5").cached("0.4"))
                .batch("1", "2"),
        ],
        ..OFFERED
    },
    KnownModel {
        name: "grok-build-0.1",
        context: Some(256_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[
            price("2026-05-20", rates("1", "2").cached("0.2"), PRICES).long(199_999, rates("2", "4").cached("0.4"))
        ],
        ..OFFERED
    },
];
