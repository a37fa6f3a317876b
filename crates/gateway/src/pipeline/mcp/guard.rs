//! Guardrails of a route to MCP servers: what tools are called with is judged before it is sent, and what servers answer
//! with before the caller gets it. The rules are those that models have, and they are said to have found something in the
//! same words.

use super::{INVALID_PARAMS, refusal::OTHER};
use crate::{
    pipeline::{
        Refused,
        guardrail::{ANSWER, told, why},
        record::Recording,
    },
    snapshot::mcp::McpPlan,
};
use credentialflow_llm::guardrail::{Guardrails, Judged, Met};
use credentialflow_mcp::texts::{Said, withheld};
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

/// Judges what tools and prompts are asked for with. What to send in its place, if that is something else.
pub(super) fn call(plan: &McpPlan, body: &[u8], record: &mut Recording<'_>) -> Result<Option<Vec<u8>>, Refused> {
    let Some(built) = &plan.guardrails else { return Ok(None) };
    let blocked = |detail: &str| {
        Refused::new(OutcomeReason::PromptBlocked).with_detail(detail.to_owned()).with_rpc_code(INVALID_PARAMS)
    };
    // Said where the configuration was compiled.
    let rules = built.as_ref().map_err(|_| Refused::new(OutcomeReason::NoHealthyEndpoint))?;
    let said = Said::in_call(body).map_err(|_| blocked(UNREADABLE))?;
    if said.is_empty() {
        return Ok(None);
    }
    let judged = rules.judge_json(&said.list(), false).map_err(|_| blocked(UNREADABLE))?;
    if !judged.met.is_empty() {
        record.mcp_guardrails(&told(&judged.met, ""));
    }
    match judged {
        Judged { blocked: Some(detect), .. } => Err(blocked(why(detect))),
        Judged { body: Some(list), .. } => said.with(&list).map(Some).map_err(|_| blocked(UNREADABLE)),
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
