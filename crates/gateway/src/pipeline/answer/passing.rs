//! What the bytes of an answer pass through on their way to the caller.

use crate::{
    budget::Charge,
    pipeline::{
        guard::answered::AnswerGuard,
        guardrail::Judging,
        mcp,
        record::Recording,
        scrub::Scrub,
        usage::{Told, UsageProbe},
    },
};
use credentialflow_llm::{
    translate::{StreamFailure, Translator},
    unframed::Unframed,
};
use credentialflow_model::OutcomeReason;

/// What a body passes through.
pub(super) struct Passing<'a> {
    pub scrub: Scrub,
    /// Looks for other secrets of ours.
    pub guard: AnswerGuard<'a>,
    pub usage: Option<&'a mut UsageProbe>,
    /// Takes a stream out of its frames.
    pub unframed: Unframed,
    /// Puts a stream into the caller's dialect.
    pub translator: Option<Translator>,
    /// Judges a stream, as its caller gets it.
    pub judge: Option<Judging>,
    /// Goes over the events of an MCP server.
    pub events: Option<mcp::Events<'a>>,
    /// The tokens that were recorded already.
    pub counted: Option<Told>,
    /// What is kept of a model's answer to find its usage.
    pub kept: Charge,
}

impl Passing<'_> {
    /// Whether there is memory for what is kept.
    pub fn fits(&mut self) -> bool {
        let held = self.usage.as_ref().map_or(0, |usage| usage.held());
        let translating = self.translator.as_ref().map_or(0, Translator::held) + self.unframed.held();
        let translating = translating + self.judge.as_ref().map_or(0, Judging::held);
        let translating = translating + self.events.as_ref().map_or(0, mcp::Events::held);
        self.kept.set((held + translating) as u64).is_ok()
    }

    /// The tokens reported so far, of a stream; once.
    pub fn counted(&mut self) -> Option<Told> {
        let told = self.usage.as_ref()?.so_far().filter(|told| self.counted != Some(*told))?;
        self.counted = Some(told);
        Some(told)
    }

    /// Whether bytes may be taken out, so that an announced length would be wrong.
    pub fn may_shorten(&self) -> bool {
        matches!(self.usage, Some(UsageProbe::Stream(_)))
    }

    /// Tells what was found in it since the last time.
    pub fn tell(&mut self, record: &mut Recording<'_>) {
        self.guard.tell(&self.scrub, record);
        if let Some(judge) = &mut self.judge {
            judge.tell(record);
        }
        // Now, not at the end: a client of an MCP server leaves once it has its answer.
        self.tell_mcp(record);
    }

    /// Whether a stream that passes as it is and ended here is not all of one.
    pub fn is_cut(&self) -> bool {
        let reads_on = self.translator.is_some() || self.judge.is_some();
        !reads_on && self.usage.as_ref().is_some_and(|usage| usage.lacks_its_end())
    }

    /// Whether nothing more of it goes.
    pub fn is_stopped(&self) -> bool {
        self.judge.as_ref().is_some_and(Judging::is_stopped)
    }

    /// Whether an event of an MCP server could not be read.
    pub fn is_unreadable(&self) -> bool {
        self.events.as_ref().is_some_and(mcp::Events::has_failed)
    }

    /// Tells how an MCP server answered.
    pub fn tell_mcp(&self, record: &mut Recording<'_>) {
        if let Some(events) = &self.events {
            events.tell(record);
        }
    }

    pub fn feed(&mut self, payload: &[u8], out: &mut impl FnMut(&[u8])) {
        if let Some(mut events) = self.events.take() {
            self.pass(payload, &mut |b: &[u8]| events.feed(b, out));
            self.events = Some(events);
            return;
        }
        match self.judge.take() {
            None => self.pass(payload, out),
            Some(mut judge) => {
                self.pass(payload, &mut |b: &[u8]| judge.feed(b, out));
                self.judge = Some(judge);
            }
        }
    }

    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        if let Some(mut events) = self.events.take() {
            self.end(&mut |b: &[u8]| events.feed(b, out));
            events.finish(out);
            self.events = Some(events);
            return;
        }
        match self.judge.take() {
            None => self.end(out),
            Some(mut judge) => {
                self.end(&mut |b: &[u8]| judge.feed(b, out));
                judge.finish(out);
                self.judge = Some(judge);
            }
        }
    }

    pub fn pass(&mut self, payload: &[u8], out: &mut impl FnMut(&[u8])) {
        if payload.is_empty() {
            return;
        }
        let Self { scrub, guard, usage, translator, .. } = self;
        match usage {
            Some(UsageProbe::Stream(usage)) if usage.drops() => {
                return usage.feed(payload, &mut |b| scrub.feed(b, &mut |b: &[u8]| guard.feed(b, out)));
            }
            Some(UsageProbe::Stream(usage)) => usage.inspect(payload),
            Some(UsageProbe::MessageStream(usage)) => usage.inspect(payload),
            Some(UsageProbe::ResponseStream(usage)) => usage.inspect(payload),
            Some(UsageProbe::Answer(usage)) => usage.feed(payload),
            Some(UsageProbe::Message(usage)) => usage.feed(payload),
            Some(UsageProbe::Response(usage)) => usage.feed(payload),
            Some(UsageProbe::GeminiStream(usage)) => usage.inspect(payload),
            Some(UsageProbe::Gemini(usage)) => usage.feed(payload),
            Some(UsageProbe::ConverseStream(usage)) => usage.inspect(payload),
            Some(UsageProbe::Converse(usage)) => usage.feed(payload),
            Some(UsageProbe::Task(usage)) => usage.feed(payload),
            Some(UsageProbe::Free | UsageProbe::Prediction(_) | UsageProbe::Gathered(_)) | None => {}
        }
        match translator {
            None => scrub.feed(payload, &mut |b: &[u8]| guard.feed(b, out)),
            Some(translator) => {
                let mut said = Vec::with_capacity(payload.len());
                let mut translate = |b: &[u8]| translator.feed(b, &mut said);
                scrub.feed(payload, &mut |b: &[u8]| guard.feed(b, &mut translate));
                give(&said, out);
            }
        }
    }

    pub fn end(&mut self, out: &mut impl FnMut(&[u8])) {
        let Self { scrub, guard, usage, translator, .. } = self;
        match usage {
            Some(UsageProbe::Stream(usage)) => {
                // What is translated was looked at only: nothing is held back from it.
                let passes = translator.is_none();
                usage.finish(&mut |b| {
                    if passes {
                        scrub.feed(b, &mut |b: &[u8]| guard.feed(b, out));
                    }
                });
            }
            Some(UsageProbe::MessageStream(usage)) => usage.finish(),
            Some(UsageProbe::ResponseStream(usage)) => usage.finish(),
            Some(UsageProbe::GeminiStream(usage)) => usage.finish(),
            Some(UsageProbe::ConverseStream(usage)) => usage.finish(),
            Some(UsageProbe::Task(usage)) => usage.finish(),
            _ => {}
        }
        match translator {
            None => {
                scrub.finish(&mut |b: &[u8]| guard.feed(b, out));
                guard.finish(out);
            }
            Some(translator) => {
                let mut said = Vec::new();
                let mut translate = |b: &[u8]| translator.feed(b, &mut said);
                scrub.finish(&mut |b: &[u8]| guard.feed(b, &mut translate));
                guard.finish(&mut translate);
                translator.finish(&mut said);
                give(&said, out);
            }
        }
    }

    /// The body has ended before its end. A stream that is translated says so; anything else just ends there. What is said
    /// then tells what came once more: it is judged as all that came before.
    pub fn cut(&mut self, out: &mut impl FnMut(&[u8])) {
        let mut said = Vec::new();
        if let Some(translator) = &mut self.translator {
            translator.cut(&mut said);
        }
        match &mut self.judge {
            Some(judge) => {
                judge.feed(&said, out);
                judge.finish(out);
            }
            None => give(&said, out),
        }
    }

    /// Why a stream was ended with an error, although all of the body came.
    pub fn failure(&self) -> Option<OutcomeReason> {
        if self.is_unreadable() {
            return Some(OutcomeReason::UpstreamMalformed);
        }
        if self.events.as_ref().is_some_and(mcp::Events::is_withheld) {
            return Some(OutcomeReason::AnswerBlocked);
        }
        Some(match self.translator.as_ref()?.failure()? {
            StreamFailure::Malformed => OutcomeReason::UpstreamMalformed,
            StreamFailure::Truncated => OutcomeReason::UpstreamTruncated,
        })
    }
}

fn give(said: &[u8], out: &mut impl FnMut(&[u8])) {
    if !said.is_empty() {
        out(said);
    }
}
