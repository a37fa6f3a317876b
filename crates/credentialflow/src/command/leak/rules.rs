//! Rules by which scanners find our keys and tokens in files: for gitleaks (TOML) and trufflehog (YAML).
//!
//! A rule is as narrow as the format: prefix, lengths, alphabets. The checksum within keys is not looked at, as no
//! scanner can; whoever gets a match sends it to `credentialflow leak report`, which looks.

use std::fmt::Write;

/// A scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scanner {
    /// Rules for gitleaks: a file for its `--config`, or a part of one
    Gitleaks,
    /// Custom detectors for trufflehog: a file for its `--config`
    Trufflehog,
}

/// One format of ours.
struct Format {
    name: String,
    what: &'static str,
    /// Stands in every match; scanners look for it first.
    keyword: String,
    /// In the dialect that Go's regexp and Rust's regex share; the first group is the secret.
    regex: String,
}

fn formats(prefixes: &[String]) -> Vec<Format> {
    let mut formats: Vec<_> = prefixes
        .iter()
        .map(|prefix| Format {
            name: if prefix == "cfk" {
                "credentialflow-key".to_owned()
            } else {
                format!("credentialflow-key-{prefix}")
            },
            what: "Credentialflow key, issued to an application",
            keyword: format!("{prefix}_"),
            regex: format!(r"\b({prefix}_[a-z0-9]{{1,12}}_[0-9a-hjkmnp-tv-z]{{12}}_[0-9A-Za-z]{{38}})\b"),
        })
        .collect();
    let mut fixed = |name: &str, what, keyword: &str, regex: &str| {
        let (name, keyword, regex) = (name.to_owned(), keyword.to_owned(), regex.to_owned());
        formats.push(Format { name, what, keyword, regex });
    };
    fixed(
        "credentialflow-administrator-token",
        "Credentialflow administrator's token",
        "cfadmin_",
        r"\b(cfadmin_[0-9A-Za-z_-]{43})(?:[^0-9A-Za-z_-]|$)",
    );
    fixed(
        "credentialflow-service-token",
        "Credentialflow service token of the run-time API",
        "cfs_",
        r"\b(cfs_[0-9A-Za-z]{38})\b",
    );
    fixed(
        "credentialflow-batch-token",
        "Credentialflow batch token of the run-time API",
        "cfb_",
        r"\b(cfb_[0-9A-Za-z_-]{60,})(?:[^0-9A-Za-z_-]|$)",
    );
    formats
}

/// The rules for a scanner.
pub fn text(scanner: Scanner, prefixes: &[String]) -> String {
    let mut prefixes = prefixes.to_vec();
    prefixes.sort_unstable();
    prefixes.dedup();
    match scanner {
        Scanner::Gitleaks => gitleaks(&formats(&prefixes)),
        Scanner::Trufflehog => trufflehog(&formats(&prefixes)),
    }
}

fn gitleaks(formats: &[Format]) -> String {
    let mut text = "title = \"Credentialflow\"\n\n[extend]\nuseDefault = true\n".to_owned();
    for Format { name, what, keyword, regex } in formats {
        let _ = write!(
            text,
            "\n[[rules]]\nid = \"{name}\"\ndescription = \"{what}\"\nregex = '''{regex}'''\nsecretGroup = 1\n\
             keywords = [\"{keyword}\"]\n"
        );
    }
    text
}

fn trufflehog(formats: &[Format]) -> String {
    let mut text = "detectors:\n".to_owned();
    for Format { name, what, keyword, regex } in formats {
        let _ = write!(
            text,
            "  - name: {name}\n    description: \"{what}\"\n    keywords: [\"{keyword}\"]\n    regex:\n      secret: \
             '{regex}'\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::config::read_settings;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Detectors {
        detectors: Vec<Detector>,
    }

    #[derive(Deserialize)]
    struct Detector {
        name: String,
        description: String,
        keywords: Vec<String>,
        regex: std::collections::BTreeMap<String, String>,
    }

    #[test]
    fn trufflehog_s_file_is_yaml_with_every_format() {
        let prefixes = ["cfk".to_owned(), "acme".to_owned(), "cfk".to_owned()];
        let read: Detectors = read_settings("rules.yaml", &text(Scanner::Trufflehog, &prefixes)).unwrap();
        let names: Vec<_> = read.detectors.iter().map(|d| d.name.as_str()).collect();
        assert_eq!(names[..2], ["credentialflow-key-acme", "credentialflow-key"]);
        assert_eq!(names.len(), 5);
        for (detector, format) in read.detectors.iter().zip(formats(&["acme".to_owned(), "cfk".to_owned()])) {
            assert_eq!(
                (detector.regex["secret"].as_str(), &detector.keywords),
                (format.regex.as_str(), &vec![format.keyword])
            );
            assert!(detector.description.starts_with("Credentialflow "));
        }
    }

    #[test]
    fn gitleaks_file_names_every_format_once() {
        let text = text(Scanner::Gitleaks, &["cfk".to_owned()]);
        assert_eq!(text.matches("[[rules]]").count(), 4);
        for format in formats(&["cfk".to_owned()]) {
            assert_eq!(text.matches(&format!("regex = '''{}'''", format.regex)).count(), 1);
            assert!(!format.regex.contains('\'') && text.contains(&format!("keywords = [\"{}\"]", format.keyword)));
        }
    }
}
