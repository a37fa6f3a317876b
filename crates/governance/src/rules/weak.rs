//! `weak`: a value with too little entropy, a certificate or signing key with a broken or short algorithm, and, as
//! information, one that a quantum computer could forge.
//!
//! Our own keys are no case: they have 190 random bits and are compared by HMAC-SHA-256, which quantum computers
//! do not weaken enough to matter.

use super::{Facts, Finding, Rule, Severity, Surroundings};
use crate::CredentialKind;

/// Fewer bits than this can be searched.
const SEARCHABLE: f64 = 64.0;
/// Fewer bits than this are less than is asked for today (NIST SP 800-131A: 112).
const ENOUGH: f64 = 112.0;

pub(super) fn check(facts: &Facts, _: &Surroundings) -> Option<Finding> {
    if let Some(rule) = facts.generate {
        let bits = f64::from(rule.length) * (rule.alphabet.characters().len() as f64).log2();
        let severity = if bits < SEARCHABLE { Severity::High } else { Severity::Medium };
        let detail = format!("its values have {bits:.0} bits of entropy, less than {ENOUGH}");
        let hint = "raise `generate.length`, then rotate it";
        return (bits < ENOUGH).then(|| facts.finding(Rule::Weak, severity, detail, hint));
    }
    if let Some(certificate) = &facts.certificate {
        if let Some(why) = certificate.weakness() {
            let hint = "have a new one made, with ECDSA P-256 or RSA 3072 and SHA-256 or better";
            return Some(facts.finding(Rule::Weak, Severity::High, why.to_owned(), hint));
        }
        return certificate.is_pre_quantum().then(|| pre_quantum(facts, &certificate.algorithm));
    }
    let algorithm = facts.entry.algorithm.as_deref()?;
    let signs = facts.entry.kind == CredentialKind::SigningKey;
    (signs && is_pre_quantum(algorithm)).then(|| pre_quantum(facts, algorithm))
}

fn pre_quantum(facts: &Facts, algorithm: &str) -> Finding {
    let detail = format!("{algorithm} can be forged by a quantum computer");
    let hint = "nothing to do today; know it when the time comes. Key exchange is post-quantum already";
    facts.finding(Rule::Weak, Severity::Info, detail, hint)
}

/// Whether signatures of this algorithm rest on factoring or discrete logarithms.
fn is_pre_quantum(algorithm: &str) -> bool {
    let a = algorithm.to_ascii_lowercase();
    ["rsa", "ecdsa", "ed25519", "ed448", "eddsa", "rs", "ps", "es"].iter().any(|known| a.starts_with(known))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        CredentialKind,
        testing::{credential, surroundings},
    };
    use credentialflow_model::resource::{Alphabet, GenerateRule};

    #[test]
    fn short_rules_are_weak() {
        let check = |length, alphabet, expect| {
            let mut facts = credential();
            facts.generate = Some(GenerateRule { length, alphabet, entropy: 8 });
            assert_eq!(super::check(&facts, &surroundings()).map(|found| found.severity), expect, "{length}");
        };
        check(32, Alphabet::Alphanumeric, None);
        check(28, Alphabet::Hex, None);
        check(27, Alphabet::Hex, Some(Severity::Medium));
        check(12, Alphabet::Digits, Some(Severity::High));
    }

    #[test]
    fn signing_keys_are_judged_by_their_algorithm() {
        let check = |algorithm: &str, expect: bool| {
            let mut facts = credential();
            (facts.entry.kind, facts.entry.algorithm) = (CredentialKind::SigningKey, Some(algorithm.to_owned()));
            let found = super::check(&facts, &surroundings());
            assert_eq!(found.map(|found| found.severity), expect.then_some(Severity::Info), "{algorithm}");
        };
        check("Ed25519", true);
        check("RS256", true);
        check("ES256", true);
        check("HS256", false);
        check("ML-DSA-65", false);
    }
}
