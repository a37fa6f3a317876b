//! The detectors: one line each.

use super::{Detector, jailbreak::Jailbreak, json_schema, personal::Personal, secrets::Secrets, size::Size, words};
use credentialflow_model::resource::{Detect, Guardrail};

/// Builds the detector of a rule.
///
/// # Errors
/// A sentence on what of its settings cannot be used.
pub fn build(rule: &Guardrail) -> Result<Box<dyn Detector>, String> {
    Ok(match rule.detect {
        Detect::PersonalData => Box::new(Personal::of(&rule.kinds)),
        Detect::Secrets => Box::new(Secrets),
        Detect::Jailbreak => Box::new(Jailbreak::of(rule.sensitivity.unwrap_or_default())),
        Detect::Words => Box::new(words::of_list(&rule.words)?),
        Detect::Pattern => Box::new(words::of_pattern(rule.pattern.as_deref().unwrap_or_default())?),
        Detect::Size => Box::new(Size { most: rule.most_characters.unwrap_or(u64::MAX) }),
        Detect::JsonSchema => Box::new(json_schema::of(rule.schema.as_ref())?),
        Detect::Moderation | Detect::Topics | Detect::Webhook => {
            return Err("others are asked for this, over the network".into());
        }
    })
}
