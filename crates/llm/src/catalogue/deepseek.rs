//! The models of DeepSeek.

use super::{
    Capability::{Reasoning, StructuredOutput, Tools, Vision},
    KnownModel, Source, offered,
};

const SIZES: Source = Source::page("https://api-docs.deepseek.com/quick_start/pricing", "2026-11-23");
const OFFERED: KnownModel = offered(SIZES);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "deepseek-flash",
        context: Some(1_000_000),
        max_output: Some(384_000),
        can: &[Vision, Tools, StructuredOutput, Reasoning],
        note: Some(
            "costs twice as much in the peak hours of working days in China: prices by the hour cannot be told here",
        ),
        ..OFFERED
    },
    KnownModel {
        name: "deepseek-v4-pro",
        context: Some(1_000_000),
        max_output: Some(384_000),
        can: &[Tools, StructuredOutput, Reasoning],
        note: Some(
            "costs twice as much in the peak hours of working days in China: prices by the hour cannot be told here",
        ),
        ..OFFERED
    },
];
