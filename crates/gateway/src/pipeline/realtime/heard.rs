//! What a caller says in a session: looked at as the body of a call is, before it goes on.
//!
//! A model that is named must be the session's own, or one that the caller may use to write down what is heard. What
//! cannot pass is answered with an event, and the session goes on; where there is no such event, where a secret of ours or
//! sound that nobody can judge is sent, it ends.

use super::{End, Session, State, resumption, transcripts::Transcriber, turns::Asks};
use crate::{
    net::control::Control,
    pipeline::{Refused, authorize, budget, files, guardrail, record::Recording},
    snapshot::models::ModelPlan,
    ws::{self, Message},
};
use credentialflow_llm::{
    provider::Dialect,
    realtime::{Kind, Named, Names, Said, gemini as live},
    task::Task,
};
use credentialflow_model::{OutcomeReason, resource::GuardrailAction};
use credentialflow_policy::SessionOwner;
use std::borrow::Cow;

/// Kinds of things that guardrails found which a record tells.
const MOST_FOUND: usize = 32;

/// Whether a model may be talked to in a session at all: what its guardrails are to find must be findable there.
pub(super) fn admits(plan: &ModelPlan) -> Result<(), Refused> {
    let guardrails = match &plan.guardrails {
        None => return Ok(()),
        Some(Err(_)) => return Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
        Some(Ok(guardrails)) => guardrails,
    };
    let why = match plan.unjudged_realtime {
        true => return Ok(()),
        false if guardrails.reads_answers() || guardrails.asks_about_answers() => "look at answers",
        false if !guardrails.remotes().is_empty() => "ask others about each call",
        false if guardrails.masks() => "put names in the place of what they find",
        false => return Ok(()),
    };
    let detail = format!("this model's guardrails {why}, which cannot be done in a session");
    Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail))
}

impl Session<'_> {
    /// Takes a message of the caller.
    pub(super) async fn hear(
        &self,
        control: &Control,
        message: Message<'_>,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<(), End> {
        // What controls the connection has room for a secret too.
        let bytes = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) | Message::Close(bytes) => bytes,
        };
        if let Some(guard) = &mut state.said {
            let stops = guard.stops(bytes);
            let refused = guard.tell(record);
            if stops {
                let refused = refused.unwrap_or_else(|| Refused::new(OutcomeReason::SecretInRequest));
                return Err(End::Refused(refused));
            }
        }
        let text = match (message, state.event(&message)) {
            (_, Some(text)) => text,
            (Message::Close(payload), _) => return Err(End::Closed(payload.to_vec())),
            (Message::Ping(_) | Message::Pong(_), _) => {
                ws::write(&message, Some(self.mask()), &mut state.up.bytes);
                return Ok(());
            }
            (Message::Binary(_) | Message::Text(_), None) => {
                let detail = "an event is a text of JSON".to_owned();
                return Err(End::Refused(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail)));
            }
        };
        let said = match state.protocol.said(text) {
            Ok(said) => said,
            Err(why) => {
                let refused = Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.to_string());
                return self.object(refused, None, state, record);
            }
        };
        match self.judged(&said, text, state, record) {
            Ok((text, transcriber)) => {
                let asks = match said.kind {
                    Kind::Response => state.turns.ask(said.event_id.clone(), said.apart),
                    _ => Asks::Already,
                };
                if asks == Asks::TooMany {
                    let detail = "so many answers run or are asked for already; wait for one of them".to_owned();
                    let refused = Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail);
                    return self.object(refused, said.event_id.as_deref(), state, record);
                }
                transcriber.into_iter().for_each(|by| state.transcripts.name(by));
                state.turns.said(said.tokens);
                state.transcripts.said(said.kind, said.tokens);
                state.listened |= said.kind == Kind::Sound;
                if let Err(refused) = self.hold(control, state).await {
                    if asks == Asks::Anew {
                        state.turns.unask();
                    }
                    return Err(refused.into());
                }
                let passed = match message {
                    Message::Binary(_) => Message::Binary(text.as_bytes()),
                    _ => Message::Text(&text),
                };
                ws::write(&passed, Some(self.mask()), &mut state.up.bytes);
                Ok(())
            }
            Err(refused) if said.kind == Kind::Sound => Err(End::Refused(refused)),
            Err(refused) => self.object(refused, said.event_id.as_deref(), state, record),
        }
    }

    /// Tells the caller that something of what it said does not go on; where there is no event for that, this is the end.
    fn object(
        &self,
        refused: Refused,
        about: Option<&str>,
        state: &mut State<'_>,
        record: &Recording<'_>,
    ) -> Result<(), End> {
        match state.protocol.error(refused.reason, record.request_id(), refused.detail(), about) {
            Some(text) => ws::write(&Message::Text(&text), None, &mut state.down.bytes),
            None => return Err(End::Refused(refused)),
        }
        Ok(())
    }

    /// What goes on of an event, if it may, and who is to write down what is heard, where that is named.
    fn judged<'t>(
        &self,
        said: &Said,
        text: &'t str,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<(Cow<'t, str>, Option<Transcriber>), Refused> {
        let refused = |why: &str| Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.into());
        if said.nameless {
            return Err(refused("name the `model` that is to write down what is heard"));
        }
        if self.transcribes && (said.kind == Kind::Response || said.talks) {
            return Err(refused(
                "this session only writes down what is heard; start one without `intent=transcription`",
            ));
        }
        files::none(self.plan.names_stores, text.as_bytes(), self.target.dialect)?;
        if let Some(kept) = said.kept
            && state.turns.is_hard()
        {
            return Err(refused(&format!(
                "this has something that only the provider can read ({kept}), so what a session may cost cannot be known, \
                 and a budget is a hard limit; send what it stands for",
            )));
        }
        let (mut names, mut transcriber) = (Vec::with_capacity(said.named.len()), None::<Transcriber>);
        for named in &said.named {
            if named.names == Names::Resumption {
                names.push(self.resumed(&named.name, state)?.into());
                continue;
            }
            let (name, by) = self.model(named, state, record)?;
            names.push(name);
            let Some(by) = by else { continue };
            let before = transcriber.as_ref().or_else(|| state.transcripts.named());
            if before.is_some_and(|before| before.model != by.model) {
                return Err(refused("a session stays with the model that was named first to write down what is heard"));
            }
            transcriber = Some(by);
        }
        let text = said.renamed(text, &names);
        Ok((self.guarded(said, text, state, record)?, transcriber))
    }

    /// The provider's name of a model that an event names, and what is known of one that is to write down what is heard.
    fn model(
        &self,
        named: &Named,
        state: &State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<(Cow<'static, str>, Option<Transcriber>), Refused> {
        if named.names == Names::Session {
            let own = state.protocol.model_name(&self.target.provider_model);
            let name = if self.target.dialect == Dialect::Gemini { live::model(&named.name) } else { &named.name };
            if *name == *self.plan.name || *name == *self.target.provider_model {
                return Ok((own.into(), None));
            }
            let detail = "a session stays with the model that it was started for".to_owned();
            return Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail));
        }
        let unknown = || Refused::new(OutcomeReason::ModelNotFound);
        let models = &self.view.snapshot.models;
        let model = *models.by_name.get(named.name.as_str()).ok_or_else(unknown)?;
        let plan = &models.list[model as usize];
        let facts = (model, &*plan.name);
        authorize::authorize_model(self.worker, self.view, self.inbound, self.matched, self.principal, facts, record)?;
        let hears = |target: &&crate::snapshot::models::TargetPlan| {
            target.upstream == self.upstream
                && (target.tasks.has(Task::Transcriptions) || target.tasks.has(Task::Realtime))
        };
        let Some((index, target)) = (0u32..).zip(&plan.targets).find(|(_, target)| hears(target)) else {
            let detail = "the provider of this session does not serve the model that is to write down what is heard";
            return Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail.into()));
        };
        let budgets = budget::payers(self.view, self.principal, (plan, target), record)?;
        if budgets.iter().any(|budget| budget.is_hard()) && target.price.at(self.worker.now()).is_none() {
            return Err(Refused::new(OutcomeReason::PriceUnknown));
        }
        let by = Transcriber { model: plan.name.clone(), target: (model, index), budgets };
        Ok((Cow::Owned(target.provider_model.to_string()), Some(by)))
    }

    /// The provider's handle of a session that this caller's application had there before. What the model has to read of it
    /// is known to the provider alone.
    fn resumed(&self, bound: &str, state: &mut State<'_>) -> Result<String, Refused> {
        let refused = |why: &str| Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(why.into()));
        if bound.is_empty() {
            return Ok(String::new());
        }
        let owner = resumption(self.plan, self.target);
        let owner = SessionOwner { route: &owner, principal: self.principal };
        let handle = owner.open(&self.view.snapshot.api_key, bound.as_bytes());
        let Some(handle) = handle.and_then(|handle| std::str::from_utf8(handle).ok()) else {
            return refused("there is no session of this handle here");
        };
        if !state.turns.resume() {
            return refused(
                "how much a session that goes on has to read is not known, and a budget is a hard limit; tell the model's \
                 `context`, or start anew",
            );
        }
        Ok(handle.to_owned())
    }

    /// What the model's guardrails leave of an event.
    fn guarded<'t>(
        &self,
        said: &Said,
        text: Cow<'t, str>,
        state: &mut State<'_>,
        record: &mut Recording<'_>,
    ) -> Result<Cow<'t, str>, Refused> {
        let Some(Ok(guardrails)) = &self.plan.guardrails else { return Ok(text) };
        if !said.is_text || said.kept.is_some() {
            if self.plan.unjudged_realtime {
                return Ok(text);
            }
            let detail = "this model's guardrails cannot look at sound, images or what the provider keeps; send texts";
            return Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(detail.into()));
        }
        let judged = guardrails
            .judge_event(text.as_bytes())
            .map_err(|e| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
        if judged.met.is_empty() {
            return Ok(text);
        }
        for one in guardrail::told(&judged.met, "").split_whitespace() {
            if state.found.len() < MOST_FOUND && !state.found.iter().any(|found| found == one) {
                state.found.push(one.to_owned());
            }
        }
        record.guardrails_of_session(&state.found);
        let routed = judged.met.iter().find(|met| met.action == GuardrailAction::Route && !self.target.internal);
        if let Some(detect) = judged.blocked.or(routed.map(|met| met.detect)) {
            return Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(guardrail::why(detect).into()));
        }
        match judged.body.map(String::from_utf8) {
            None => Ok(text),
            Some(Ok(changed)) => Ok(Cow::Owned(changed)),
            Some(Err(_)) => Err(Refused::new(OutcomeReason::Internal)),
        }
    }
}
