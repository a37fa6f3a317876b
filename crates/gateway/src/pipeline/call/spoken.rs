//! A call as its caller said it, in whatever dialect.

use super::build::recipient;
use crate::{
    conn::Caller,
    pipeline::{
        Refused,
        guardrail::{self, Prompt, remote::Asker},
        record::Recording,
        route::RouteMatch,
        translate::UpstreamBody,
    },
    snapshot::{
        RouteKind,
        models::{ModelPlan, TargetPlan},
    },
};
use credentialflow_llm::{
    ChatCall,
    gemini::request::{Action, Asked, Frames, GeminiCall},
    provider::{Counting, Dialect},
    realtime::{
        Names, Protocol,
        gemini::{self, Live, Version},
        openai,
    },
    task::{Task, call::TaskCall, units::Size},
    translate::{self, Translation, Untranslatable},
};
use credentialflow_model::OutcomeReason;

/// A call as its caller said it.
pub(super) enum Spoken<'p> {
    /// One that names its model in its body.
    Named(ChatCall),
    /// One that names it in its path.
    Placed { asked: Asked<'p>, frames: Frames, call: GeminiCall },
    /// One that is no conversation.
    Task { task: Task, call: TaskCall },
    /// A session, of which its address names the model.
    Session(openai::Asked),
    /// One of which its first message does; `at`: the place of the one target that can take it up again.
    Live { model: String, version: Version, at: Option<u64> },
}

impl<'p> Spoken<'p> {
    pub fn read(kind: RouteKind, matched: &'p RouteMatch<'_>, body: &[u8]) -> Result<Self, Refused> {
        let refused = |why: String| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why);
        if let RouteKind::Task(task) = kind {
            let call = TaskCall::parse(task, matched.content_type, body).map_err(|e| refused(e.to_string()))?;
            return Ok(Self::Task { task, call });
        }
        if kind == RouteKind::Realtime {
            return openai::Asked::of_query(matched.query).map(Self::Session).map_err(|e| refused(e.to_string()));
        }
        if let RouteKind::Live(version) = kind {
            let text = std::str::from_utf8(body).unwrap_or_default();
            let said = Live::default().said(text).map_err(|e| refused(e.to_string()))?;
            let model = said.named_as(Names::Session).map(gemini::model).unwrap_or_default().to_owned();
            return Ok(Self::Live { model, version, at: None });
        }
        if kind != RouteKind::Gemini {
            return ChatCall::parse(body).map(Self::Named).map_err(|e| refused(e.to_string()));
        }
        let asked = matched.path.rsplit('/').next().and_then(Asked::parse).ok_or_else(|| {
            let actions =
                "`generateContent`, `streamGenerateContent`, `countTokens`, `embedContent`, `batchEmbedContents`";
            refused(format!("the path asks for none of {actions}"))
        })?;
        let call = GeminiCall::parse(body, asked.model).map_err(|e| refused(e.to_string()))?;
        Ok(Self::Placed { asked, frames: Frames::of_query(matched.query), call })
    }

    pub fn model(&self) -> &str {
        match self {
            Self::Named(call) => call.model(),
            Self::Placed { asked, .. } => asked.model,
            Self::Task { call, .. } => call.model(),
            Self::Session(asked) => &asked.model,
            Self::Live { model, .. } => model,
        }
    }

    pub const fn task(&self) -> Task {
        match self {
            Self::Named(_) => Task::Chat,
            Self::Placed { asked, .. } => asked.action.task(),
            Self::Task { task, .. } => *task,
            Self::Session(_) | Self::Live { .. } => Task::Realtime,
        }
    }

    pub fn size(&self) -> Size {
        match self {
            Self::Named(_) | Self::Placed { .. } | Self::Session(_) | Self::Live { .. } => Size::default(),
            Self::Task { call, .. } => call.size(),
        }
    }

    pub fn streams(&self) -> bool {
        match self {
            Self::Named(call) => call.stream(),
            Self::Placed { asked, .. } => asked.action == Action::Stream,
            Self::Task { call, .. } => call.streams(),
            Self::Session(_) | Self::Live { .. } => false,
        }
    }

    pub fn counts(&self, kind: RouteKind) -> bool {
        match self {
            Self::Named(_) => matches!(kind, RouteKind::CountTokens | RouteKind::InputTokens),
            Self::Placed { asked, .. } => asked.action == Action::CountTokens,
            Self::Task { .. } | Self::Session(_) | Self::Live { .. } => false,
        }
    }

    /// The body for a target that speaks otherwise. With `by`, only the tokens are to be counted.
    pub fn translated(
        &self,
        body: &[u8],
        speaks: Dialect,
        (target, by): (&TargetPlan, Option<Counting>),
        record: &Recording<'_>,
    ) -> Result<(Vec<u8>, Translation), Untranslatable> {
        if let Some(by) = by {
            return translate::count::request(body, speaks, &recipient(target), by);
        }
        match self {
            Self::Named(_) => translate::request(body, speaks, &recipient(target), record.time()),
            Self::Placed { frames, .. } => {
                let frames = self.streams().then_some(*frames);
                translate::gemini_request(body, frames, &recipient(target), record.time())
            }
            // A session is never translated.
            Self::Task { .. } | Self::Session(_) | Self::Live { .. } => {
                translate::task::request(self.task(), body, &recipient(target))
            }
        }
    }

    /// The body for a target that speaks as the caller does.
    pub fn rewritten(&self, body: &[u8], kind: RouteKind, target: &TargetPlan) -> Vec<u8> {
        match self {
            Self::Named(call) => {
                let ask_usage = target.ask_usage && matches!(kind, RouteKind::Chat | RouteKind::Prompt { .. });
                call.rewrite(body, &target.provider_model, ask_usage).into_owned()
            }
            Self::Placed { call, .. } => call.rewrite(body, &target.provider_model).into_owned(),
            Self::Task { call, .. } => call.rewrite(body, &target.provider_model).into_owned(),
            Self::Session(_) | Self::Live { .. } => Vec::new(),
        }
    }

    /// Whether a usage event that the caller did not ask for is to be taken out.
    pub fn drops_usage(&self, target: &TargetPlan) -> bool {
        match self {
            Self::Named(call) => call.will_ask(target.ask_usage),
            Self::Placed { .. } | Self::Task { .. } | Self::Session(_) | Self::Live { .. } => false,
        }
    }

    /// Whether it goes to this target, which offers what it asks, as it is.
    pub fn passes(&self, speaks: Dialect, target: &TargetPlan) -> bool {
        match self {
            Self::Named(_) | Self::Placed { .. } => target.speaks(speaks),
            Self::Task { .. } => !target.has_own_forms(),
            Self::Session(_) => true,
            Self::Live { at, .. } => target.speaks(speaks) && at.is_none_or(|at| target.place == at),
        }
    }

    /// What is sent of it.
    pub fn sent(&self, body: Vec<u8>) -> UpstreamBody {
        match self {
            Self::Session(_) | Self::Live { .. } => UpstreamBody::Empty,
            _ => UpstreamBody::Buffered(body),
        }
    }

    /// Refuses what the model's guardrails cannot look at.
    pub fn is_judged(&self, plan: &ModelPlan) -> Result<(), Refused> {
        match self {
            Self::Task { call, .. } if plan.guardrails.is_some() && call.is_of_tokens() => Err(Refused::new(
                OutcomeReason::InvalidModelCall,
            )
            .with_detail("this model's guardrails look at texts, not at the numbers of tokens; send texts".into())),
            _ => Ok(()),
        }
    }

    /// What the model's guardrails make of its texts, as [`guardrail::prompt`]; others are asked last.
    pub async fn judged<C: Caller>(
        &self,
        plan: &ModelPlan,
        (body, unseen): (&[u8], &[String]),
        (asker, caller): (&Asker<'_>, &mut C),
        record: &mut Recording<'_>,
    ) -> Result<Prompt, Refused> {
        let Self::Task { call, .. } = self else {
            return judged(plan, (body, unseen, self.streams()), (asker, caller), record).await;
        };
        self.is_judged(plan)?;
        let Some(texts) = call.texts(body) else {
            return judged(plan, (body, unseen, call.streams()), (asker, caller), record).await;
        };
        let mut judged = judged(plan, (&texts, unseen, call.streams()), (asker, caller), record).await?;
        if let Some(changed) = judged.body {
            judged.body = Some(call.with_texts(body, &changed).ok_or(Refused::new(OutcomeReason::Internal))?);
        }
        Ok(judged)
    }
}

/// What a model's guardrails make of texts: those that are judged here, and then those that others are asked for.
async fn judged<C: Caller>(
    plan: &ModelPlan,
    (body, unseen, streams): (&[u8], &[String], bool),
    (asker, caller): (&Asker<'_>, &mut C),
    record: &mut Recording<'_>,
) -> Result<Prompt, Refused> {
    let judged = guardrail::prompt(plan, (body, unseen), streams, record)?;
    match guardrail::asks(plan) {
        // Boxed, as it would make the future of every request larger.
        true => Box::pin(guardrail::remote::prompt(asker, plan, (judged, body, unseen, streams), caller, record)).await,
        false => Ok(judged),
    }
}
