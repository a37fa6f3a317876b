//! The models of DeepSeek. Prices are those of the peak hours (01:00 to 04:00 and 06:00 to 10:00 UTC on working days in
//! China), which nothing costs more than; at other hours it is half of that.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered, price, rates,
};

const PAGE: Source = Source::page("https://api-docs.deepseek.com/quick_start/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(PAGE);
const PEAK: Option<&str> = Some("told at the price of the peak hours; half of it is billed outside of them");

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "deepseek-flash",
        also: &["deepseek-v4-flash"],
        context: Some(1_000_000),
        max_output: Some(384_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-09-10", rates("0.3", "1.2").cached("0.006"), PAGE)],
        note: PEAK,
        ..OFFERED
    },
    KnownModel {
        name: "deepseek-v4-pro",
        context: Some(1_000_000),
        max_output: Some(384_000),
        can: &[Tools, StructuredOutput, Reasoning],
        prices: &[price("2026-08-17", rates("1.32", "3.96").cached("0.044"), PAGE)],
        note: PEAK,
        ..OFFERED
    },
];
