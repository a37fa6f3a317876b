//! Google's Files API: an upload is begun with the caller's key, and goes on at an address of its own, to which the pieces
//! come without one.
//!
//! The address that callers get is ours. It carries a [`pass`] of the caller's key for an hour, and in it all that is to be
//! known of the upload, sealed: nothing is kept until the file is there, so any worker of any node takes the next piece. It
//! stands in the query, which is in no record, and opens nothing but the pieces of this upload.

use super::{Asking, Place, Refused, invalid, is_success, unusable};
use crate::{
    conn::Caller,
    http1::tag::Tag,
    pipeline::{
        Inbound, answer,
        answer::LocalAnswer,
        body,
        forward::UpstreamResponse,
        record::Recording,
        route::RouteMatch,
        translate::{UpstreamBody, UpstreamRequest},
    },
    snapshot::{EndpointPlan, MAX_UPLOAD},
    worker::{View, Worker},
};
use credentialflow_llm::{
    batch::object::Uploaded,
    gemini::files::{self, Command},
    realtime::gemini::below,
};
use credentialflow_model::{
    OutcomeReason, Period, Timestamp,
    objects::{ModelObject, ObjectFacts, ObjectState},
};
use credentialflow_policy::{
    Principal,
    pass::{self, Closed},
};

/// Where an upload begins, and where its pieces go, here.
const PIECES: &str = "/upload/v1beta/files/pieces";
/// What passes to uploads are for. No route has a name like this.
const PURPOSE: &str = "an upload to a provider's files";
/// How long an upload may take.
const LASTS: Period = Period::from_millis(3_600_000);
/// What is told of a file beforehand is no longer.
const MOST_START: u64 = 64 << 10;

const PROTOCOL: &str = "x-goog-upload-protocol";
const COMMAND: &str = "x-goog-upload-command";
const OFFSET: &str = "x-goog-upload-offset";
const LENGTH: &str = "x-goog-upload-header-content-length";
const ADDRESS: &str = "x-goog-upload-url";
const STATUS: &str = "x-goog-upload-status";
/// What of the provider's answers is told to callers beside their bodies.
const TOLD: [&str; 3] = [STATUS, "x-goog-upload-size-received", "x-goog-upload-chunk-granularity"];

/// An upload that has begun.
struct Begun {
    /// The name that its file gets.
    name: String,
    /// The model that it is for.
    model: String,
    provider: String,
    /// The credential of a target's own that it was begun with.
    credential: Option<String>,
    /// The provider's endpoint, as [`at`] writes it.
    at: String,
    /// Where the provider takes the pieces.
    path: String,
    query: String,
}

impl Begun {
    /// As it stands in a pass.
    fn written(&self) -> Option<Vec<u8>> {
        let Self { name, model, provider, credential, at, path, query } = self;
        serde_json::to_vec(&(name, model, provider, credential, at, path, query)).ok()
    }

    /// What a pass of ours is for.
    fn read(what: &[u8]) -> Option<Self> {
        let (name, model, provider, credential, at, path, query) = serde_json::from_slice(what).ok()?;
        Some(Self { name, model, provider, credential, at, path, query })
    }
}

/// Whose the pieces of an upload are: whoever began it.
pub(in crate::pipeline) fn authenticate(
    worker: &Worker,
    view: &View,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    now: Timestamp,
) -> Result<Principal, Refused> {
    let shown = shown(matched).unwrap_or_default().as_bytes();
    match pass::open(&view.snapshot.api_key, &view.snapshot.keys, PURPOSE, shown, now) {
        Ok((principal, _)) => Ok(principal),
        Err(Closed::Over) => Err(over()),
        Err(Closed::Refused(failure)) => {
            let verdict = worker.shared.throttle.failed(inbound.source, &failure, worker.monotonic_ns(inbound.began));
            if verdict.source_crossed {
                worker.shared.guesses.guessing(inbound.source, None);
            }
            match Refused::from(verdict.refusal) {
                Refused { reason: OutcomeReason::Unauthenticated, .. } => Err(over()),
                slowed => Err(slowed),
            }
        }
    }
}

/// It says the same of an address that is over and of one that never was.
fn over() -> Refused {
    let detail = "this address takes nothing, or nothing any more: begin the upload again, with your key".to_owned();
    // Without a status Google's SDKs send the piece again.
    Refused::new(OutcomeReason::Unauthenticated).with_detail(detail).with_field(STATUS, "final".into())
}

/// The pass in the address.
fn shown<'m>(matched: &'m RouteMatch<'_>) -> Option<&'m str> {
    let mut parameters = matched.query?.split('&').filter_map(|parameter| parameter.strip_prefix("upload_id="));
    parameters.next().filter(|_| parameters.next().is_none())
}

/// The place of an endpoint, without the version of the API.
fn at(endpoint: &EndpointPlan) -> String {
    let scheme = if endpoint.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}{}", endpoint.authority, below(&endpoint.base))
}

impl Asking<'_, '_> {
    /// `POST /upload/v1beta/files`, or below `v1`: begins an upload.
    pub async fn begin<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        if self.once(PROTOCOL)? != Some(b"resumable") || self.once(COMMAND)? != Some(b"start") {
            return Err(invalid(format!(
                "uploads are resumable: begin with `{PROTOCOL}: resumable` and `{COMMAND}: start`"
            )));
        }
        if self.number(LENGTH)?.is_some_and(|length| length > MAX_UPLOAD) {
            return Err(Refused::new(OutcomeReason::BodyTooLarge));
        }
        let ours = self.address()?;
        let length = body::announced(self.inbound, MOST_START)?;
        let (received, _held) = body::collect(self.worker, self.control, caller, MOST_START, length, record).await?;
        let start = files::start(&received).map_err(|why| invalid(why.to_string()))?;
        let place = self.choose_for_file(record)?;
        self.endpoint(place)?;
        let mut request = self.request(place, "/upload/v1beta/files".into(), UpstreamBody::Buffered(start), record);
        let response = self.send(&mut request, caller, record).await?;
        let told = told(&response);
        let address = field(&response, ADDRESS).map(str::to_owned);
        let (status, answer) = self.collect(&mut request, response, caller, record).await?;
        if !is_success(status) {
            return self.tell((status, told, answer), caller, record).await;
        }
        let at = at(self.endpoint(place)?);
        let there = address.as_deref().and_then(|address| files::upload_at(address, &at));
        let (path, query) = there.ok_or_else(|| {
            let detail = "the provider named no address at its own place for the upload".to_owned();
            Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)
        })?;
        let begun = Begun {
            name: self.fresh_id(self.kind.prefix()),
            model: self.plan(place.model).name.to_string(),
            provider: self.target(place).provider.to_string(),
            credential: self.credential(place),
            path: path.to_owned(),
            query: query.to_owned(),
            at,
        };
        let (api_key, ends) = (&self.view.snapshot.api_key, record.time().plus(LASTS));
        let pass = begun.written().and_then(|what| pass::issue(api_key, self.parts.1, PURPOSE, ends, &what));
        let pass = pass.ok_or_else(|| Refused::new(OutcomeReason::Internal))?;
        let told = format!("{ADDRESS}: {ours}{PIECES}?upload_id={pass}&upload_protocol=resumable\r\n{told}");
        self.tell((200, told, Vec::new()), caller, record).await
    }

    /// `POST /upload/v1beta/files/pieces`: the next piece goes on as it comes.
    pub async fn piece<C: Caller>(&self, caller: &mut C, record: &mut Recording<'_>) -> Result<(), Refused> {
        let (api_key, keys) = (&self.view.snapshot.api_key, &self.view.snapshot.keys);
        let shown = shown(self.parts.0).unwrap_or_default().as_bytes();
        let (_, what) = pass::open(api_key, keys, PURPOSE, shown, record.time()).map_err(|_| over())?;
        let begun = Begun::read(&what).ok_or_else(over)?;
        let command = self.once(COMMAND)?.and_then(Command::of).ok_or_else(|| {
            invalid(format!("`{COMMAND}` is `upload`, `upload, finalize`, `finalize`, `query` or `cancel`"))
        })?;
        let length = body::announced(self.inbound, MAX_UPLOAD)?;
        let length = length.ok_or_else(|| invalid("a piece says with `Content-Length` how long it is"))?;
        match command {
            Command::Upload => {
                let offset = self.number(OFFSET)?;
                let offset = offset.ok_or_else(|| invalid(format!("`{OFFSET}` says where a piece begins")))?;
                if offset.checked_add(length).is_none_or(|end| end > MAX_UPLOAD) {
                    return Err(Refused::new(OutcomeReason::BodyTooLarge));
                }
            }
            Command::Other if length > 0 => return Err(invalid("such a command has no body")),
            Command::Other => {}
        }
        let mut file = ModelObject {
            id: begun.name,
            kind: self.kind,
            application: self.application.to_string(),
            made: record.time(),
            state: ObjectState::There,
            purpose: String::new(),
            upstream_id: String::new(),
            body: String::new(),
            facts: ObjectFacts {
                model: begun.model,
                provider: begun.provider,
                credential: begun.credential,
                ..ObjectFacts::default()
            },
        };
        let place = self.place_of(&file, record)?;
        if at(self.endpoint(place)?) != begun.at {
            let detail = "the provider is at another place now: begin the upload again".to_owned();
            return Err(Refused::new(OutcomeReason::NoHealthyEndpoint).with_detail(detail));
        }
        let body = match length {
            0 => UpstreamBody::Empty,
            length => UpstreamBody::Streamed { length: Some(length), begun: false },
        };
        let mut request = self.request(place, begun.path, body, record);
        with_query(&mut request, begun.query);
        let response = self.send(&mut request, caller, record).await?;
        let (told, is_final) = (told(&response), field(&response, STATUS) == Some("final"));
        let is_early = response.upload.is_some();
        let (status, answer) = self.collect(&mut request, response, caller, record).await?;
        if !is_success(status) || !is_final || command == Command::Other {
            return self.tell((status, told, answer), caller, record).await;
        }
        if is_early {
            // It answered before it had the piece, so nobody knows what it took.
            return Err(unusable());
        }
        let Uploaded { told: body, id, expires } = files::file(&answer, &file.id).ok_or_else(unusable)?;
        let whole = files::uploaded(&body).into_bytes();
        (file.upstream_id, file.body, file.facts.expires) = (id, body, expires);
        file.facts.provider_model = self.target(place).provider_model.to_string();
        self.kept(self.keeper.add(file)).await?;
        self.tell((200, told, whole), caller, record).await
    }

    /// `GET /v1beta/files/{id}`, or below `v1`: what is kept here; of a file that was not ready, what its provider tells now.
    pub async fn gemini_file<C: Caller>(
        &self,
        file: ModelObject,
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        if files::is_ready(&file.body) {
            return self.answer((200, file.body.into_bytes()), caller, record).await;
        }
        let place = self.place_of(&file, record)?;
        let (status, answer) = self.ask(place, format!("/{}", file.upstream_id), caller, record).await?;
        if !is_success(status) {
            return self.answer((status, answer), caller, record).await;
        }
        let told = files::file(&answer, &file.id).filter(|told| told.id == file.upstream_id).ok_or_else(unusable)?;
        self.answer((200, told.told.into_bytes()), caller, record).await
    }

    /// The one endpoint of a place: an upload goes on where it began.
    fn endpoint(&self, place: Place) -> Result<&EndpointPlan, Refused> {
        let upstream = &self.view.snapshot.upstreams[self.target(place).upstream as usize];
        match upstream.endpoints.len() {
            0 => Err(Refused::new(OutcomeReason::NoHealthyEndpoint)),
            1 => Ok(&self.view.snapshot.endpoints[upstream.endpoints.start as usize]),
            _ => Err(invalid("an upload goes on where it began, and this provider has several endpoints")),
        }
    }

    /// What callers reach the gateway at, as this one did.
    fn address(&self) -> Result<String, Refused> {
        let host = self.inbound.head.host.str(self.inbound.bytes);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(invalid("the address of the upload begins with the request's `Host`, which names no place"));
        }
        // Told by whatever ends TLS before us; whoever else says so has an address for itself alone that leads nowhere.
        let told = self.inbound.field(Tag::XForwardedProto).is_some_and(|told| told.eq_ignore_ascii_case(b"https"));
        let scheme = if self.inbound.secure || told { "https" } else { "http" };
        Ok(format!("{scheme}://{host}"))
    }

    /// The value of a field that may stand once.
    fn once(&self, name: &str) -> Result<Option<&[u8]>, Refused> {
        let mut values =
            self.inbound.fields().filter(|(_, n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(.., value)| value);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(invalid(format!("the header `{name}` stands twice"))),
            (first, None) => Ok(first),
        }
    }

    /// A number in a field.
    fn number(&self, name: &str) -> Result<Option<u64>, Refused> {
        let Some(value) = self.once(name)? else { return Ok(None) };
        let digits = std::str::from_utf8(value).ok().filter(|value| value.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| invalid(format!("the header `{name}` is no whole number")))
    }

    /// Answers with fields of the provider's, and a body that is JSON unless it is empty.
    async fn tell<C: Caller>(
        &self,
        (status, told, body): (u16, String, Vec<u8>),
        caller: &mut C,
        record: &mut Recording<'_>,
    ) -> Result<(), Refused> {
        let answer = LocalAnswer { status, content_type: "application/json", body };
        answer::local_with(self.control, self.worker, caller, record, answer, told.as_bytes()).await
    }
}

/// A field of an answer.
fn field<'r>(response: &'r UpstreamResponse, name: &str) -> Option<&'r str> {
    let UpstreamResponse { head, bytes, .. } = response;
    let found = head.fields.iter().find(|field| field.name.of(bytes).eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(found.value.of(bytes)).ok()
}

/// What callers are told of an upload beside the body.
fn told(response: &UpstreamResponse) -> String {
    let is_word = |value: &&str| value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && value.len() <= 32;
    let one = |name: &str| Some(format!("{name}: {}\r\n", field(response, name).filter(is_word)?));
    TOLD.into_iter().filter_map(one).collect()
}

/// The request with a query of its own.
fn with_query(request: &mut UpstreamRequest, query: String) {
    if let Some(call) = request.call.as_mut().filter(|_| !query.is_empty()) {
        call.own_query = Some(query.into());
    }
}
