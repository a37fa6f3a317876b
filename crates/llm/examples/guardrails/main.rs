//! How well the guardrails find what is labelled in public corpora: precision, recall and F1 of each detector.
//!
//! `cargo xtask guardrails DIR`, where DIR has `guardrails/pii.json`,
//! `guardrails/jailbreaks.json` and `llm/`. Texts are split in two by their hash: the detectors were written looking at one
//! half (`design`), the figures are those of the other. With `SHOW` in the environment what is wrong is told too.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for developers")]

mod measure;

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("the folder of the corpora is missing")?;
    let figures = measure::measure(Path::new(&dir), args.next().is_some_and(|word| word == "design"))?;
    if std::env::var_os("SHOW").is_some() {
        figures.notes.iter().for_each(|note| eprintln!("{note}"));
    }
    print!("{figures}");
    Ok(())
}
