//! Files and batches: what callers make at a provider once and come back to.
//!
//! Each is kept by an id of ours, with the target and the credential it was made with ([`ObjectKeeper`]): it stays there, so
//! there is no fallback, and another application's is unknown. What a batch may cost is held back by the keeper when it is
//! made, and what it cost is charged by the keeper when it is over; the calls here cost nothing themselves.

mod checks;
mod create;
mod fetch;
pub(super) mod google;
mod google_batches;
mod list;
mod places;
mod upload;

use super::{
    Inbound, Parts, Refused, answer,
    answer::{LocalAnswer, usable},
    attempt,
    call::ModelCall,
    guard,
    guard::answered::{AnswerGuard, is_text},
    key_refused,
    record::Recording,
    translate::{UpstreamBody, UpstreamRequest},
    translated,
    unsent::Unsent,
};
use crate::{
    conn::Caller,
    http1::{head::Framing, tag::Tag},
    net::control::{Control, Interrupt},
    pipeline::{authorize, body, forward::UpstreamResponse, route::RouteMatch},
    ports::{KeeperAway, Kept, ObjectKeeper},
    snapshot::{
        BatchRoute, RouteKind,
        models::{ModelPlan, TargetPlan},
    },
    worker::{View, Worker},
};
use credentialflow_llm::{batch::Asks, provider::Dialect, task::Task, translate};
use credentialflow_model::{
    OutcomeReason,
    objects::{ModelObject, ObjectKind},
};
use std::{rc::Rc, sync::Arc, time::Duration};

/// The longest a call waits for the keeper.
const KEEPER: Duration = Duration::from_secs(10);
/// What is told of a file or a batch is no longer.
const MOST_ANSWER: usize = 4 << 20;
/// An answer of so many bytes is not counted.
const SHORT: usize = 64 << 10;

/// A call about files and batches.
struct Asking<'a, 'r> {
    worker: &'a Worker,
    view: &'a Rc<View>,
    control: &'a Control,
    inbound: &'a Inbound<'a>,
    parts: Parts<'a, 'r>,
    keeper: Arc<dyn ObjectKeeper>,
    application: Arc<str>,
    route: BatchRoute,
    /// What it is about.
    kind: ObjectKind,
}

/// A target of a model, and which of its own credentials.
#[derive(Clone, Copy)]
struct Place {
    model: u32,
    target: u32,
    key: u32,
}

/// Whether a call is about files and batches.
pub(super) fn is_about_them(view: &View, matched: &RouteMatch<'_>) -> bool {
    let kind = matched.plan(view).kind;
    matches!(kind, RouteKind::Batch(_)) || google_batches::makes(kind, &matched.path)
}

/// Serves a call about files and batches.
pub(super) async fn serve<C: Caller>(
    worker: &Worker,
    view: &Rc<View>,
    control: &Control,
    inbound: &Inbound<'_>,
    parts: Parts<'_, '_>,
    caller: &mut C,
    record: &mut Recording<'_>,
) -> Result<(), Refused> {
    let is_google = record.dialect() == Some(Dialect::Gemini);
    let route = match parts.0.plan(view).kind {
        // Where Google's SDK for Python asks for them.
        RouteKind::Batch(BatchRoute::Batch) if is_google => BatchRoute::GeminiBatch,
        RouteKind::Batch(BatchRoute::Batches) if is_google => BatchRoute::GeminiBatches,
        RouteKind::Batch(route) => route,
        _ => BatchRoute::GeminiCreate,
    };
    let Some(key) = parts.1.key() else { return Err(Refused::new(OutcomeReason::Unauthenticated)) };
    let application = key.application_name().clone();
    let keeper = worker.shared.objects.clone();
    let keeper = keeper.ok_or_else(|| Refused::new(OutcomeReason::InvalidModelCall).with_detail(NONE.into()))?;
    let kind = match route.kind() {
        ObjectKind::File if record.dialect() == Some(Dialect::Anthropic) => ObjectKind::MessageFile,
        ObjectKind::File if record.dialect() == Some(Dialect::Gemini) => ObjectKind::GeminiFile,
        kind => kind,
    };
    let asking = Asking { worker, view, control, inbound, parts, keeper, application, route, kind };
    match route {
        BatchRoute::Upload | BatchRoute::FileContent if kind == ObjectKind::GeminiFile => {
            Err(invalid("Google's files are uploaded at `/upload/v1beta/files`, and read by models alone"))
        }
        BatchRoute::Upload => asking.upload(caller, record).await,
        BatchRoute::GeminiUpload => asking.begin(caller, record).await,
        BatchRoute::GeminiPiece => asking.piece(caller, record).await,
        BatchRoute::Files
        | BatchRoute::Batches
        | BatchRoute::MessageBatches
        | BatchRoute::GeminiFiles
        | BatchRoute::GeminiBatches => asking.list(caller, record).await,
        BatchRoute::Create => asking.create(caller, record).await,
        BatchRoute::MessageCreate => asking.create_messages(caller, record).await,
        BatchRoute::GeminiCreate => asking.create_contents(caller, record).await,
        BatchRoute::File | BatchRoute::GeminiFile => asking.file(caller, record).await,
        BatchRoute::FileContent | BatchRoute::MessageResults => asking.content(caller, record).await,
        BatchRoute::FileDelete
        | BatchRoute::MessageDelete
        | BatchRoute::GeminiFileDelete
        | BatchRoute::GeminiDelete => asking.delete(caller, record).await,
        BatchRoute::GeminiBatch => asking.contents_batch(caller, record).await,
        BatchRoute::GeminiCancel => asking.cancel_contents(caller, record).await,
        BatchRoute::Batch | BatchRoute::MessageBatch => asking.batch(caller, record).await,
        BatchRoute::Cancel | BatchRoute::MessageCancel => asking.cancel(caller, record).await,
    }
}

const NONE: &str = "there are no files and batches here";

impl Asking<'_, '_> {
    /// Waits for the keeper.
    async fn kept<T>(&self, answer: Kept<T>) -> Result<T, Refused> {
        kept(self.worker, self.control, answer).await
    }

    /// Whose form it is in.
    const fn speaks(&self) -> Dialect {
        match self.kind {
            ObjectKind::File | ObjectKind::Batch => Dialect::OpenAi,
            ObjectKind::MessageBatch | ObjectKind::MessageFile => Dialect::Anthropic,
            ObjectKind::GeminiFile | ObjectKind::GeminiBatch => Dialect::Gemini,
        }
    }

    /// Whether it is in Anthropic's form.
    const fn is_of_messages(&self) -> bool {
        matches!(self.speaks(), Dialect::Anthropic)
    }

    /// The object that the path names, if it is the caller's and of this kind.
    async fn named(&self) -> Result<ModelObject, Refused> {
        let nth = if self.route.is_of_messages() { 4 } else { 3 };
        let id = self.parts.0.path.split('/').nth(nth).unwrap_or_default();
        match self.kind {
            ObjectKind::GeminiFile if id.contains(':') => {
                Err(invalid("what was uploaded can be read by models alone, and nothing else can be done with it"))
            }
            ObjectKind::GeminiFile => self.find(&format!("{}{id}", self.kind.prefix())).await,
            ObjectKind::GeminiBatch => {
                let id = match self.route {
                    BatchRoute::GeminiCancel => id.strip_suffix(":cancel").unwrap_or_default(),
                    _ => id,
                };
                self.find(&format!("{}{id}", self.kind.prefix())).await
            }
            _ => self.find(id).await,
        }
    }

    async fn find(&self, id: &str) -> Result<ModelObject, Refused> {
        let unknown = || Refused::new(OutcomeReason::ObjectNotFound);
        // None of ours is longer.
        if id.is_empty() || id.len() > 128 {
            return Err(unknown());
        }
        self.kept(self.keeper.find(&self.application, id)).await?.ok_or_else(unknown)
    }

    /// A model by its name, if the caller may use it.
    fn model(&self, name: &str, record: &Recording<'_>) -> Result<u32, Refused> {
        let unknown = || Refused::new(OutcomeReason::ModelNotFound);
        let model = *self.view.snapshot.models.by_name.get(name).ok_or_else(unknown)?;
        let (matched, principal, _) = self.parts;
        let named = (model, &*self.plan(model).name);
        authorize::authorize_model(self.worker, self.view, self.inbound, matched, principal, named, record)?;
        Ok(model)
    }

    fn plan(&self, model: u32) -> &ModelPlan {
        &self.view.snapshot.models.list[model as usize]
    }

    fn target(&self, place: Place) -> &TargetPlan {
        &self.plan(place.model).targets[place.target as usize]
    }

    /// The name of the target's own credential.
    fn credential(&self, place: Place) -> Option<String> {
        let key = self.target(place).keys.get(place.key as usize)?;
        let (name, _) = self.view.snapshot.credentials.describe(key.inject.credential)?;
        Some(name.to_string())
    }

    /// A request to a place; it costs nothing itself.
    fn request(&self, place: Place, path: String, body: UpstreamBody, record: &mut Recording<'_>) -> UpstreamRequest {
        let target = self.target(place);
        let dialect = self.speaks();
        record.upstream(&self.view.snapshot.upstreams[target.upstream as usize]);
        record.model(self.plan(place.model), target, false);
        let call = ModelCall::free((place.model, place.target, place.key), Task::Batches, dialect, path, self.worker);
        let idempotent = self.inbound.is_idempotent();
        UpstreamRequest { call: Some(call), idempotent, ..UpstreamRequest::plain(target.upstream, body) }
    }

    /// Sends a request, and again where nothing of it was seen.
    async fn send<C: Caller>(
        &self,
        request: &mut UpstreamRequest,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<UpstreamResponse, Refused> {
        guard::whole_body(self.view, self.parts.0, request, record)?;
        let most = self.parts.0.plan(self.view).attempts;
        loop {
            let Self { worker, view, control, inbound, parts, .. } = *self;
            let tried = attempt(worker, view, control, inbound, parts, request, caller, record).await;
            let mut response = match tried {
                Ok(response) => response,
                Err(ended) => {
                    request.after(ended, most, record)?;
                    continue;
                }
            };
            let status = response.head.status;
            let refuses_key = match key_refused::may_be_said(status, record) {
                true => {
                    let mut answer = Unsent { worker, view, control, request, response: &mut response, caller, record };
                    key_refused::is_said(&mut answer).await?
                }
                false => key_refused::is_told(status) && record.has_credential(),
            };
            return match refuses_key {
                // It was ours, not the caller's; and what the provider says of it shows how it ends.
                true => Err(Refused::new(OutcomeReason::UpstreamCredentialRefused)),
                false => Ok(response),
            };
        }
    }

    /// Reads an answer that is short, with its status.
    async fn collect<C: Caller>(
        &self,
        request: &mut UpstreamRequest,
        response: UpstreamResponse,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(u16, Vec<u8>), Refused> {
        self.collect_most(MOST_ANSWER, request, response, caller, record).await
    }

    async fn collect_most<C: Caller>(
        &self,
        most: usize,
        request: &mut UpstreamRequest,
        response: UpstreamResponse,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(u16, Vec<u8>), Refused> {
        let UpstreamResponse { head, mut bytes, mut connection, endpoint, mut scrub, sent, upload, _in_use } = response;
        let framing = head.framing(self.inbound.method() == "HEAD");
        let is_coded = |value: &[u8]| !value.eq_ignore_ascii_case(b"identity");
        if head.fields.iter().any(|f| f.tag == Tag::ContentEncoding && is_coded(f.value.of(&bytes))) {
            let detail = "the provider compressed its answer although it was asked not to".to_owned();
            return Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail));
        }
        let readable = framing != Framing::None && is_text(&head, &bytes);
        let mut guard = AnswerGuard::of(self.view, self.parts.0, request, readable, record);
        let passes = guard.head(&mut bytes, record);
        guard.tell(&scrub, record);
        passes?;
        let collected = translated::collect(
            self.worker,
            self.view,
            self.control,
            request,
            (framing, most),
            &mut connection,
            &mut scrub,
            caller,
            record,
        );
        let collected = collected.await;
        record.upstream_done(sent);
        record.usage(self.view, request);
        let (body, _held) = collected?;
        // An error that is not the provider's own, as a proxy's page: callers get one of their form.
        let is_page = head.status >= 400 && !usable::is_json(&head, &bytes);
        let dialect = request.call.as_ref().map(|call| call.dialect).filter(|_| is_page);
        let body = dialect.and_then(|of| translate::error(of, head.status, &body)).unwrap_or(body);
        let body = guard.whole(scrub.whole(&body).unwrap_or(body));
        guard.tell(&scrub, record);
        if upload.is_none() && head.keeps_alive() && framing != Framing::UntilClose {
            endpoint.keep(connection, self.worker.pools.most, self.worker.tick());
        }
        Ok((head.status, body))
    }

    /// Sends a request without a body and reads its answer.
    async fn ask<C: Caller>(
        &self,
        place: Place,
        path: String,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(u16, Vec<u8>), Refused> {
        self.ask_for(place, path, MOST_ANSWER, caller, record).await
    }

    /// The same, where it may have so many bytes.
    async fn ask_for<C: Caller>(
        &self,
        place: Place,
        path: String,
        most: usize,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(u16, Vec<u8>), Refused> {
        let mut request = self.request(place, path, UpstreamBody::Empty, record);
        let response = self.send(&mut request, caller, record).await?;
        self.collect_most(most, &mut request, response, caller, record).await
    }

    async fn answer<C: Caller>(
        &self,
        (status, body): (u16, Vec<u8>),
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        // One that is short is no more than any connection holds.
        let held = if body.len() > SHORT { 2 * body.len() as u64 } else { 0 };
        let _held = self.worker.budget.take(held).map_err(|_| Refused::new(OutcomeReason::Overloaded))?;
        let answer = LocalAnswer { status, content_type: "application/json", body };
        answer::local(self.control, self.worker, caller, record, answer).await
    }

    /// A fresh id of ours. It says nothing, and is of no use to anybody else.
    fn fresh_id(&self, prefix: &str) -> String {
        format!("{prefix}{:016x}{:016x}", self.worker.bits(), self.worker.bits())
    }
}

/// Waits for the keeper.
pub(super) async fn kept<T>(worker: &Worker, control: &Control, answer: Kept<T>) -> Result<T, Refused> {
    control.set_deadline(worker.tick_in(KEEPER));
    let waited = control.wait(answer).await;
    control.clear_deadline();
    let away = || {
        Refused::new(OutcomeReason::Overloaded)
            .with_detail("files and batches cannot be looked up now".into())
            .with_retry_after(Duration::from_secs(1))
    };
    match waited {
        Ok(Ok(kept)) => Ok(kept),
        Ok(Err(KeeperAway)) | Err(Interrupt::Deadline) => Err(away()),
        Err(why) => Err(body::interrupted(why, OutcomeReason::Overloaded)),
    }
}

/// Where the calls of batches go, as they are: there is no translation.
fn takes(target: &TargetPlan, asks: Asks) -> bool {
    let speaks = asks.speaks();
    target.offers(Task::Batches, speaks)
        && target.offers(asks.task(), speaks)
        && match asks {
            Asks::Embeddings => matches!(target.dialect, Dialect::OpenAi | Dialect::Responses),
            Asks::Chat | Asks::Responses | Asks::Messages | Asks::Generate => target.speaks(speaks),
        }
}

/// The provider answered with something that is not what was asked for.
fn unusable() -> Refused {
    let detail = "the provider answered with something else than was asked for".to_owned();
    Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)
}

fn invalid(detail: impl Into<String>) -> Refused {
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail.into())
}

const fn is_success(status: u16) -> bool {
    status >= 200 && status < 300
}
