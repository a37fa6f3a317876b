//! Live secrets of ours in what callers are answered: told of while they pass, or blanked, as route or model say.
//!
//! Bodies are looked at as they pass, behind the step that takes out the injected credential; only where secrets are
//! blanked does what may be the beginning of one wait. An upstream that repeats the credential it was sent is told of as
//! well. Messages of WebSockets are looked at as bodies are. Not looked at are compressed bodies and messages, and
//! pictures, sound and the like.

use super::{MOST_TOLD, Refused};
use crate::{
    http1::{head::ResponseHead, tag::Tag},
    pipeline::{frames::Looks, record::Recording, route::RouteMatch, scrub::Scrub, translate::UpstreamRequest},
    ports::SecretPlace,
    worker::View,
};
use credentialflow_model::{OutcomeReason, resource::SecretsInAnswers};
use credentialflow_policy::{
    Finder, Found, LiveSecret,
    finder::{Blanking, Passing},
};

/// Looks at one answer.
pub(in crate::pipeline) struct AnswerGuard<'v> {
    finder: Finder<'v>,
    mode: SecretsInAnswers,
    body: Body,
    met: Vec<LiveSecret>,
    untold: Found,
    echo_told: bool,
}

/// How its body is looked at.
enum Body {
    Unseen,
    Passing(Passing),
    Blanking(Blanking),
}

impl<'v> AnswerGuard<'v> {
    /// For the answer to this request. `body`: whether there is one that can be read.
    pub fn of(
        view: &'v View,
        matched: &RouteMatch<'_>,
        request: &UpstreamRequest,
        body: bool,
        record: &Recording<'_>,
    ) -> Self {
        let mode = match &request.call {
            Some(call) => view.snapshot.models.list[call.model as usize].secrets_back,
            None => matched.plan(view).secrets_back,
        };
        let body = match mode {
            SecretsInAnswers::Report if body => Body::Passing(Passing::endless()),
            SecretsInAnswers::Blank if body => Body::Blanking(Blanking::endless(record.key())),
            _ => Body::Unseen,
        };
        let finder = view.snapshot.finder(record.time());
        Self { finder, mode, body, met: Vec::new(), untold: Found::default(), echo_told: false }
    }

    /// Whether secrets are blanked, so that an answer that nobody can read must not pass.
    pub fn blanks(&self) -> bool {
        self.mode == SecretsInAnswers::Blank
    }

    /// Looks at the fields of a head. Refused, where secrets are blanked: it holds more that looks like secrets of ours
    /// than is compared.
    pub fn head(&mut self, bytes: &mut [u8], record: &Recording<'_>) -> Result<(), Refused> {
        if self.mode == SecretsInAnswers::Ignore {
            return Ok(());
        }
        let mut found = self.finder.find(MOST_TOLD, bytes);
        if found.is_nothing() {
            return Ok(());
        }
        if self.blanks() {
            let own = |secret: &LiveSecret| matches!(secret, LiveSecret::Key { id, .. } if Some(*id) == record.key());
            let (places, gave_up) = self.finder.places(bytes);
            found.gave_up |= gave_up;
            for place in places.into_iter().filter(|place| !own(&place.secret)) {
                bytes[place.hidden].fill(b'*');
            }
        }
        let passes = !(found.gave_up && self.blanks());
        self.meet(found);
        if passes {
            return Ok(());
        }
        let detail = "the head of the upstream's answer holds more that looks like secrets of ours than is compared";
        Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail.into()))
    }

    /// Passes a piece of the body on to `out`.
    pub fn feed(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        let found = match &mut self.body {
            Body::Unseen => return out(piece),
            Body::Passing(passing) => {
                let found = passing.feed(&self.finder, MOST_TOLD, piece);
                out(piece);
                found
            }
            Body::Blanking(blanking) => blanking.feed(&self.finder, piece, out),
        };
        if !found.is_nothing() {
            self.meet(found);
        }
    }

    /// The body is over: what waited is no secret.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        if let Body::Blanking(blanking) = &mut self.body {
            blanking.finish(out);
        }
    }

    /// The same for a body that is held whole.
    pub fn whole(&mut self, body: Vec<u8>) -> Vec<u8> {
        let mut clean = Vec::new();
        match self.body {
            Body::Unseen => return body,
            Body::Passing(_) => {
                self.feed(&body, &mut |_| {});
                return body;
            }
            Body::Blanking(_) => {
                clean.reserve_exact(body.len());
                self.feed(&body, &mut |b| clean.extend_from_slice(b));
                self.finish(&mut |b| clean.extend_from_slice(b));
            }
        }
        clean
    }

    #[cold]
    fn meet(&mut self, found: Found) {
        self.untold.gave_up |= found.gave_up;
        for secret in found.secrets {
            if self.met.len() < MOST_TOLD && !self.met.contains(&secret) {
                self.met.push(secret.clone());
                self.untold.secrets.push(secret);
            }
        }
    }

    /// Tells of what was met since the last time.
    pub fn tell(&mut self, scrub: &Scrub, record: &Recording<'_>) {
        if scrub.has_found() && !self.echo_told && self.mode != SecretsInAnswers::Ignore {
            self.echo_told = true;
            // Others are blanked alike, and may be ordinary words.
            record.echoed(scrub.is_of(|secret| !self.finder.find(1, secret).secrets.is_empty()));
        }
        self.tell_met(record);
    }

    /// The same without what is told of an echo.
    pub fn tell_met(&mut self, record: &Recording<'_>) {
        if !self.untold.is_nothing() {
            record.secrets_met(std::mem::take(&mut self.untold), SecretPlace::Answer, self.blanks());
        }
    }
}

impl Looks for AnswerGuard<'_> {
    fn looks(&self) -> bool {
        !matches!(self.body, Body::Unseen)
    }

    fn pass(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
        self.feed(piece, out);
    }

    fn end(&mut self, out: &mut impl FnMut(&[u8])) {
        self.finish(out);
    }
}

/// Whether a body of this kind may hold text. Unknown kinds may.
pub(in crate::pipeline) fn is_text(head: &ResponseHead, bytes: &[u8]) -> bool {
    let kind = head.fields.iter().find(|f| f.tag == Tag::ContentType).map_or(&b""[..], |f| f.value.of(bytes));
    let is = |name: &[u8]| kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name));
    let never = [&b"image/"[..], b"audio/", b"video/", b"font/"].into_iter().any(is);
    !never || is(b"image/svg")
}
