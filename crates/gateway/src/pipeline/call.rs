//! A model call: which target serves it, what is sent there, and what is read from the answer.
//!
//! Where caller and target speak the same dialect, bytes pass and only the model's name is spliced; else the call is
//! translated, and so is its answer.

mod build;
mod dry;
mod next;
mod prepare;
mod spoken;

pub(crate) use dry::decide;
pub(super) use next::{Beside, at_place_of, may_be_working, move_on, those};
pub(super) use prepare::{of_live, of_question, of_session, prepare};

use super::{cache::Cached, fallback::Elsewhere, prediction::Running, select::bit, usage::UsageProbe};
use crate::{
    budget::Charge,
    snapshot::models::TargetPlan,
    worker::{View, Worker},
};
use credentialflow_llm::{
    guardrail::answer::Answer,
    provider::Dialect,
    task::{Task, units::Size},
    translate::Translation,
};
use std::borrow::Cow;

/// A model call on its way.
pub(crate) struct ModelCall {
    /// The model in the snapshot.
    pub model: u32,
    /// Its target.
    pub target: u32,
    /// Which of the target's own credentials, if it has any.
    pub key: u32,
    /// What is asked.
    pub task: Task,
    /// How much of it, where it is no conversation.
    pub size: Size,
    /// Whether its answer is to be a stream.
    pub streams: bool,
    /// What the call that goes there is in.
    pub dialect: Dialect,
    /// Where it goes below the endpoint's base.
    pub path: Cow<'static, str>,
    /// Whether the caller's query goes along.
    pub query: bool,
    /// The query that goes along else.
    pub own_query: Option<Cow<'static, str>>,
    /// Finds usage in the answer.
    pub usage: UsageProbe,
    /// Puts the answer into the caller's dialect, where the target speaks another.
    pub translation: Option<Translation>,
    /// Judges the answer, where anything is looked for in it.
    pub answer: Option<Box<Answer>>,
    /// What another target needs, where there is one.
    pub elsewhere: Option<Box<Elsewhere>>,
    /// What the model's cache has to do with it, where it has one.
    pub cached: Option<Box<Cached>>,
    /// What was made of it at the provider, where something of that is still to be done when the answer is over.
    pub running: Option<Box<Running>>,
    /// The memory of the body, which is kept until the answer begins.
    held: Charge,
}

impl ModelCall {
    /// One about what a target keeps, which costs nothing itself, and whose answer is none of a model.
    pub fn free(
        (model, target, key): (u32, u32, u32),
        task: Task,
        dialect: Dialect,
        path: String,
        worker: &Worker,
    ) -> Self {
        Self {
            model,
            target,
            key,
            task,
            size: Size::default(),
            streams: false,
            dialect,
            path: path.into(),
            query: false,
            own_query: None,
            usage: UsageProbe::Free,
            translation: None,
            answer: None,
            elsewhere: None,
            cached: None,
            running: None,
            held: worker.budget.nothing(),
        }
    }

    /// Its answer has begun: neither it nor what was kept for another target is sent again.
    pub fn answered(&mut self) {
        self.elsewhere = None;
        // Less than before is always there.
        let _ = self.held.set(0);
    }

    /// The targets that were tried, the present one among them.
    pub fn tried(&self) -> Option<u64> {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.targets | bit(self.target))
    }

    /// Its target's plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v TargetPlan {
        &view.snapshot.models.list[self.model as usize].targets[self.target as usize]
    }
}
