//! Live secrets of ours in what callers send: refused, or only told of, before they reach an upstream.
//!
//! Looked at is what goes on: path and query, header values, and the body; so the caller's own key is none of it where it
//! identified the caller. A body that is held whole is looked at whole, one that is passed on as it passes: what of it
//! has gone before the secret was met has gone. Not looked at are messages of WebSockets.

use super::{
    Refused,
    record::Recording,
    route::RouteMatch,
    translate::{UpstreamBody, UpstreamRequest},
};
use crate::{ports::SecretPlace, snapshot::Snapshot, worker::View};
use credentialflow_model::{OutcomeReason, Timestamp, resource::SecretsInRequests};
use credentialflow_policy::{Finder, LiveSecret, finder::Passing};
use std::rc::Rc;

fn finder(snapshot: &Snapshot, now: Timestamp) -> Finder<'_> {
    Finder { api_key: &snapshot.api_key, keys: &snapshot.keys, values: &snapshot.values, now }
}

/// What a request is refused with. Says where the secret stands, never which one it is.
pub(super) fn refused(place: SecretPlace) -> Refused {
    Refused::new(OutcomeReason::SecretInRequest).with_detail(format!("it stands in {}", place.as_str()))
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
            Guard::of(view, matched, request, record).look(SecretPlace::Body, record, |finder| finder.find(body))
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
    /// For this request. It looks at the first try only: the next ones send the same.
    pub fn of(view: &'v View, matched: &RouteMatch<'_>, request: &UpstreamRequest, record: &Recording<'_>) -> Self {
        let finder = finder(&view.snapshot, record.time());
        let mode = if request.attempts == 0 { matched.plan(view).secrets } else { SecretsInRequests::Ignore };
        let shortest = if mode == SecretsInRequests::Ignore { usize::MAX } else { finder.shortest() };
        Self { finder, mode, shortest }
    }

    /// Path and query, as they go on.
    pub fn target(&self, target: &[u8], record: &Recording<'_>) -> Result<(), Refused> {
        if target.len() < self.shortest {
            return Ok(());
        }
        let target = std::str::from_utf8(target).unwrap_or_default();
        self.look(SecretPlace::Target, record, |finder| finder.find_in_target(target))
    }

    /// The value of a header that goes on.
    pub fn field(&self, value: &[u8], record: &Recording<'_>) -> Result<(), Refused> {
        if value.len() < self.shortest {
            return Ok(());
        }
        self.look(SecretPlace::Header, record, |finder| finder.find(value))
    }

    fn look(
        &self,
        place: SecretPlace,
        record: &Recording<'_>,
        find: impl FnOnce(&Finder<'_>) -> Vec<LiveSecret>,
    ) -> Result<(), Refused> {
        if self.mode == SecretsInRequests::Ignore {
            return Ok(());
        }
        let found = find(&self.finder);
        if found.is_empty() {
            return Ok(());
        }
        let refuse = self.mode == SecretsInRequests::Refuse;
        record.secrets_sent(found, place, refuse);
        if refuse { Err(refused(place)) } else { Ok(()) }
    }
}

/// Looks at a body while it passes, until something is met.
pub(crate) struct UploadGuard {
    view: Rc<View>,
    now: Timestamp,
    passing: Passing,
    refuse: bool,
    met: bool,
    untold: Vec<LiveSecret>,
}

impl UploadGuard {
    /// For a request whose body is passed on; `None` where nothing is looked for.
    pub fn of(
        view: &Rc<View>,
        matched: &RouteMatch<'_>,
        request: &UpstreamRequest,
        record: &Recording<'_>,
    ) -> Option<Self> {
        let mode = matched.plan(view).secrets;
        if mode == SecretsInRequests::Ignore || !matches!(request.body, UpstreamBody::Streamed { .. }) {
            return None;
        }
        Some(Self {
            view: view.clone(),
            now: record.time(),
            passing: Passing::default(),
            refuse: mode == SecretsInRequests::Refuse,
            met: false,
            untold: Vec::new(),
        })
    }

    /// Looks at the next piece. True: it must not go on.
    pub fn stops(&mut self, piece: &[u8]) -> bool {
        if self.met {
            return false;
        }
        self.untold = self.passing.feed(&finder(&self.view.snapshot, self.now), piece);
        self.met = !self.untold.is_empty();
        self.met && self.refuse
    }

    /// Tells of what was met, once.
    pub fn tell(&mut self, record: &Recording<'_>) {
        if !self.untold.is_empty() {
            record.secrets_sent(std::mem::take(&mut self.untold), SecretPlace::Body, self.refuse);
        }
    }
}
