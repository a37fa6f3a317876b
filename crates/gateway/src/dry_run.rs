//! What would be decided of a call that nobody makes: by whom it would be refused, which model would serve it, and what it
//! would find at each target. Nothing of it is sent, counted or recorded.

use crate::preview::{AskedCall, ModelRoute};
use credentialflow_llm::{needs::Needs, provider::Dialect, task::Task};
use credentialflow_model::{KeyId, OutcomeReason};
use std::sync::Arc;

/// A whole call that is only asked about. No Debug: what stands in it is the caller's.
pub struct WholeCall {
    /// What its caller speaks.
    pub speaks: Dialect,
    /// What it asks.
    pub task: Task,
    /// Whether its answer is to be a stream, where the path says so.
    pub streams: bool,
    /// Its body.
    pub body: Vec<u8>,
    /// Headers that it would have beside those that every call has.
    pub headers: Vec<(String, String)>,
    /// The application that would call.
    pub application: Option<Arc<str>>,
    /// The key that it would call with.
    pub key: Option<KeyId>,
    /// The end user that it would be for, in place of the one that it names.
    pub user: Option<Arc<str>>,
}

/// Why nothing can be said of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CannotAsk {
    /// There is no such model.
    Model,
    /// There is no such application or key now, or the key is another application's.
    Caller,
    /// Calls of this form are not asked about whole.
    Form,
    /// The headers are none that a request can have.
    Headers,
    /// It names another model.
    Names(String),
}

/// Why a call, or a target of it, does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotServed {
    /// The reason that its caller would be told.
    pub reason: OutcomeReason,
    /// And the sentence.
    pub detail: Option<String>,
}

/// What a call finds at one target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtTarget {
    /// The most that it may cost there, in units of 10^-12 US dollars, where the price is known.
    pub most: Option<i64>,
    /// Why it is not served there.
    pub refused: Option<NotServed>,
}

/// What is decided before a target is chosen.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The model that serves, which is another one where a budget that is used up says so.
    pub serves: Arc<str>,
    /// The end user that it is for, where the application's are told apart.
    pub user: Option<Arc<str>>,
    /// What guardrails that are judged here found and did, in the words of the call log.
    pub found: Option<String>,
    /// Guardrails that others judge, which are not asked.
    pub asks: Vec<&'static str>,
    /// What it needs of a model.
    pub needs: Needs,
    /// Whether its answer is to be a stream.
    pub streams: bool,
    /// Whether only internal targets may have it.
    pub internal: bool,
    /// Whether it goes where others with which it has something in common go.
    pub sticky: bool,
    /// Why it is not served.
    pub refused: Option<NotServed>,
    /// What it finds at each target of the model that serves, in the order of the configuration.
    pub targets: Vec<AtTarget>,
    /// What it asks of them; `None` where it is refused before.
    pub call: Option<AskedCall>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// What is decided before a target is chosen, and why it is not served.
    pub decision: Decision,
    /// The targets as it finds them; `None` where it is refused before.
    pub route: Option<ModelRoute>,
}

impl DryRun {
    /// Of what one worker decided, and how all find the targets.
    pub(crate) fn of(mut decision: Decision, route: Option<ModelRoute>) -> Self {
        if let Some(route) = route.as_ref().filter(|_| decision.refused.is_none()) {
            decision.refused = nowhere(&decision.targets, route);
        }
        Self { decision, route }
    }
}

/// Why a call is served by none of the targets, where that is so: what the one is told that would be asked last.
fn nowhere(found: &[AtTarget], route: &ModelRoute) -> Option<NotServed> {
    let all = || found.iter().zip(&route.targets);
    let full = |reason| NotServed {
        reason,
        detail: Some("the providers of this model take no more calls at present".to_owned()),
    };
    let begins: Vec<_> = all().filter(|(_, target)| target.percent > 0.0).collect();
    let refused = |(found, target): &(&AtTarget, &crate::preview::TargetState)| {
        found.refused.clone().or_else(|| (!target.room).then(|| full(OutcomeReason::RateLimited)))
    };
    match begins.is_empty() {
        false => begins.iter().map(refused).collect::<Option<Vec<_>>>()?.pop(),
        true => all()
            .filter(|(found, _)| found.refused.is_some())
            .max_by_key(|(_, t)| t.fit.rank(t.used_up, t.priority))
            .and_then(|one| refused(&one)),
    }
}
