//! How well the guardrails find what is labelled in public corpora: precision, recall and F1 of each detector.
//!
//! `cargo xtask guardrails DIR`, where DIR has `guardrails/pii.json`,
//! `guardrails/jailbreaks.json` and `llm/`. Texts are split in two by their hash: the detectors were written looking at one
//! half (`design`), the figures are those of the other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers"
)]

use credentialflow_llm::guardrail::{
    jailbreak, personal,
    text::{Origin, texts},
};
use credentialflow_model::resource::PersonalData;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
};

#[derive(Default, Clone, Copy)]
struct Tally {
    /// Found and right.
    right: u32,
    /// Found and wrong.
    wrong: u32,
    /// Labelled and found whole.
    found: u32,
    /// Labelled and not found, or not whole.
    missed: u32,
}

impl Tally {
    fn row(self, name: &str) {
        let of = |a: u32, b: u32| if a + b == 0 { f64::NAN } else { f64::from(a) / f64::from(a + b) };
        let (precision, recall) = (of(self.right, self.wrong), of(self.found, self.missed));
        let f1 = 2.0 * precision * recall / (precision + recall);
        let labelled = self.found + self.missed;
        println!("| {name} | {labelled} | {precision:.2} | {recall:.2} | {f1:.2} |");
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().expect("the folder of the corpora");
    let design = args.next().is_some_and(|word| word == "design");
    let show = std::env::var_os("SHOW").is_some();
    let dir = Path::new(&dir);
    let half = |text: &str| hash(text).is_multiple_of(2) == design;

    println!("| Detector | Labelled | Precision | Recall | F1 |\n| --- | --- | --- | --- | --- |");
    let samples: Vec<Value> = read(&dir.join("guardrails/pii.json"));
    let labels = [
        ("email", PersonalData::Email, "EMAIL_ADDRESS"),
        ("card", PersonalData::Card, "CREDIT_CARD"),
        ("iban", PersonalData::Iban, "IBAN_CODE"),
        ("phone", PersonalData::Phone, "PHONE_NUMBER"),
        ("national_id", PersonalData::NationalId, "US_SSN"),
        ("ip_address", PersonalData::IpAddress, "IP_ADDRESS"),
    ];
    for (name, kind, label) in labels {
        let mut tally = Tally::default();
        for sample in &samples {
            let text = sample["full_text"].as_str().unwrap();
            if half(text) {
                count(&mut tally, text, kind, &labelled(sample, label), show);
            }
        }
        tally.row(name);
    }

    let attempts: Vec<String> = read(&dir.join("guardrails/jailbreaks.json"));
    let harmless = harmless(&dir.join("llm"));
    let plain: BTreeSet<&str> = samples.iter().filter_map(|s| s["full_text"].as_str()).collect();
    let harmless: Vec<&str> = harmless.iter().map(String::as_str).chain(plain).filter(|text| half(text)).collect();
    let attempts: Vec<&str> = attempts.iter().map(String::as_str).filter(|text| half(text)).collect();
    for (name, least) in [("low", 8), ("medium", 5), ("high", 3)] {
        let over = |texts: &[&str]| texts.iter().filter(|text| jailbreak::points(text) >= least).count() as u32;
        let (right, wrong) = (over(&attempts), over(&harmless));
        let tally = Tally { right, wrong, found: right, missed: attempts.len() as u32 - right };
        tally.row(&format!("jailbreak, {name}"));
        if show {
            eprintln!("harmless: {} of {}", wrong, harmless.len());
        }
    }
    if show {
        for text in attempts.iter().filter(|text| jailbreak::points(text) < 5) {
            eprintln!("MISSED {}: {}", jailbreak::points(text), text.chars().take(700).collect::<String>());
        }
        for text in harmless.iter().filter(|text| jailbreak::points(text) >= 3) {
            eprintln!("FALSE {}: {}", jailbreak::points(text), text.chars().take(300).collect::<String>());
        }
    }
    println!("\n{} attempts, {} harmless texts.", attempts.len(), harmless.len());
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)) >> 7
}

/// Places of a label, in bytes.
fn labelled(sample: &Value, label: &str) -> Vec<Range<usize>> {
    let text = sample["full_text"].as_str().unwrap();
    let at = |n: &Value| {
        let n = n.as_u64().unwrap() as usize;
        text.char_indices().nth(n).map_or(text.len(), |(at, _)| at)
    };
    let spans = sample["spans"].as_array().unwrap().iter().filter(|span| span["entity_type"] == label);
    spans.map(|span| at(&span["start_position"])..at(&span["end_position"])).collect()
}

fn count(tally: &mut Tally, text: &str, kind: PersonalData, labels: &[Range<usize>], show: bool) {
    let mut found = Vec::new();
    personal::finder(kind).0(text, &mut found);
    for range in &found {
        let right = labels.iter().any(|label| label.start < range.end && range.start < label.end);
        *(if right { &mut tally.right } else { &mut tally.wrong }) += 1;
        if !right && show {
            eprintln!("{kind:?} WRONG {:?} in {text:?}", &text[range.clone()]);
        }
    }
    for label in labels {
        let whole = found.iter().any(|range| range.start <= label.start && label.end <= range.end);
        *(if whole { &mut tally.found } else { &mut tally.missed }) += 1;
        if !whole && show {
            eprintln!("{kind:?} MISSED {:?} in {text:?}", &text[label.clone()]);
        }
    }
}

/// What callers say in recorded calls; each text once.
fn harmless(dir: &Path) -> BTreeSet<String> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "request") {
                let body = std::fs::read(&path).unwrap();
                for text in texts(&body).unwrap_or_default() {
                    if text.origin == Origin::Caller && text.text.len() >= 8 {
                        all.insert(text.text.into_owned(), ());
                    }
                }
            }
        }
    }
    all.into_keys().collect()
}
