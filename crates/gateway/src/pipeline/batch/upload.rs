//! `POST /v1/files`: a file with the calls of a batch goes to a target of the model that its calls ask for, while each of
//! them is checked and written anew. No more than a line of it is held.

use super::{Asking, Place, Refused, checks, checks::Checks, invalid, is_success, takes, unusable};
use crate::{
    budget::Charge,
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{buffer::Buffer, control::Interrupt, stream::Stream},
    pipeline::{
        body,
        record::Recording,
        select,
        translate::UpstreamBody,
        wanted::{Kind, Wanted},
    },
};
use credentialflow_llm::{
    batch::{
        Asks,
        call::BatchCall,
        form::{BatchForm, InvalidUpload, Piece},
        object,
    },
    provider::Dialect,
    task::{Task, multipart},
};
use credentialflow_model::{
    OutcomeReason,
    objects::{ModelObject, ObjectKind, ObjectState},
};
use std::{
    future::poll_fn,
    task::{Context, Poll},
};

/// Bytes that are read from the caller at once.
const PIECE: usize = 64 * 1024;

impl Asking<'_, '_> {
    /// Takes a file.
    pub async fn upload<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let matched = self.parts.0;
        body::announced(self.inbound, matched.plan(self.view).max_body)?;
        let told = matched.content_type.and_then(|told| std::str::from_utf8(told).ok()).unwrap_or_default();
        let boundary = multipart::boundary(told).map_err(|why| invalid(why.to_string()))?;
        let boundary = boundary.ok_or_else(|| invalid("files are uploaded as `multipart/form-data`"))?;
        let mut rewriting = Rewriting {
            caller,
            form: BatchForm::new(boundary),
            raw: Vec::new(),
            frames: Vec::new(),
            first: None,
            checks: None,
            refused: None,
            held: self.worker.budget.nothing(),
            came: false,
        };
        let (asks, model) = rewriting.begin(self, record).await?;
        let model = self.model(&model, record)?;
        let plan = self.plan(model);
        let guardrails = checks::guardrails(plan)?;
        let place = self.choose(model, asks, record)?;
        let target = self.target(place);
        rewriting.checks = Some(Checks::new(asks, (plan, target), guardrails, record.time()));
        let body = UpstreamBody::Streamed { length: None, begun: false };
        let mut request = self.request(place, "/files".into(), body, record);
        let sent = self.send(&mut request, &mut rewriting, record).await;
        let Rewriting { caller, checks, refused, came, .. } = rewriting;
        if let Some(found) = checks.as_ref().and_then(Checks::found) {
            record.guardrails_of_calls(found);
        }
        // What is wrong with a line says more than that the body could not be read.
        let response = match refused {
            Some(refused) => return Err(refused),
            None => sent?,
        };
        let (status, answer) = self.collect(&mut request, response, caller, record).await?;
        if !is_success(status) {
            return self.answer((status, answer), caller, record).await;
        }
        let Some(checks) = checks.filter(|_| came) else {
            // It answered before it had the file, so nobody knows what it took.
            return Err(unusable());
        };
        let id = self.fresh_id(ObjectKind::File.prefix());
        let (body, upstream_id) = object::file(&answer, &id).ok_or_else(unusable)?;
        let file = ModelObject {
            id,
            kind: ObjectKind::File,
            application: self.application.to_string(),
            made: record.time(),
            state: ObjectState::There,
            purpose: object::CALLS.into(),
            upstream_id,
            body: body.clone(),
            facts: checks.facts(self.target(place), self.credential(place)),
        };
        self.kept(self.keeper.add(file)).await?;
        self.answer((200, body.into_bytes()), caller, record).await
    }

    /// The target that takes calls that ask this of a model, and the credential they go with.
    pub(super) fn choose(&self, model: u32, asks: Asks, record: &Recording<'_>) -> Result<Place, Refused> {
        let plan = self.plan(model);
        let speaks = if asks == Asks::Messages { Dialect::Anthropic } else { Dialect::OpenAi };
        let turn = self.view.model_turns[model as usize].of(speaks);
        turn.set(turn.get().wrapping_add(1));
        let kind = Kind { speaks, task: Task::Batches, counts: false, streams: false, routed: None };
        let whose = (self.inbound, self.parts.1);
        let wanted = Wanted::of(self.worker, plan, (kind, turn.get()), b"{}", whose, record.time())?;
        let target = select::target(self.view, plan, &wanted, (0, true), |target| takes(target, asks));
        let target = target.ok_or_else(|| {
            invalid(format!("no provider of this model takes batches of calls that ask {}", asks.path()))
        })?;
        let chosen = &plan.targets[target as usize];
        let mut key = 0;
        if plan.has_choice() {
            key = select::key(self.view, chosen, &wanted, (0, true)).unwrap_or(0);
            select::used(self.view, chosen, key, &wanted);
        }
        Ok(Place { model, target, key })
    }
}

/// A caller whose body is written anew while it is read.
struct Rewriting<'c, C> {
    caller: &'c mut C,
    form: BatchForm,
    raw: Vec<u8>,
    /// What goes on before the first line.
    frames: Vec<u8>,
    first: Option<String>,
    checks: Option<Checks>,
    /// Why nothing more of it goes on.
    refused: Option<Refused>,
    held: Charge,
    /// Whether all of it came.
    came: bool,
}

impl<C: Caller> Rewriting<'_, C> {
    /// Reads up to the first call: what it asks, of which model.
    async fn begin(&mut self, asking: &Asking<'_, '_>, record: &mut Recording<'_>) -> Result<(Asks, String), Refused> {
        let mut received = 0;
        loop {
            match self.form.piece().map_err(wrong)? {
                Piece::Frame(bytes) => self.frames.extend_from_slice(&bytes),
                Piece::Line(line) => {
                    let call =
                        BatchCall::of_line(&line).map_err(|why| invalid(format!("call 1 of the batch: {why}")))?;
                    let asked = (call.asks(), call.model().to_owned());
                    self.first = Some(line);
                    return Ok(asked);
                }
                Piece::End => return Err(invalid("the file has no calls")),
                Piece::More => {
                    let (worker, control) = (asking.worker, asking.control);
                    control.set_deadline(worker.tick_in(worker.shared.settings.body_timeout));
                    let read = poll_fn(|cx| self.caller.poll_body(cx, &mut self.raw, PIECE));
                    let read = control.wait(read).await;
                    control.clear_deadline();
                    received += self.raw.len() as u64;
                    record.bytes_in(received);
                    match read {
                        Ok(Ok(Received::Data)) => self.take().map_err(|()| Refused::new(OutcomeReason::Overloaded))?,
                        Ok(Ok(Received::End)) => return Err(invalid("the form is cut off")),
                        Ok(Err(error)) => return Err(body::unreadable(error)),
                        Err(Interrupt::Deadline) => return Err(Refused::new(OutcomeReason::RequestTimeout)),
                        Err(why) => return Err(body::interrupted(why, OutcomeReason::RequestTimeout)),
                    }
                }
            }
        }
    }

    /// Gives what came to the form.
    fn take(&mut self) -> Result<(), ()> {
        self.form.push(&self.raw);
        self.raw.clear();
        self.held.set((self.form.held() + self.raw.capacity()) as u64).map_err(|_| ())
    }

    /// Writes the next call.
    fn write(&mut self, line: &str, out: &mut Vec<u8>) -> Result<(), Refused> {
        let checks = self.checks.as_mut().ok_or(Refused::new(OutcomeReason::Internal))?;
        let written = checks.call(line, BatchCall::of_line)?;
        out.extend_from_slice(written.as_bytes());
        out.push(b'\n');
        Ok(())
    }

    /// Writes what is there. True: all of it came.
    fn advance(&mut self, out: &mut Vec<u8>, most: usize) -> Result<Next, Refused> {
        let before = out.len();
        out.append(&mut self.frames);
        if let Some(line) = self.first.take() {
            self.write(&line, out)?;
        }
        while out.len() - before < most {
            match self.form.piece().map_err(wrong)? {
                Piece::Frame(bytes) => out.extend_from_slice(&bytes),
                Piece::Line(line) => self.write(&line, out)?,
                Piece::More => return Ok(Next::More),
                Piece::End => return Ok(Next::End),
            }
        }
        Ok(Next::Written)
    }
}

enum Next {
    /// There may be more to write.
    Written,
    /// More has to come from the caller.
    More,
    /// The form is over.
    End,
}

fn wrong(why: InvalidUpload) -> Refused {
    invalid(why.to_string())
}

impl<C: Caller> Caller for Rewriting<'_, C> {
    fn poll_body(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>, most: usize) -> Poll<Result<Received, BodyError>> {
        let before = out.len();
        loop {
            if self.refused.is_some() {
                return Poll::Ready(Err(BodyError::Malformed));
            }
            let next = match self.advance(out, most) {
                Ok(next) => next,
                Err(refused) => {
                    self.refused = Some(refused);
                    continue;
                }
            };
            // What is there goes first; whatever is wrong behind it is met the next time.
            if out.len() > before {
                return Poll::Ready(Ok(Received::Data));
            }
            let is_over = match next {
                Next::Written => continue,
                Next::More => false,
                Next::End => true,
            };
            match self.caller.poll_body(cx, &mut self.raw, PIECE) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Received::Data)) => {
                    if self.take().is_err() {
                        self.refused = Some(Refused::new(OutcomeReason::Overloaded));
                    }
                }
                Poll::Ready(Ok(Received::End)) if is_over => {
                    self.came = true;
                    return Poll::Ready(Ok(Received::End));
                }
                Poll::Ready(Ok(Received::End)) => self.refused = Some(invalid("the form is cut off")),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.caller.poll_gone(cx)
    }
    fn settle(&mut self) {
        self.caller.settle();
    }
    fn begin(&mut self, status: u16, fields: &[u8], framing: AnswerFraming) {
        self.caller.begin(status, fields, framing);
    }
    fn payload(&mut self, bytes: &[u8]) {
        self.caller.payload(bytes);
    }
    fn end(&mut self) {
        self.caller.end();
    }
    async fn flush(&mut self) -> Result<(), AnswerError> {
        self.caller.flush().await
    }
    fn close_after(&mut self) {
        self.caller.close_after();
    }
    fn abort(&mut self) {
        self.caller.abort();
    }
    fn upgraded(&mut self) -> Option<(&mut Stream, &mut Buffer)> {
        None
    }
}
