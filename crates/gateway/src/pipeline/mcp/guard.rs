//! Guardrails of a route to MCP servers: what tools are called with is judged before it is sent, and what servers answer
//! with before the caller gets it. The rules are those that models have, and they are said to have found something in the
//! same words.

use super::{INVALID_PARAMS, Inbound, McpCall, is_parameter, refusal::OTHER};
use crate::{
    pipeline::{
        Refused,
        guardrail::{ANSWER, told, why},
        record::Recording,
    },
    snapshot::mcp::McpPlan,
};
use credentialflow_llm::guardrail::{Guardrails, Judged, Met};
use credentialflow_mcp::{
    as_header_value, header_value,
    texts::{Said, withheld},
};
use credentialflow_model::OutcomeReason;
use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
};

const UNREADABLE: &str = "the guardrails of this route cannot look at all of it";

/// The rules of a route.
fn rules(plan: &McpPlan) -> Option<&Guardrails> {
    plan.guardrails.as_ref().and_then(|built| built.as_ref().ok()).map(|rules| &**rules)
}

/// Judges what tools and prompts are asked for with, in the body and in headers that repeat it. What to send in the body's
/// place, if that is something else; headers are then written anew.
pub(super) fn call(
    plan: &McpPlan,
    inbound: &Inbound<'_>,
    body: &[u8],
    call: &mut McpCall,
    record: &mut Recording<'_>,
) -> Result<Option<Vec<u8>>, Refused> {
    let Some(built) = &plan.guardrails else { return Ok(None) };
    let blocked = |detail: &str| {
        Refused::new(OutcomeReason::PromptBlocked).with_detail(detail.to_owned()).with_rpc_code(INVALID_PARAMS)
    };
    let unreadable = || blocked(UNREADABLE);
    // Said where the configuration was compiled.
    let rules = built.as_ref().map_err(|_| Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let said = Said::in_call(body).map_err(|_| unreadable())?;
    let mut repeated = Vec::new();
    for (_, name, value) in inbound.fields().filter(|(_, name, _)| is_parameter(name)) {
        repeated.push((name, header_value(value).ok_or_else(unreadable)?));
    }
    if said.is_empty() && repeated.is_empty() {
        return Ok(None);
    }
    let mut judged = match said.is_empty() {
        true => Judged::default(),
        false => rules.judge_json(&said.list(), false).map_err(|_| unreadable())?,
    };
    if !repeated.is_empty() && judged.blocked.is_none() {
        let values: Vec<&str> = repeated.iter().map(|(_, value)| &**value).collect();
        let values = serde_json::to_vec(&values).map_err(|_| unreadable())?;
        let of_headers = rules.judge_json(&values, false).map_err(|_| unreadable())?;
        // They repeat what the body has.
        let is_known = |met: &Met| {
            judged.met.iter().any(|known| {
                (&known.set, known.detect, known.action, &known.label) == (&met.set, met.detect, met.action, &met.label)
            })
        };
        let new: Vec<Met> = of_headers.met.into_iter().filter(|met| !is_known(met)).collect();
        judged.met.extend(new);
        judged.blocked = of_headers.blocked;
        if let Some(list) = of_headers.body.filter(|_| judged.blocked.is_none()) {
            let new: Vec<String> = serde_json::from_slice(&list).map_err(|_| unreadable())?;
            for ((name, _), new) in repeated.iter().zip(new) {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                call.fields.push((name.into(), as_header_value(&new)));
            }
        }
    }
    if !judged.met.is_empty() {
        record.mcp_guardrails(&told(&judged.met, ""));
    }
    match judged {
        Judged { blocked: Some(detect), .. } => Err(blocked(why(detect))),
        Judged { body: Some(list), .. } => said.with(&list).map(Some).map_err(|_| unreadable()),
        _ => Ok(None),
    }
}

/// Judges what servers answer to one request.
pub(super) struct AnswerJudge<'v> {
    rules: Option<&'v Guardrails>,
    met: RefCell<Vec<Met>>,
    withheld: Cell<bool>,
}

impl<'v> AnswerJudge<'v> {
    pub(super) fn of(plan: &'v McpPlan) -> Self {
        let rules = rules(plan).filter(|rules| rules.reads_answers());
        Self { rules, met: RefCell::default(), withheld: Cell::new(false) }
    }

    /// By the same rules.
    pub(super) fn another(&self) -> Self {
        Self { rules: self.rules, met: RefCell::default(), withheld: Cell::new(false) }
    }

    /// Whether anything is judged.
    pub(super) const fn judges(&self) -> bool {
        self.rules.is_some()
    }

    /// A message as it goes on. What does not is answered with why.
    pub(super) fn judged<'a>(&self, message: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        let Some(rules) = self.rules else { return message };
        let instead = match Said::in_answer(&message) {
            Ok(said) if said.is_empty() => None,
            Ok(said) => match rules.judge_json(&said.list(), true) {
                Ok(judged) => {
                    self.met.borrow_mut().extend(judged.met);
                    match (judged.blocked, judged.body) {
                        (Some(detect), _) => Some(self.withheld(&message, why(detect))),
                        (None, Some(list)) => {
                            Some(said.with(&list).unwrap_or_else(|_| self.withheld(&message, UNREADABLE)))
                        }
                        (None, None) => None,
                    }
                }
                Err(_) => Some(self.withheld(&message, UNREADABLE)),
            },
            Err(_) => Some(self.withheld(&message, UNREADABLE)),
        };
        instead.map_or(message, Cow::Owned)
    }

    fn withheld(&self, message: &[u8], why: &str) -> Vec<u8> {
        self.withheld.set(true);
        withheld(message, OTHER, &format!("{}: {why}", OutcomeReason::AnswerBlocked.title()))
    }

    /// Whether a message did not go on.
    pub(super) fn is_withheld(&self) -> bool {
        self.withheld.get()
    }

    /// Tells what was found since the last time.
    pub(super) fn tell(&self, record: &mut Recording<'_>) {
        let met = std::mem::take(&mut *self.met.borrow_mut());
        if !met.is_empty() {
            record.mcp_guardrails(&told(&met, ANSWER));
        }
    }
}
