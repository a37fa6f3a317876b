//! A server's answer: lists show what the caller may use, the session becomes the caller's own, and how it went is told.

use super::{McpCall, SESSION, To, guard::AnswerJudge, refusal::OTHER};
use crate::{
    http1::{
        head::{Framing, ResponseHead},
        tag::Tag,
    },
    pipeline::{Refused, record::Recording, route::RouteMatch},
    worker::View,
};
use credentialflow_mcp::{EventFilter, Rights, Seen, clean, error_body, servers::outward};
use credentialflow_model::{OutcomeReason, resource::Offered};
use credentialflow_policy::{McpGrant, RouteSlot, SessionOwner};
use std::{borrow::Cow, time::Duration};

/// The longest event of a stream. As much as a whole answer may have.
const MOST_EVENT: usize = 32 << 20;

/// What kind of answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pipeline) enum Form {
    /// A message, or several.
    Messages,
    /// A stream of events that carry messages.
    Events,
    /// Nothing that a client reads as a message.
    Other,
    /// The same where guardrails judge answers: its status and its head alone go on, as they cannot look at its body.
    Unjudged,
}

/// One answer of a server.
pub(in crate::pipeline) struct Answering<'v> {
    call: &'v McpCall,
    view: &'v View,
    route_name: &'v str,
    grant: Grant<'v>,
    form: Form,
    stream_idle: Duration,
    /// Which of several servers it is of.
    server: Option<&'v str>,
    /// Whether there are several.
    several: bool,
}

impl<'v> Answering<'v> {
    /// Begins with its head; `None` on other routes. Refused: nobody could tell what the answer shows.
    pub fn of(
        call: Option<&'v McpCall>,
        view: &'v View,
        matched: &RouteMatch<'_>,
        (head, bytes): (&ResponseHead, &[u8]),
        (framing, encoded): (Framing, bool),
    ) -> Result<Option<Self>, Refused> {
        let route = matched.plan(view);
        let Some((call, plan)) = call.zip(route.mcp.as_ref()) else { return Ok(None) };
        let unusable =
            |detail: &str| Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail.to_owned()));
        if (300..400).contains(&head.status) {
            return unusable("the MCP server answers with a redirection; its own address belongs into `endpoints`");
        }
        let kind = head.fields.iter().find(|field| field.tag == Tag::ContentType).map(|field| field.value.of(bytes));
        let is = |name: &[u8]| {
            kind.is_some_and(|kind| kind.get(..name.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(name)))
        };
        let judge = AnswerJudge::of(plan);
        let form = match framing {
            Framing::None | Framing::Length(0) => Form::Other,
            _ if is(b"application/json") => Form::Messages,
            _ if is(b"text/event-stream") => Form::Events,
            // What answers a notification or the end of a session says nothing.
            _ if head.status != 200 || !(call.posts || call.listens) => match judge.judges() {
                true => Form::Unjudged,
                false => Form::Other,
            },
            _ => return unusable("the MCP server answered with neither JSON nor a stream of events"),
        };
        if encoded && form != Form::Other {
            return unusable("the MCP server compressed its answer although it was asked not to");
        }
        let slot = RouteSlot(matched.route);
        let grant = McpGrant::of(&plan.rules, (slot, &route.name), &view.snapshot.applications, &call.principal);
        let (route_name, stream_idle) = (&*route.name, plan.stream_idle);
        let server = match call.to {
            To::One(server) => plan.servers.get(server).map(|server| &*server.name),
            To::Server | To::All(_) => None,
        };
        let several = !plan.servers.is_empty();
        let grant = Grant { rights: grant, judge };
        Ok(Some(Self { call, view, route_name, grant, form, stream_idle, server, several }))
    }

    /// The answer of one of several servers to what was asked of all of them.
    pub fn of_server(self, name: &'v str) -> Self {
        Self { server: Some(name), ..self }
    }

    /// What kind it is.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// How long it may be silent, where that is not as with all answers.
    pub fn idle(&self) -> Option<Duration> {
        (self.call.listens && self.form == Form::Events).then_some(self.stream_idle)
    }

    /// Writes the session as its caller gets it.
    pub fn push_session(&self, head: &ResponseHead, bytes: &[u8], fields: &mut Vec<u8>) -> Result<(), Refused> {
        // The session with several servers began with what all of them answered.
        if self.several {
            return Ok(());
        }
        let mut ids = head.fields.iter().filter(|field| is_session(field.name.of(bytes))).map(|f| f.value.of(bytes));
        let Some(id) = ids.next() else { return Ok(()) };
        let owner = SessionOwner { route: self.route_name, principal: &self.call.principal };
        let bound = owner.bind(&self.view.snapshot.api_key, id).filter(|_| ids.next().is_none());
        push_bound(bound, fields)
    }

    /// A whole answer, as its caller may see it.
    pub fn whole(&self, body: Vec<u8>, status: u16, record: &mut Recording<'_>) -> Result<Vec<u8>, Refused> {
        // Some servers say of a notification that there is nothing to say.
        if matches!(body.trim_ascii(), b"" | b"null") {
            return Ok(body);
        }
        if self.form == Form::Unjudged {
            return Ok(instead(status));
        }
        let mut seen = Seen::default();
        let named = self.server.map_or(Ok(Cow::Borrowed(&*body)), |server| outward(&body, server));
        let shown = named.and_then(|named| {
            let cut = match clean(&named, &self.grant, &mut seen)? {
                Cow::Owned(cut) => Some(cut),
                Cow::Borrowed(_) => None,
            };
            Ok(cut.or(match named {
                Cow::Owned(named) => Some(named),
                Cow::Borrowed(_) => None,
            }))
        });
        let shown = match shown {
            Ok(shown) => shown,
            // An error that is no message shows nothing.
            Err(_) if !(200..300).contains(&status) => self.grant.judge.judges().then(|| instead(status)),
            Err(unreadable) => {
                return Err(Refused::new(OutcomeReason::UpstreamMalformed).with_detail(unreadable.to_string()));
            }
        };
        record.mcp_ended(seen);
        self.grant.judge.tell(record);
        Ok(shown.unwrap_or(body))
    }

    /// Whether a guardrail did not let a whole answer go on.
    pub fn is_withheld(&self) -> bool {
        self.grant.judge.is_withheld()
    }

    /// What its events pass through, if it has any.
    pub fn events(&self) -> Option<Events<'v>> {
        self.filtered(match self.server {
            None => EventFilter::new(MOST_EVENT),
            Some(server) => EventFilter::of_server(MOST_EVENT, server, false),
        })
    }

    /// The same among the events of other servers.
    pub fn events_beside(&self) -> Option<Events<'v>> {
        self.filtered(EventFilter::of_server(MOST_EVENT, self.server.unwrap_or_default(), true))
    }

    fn filtered(&self, filter: EventFilter) -> Option<Events<'v>> {
        let Self { form, grant, .. } = self;
        let grant = || Grant { rights: grant.rights, judge: grant.judge.another() };
        (*form == Form::Events).then(|| Events { filter, grant: grant() })
    }
}

/// What stands in the place of a body that is no message. A success that is none says nothing.
fn instead(status: u16) -> Vec<u8> {
    if (200..300).contains(&status) {
        return Vec::new();
    }
    let why = format!("the MCP server answered with status {status} and no message");
    error_body(&[], false, OTHER, &why, &serde_json::Value::Null)
}

/// Writes the id of a session as its caller gets it.
pub(super) fn push_bound(bound: Option<Vec<u8>>, fields: &mut Vec<u8>) -> Result<(), Refused> {
    let bound = bound.ok_or_else(|| {
        let detail = "the MCP server named no session that can be passed on".to_owned();
        Refused::new(OutcomeReason::UpstreamMalformed).with_detail(detail)
    })?;
    fields.extend_from_slice(b"mcp-session-id: ");
    fields.extend_from_slice(&bound);
    fields.extend_from_slice(b"\r\n");
    Ok(())
}

/// Whether a field names the session.
pub(in crate::pipeline) fn is_session(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(SESSION.as_bytes())
}

/// What the caller may use, as the protocol's room asks for it.
struct Grant<'v> {
    rights: McpGrant<'v>,
    judge: AnswerJudge<'v>,
}

impl Rights for Grant<'_> {
    fn governs(&self, kind: Offered) -> bool {
        self.rights.governs(kind)
    }
    fn allows(&self, kind: Offered, name: &str) -> bool {
        self.rights.allows(kind, name)
    }
    fn judged<'a>(&self, message: Cow<'a, [u8]>) -> Cow<'a, [u8]> {
        self.judge.judged(message)
    }
    fn judges(&self) -> bool {
        self.judge.judges()
    }
}

/// The events of a stream as they pass.
pub(in crate::pipeline) struct Events<'v> {
    filter: EventFilter,
    grant: Grant<'v>,
}

impl Events<'_> {
    /// Takes the next bytes, and gives what of them passes.
    pub fn feed(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        self.filter.feed(bytes, &self.grant, out);
    }

    /// The stream is over.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        self.filter.finish(&self.grant, out);
    }

    /// Whether an event could not be read. Nothing passes from there on.
    pub const fn has_failed(&self) -> bool {
        self.filter.has_failed()
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.filter.held()
    }

    /// What its messages told.
    pub const fn seen(&self) -> Seen {
        self.filter.seen()
    }

    /// Whether a guardrail did not let one of them go on.
    pub fn is_withheld(&self) -> bool {
        self.grant.judge.is_withheld()
    }

    /// Tells what its messages told.
    pub fn tell(&self, record: &mut Recording<'_>) {
        record.mcp_ended(self.seen());
        self.grant.judge.tell(record);
    }
}
