//! Guardrails on prompts: what stands in a call is judged before anything is made of it, in the caller's own dialect.
//!
//! A call that is refused is told which detector was the reason, never what it found. A call without findings stays byte for
//! byte as it is. Answers are not looked at.

use super::{Refused, record::Recording};
use crate::snapshot::models::ModelPlan;
use credentialflow_llm::guardrail::text::Unreadable;
use credentialflow_model::{
    OutcomeReason,
    resource::{Detect, GuardrailAction},
};

/// Judges a call to a model. The body to take in its place, where something was taken out of it.
pub(super) fn prompt(
    plan: &ModelPlan,
    body: &[u8],
    streams: bool,
    record: &mut Recording<'_>,
) -> Result<Option<Vec<u8>>, Refused> {
    let guardrails = match &plan.guardrails {
        None => return Ok(None),
        // Said where the configuration was compiled.
        Some(Err(_)) => return Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
        Some(Ok(guardrails)) => guardrails,
    };
    let judged = guardrails
        .judge(body)
        .map_err(|e: Unreadable| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
    if judged.met.is_empty() {
        return Ok(None);
    }
    record.guardrails(plan, streams, told(&judged.met));
    match judged.blocked {
        Some(detect) => Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(why(detect))),
        None => Ok(judged.body),
    }
}

/// What was found and what happened, as the record says it.
fn told(met: &[(Detect, GuardrailAction)]) -> String {
    let one = |(detect, action): &(Detect, GuardrailAction)| format!("{}/{}", detect.as_str(), action.as_str());
    met.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn why(detect: Detect) -> String {
    match detect {
        Detect::PersonalData => "it holds personal data".into(),
        Detect::Secrets => "it holds a secret".into(),
        Detect::Jailbreak => "it looks like an attempt to talk the model out of its rules".into(),
        Detect::Words => "it holds a word that is not allowed".into(),
        Detect::Pattern => "it holds something that is not allowed".into(),
        Detect::Size => "it is too long".into(),
    }
}
