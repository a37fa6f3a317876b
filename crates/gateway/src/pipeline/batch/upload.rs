//! `POST /v1/files`: a file with the calls of a batch goes to a target of the model that its calls ask for, while each of
//! them is checked and written anew; any other file goes as it is to one that keeps files. No more than a line is held.

use super::{Asking, Refused, checks, checks::Checks, invalid, is_success, unusable};
use crate::{
    budget::Charge,
    conn::{AnswerError, AnswerFraming, BodyError, Caller, Received},
    net::{buffer::Buffer, control::Interrupt, stream::Stream},
    pipeline::{body, record::Recording, translate::UpstreamBody},
};
use credentialflow_llm::{
    batch::{
        Asks,
        call::BatchCall,
        form::{Content, InvalidUpload, Piece, UploadForm},
        object::{self, Uploaded},
    },
    task::multipart,
};
use credentialflow_model::{
    OutcomeReason,
    objects::{ModelObject, ObjectFacts, ObjectState},
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
            form: if self.is_of_messages() { UploadForm::without_purpose(boundary) } else { UploadForm::new(boundary) },
            raw: Vec::new(),
            frames: Vec::new(),
            first: None,
            checks: None,
            refused: None,
            held: self.worker.budget.nothing(),
            came: false,
        };
        let place = match rewriting.begin(self, record).await? {
            None => self.choose_for_file(record)?,
            Some((asks, model)) => {
                let model = self.model(&model, record)?;
                let plan = self.plan(model);
                let guardrails = checks::guardrails(plan)?;
                let place = self.choose(model, asks, record)?;
                rewriting.checks = Some(Checks::new(asks, (plan, self.target(place)), guardrails, record.time()));
                place
            }
        };
        let body = UpstreamBody::Streamed { length: None, begun: false };
        let mut request = self.request(place, "/files".into(), body, record);
        let sent = self.send(&mut request, &mut rewriting, record).await;
        let Rewriting { caller, form, checks, refused, came, .. } = rewriting;
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
        if !came {
            // It answered before it had the file, so nobody knows what it took.
            return Err(unusable());
        }
        let id = self.fresh_id(self.kind.prefix());
        let Uploaded { told, id: upstream_id, expires } = object::file(&answer, self.kind, &id).ok_or_else(unusable)?;
        let (target, credential) = (self.target(place), self.credential(place));
        let facts = match &checks {
            Some(checks) => checks.facts(target, credential),
            None => ObjectFacts {
                model: self.plan(place.model).name.to_string(),
                provider: target.provider.to_string(),
                provider_model: target.provider_model.to_string(),
                credential,
                ..ObjectFacts::default()
            },
        };
        let file = ModelObject {
            id,
            kind: self.kind,
            application: self.application.to_string(),
            made: record.time(),
            state: ObjectState::There,
            purpose: form.purpose().unwrap_or_default().into(),
            upstream_id,
            body: told.clone(),
            facts: ObjectFacts { expires, ..facts },
        };
        self.kept(self.keeper.add(file)).await?;
        self.answer((200, told.into_bytes()), caller, record).await
    }
}

/// A caller whose body is written anew while it is read.
struct Rewriting<'c, C> {
    caller: &'c mut C,
    form: UploadForm,
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
    /// Reads up to the first call: what it asks, of which model; `None` where the file is no batch's.
    async fn begin(
        &mut self,
        asking: &Asking<'_, '_>,
        record: &mut Recording<'_>,
    ) -> Result<Option<(Asks, String)>, Refused> {
        let mut received = 0;
        loop {
            if self.form.content() == Some(Content::Other) {
                return Ok(None);
            }
            match self.form.piece().map_err(wrong)? {
                Piece::Frame(bytes) => self.frames.extend_from_slice(&bytes),
                Piece::Line(line) => {
                    let call =
                        BatchCall::of_line(&line).map_err(|why| invalid(format!("call 1 of the batch: {why}")))?;
                    let asked = (call.asks(), call.model().to_owned());
                    self.first = Some(line);
                    return Ok(Some(asked));
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
        let written = checks.call(line, |line, _| BatchCall::of_line(line))?;
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
