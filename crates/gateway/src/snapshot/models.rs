//! Public models and what serves them, compiled.

use super::{InjectPlan, cache::CachePlan};
use credentialflow_llm::{
    bound::Keeps,
    guardrail::Guardrails,
    needs::Abilities,
    price::PriceHandle,
    provider::{CallIds, Counting, Dialect, LimitField, Thoughts},
    task::{Task, Tasks},
    translate::task::Form,
};
use credentialflow_model::{
    Timestamp,
    resource::{FallBackOn, ModelRetry, RouteBy, SecretsInAnswers, SecretsInRequests, Sticky},
};
use credentialflow_policy::{LiveBudget, LiveQuota};
use hashbrown::HashMap;
use std::{sync::Arc, time::Duration};

/// All models of a snapshot.
#[derive(Default)]
pub(crate) struct ModelPlans {
    pub by_name: HashMap<Arc<str>, u32>,
    pub list: Vec<ModelPlan>,
    /// What failures are remembered of, across snapshots: targets, and behind each its credentials.
    pub coolings: Vec<Arc<str>>,
    /// The teams of applications, where a cache is shared by teams.
    pub teams: HashMap<Arc<str>, Arc<str>>,
}

/// One public model.
pub(crate) struct ModelPlan {
    pub name: Arc<str>,
    pub targets: Vec<TargetPlan>,
    /// What decides among targets of the same priority.
    pub route_by: RouteBy,
    /// Which calls go to the same target.
    pub sticky: Option<Sticky>,
    /// After how long without an answer another target is asked as well.
    pub hedge: Option<Duration>,
    /// How it is tried again after a while.
    pub retry: Option<ModelRetry>,
    /// What a target may refuse of a call so that the next one is asked.
    pub fall_back_on: Box<[FallBackOn]>,
    /// Whether it matters what a call needs.
    pub asks: bool,
    /// How long a call may wait until its answer begins, all its targets together.
    pub deadline: Option<Duration>,
    /// What the calls to it may cost.
    pub budgets: Box<[Arc<LiveBudget>]>,
    /// How many they may be, and how large.
    pub quota: Option<Arc<LiveQuota>>,
    /// What happens to calls with live secrets of ours.
    pub secrets: SecretsInRequests,
    /// What happens to answers with live secrets of ours.
    pub secrets_back: SecretsInAnswers,
    /// What is looked for in prompts.
    pub guardrails: Option<Result<Arc<Guardrails>, String>>,
    /// Whether what they cannot look at in a session passes.
    pub unjudged_realtime: bool,
    /// Whether calls may name what lasts in its providers' accounts: nobody else's is there, or somebody said so.
    pub names_stores: bool,
    /// How its answers are kept, where they are.
    pub cache: Option<Arc<CachePlan>>,
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
    /// What tells it from others, whatever the order and the version of its credentials.
    pub place: u64,
    /// Whether it may have what guardrails keep from others.
    pub internal: bool,
    /// What its model can do.
    pub abilities: Abilities,
    /// How long its answer may take to begin; what its upstream says where it is not set.
    pub timeout: Option<Duration>,
    /// Its place in [`ModelPlans::coolings`]; those of its credentials follow.
    pub cooling: u32,
    /// What its provider speaks.
    pub dialect: Dialect,
    /// Whether it is Vertex AI.
    pub at_vertex: bool,
    /// Whether it speaks OpenAI's Responses beside that.
    pub responses: bool,
    /// What can be asked of it.
    pub tasks: Tasks,
    /// How it counts tokens beforehand, where it does.
    pub counts: Option<Counting>,
    pub ask_usage: bool,
    /// Its field for the limit of an answer, in OpenAI's dialect.
    pub limit: LimitField,
    /// How it wants to be sent back what was thought before tools were called, in OpenAI's dialect.
    pub keeps_thinking: Option<Thoughts>,
    /// Which ids of tools' calls it takes.
    pub call_ids: CallIds,
    /// Which fields for it the provider keeps, as far as that is certain.
    pub keeps: Keeps,
    /// And which it keeps of a call in OpenAI's Responses.
    pub keeps_of_responses: Keeps,
    /// Output tokens of an answer that nothing limits.
    pub longest: u64,
    /// Output tokens of an answer in a session at the most, as its provider says.
    pub most_output: u64,
    /// Output tokens of an answer at the most, where its provider is known to say so.
    pub writes: Option<u64>,
    pub price: PriceHandle,
    /// What its calls cost in batches.
    pub batch_price: PriceHandle,
    /// What the calls to its provider may cost.
    pub budgets: Box<[Arc<LiveBudget>]>,
    /// How many calls it takes, and how large.
    pub quota: Option<Arc<LiveQuota>>,
}

/// One of a target's own credentials.
pub(crate) struct KeyPlan {
    pub inject: InjectPlan,
    pub weight: u32,
    /// How many calls its provider takes with it, and how large.
    pub quota: Option<Arc<LiveQuota>>,
    /// What tells it from others, whatever its version.
    pub place: u64,
}

impl TargetPlan {
    /// The place of a credential's failures.
    pub const fn of_key(&self, key: u32) -> u32 {
        self.cooling + 1 + key
    }

    /// Whether this can be asked of it by a caller of this dialect. A conversation is translated; the rest is in the
    /// caller's form, or in one of the [provider's own](Form).
    pub fn offers(&self, task: Task, speaks: Dialect) -> bool {
        let form = match (task, speaks) {
            (Task::Chat, _) => true,
            (_, Dialect::Gemini) => self.dialect == Dialect::Gemini && !self.at_vertex,
            _ => !self.has_own_forms() || self.form(task).is_some(),
        };
        form && self.tasks.has(task)
    }

    /// Whether what is no conversation is asked there in forms of its own.
    pub const fn has_own_forms(&self) -> bool {
        matches!(self.dialect, Dialect::Gemini | Dialect::Bedrock | Dialect::Replicate)
    }

    /// The form of its own in which it is asked this.
    pub fn form(&self, task: Task) -> Option<Form> {
        Form::of(task, self.dialect, self.at_vertex, &self.provider_model)
    }

    /// Whether a budget of its provider is used up that has calls go to other targets then.
    pub fn is_used_up(&self, at: Timestamp) -> bool {
        let is = |budget: &Arc<LiveBudget>| {
            budget.definition().when_used_up.as_ref().is_some_and(|then| then.next_target)
                && budget.account(at).is_used_up() == Some(true)
        };
        self.budgets.iter().any(is)
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

    /// Whether a call that fails may be tried again, there or elsewhere.
    pub fn may_try_again(&self) -> bool {
        self.has_choice() || self.retry.is_some()
    }
}
