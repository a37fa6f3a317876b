//! What of public corpora the detectors find; `tests/guardrails.rs` holds the guide's figures to it.

use credentialflow_llm::guardrail::{
    jailbreak, personal, registry,
    text::{Origin, texts},
};
use credentialflow_model::resource::PersonalData;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fmt, ops::Range, path::Path};

/// What one detector finds.
#[derive(Default, Clone, Copy)]
pub struct Tally {
    /// Found and right.
    right: usize,
    /// Found and wrong.
    wrong: usize,
    /// Labelled and found whole.
    found: usize,
    /// Labelled and not found, or not whole.
    missed: usize,
}

impl Tally {
    /// A line of the table.
    fn row(self, name: &str) -> String {
        let of = |a: usize, b: usize| if a + b == 0 { f64::NAN } else { a as f64 / (a + b) as f64 };
        let (precision, recall) = (of(self.right, self.wrong), of(self.found, self.missed));
        let f1 = 2.0 * precision * recall / (precision + recall);
        let labelled = self.found + self.missed;
        format!("| {name} | {labelled} | {precision:.2} | {recall:.2} | {f1:.2} |")
    }
}

/// Everything that is measured.
pub struct Figures {
    /// The lines of the table, without its head.
    pub rows: Vec<String>,
    /// What was found and is wrong, and what was not found.
    pub notes: Vec<String>,
    pub attempts: usize,
    pub harmless: usize,
    /// Of the harmless ones: taken for a jailbreak, with the usual sensitivity.
    pub false_jailbreaks: usize,
    /// What users say in recorded calls, of both halves, and in how many of them a secret is found.
    pub recorded: usize,
    pub secrets: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| Detector | Labelled | Precision | Recall | F1 |\n| --- | --- | --- | --- | --- |")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))?;
        let Self { attempts, harmless, false_jailbreaks, recorded, secrets, .. } = self;
        writeln!(f, "\n{attempts} attempts; {harmless} harmless texts, {false_jailbreaks} of them taken for one.")?;
        writeln!(f, "{recorded} texts of recorded calls, a secret found in {secrets} of them.")
    }
}

/// Measures one half of the corpora: that which the detectors were written with (`design`), or the other. `Err`: a file
/// is not there or not as it should be.
pub fn measure(dir: &Path, design: bool) -> Result<Figures, Box<dyn std::error::Error>> {
    let half = |text: &str| hash(text).is_multiple_of(2) == design;
    let (mut rows, mut notes) = (Vec::new(), Vec::new());
    let samples: Vec<Value> = serde_json::from_slice(&std::fs::read(dir.join("guardrails/pii.json"))?)?;
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
            let text = sample["full_text"].as_str().ok_or("a sample without a text")?;
            if half(text) {
                count(&mut tally, text, kind, &labelled(sample, text, label), &mut notes);
            }
        }
        rows.push(tally.row(&format!("`{name}`")));
    }

    let attempts: Vec<String> = serde_json::from_slice(&std::fs::read(dir.join("guardrails/jailbreaks.json"))?)?;
    let recorded = recorded(&dir.join("llm"))?;
    let plain: BTreeSet<&str> = samples.iter().filter_map(|s| s["full_text"].as_str()).collect();
    let harmless = recorded.iter().map(String::as_str).chain(plain).filter(|text| half(text)).collect::<Vec<_>>();
    let attempts: Vec<&str> = attempts.iter().map(String::as_str).filter(|text| half(text)).collect();
    let over = |texts: &[&str], least| texts.iter().filter(|text| jailbreak::points(text) >= least).count();
    for (name, least) in [("low", 8), ("medium", 5), ("high", 3)] {
        let (right, wrong) = (over(&attempts, least), over(&harmless, least));
        let tally = Tally { right, wrong, found: right, missed: attempts.len() - right };
        rows.push(tally.row(&format!("`jailbreak`, {name}")));
    }
    let some = |text: &str| text.chars().take(300).collect::<String>();
    let missed =
        attempts.iter().filter(|text| jailbreak::points(text) < 5).map(|text| format!("MISSED {}", some(text)));
    let taken = harmless.iter().filter(|text| jailbreak::points(text) >= 3).map(|text| format!("FALSE {}", some(text)));
    notes.extend(missed.chain(taken));

    let detector = registry::build(&serde_json::from_value(json!({ "detect": "secrets", "action": "flag" }))?)?;
    let mut secrets = 0;
    for text in &recorded {
        let mut found = Vec::new();
        detector.find(text, &mut found);
        secrets += usize::from(!found.is_empty());
        notes.extend(found.iter().map(|one| format!("SECRET {:?}", &text[one.range.clone()])));
    }
    Ok(Figures {
        rows,
        notes,
        attempts: attempts.len(),
        harmless: harmless.len(),
        false_jailbreaks: over(&harmless, 5),
        recorded: recorded.len(),
        secrets,
    })
}

/// FNV-1a.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)) >> 7
}

/// Places of a label, in bytes.
fn labelled(sample: &Value, text: &str, label: &str) -> Vec<Range<usize>> {
    let at = |n: &Value| {
        let n = n.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        text.char_indices().nth(n).map_or(text.len(), |(at, _)| at)
    };
    let spans = sample["spans"].as_array().into_iter().flatten().filter(|span| span["entity_type"] == label);
    spans.map(|span| at(&span["start_position"])..at(&span["end_position"])).collect()
}

fn count(tally: &mut Tally, text: &str, kind: PersonalData, labels: &[Range<usize>], notes: &mut Vec<String>) {
    let mut found = Vec::new();
    personal::finder(kind).0(text, &mut found);
    for range in &found {
        let right = labels.iter().any(|label| label.start < range.end && range.start < label.end);
        *(if right { &mut tally.right } else { &mut tally.wrong }) += 1;
        if !right {
            notes.push(format!("{kind:?} WRONG {:?} in {text:?}", &text[range.clone()]));
        }
    }
    for label in labels {
        let whole = found.iter().any(|range| range.start <= label.start && label.end <= range.end);
        *(if whole { &mut tally.found } else { &mut tally.missed }) += 1;
        if !whole {
            notes.push(format!("{kind:?} MISSED {:?} in {text:?}", &text[label.clone()]));
        }
    }
}

/// What callers say in recorded calls; each text once.
fn recorded(dir: &Path) -> std::io::Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "request") {
                let body = std::fs::read(&path)?;
                let said = texts(&body).unwrap_or_default().into_iter();
                let said = said.filter(|text| text.origin == Origin::Caller && text.text.len() >= 8);
                all.extend(said.map(|text| text.text.into_owned()));
            }
        }
    }
    Ok(all)
}
