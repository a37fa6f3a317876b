//! Public models and what serves them, compiled.

use super::InjectPlan;
use credentialflow_llm::{
    bound::Keeps,
    guardrail::Guardrails,
    price::PriceHandle,
    provider::{Dialect, LimitField},
};
    task::{Task, Tasks},
use credentialflow_model::resource::{SecretsInAnswers, SecretsInRequests};
use credentialflow_policy::LiveBudget;
use hashbrown::HashMap;
use std::{sync::Arc, time::Duration};

/// All models of a snapshot.
#[derive(Default)]
pub(crate) struct ModelPlans {
    pub by_name: HashMap<Arc<str>, u32>,
    pub list: Vec<ModelPlan>,
    /// What failures are remembered of, across snapshots: targets, and behind each its credentials.
    pub coolings: Vec<Arc<str>>,
}

/// One public model.
pub(crate) struct ModelPlan {
    pub name: Arc<str>,
    pub targets: Vec<TargetPlan>,
    /// How long a call may wait until its answer begins, all its targets together.
    pub deadline: Option<Duration>,
    /// What the calls to it may cost.
    pub budgets: Box<[Arc<LiveBudget>]>,
    /// What happens to calls with live secrets of ours.
    pub secrets: SecretsInRequests,
    /// What happens to answers with live secrets of ours.
    pub secrets_back: SecretsInAnswers,
    /// What is looked for in prompts.
    pub guardrails: Option<Result<Arc<Guardrails>, String>>,
}

/// One way to serve it.
pub(crate) struct TargetPlan {
    pub provider: Arc<str>,
    pub provider_model: Arc<str>,
    pub upstream: u32,
    /// The target's own credentials; the upstream's where there are none.
    pub keys: Box<[KeyPlan]>,
    pub weight: u32,
    /// Lower ones first.
    pub priority: u32,
    /// How long its answer may take to begin; what its upstream says where it is not set.
    pub timeout: Option<Duration>,
    /// Its place in [`ModelPlans::coolings`]; those of its credentials follow.
    pub cooling: u32,
    /// What its provider speaks.
    pub dialect: Dialect,
    /// Whether it speaks OpenAI's Responses beside that.
    pub responses: bool,
    pub ask_usage: bool,
    /// Its field for the limit of an answer, in OpenAI's dialect.
    pub limit: LimitField,
    /// Which fields for it the provider keeps, as far as that is certain.
    pub keeps: Keeps,
    /// And which it keeps of a call in OpenAI's Responses.
    pub keeps_of_responses: Keeps,
    /// Output tokens of an answer that nothing limits.
    pub longest: u64,
    pub price: PriceHandle,
    /// What the calls to its provider may cost.
    pub budgets: Box<[Arc<LiveBudget>]>,
}

/// One of a target's own credentials.
    /// What can be asked of it.
    pub tasks: Tasks,
pub(crate) struct KeyPlan {
    pub inject: InjectPlan,
    pub weight: u32,
}

impl TargetPlan {
    /// The place of a credential's failures.
    pub const fn of_key(&self, key: u32) -> u32 {
        self.cooling + 1 + key
    }

    /// Whether calls in this dialect go there as they are.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.dialect == dialect || (self.responses && dialect == Dialect::Responses)
    }
}

impl ModelPlan {
    /// Whether a call that fails may go elsewhere: to another target, or there with another credential.
    pub fn has_choice(&self) -> bool {
        self.targets.len() > 1 || self.targets.first().is_some_and(|target| target.keys.len() > 1)
    }

    /// Which target serves the `n`-th call among those that are admitted: of the lowest priority, in turn, each as often as
    /// its weight says. `None` where none is.
    pub fn pick(&self, n: u32, admits: impl Fn(u32, &TargetPlan) -> bool) -> Option<u32> {
        let admitted = || (0u32..).zip(&self.targets).filter(|(i, target)| admits(*i, target));
        let first = admitted().map(|(_, target)| target.priority).min()?;
    /// Whether this can be asked of it by a caller of this dialect. A conversation is translated; of the rest, embeddings
    /// are, for providers of Gemini.
    pub fn offers(&self, task: Task, speaks: Dialect) -> bool {
        let form = match (task, speaks) {
            (Task::Chat, _) => true,
            (Task::Embeddings, Dialect::OpenAi) => true,
            (_, Dialect::Gemini) => self.dialect == Dialect::Gemini,
            _ => !matches!(self.dialect, Dialect::Gemini | Dialect::Bedrock),
        };
        form && self.tasks.has(task)
    }

        let equal = || admitted().filter(|(_, target)| target.priority == first);
        let total: u32 = equal().map(|(_, target)| target.weight).sum();
        let mut at = n.checked_rem(total)?;
        for (i, target) in equal() {
            if at < target.weight {
                return Some(i);
            }
            at -= target.weight;
        }
        None
    }
}
