//! What a call wants of the target that serves it: read once, and the same for every target that is tried.

use super::{Inbound, Refused, files::Holder, quota};
use crate::{
    preview::AskedCall,
    snapshot::models::{ModelPlan, TargetPlan},
    worker::Worker,
};
use credentialflow_llm::{
    affinity,
    bound::{Bound, Keeps},
    guardrail::Routed,
    needs::{Capabilities, Fit, Needs},
    provider::Dialect,
    task::Task,
};
use credentialflow_model::{
    OutcomeReason, Timestamp,
    resource::{Detect, RouteBy, StickyBy},
    usage::TokenUsage,
};
use credentialflow_policy::{LiveQuota, Principal};
use std::{sync::Arc, time::Instant};

/// What decides where a call may go, and where it goes first.
pub(crate) struct Wanted {
    /// The caller's dialect.
    pub speaks: Dialect,
    /// What is asked.
    pub task: Task,
    /// Whether it counts tokens, which some targets do.
    pub counts: bool,
    /// Whether the answer is to be a stream.
    pub streams: bool,
    /// Whose turn it is.
    pub turn: u32,
    /// Chance.
    pub roll: u64,
    /// Whether only internal targets may have it.
    pub internal: bool,
    /// What it has in common with calls that go to the same target.
    pub sticky: Option<u64>,
    /// What it needs.
    pub needs: Needs,
    /// Who has the files that it names.
    pub files: Option<Holder>,
    /// When it came.
    pub at: Timestamp,
    /// What it is expected to use, and when, where targets are chosen by cost.
    pub expected: Option<(Timestamp, TokenUsage)>,
    /// Who calls.
    pub application: Option<Arc<str>>,
    /// Tokens of its input, as limits guess them, and when time began for them.
    pub input: u64,
    pub began: Instant,
}

/// The output that is expected of a call that allows more or sets no limit.
const USUAL_OUTPUT: u64 = 1000;

/// What a call is.
pub(crate) struct Kind {
    pub speaks: Dialect,
    pub task: Task,
    pub counts: bool,
    pub streams: bool,
    /// Why only internal targets may have it, where that is so.
    pub routed: Option<Routed>,
    /// Who has the files that it names.
    pub files: Option<Holder>,
}

impl Wanted {
    /// What a call to a model wants, or why no target of the model may have it.
    pub fn of(
        worker: &Worker,
        plan: &ModelPlan,
        (kind, turn): (Kind, u32),
        body: &[u8],
        (inbound, principal): (&Inbound<'_>, &Principal),
        at: Timestamp,
    ) -> Result<Self, Refused> {
        let Kind { speaks, task, counts, streams, routed, files } = kind;
        // Who counts tokens needs nothing of the model, and what else is asked is not told by the catalogue.
        let needs = if plan.asks && !counts && task == Task::Chat { Needs::of(body) } else { Needs::default() };
        let sticky = plan.sticky.as_ref().and_then(|sticky| match sticky.by {
            StickyBy::Key => principal.key().map(|key| affinity::of(&key.key().bits().to_le_bytes())),
            StickyBy::User => affinity::user(body),
            StickyBy::Conversation => affinity::conversation(body),
            StickyBy::Header => inbound.header(sticky.header.as_deref()?).map(affinity::of),
        });
        let chooses = plan.has_choice();
        let expected = (chooses && plan.route_by == RouteBy::Cost).then(|| {
            let needs = if plan.asks && !counts && task == Task::Chat { needs } else { Needs::of(body) };
            (at, expected(body, speaks, needs))
        });
        let wanted = Self {
            speaks,
            task,
            counts,
            streams,
            turn,
            roll: if plan.route_by == RouteBy::Latency { worker.bits() } else { 0 },
            internal: routed.is_some(),
            sticky,
            needs,
            files,
            at,
            expected,
            application: principal.key().filter(|_| plan.may_try_again()).map(|key| key.application_name().clone()),
            input: quota::input_of(task, body),
            began: worker.shared.started,
        };
        match wanted.nobody(plan) {
            None => Ok(wanted),
            Some(Nobody::Internal) => {
                let found = routed.map_or("something", found);
                let why = format!("it holds {found}, which only internal targets may have, and this model has none");
                Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(why))
            }
            Some(Nobody::Fit(why)) => match routed.map(found) {
                None => Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(why)),
                Some(found) => {
                    let why = format!("it holds {found}, which only internal targets may have; of these, {why}");
                    Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(why))
                }
            },
        }
    }

    /// What a call that is only asked about would want.
    pub fn asked(call: &AskedCall, at: Timestamp, began: Instant) -> Self {
        let usual = || TokenUsage { input: call.needs.tokens(), output: USUAL_OUTPUT, ..TokenUsage::default() };
        let usage = call.expected.unwrap_or_else(usual);
        Self {
            speaks: call.speaks,
            task: call.task,
            counts: false,
            streams: call.streams,
            turn: 0,
            roll: 1,
            internal: call.internal,
            sticky: call.sticky,
            needs: call.needs,
            files: None,
            at,
            expected: Some((at, usage)),
            application: call.application.clone(),
            input: call.input,
            began,
        }
    }

    /// Whether there is room for another call below a limit.
    pub fn has_room(&self, quota: Option<&Arc<LiveQuota>>, now: Instant) -> bool {
        let now_ns = || now.saturating_duration_since(self.began).as_nanos() as u64;
        quota.is_none_or(|quota| quota.has_room(self.input, now_ns()))
    }

    /// Whether a target may be asked at all.
    pub fn admits(&self, target: &TargetPlan) -> bool {
        target.offers(self.task, self.speaks)
            && (!self.internal || target.internal)
            && (!self.counts || target.counts.is_some())
            // Ids are not translated.
            && self.files.as_ref().is_none_or(|files| files.key(target).is_some() && self.goes_as_it_is(target))
    }

    /// Whether a call goes to a target in the form in which it came.
    fn goes_as_it_is(&self, target: &TargetPlan) -> bool {
        match self.task {
            Task::Chat => target.speaks(self.speaks),
            _ => !target.has_own_forms(),
        }
    }

    /// How well a target is fit.
    pub fn fit(&self, target: &TargetPlan) -> Fit {
        target.abilities.fit(&self.needs)
    }

    /// Why no target of a model may have the call, where that is so.
    fn nobody(&self, plan: &ModelPlan) -> Option<Nobody> {
        let all = || plan.targets.iter().filter(|target| !self.internal || target.internal);
        if all().any(|target| self.fit(target) != Fit::Unfit) {
            return None;
        }
        if all().next().is_none() {
            return Some(Nobody::Internal);
        }
        let lacks = |target: &TargetPlan| target.abilities.lacks(&self.needs);
        // What is missing everywhere; where that is nothing, what is missing here and there.
        let everywhere = all().map(lacks).reduce(Capabilities::and).unwrap_or_default();
        let anywhere = all().map(lacks).fold(Capabilities::default(), Capabilities::or);
        let missing = if everywhere.is_empty() { anywhere } else { everywhere };
        let words = missing.words();
        Some(Nobody::Fit(format!("no target of this model can do what the call asks for: {words}")))
    }
}

/// What a call is expected to use.
pub(super) fn expected(body: &[u8], speaks: Dialect, needs: Needs) -> TokenUsage {
    let output = Bound::of(body, keeps(speaks), USUAL_OUTPUT).output.min(USUAL_OUTPUT);
    TokenUsage { input: needs.tokens(), output, ..TokenUsage::default() }
}

/// Why nobody may have a call.
enum Nobody {
    /// There is no internal target.
    Internal,
    /// None is fit.
    Fit(String),
}

/// The field for the limit of an answer in a caller's dialect.
const fn keeps(speaks: Dialect) -> Keeps {
    match speaks {
        Dialect::OpenAi => Keeps::MaxCompletionTokens,
        Dialect::Responses => Keeps::MaxOutputTokens,
        Dialect::Anthropic => Keeps::MaxTokens,
        Dialect::Gemini => Keeps::GenerationConfig,
        Dialect::Bedrock => Keeps::InferenceConfig,
        Dialect::Replicate => Keeps::Nothing,
    }
}

/// What was found, in words for whoever calls.
const fn found(routed: Routed) -> &'static str {
    let detect = match routed {
        Routed::Unseen => return "images, sound or files, unseen by its guardrails",
        Routed::Found(detect) => detect,
    };
    match detect {
        Detect::PersonalData => "personal data",
        Detect::Secrets => "a secret",
        Detect::Jailbreak => "signs of an attempt to talk the model out of its rules",
        Detect::Words
        | Detect::Pattern
        | Detect::JsonSchema
        | Detect::Moderation
        | Detect::Topics
        | Detect::Webhook => "something",
        Detect::Size => "much text",
    }
}
