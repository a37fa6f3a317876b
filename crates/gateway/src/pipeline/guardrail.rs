//! Guardrails: what stands in a call is judged before anything is made of it, and its answer as the caller gets it, in the
//! caller's own dialect.
//!
//! Who is refused is told which detector was the reason, never what it found. What nothing is found in stays byte for byte
//! as it is. What was masked in a call is known to its answer alone, and wiped with it.

pub(super) mod remote;

use super::{Refused, record::Recording, refuse};
use crate::{conn::Caller, snapshot::models::ModelPlan};
use credentialflow_llm::{
    guardrail::{
        Masks, Met, Routed,
        answer::{Answer, Frames, Stop, Stream},
        text::Unreadable,
    },
    prompt::streamed::refusal as refusal_event,
    refusal,
};
use credentialflow_model::{OutcomeReason, resource::Detect};

/// What became of a call.
#[derive(Default)]
pub(super) struct Prompt {
    /// The body to take in its place, where something was taken out of it.
    pub body: Option<Vec<u8>>,
    /// Why only internal targets may have it.
    pub routed: Option<Routed>,
    /// What was masked in it.
    pub masks: Option<Masks>,
    /// What was found, and what happened.
    met: Vec<Met>,
}

/// Judges a call to a model, and what its caller says where it does not stand as the caller's.
pub(super) fn prompt(
    plan: &ModelPlan,
    (body, unseen): (&[u8], &[String]),
    streams: bool,
    record: &mut Recording<'_>,
) -> Result<Prompt, Refused> {
    let guardrails = match &plan.guardrails {
        None => return Ok(Prompt::default()),
        // Said where the configuration was compiled.
        Some(Err(_)) => return Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
        Some(Ok(guardrails)) => guardrails,
    };
    let judged = guardrails
        .judge_with(body, unseen)
        .map_err(|e: Unreadable| Refused::new(OutcomeReason::InvalidModelCall).with_detail(e.to_string()))?;
    if judged.met.is_empty() {
        return Ok(Prompt::default());
    }
    record.guardrails(plan, streams, told(&judged.met, ""));
    match judged.blocked {
        Some(detect) => Err(Refused::new(OutcomeReason::PromptBlocked).with_detail(why(detect).into())),
        None => Ok(Prompt { routed: judged.routed(), body: judged.body, masks: judged.masks, met: judged.met }),
    }
}

/// Whether others are asked about calls to a model.
pub(super) fn asks(plan: &ModelPlan) -> bool {
    let built = plan.guardrails.as_ref().and_then(|built| built.as_ref().ok());
    built.is_some_and(|built| built.remotes().iter().any(|rule| rule.on().prompts()))
}

/// How the answer of a call is judged; `None` where nothing is looked for in it.
pub(super) fn of_answer(plan: &ModelPlan, masks: Option<Masks>) -> Option<Answer> {
    Answer::of(plan.guardrails.as_ref().and_then(|built| built.as_ref().ok()), masks)
}

/// Judges an answer that came whole.
pub(super) fn whole(answer: &mut Answer, body: Vec<u8>, record: &mut Recording<'_>) -> Result<Vec<u8>, Refused> {
    let judged = answer.whole(body);
    tell(answer, record);
    judged.map_err(|stop| {
        let (reason, detail) = stopped(stop);
        Refused::new(reason).with_detail(detail)
    })
}

/// Judges a stream of which all is there and nothing has gone yet: what may go of it, all or nothing.
pub(super) async fn said_at_once<C: Caller>(
    answer: Answer,
    said: Vec<u8>,
    in_events: bool,
    (asker, plan): (&remote::Asker<'_>, &ModelPlan),
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<Vec<u8>, Refused> {
    let (mut judging, mut goes) = (Judging::of(answer, !in_events), Vec::with_capacity(said.len()));
    judging.feed(&said, &mut |b| goes.extend_from_slice(b));
    judging.finish(&mut |b| goes.extend_from_slice(b));
    judging.tell(record);
    if judging.asks() {
        judging.ask(asker, plan, caller, record).await?;
        judging.tell(record);
        goes.extend(judging.waited().unwrap_or_default());
    }
    match judging.why_not() {
        Some((reason, detail)) => Err(Refused::new(reason).with_detail(detail)),
        None => Ok(goes),
    }
}

/// Judges a streamed answer.
pub(super) struct Judging {
    stream: Stream,
    frames: Frames,
    /// What waits for what others say, and what they said where it does not go.
    waits: Vec<u8>,
    refused: Option<Refused>,
}

impl Judging {
    /// For a stream that comes to its caller as events, or as an array.
    pub fn of(answer: Answer, is_array: bool) -> Self {
        let frames = if is_array { Frames::Array } else { Frames::Events };
        Self { stream: Stream::new(answer, frames), frames, waits: Vec::new(), refused: None }
    }

    /// Takes more of it; `out` gets what may go.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        let mut goes = Vec::with_capacity(bytes.len());
        self.stream.feed(bytes, &mut goes);
        if !goes.is_empty() {
            out(&goes);
        }
    }

    /// It is over: what waited goes, or is what stops it.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        let mut goes = Vec::new();
        self.stream.finish(&mut goes);
        if self.asks() {
            self.waits = goes;
        } else if !goes.is_empty() {
            out(&goes);
        }
    }

    /// Whether nothing more of it goes.
    pub fn is_stopped(&self) -> bool {
        self.stream.stopped().is_some()
    }

    /// Whether others are asked about it before any of it goes.
    pub fn asks(&self) -> bool {
        self.stream.asks()
    }

    /// Asks them about all of it, after its end.
    ///
    /// # Errors
    /// The call itself is over, as its caller has left.
    pub async fn ask<C: Caller>(
        &mut self,
        asker: &remote::Asker<'_>,
        plan: &ModelPlan,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        if self.is_stopped() || self.waits.is_empty() {
            return Ok(());
        }
        let judged = (self.stream.answer(), self.waits.as_slice(), self.frames == Frames::Events);
        match remote::stream(asker, plan, judged, caller, record).await {
            Ok(()) => Ok(()),
            Err(refused) if refused.reason == OutcomeReason::CallerClosed => Err(refused),
            Err(refused) => {
                self.refused = Some(refused);
                Ok(())
            }
        }
    }

    /// What waited for them and goes now.
    pub fn waited(&mut self) -> Option<Vec<u8>> {
        (self.refused.is_none() && !self.is_stopped()).then(|| std::mem::take(&mut self.waits))
    }

    /// Tells what was found since the last time.
    pub fn tell(&mut self, record: &mut Recording<'_>) {
        tell(self.stream.answer(), record);
    }

    /// Why it does not go on, or does not go at all.
    fn why_not(&self) -> Option<(OutcomeReason, String)> {
        match &self.refused {
            Some(refused) => Some((refused.reason, refused.detail().unwrap_or_default().to_owned())),
            None => self.stream.stopped().map(stopped),
        }
    }

    /// Ends a stream that was stopped with an error. Why it was.
    pub fn refuse(&self, record: &Recording<'_>, out: &mut impl FnMut(&[u8])) -> Option<OutcomeReason> {
        let (reason, detail) = self.why_not()?;
        let Some(dialect) = record.dialect() else {
            // Of an endpoint of our own.
            let refused = Refused::new(reason).with_detail(detail);
            out(&refusal_event(&refuse::problem(&refused, record)));
            return Some(reason);
        };
        let mut event = Vec::with_capacity(512);
        // What waits for others is counted there as if it had gone.
        let gone = if self.stream.asks() { 0 } else { self.stream.gone() };
        refusal::event((dialect, self.frames), reason, record.request_id(), Some(&detail), gone, &mut event);
        out(&event);
        Some(reason)
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.stream.held() + self.waits.capacity()
    }
}

fn tell(answer: &mut Answer, record: &mut Recording<'_>) {
    if let Some(met) = answer.news() {
        record.guardrails_of_answer(&told(met, ANSWER));
    }
}

/// What stands before what was found in an answer.
pub(super) const ANSWER: &str = "answer/";

/// What was found and what happened, as the record says it.
pub(super) fn told(met: &[Met], place: &str) -> String {
    let one = |Met { set, detect, action, label, count }: &Met| {
        let times = if *count > 1 { format!(":{count}") } else { String::new() };
        let set = set.as_ref().map(|set| format!("{set}:")).unwrap_or_default();
        let label = label.as_ref().map(|label| format!(".{label}")).unwrap_or_default();
        format!("{place}{set}{}{label}/{}{times}", detect.as_str(), action.as_str())
    };
    met.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Why an answer does not go on, as its caller is told.
pub(super) fn stopped(stop: Stop) -> (OutcomeReason, String) {
    match stop {
        Stop::Blocked(detect) => (OutcomeReason::AnswerBlocked, why(detect).into()),
        Stop::Unreadable(why @ (Unreadable::Json | Unreadable::Encoding)) => {
            let detail = format!("this model's guardrails cannot look at the provider's answer: {why}");
            (OutcomeReason::UpstreamMalformed, detail)
        }
        Stop::Unreadable(why) => (OutcomeReason::AnswerBlocked, why.to_string()),
    }
}

pub(super) const fn why(detect: Detect) -> &'static str {
    match detect {
        Detect::PersonalData => "it holds personal data",
        Detect::Secrets => "it holds a secret",
        Detect::Jailbreak => "it looks like an attempt to talk the model out of its rules",
        Detect::Words => "it holds a word that is not allowed",
        Detect::Pattern => "it holds something that is not allowed",
        Detect::Size => "it is too long",
        Detect::JsonSchema => "it is not JSON of the form that is asked for",
        Detect::Moderation => "a moderation service found in it what is not allowed",
        Detect::Topics => "it is about something that is not talked about here",
        Detect::Webhook => "a service that was asked about it did not allow it",
    }
}
