//! Live secrets of ours in what callers send: refused, or only told of, before they reach an upstream. Those in answers are
//! in [`answered`].
//!
//! Looked at is what goes on: path and query, header values, host, and the body; so the caller's own key is none of it
//! where it identified the caller. What is taken out on the way because it is a key is looked at for keys of others. A body
//! that is held whole is looked at whole, one that is passed on as it passes: what of it has gone before the secret was met
//! has gone. What is said over a WebSocket is in [`messages`].
//!
//! A caller that sends its own key where it does not belong is refused or served as others are, but that is no leak to
//! answer: its key went to nobody but us, and whoever follows a link would lose it.

pub(super) mod answered;
pub(super) mod messages;
pub(super) mod received;

use super::{
    Refused,
    record::Recording,
    route::RouteMatch,
    translate::{UpstreamBody, UpstreamRequest},
};
use crate::{ports::SecretPlace, snapshot::Snapshot, worker::View};
use credentialflow_model::{OutcomeReason, Timestamp, resource::SecretsInRequests};
use credentialflow_policy::{Finder, Found, LiveSecret, Refusal, finder::Passing};
use std::{borrow::Cow, rc::Rc};

/// So many secrets of one request are told of where it is served all the same.
const MOST_TOLD: usize = 16;

/// What happens to requests like this one: what the model says, on model routes, else what the route says. What guardrails
/// and caches ask holds nothing but texts of a call that was looked at as the model of that call says.
fn mode(view: &View, matched: &RouteMatch<'_>, request: &UpstreamRequest) -> SecretsInRequests {
    if view.snapshot.asks.has(matched.route) {
        return SecretsInRequests::Ignore;
    }
    match &request.call {
        Some(call) => view.snapshot.models.list[call.model as usize].secrets,
        None => matched.plan(view).secrets,
    }
}

/// A request that is refused needs one secret as its reason.
fn most(mode: SecretsInRequests) -> usize {
    if mode == SecretsInRequests::Report { MOST_TOLD } else { 1 }
}

/// Tells of what was found. An answer that refuses says where it stands, never which one it is; so that nobody tries
/// values without end, it says after too many that these were too many. What could not be looked at to its end may hold
/// one, so it is refused as well.
fn met(found: Found, place: SecretPlace, refuse: bool, record: &Recording<'_>) -> Option<Refused> {
    let gave_up = found.gave_up;
    let others = record.secrets_met(found, place, refuse);
    if !refuse {
        return None;
    }
    let place = place.as_str();
    let detail = match (others, gave_up) {
        (true, _) => format!("it stands in {place}"),
        (false, true) => format!("{place} holds more that looks like a live secret than is compared"),
        (false, false) => {
            format!("it is your own key, which stands in {place}: present it only where it identifies you")
        }
    };
    match (others || gave_up).then(|| record.count_guess()).flatten() {
        None => Some(Refused::new(OutcomeReason::SecretInRequest).with_detail(detail)),
        wait => Some(Refusal { reason: OutcomeReason::TooManyFailures, retry_after: wait, limit: None }.into()),
    }
}

/// A path as it may be recorded: segments without values of credentials; without any segment where one reaches into the
/// next. Keys that stand in it are masked by whoever records it.
pub(super) fn recorded_path<'p>(snapshot: &Snapshot, path: &'p str, now: Timestamp) -> Cow<'p, str> {
    let finder = snapshot.finder(now);
    if !finder.value_in_target(path) {
        return Cow::Borrowed(path);
    }
    let masked = |segment| if finder.value_in_target(segment) { "***" } else { segment };
    let segments: Vec<&str> = path.split('/').map(masked).collect();
    let path = segments.join("/");
    Cow::Owned(if finder.value_in_target(&path) { "/***".to_owned() } else { path })
}

/// Looks at a body that is held whole.
pub(super) fn whole_body(
    view: &View,
    matched: &RouteMatch<'_>,
    request: &UpstreamRequest,
    record: &Recording<'_>,
) -> Result<(), Refused> {
    match &request.body {
        UpstreamBody::Buffered(body) => {
            Guard::of(view, matched, request, record)
                .look(SecretPlace::Body, record, |finder, most| record.untold(finder.find(most, body)))
        }
        UpstreamBody::Empty | UpstreamBody::Streamed { .. } => Ok(()),
    }
}

/// Looks at what of a request's head goes on.
pub(super) struct Guard<'v> {
    finder: Finder<'v>,
    mode: SecretsInRequests,
    /// Nothing that is shorter is looked at.
    shortest: usize,
}

impl<'v> Guard<'v> {
    /// For this request. It looks at the first try only, and at the first at another target, for which the request was
    /// written anew: the next ones send the same.
    pub fn of(view: &'v View, matched: &RouteMatch<'_>, request: &UpstreamRequest, record: &Recording<'_>) -> Self {
        let finder = view.snapshot.finder(record.time());
        let mode =
            if request.attempts == request.written { mode(view, matched, request) } else { SecretsInRequests::Ignore };
        let shortest = if mode == SecretsInRequests::Ignore { usize::MAX } else { finder.shortest() };
        Self { finder, mode, shortest }
    }

    /// Path and query as they go on, and the query as it came: keys are taken out of it, and those of others are looked for.
    pub fn target(&self, target: &[u8], came: Option<&str>, record: &Recording<'_>) -> Result<(), Refused> {
        let came = came.filter(|query| query.len() >= self.shortest).zip(record.key());
        if target.len() < self.shortest && came.is_none() {
            return Ok(());
        }
        let target = std::str::from_utf8(target).unwrap_or_default();
        self.look(SecretPlace::Target, record, |finder, most| {
            let mut found = finder.find_in_target(most, target);
            let taken_out = came.map(|(query, own)| finder.keys_but(own, most, query)).unwrap_or_default();
            found.gave_up |= taken_out.gave_up;
            for key in taken_out.secrets {
                if found.secrets.len() < most && !found.secrets.contains(&key) {
                    found.secrets.push(key);
                }
            }
            found
        })
    }

    /// The value of a header that goes on.
    pub fn field(&self, value: &[u8], record: &Recording<'_>) -> Result<(), Refused> {
        if value.len() < self.shortest {
            return Ok(());
        }
        self.look(SecretPlace::Header, record, |finder, most| finder.find(most, value))
    }

    /// A credential header that does not go on. Of those that are read, all hold the key that identified the caller, or
    /// none was accepted; another scheme may hold anything.
    pub fn credential(&self, value: &[u8], record: &Recording<'_>) -> Result<(), Refused> {
        let scheme = |name: &[u8]| value.get(..name.len()).is_some_and(|v| v.eq_ignore_ascii_case(name));
        if value.len() < self.shortest || scheme(b"bearer ") || scheme(b"basic ") {
            return Ok(());
        }
        let value = std::str::from_utf8(value).unwrap_or_default();
        // Without a caller that is known, a key may be the caller's own.
        match record.key() {
            Some(own) => self.look(SecretPlace::Header, record, |finder, most| finder.keys_but(own, most, value)),
            None => Ok(()),
        }
    }

    fn look(
        &self,
        place: SecretPlace,
        record: &Recording<'_>,
        find: impl FnOnce(&Finder<'_>, usize) -> Found,
    ) -> Result<(), Refused> {
        if self.mode == SecretsInRequests::Ignore {
            return Ok(());
        }
        let found = find(&self.finder, most(self.mode));
        if found.is_nothing() {
            return Ok(());
        }
        met(found, place, self.mode == SecretsInRequests::Refuse, record).map_or(Ok(()), Err)
    }
}

/// Looks at a body while it passes, until something is met that stops it, or enough.
pub(crate) struct UploadGuard {
    view: Rc<View>,
    now: Timestamp,
    passing: Passing,
    mode: SecretsInRequests,
    met: Vec<LiveSecret>,
    /// The search has ended before the body.
    gave_up: bool,
    /// It is taken up again a little later.
    endless: bool,
    untold: Found,
}

impl UploadGuard {
    /// For a request whose body is passed on; `None` where nothing is looked for.
    pub fn of(
        view: &Rc<View>,
        matched: &RouteMatch<'_>,
        request: &UpstreamRequest,
        record: &Recording<'_>,
    ) -> Option<Self> {
        let streamed = matches!(request.body, UpstreamBody::Streamed { .. });
        let mode = mode(view, matched, request);
        (streamed && mode != SecretsInRequests::Ignore).then(|| Self::with(view, record, mode, false))
    }

    /// For what the caller of this request says over a WebSocket; `None` where nothing is looked for.
    pub fn of_messages(
        view: &Rc<View>,
        matched: &RouteMatch<'_>,
        request: &UpstreamRequest,
        record: &Recording<'_>,
    ) -> Option<Self> {
        let mode = mode(view, matched, request);
        (mode != SecretsInRequests::Ignore).then(|| Self::with(view, record, mode, true))
    }

    fn with(view: &Rc<View>, record: &Recording<'_>, mode: SecretsInRequests, endless: bool) -> Self {
        Self {
            view: view.clone(),
            now: record.time(),
            passing: if endless { Passing::endless() } else { Passing::default() },
            mode,
            met: Vec::new(),
            gave_up: false,
            endless,
            untold: Found::default(),
        }
    }

    /// Looks at the next piece. True: it must not go on.
    pub fn stops(&mut self, piece: &[u8]) -> bool {
        let most = most(self.mode);
        if self.met.len() >= most || (self.gave_up && !self.endless) {
            return false;
        }
        let found = self.passing.feed(&self.view.snapshot.finder(self.now), most, piece);
        self.gave_up = found.gave_up;
        self.untold.gave_up |= found.gave_up;
        for secret in found.secrets {
            if !self.met.contains(&secret) {
                self.met.push(secret.clone());
                self.untold.secrets.push(secret);
            }
        }
        self.mode == SecretsInRequests::Refuse && (self.gave_up || !self.met.is_empty())
    }

    /// Tells of what was met, once, and what the request is refused with.
    pub fn tell(&mut self, record: &Recording<'_>) -> Option<Refused> {
        if self.untold.is_nothing() {
            return None;
        }
        let refuse = self.mode == SecretsInRequests::Refuse;
        met(std::mem::take(&mut self.untold), SecretPlace::Body, refuse, record)
    }
}
