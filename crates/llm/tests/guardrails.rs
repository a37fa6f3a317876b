//! The guide's figures of guardrails are what is measured on the public corpora.
//!
//! These are found through `CREDENTIALFLOW_SUITES` or at `../shared/suites` beside the workspace. Where they are absent,
//! nothing is measured, and the test says so.
#![allow(clippy::unwrap_used)]

#[path = "../examples/guardrails/measure.rs"]
mod measure;

use std::path::{Path, PathBuf};

#[test]
fn the_figures_in_the_guide_are_those_that_are_measured() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let suites = std::env::var_os("CREDENTIALFLOW_SUITES").map(PathBuf::from);
    let suites = suites.unwrap_or_else(|| here.join("../../../shared/suites"));
    if !suites.join("guardrails").is_dir() {
        println!("no {} here; no figures are measured", suites.join("guardrails").display());
        return;
    }
    let guide = std::fs::read_to_string(here.join("../../docs/guides/guardrails.md")).unwrap();
    let [figures, design] = [false, true].map(|design| measure::measure(&suites, design).unwrap());
    let told = [
        format!("Of {} harmless texts in this half none was taken for a jailbreak", figures.harmless),
        format!("in the other half {} of {} was", ["none", "one"][design.false_jailbreaks], design.harmless),
        format!("`secrets` finds one in {} of {} texts that users say", figures.secrets, figures.recorded),
    ];
    assert_eq!(figures.false_jailbreaks, 0, "{:#?}", figures.notes);
    for line in figures.rows.iter().chain(&told) {
        assert!(guide.contains(line), "the guide does not say: {line}\n\n{figures}\nin the other half:\n\n{design}");
    }
}
