//! What becomes of a file or a batch once it is there.

use super::{Asking, Place, Refused, checks, invalid, is_success, places::is_of_batches, unusable};
use crate::{
    conn::{AnswerFraming, Caller},
    http1::{body::Decoder, head::Framing, tag::Tag},
    pipeline::{
        answer::{self, Filled, fill, flush, push_own_fields, request_idle},
        forward::UpstreamResponse,
        guard::answered::AnswerGuard,
        guardrail,
        record::Recording,
        translate::UpstreamBody,
    },
};
use credentialflow_llm::{
    batch::{
        answers::{Lines, judged, renamed, withheld},
        object::{self, OUTPUT, deleted, files_of, is_pending, told},
    },
    guardrail::{Guardrails, Met, answer::Answer},
};
use credentialflow_model::{
    OutcomeReason,
    objects::{ModelObject, ObjectKind, ObjectState},
};
use std::{borrow::Cow, sync::Arc};

/// Lines as their caller gets them.
struct Written<'m> {
    /// The caller's name of the model.
    model: &'m str,
    /// What judges the answers in them.
    rules: Option<Arc<Guardrails>>,
    /// What was found in them.
    met: Vec<Met>,
    out: Vec<u8>,
}

impl Written<'_> {
    /// Writes the next one; where its answer is not to be had, one that says why.
    fn line(&mut self, line: &[u8]) {
        let judged = match Answer::of(self.rules.as_ref(), None) {
            None => Cow::Borrowed(line),
            Some(mut answer) => {
                let judged = judged(line, |body| answer.whole(body));
                answer.news().into_iter().flatten().cloned().for_each(|met| met.add(&mut self.met));
                Cow::Owned(judged.unwrap_or_else(|stop| withheld(line, &guardrail::stopped(stop).1)))
            }
        };
        self.out.extend_from_slice(&renamed(&judged, self.model));
        self.out.push(b'\n');
    }
}

impl Asking<'_, '_> {
    /// `GET /v1/files/{id}`: what is kept here.
    pub async fn file<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let file = self.of_kind(self.kind).await?;
        if file.kind == ObjectKind::GeminiFile {
            return self.gemini_file(file, caller, record).await;
        }
        if is_of_batches(&file) {
            self.model(&file.facts.model, record)?;
        }
        if file.kind == ObjectKind::File && is_pending(&file.body) {
            return self.pending(file, caller, record).await;
        }
        self.answer((200, file.body.into_bytes()), caller, record).await
    }

    /// Of a file that was not ready, what its provider tells now.
    async fn pending<C: Caller>(
        &self,
        file: ModelObject,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let place = self.place_of(&file, record)?;
        let (status, answer) = self.ask(place, format!("/files/{}", file.upstream_id), caller, record).await?;
        if !is_success(status) {
            return self.answer((status, answer), caller, record).await;
        }
        let now = object::file(&answer, file.kind, &file.id).filter(|now| now.id == file.upstream_id);
        self.answer((200, now.ok_or_else(unusable)?.told.into_bytes()), caller, record).await
    }

    /// What the path names, which is one of these.
    pub(super) async fn of_kind(&self, kind: ObjectKind) -> Result<ModelObject, Refused> {
        let object = self.named().await?;
        match object.kind == kind && object.state != ObjectState::Asked {
            true => Ok(object),
            false => Err(Refused::new(OutcomeReason::ObjectNotFound)),
        }
    }

    /// A batch, as its provider tells of it now.
    pub async fn batch<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let batch = self.of_kind(self.kind).await?;
        if batch.state != ObjectState::Runs {
            self.model(&batch.facts.model, record)?;
            return self.answer((200, batch.body.into_bytes()), caller, record).await;
        }
        let path = format!("{}/{}", self.batches(), batch.upstream_id);
        self.follow(batch, path, caller, record).await
    }

    /// Asks the provider to stop a batch.
    pub async fn cancel<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let batch = self.of_kind(self.kind).await?;
        let path = format!("{}/{}/cancel", self.batches(), batch.upstream_id);
        self.follow(batch, path, caller, record).await
    }

    const fn batches(&self) -> &'static str {
        if self.route.is_of_messages() { "/messages/batches" } else { "/batches" }
    }

    /// Asks the provider something about a batch that it answers with the batch.
    async fn follow<C: Caller>(
        &self,
        mut batch: ModelObject,
        path: String,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let place = self.place_of(&batch, record)?;
        let (status, answer) = self.ask(place, path, caller, record).await?;
        if !is_success(status) {
            return self.answer((status, answer), caller, record).await;
        }
        let (body, seen) = told(&batch, &answer).ok_or_else(unusable)?;
        // What is kept already is not written again: callers may ask as often as they like.
        let is_news = batch.body != body;
        batch.body = body.clone();
        if batch.state == ObjectState::Runs && is_news {
            let files = files_of(&batch, &seen);
            self.kept(self.keeper.saw(batch, files, seen.is_over)).await?;
        }
        self.answer((status, body.into_bytes()), caller, record).await
    }

    /// Deletes a file, or a batch of Messages that is over.
    pub async fn delete<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let object = self.of_kind(self.kind).await?;
        let of_batch = (object.purpose == OUTPUT)
            .then(|| object.id.strip_prefix("file-")?.rsplit_once('-'))
            .flatten()
            .map(|(own, _)| format!("batch_{own}"));
        let batch = match of_batch {
            None => None,
            Some(id) => self.kept(self.keeper.find(&self.application, &id)).await?,
        };
        let waits = |state| matches!(state, ObjectState::Asked | ObjectState::Runs | ObjectState::Billed);
        if waits(object.state) || batch.is_some_and(|batch| waits(batch.state)) {
            return Err(invalid(
                "what it cost is not settled yet, for which its answers are read; try again in a while",
            ));
        }
        let place = self.place_of(&object, record)?;
        let there = match object.kind {
            // It stands in the name of its file.
            ObjectKind::GeminiFile => "",
            kind if kind.is_file() => "/files",
            _ => self.batches(),
        };
        let path = format!("{there}/{}", object.upstream_id);
        let (status, answer) = self.ask(place, path, caller, record).await?;
        if !is_success(status) && status != 404 {
            return self.answer((status, answer), caller, record).await;
        }
        self.kept(self.keeper.forget(&object.id)).await?;
        let gone = deleted(object.kind, &object.id);
        self.answer((200, gone.to_string().into_bytes()), caller, record).await
    }

    /// The lines of a file of a batch, or of the results of one, with the caller's name of the model in them; any other file
    /// as it is.
    pub async fn content<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let object = self.of_kind(self.kind).await?;
        let place = self.place_of(&object, record)?;
        if !is_of_batches(&object) {
            return self.as_it_is(place, &object, caller, record).await;
        }
        let has_answers = object.kind == ObjectKind::MessageBatch || object.purpose == OUTPUT;
        let rules = if has_answers { checks::of_answers(self.plan(place.model))? } else { None };
        let path = match object.kind {
            ObjectKind::File => format!("/files/{}/content", object.upstream_id),
            _ => format!("{}/{}/results", self.batches(), object.upstream_id),
        };
        let mut request = self.request(place, path, UpstreamBody::Empty, record);
        let mut response = self.send(&mut request, caller, record).await?;
        let is_coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        let head = &response.head;
        let coded = head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && is_coded(f.value.of(&response.bytes)));
        if head.status != 200 || coded {
            let answer = self.collect(&mut request, response, caller, record).await?;
            return self.answer(answer, caller, record).await;
        }
        let mut guard = AnswerGuard::of(self.view, self.parts.0, &request, true, record);
        let passes = guard.head(&mut response.bytes, record);
        guard.tell(&response.scrub, record);
        passes?;
        let written = Written { model: &object.facts.model, rules, met: Vec::new(), out: Vec::new() };
        self.relay(written, (request.upstream, response), guard, caller, record).await?;
        record.usage(self.view, &mut request);
        Ok(())
    }

    /// A file that is no batch's, as its provider gives it.
    async fn as_it_is<C: Caller>(
        &self,
        place: Place,
        file: &ModelObject,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let path = format!("/files/{}/content", file.upstream_id);
        let mut request = self.request(place, path, UpstreamBody::Empty, record);
        let response = self.send(&mut request, caller, record).await?;
        request.answered();
        let (worker, view, control, inbound) = (self.worker, self.view, self.control, self.inbound);
        answer::relay(worker, view, control, inbound, self.parts, &mut request, response, caller, record).await
    }

    /// Passes lines on, as they come.
    async fn relay<C: Caller>(
        &self,
        mut written: Written<'_>,
        (upstream, response): (u32, UpstreamResponse),
        mut guard: AnswerGuard<'_>,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let UpstreamResponse { head, mut connection, endpoint, mut scrub, sent, _in_use, .. } = response;
        let framing = head.framing(false);
        let mut fields = b"content-type: application/x-jsonlines\r\n".to_vec();
        push_own_fields(&mut fields, record);
        caller.settle();
        caller.begin(200, &fields, AnswerFraming::Streamed);
        record.answered(200);
        let (mut decoder, mut lines) = (Decoder::new(framing), Lines::default());
        let mut kept = self.worker.budget.nothing();
        let (mut bytes_out, idle) = (0u64, request_idle(self.view, upstream));
        loop {
            let (step, framed) = decoder.gather(connection.buffer.filled_mut());
            let payload = &connection.buffer.filled()[step.payload];
            let mut clean = Vec::with_capacity(payload.len());
            scrub.feed(payload, &mut |b: &[u8]| guard.feed(b, &mut |b: &[u8]| clean.extend_from_slice(b)));
            connection.buffer.consume(step.consumed);
            let is_over = framed.is_ok() && decoder.is_done();
            if is_over {
                scrub.finish(&mut |b: &[u8]| guard.feed(b, &mut |b: &[u8]| clean.extend_from_slice(b)));
                guard.finish(&mut |b: &[u8]| clean.extend_from_slice(b));
            }
            guard.tell(&scrub, record);
            let before = written.met.len();
            let mut write = |line: &[u8]| written.line(line);
            let fits = lines.feed(&clean, &mut write).is_ok();
            if is_over {
                lines.finish(&mut write);
            }
            if written.met.len() != before || (is_over && before != 0) {
                record.guardrails_of_answer(&guardrail::told(&written.met, guardrail::ANSWER));
            }
            bytes_out += written.out.len() as u64;
            if !written.out.is_empty() {
                caller.payload(&written.out);
                written.out.clear();
            }
            record.bytes_out(bytes_out);
            if framed.is_err() || !fits {
                let _ = flush(self.control, self.worker, caller).await;
                return Err(Refused::new(OutcomeReason::UpstreamMalformed));
            }
            kept.set(lines.held() as u64).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
            if is_over {
                break;
            }
            flush(self.control, self.worker, caller).await?;
            record.first_byte();
            self.control.set_deadline(self.worker.tick_in(idle));
            match fill(self.control, &mut connection, caller, &mut None, record).await? {
                Filled::Bytes(0) if decoder.may_end_here() => {
                    decoder = Decoder::new(Framing::None);
                }
                Filled::Bytes(0) => return Err(Refused::new(OutcomeReason::UpstreamTruncated)),
                Filled::Nothing => return Err(Refused::new(OutcomeReason::UpstreamStalled)),
                Filled::Bytes(_) | Filled::Uploading | Filled::Uploaded { .. } => {}
            }
        }
        record.upstream_done(sent);
        caller.end();
        flush(self.control, self.worker, caller).await?;
        if head.keeps_alive() && framing != Framing::UntilClose {
            endpoint.keep(connection, self.worker.pools.most, self.worker.tick());
        }
        record.served();
        Ok(())
    }
}
