//! Several servers behind one address: whose a request is. What has the name of a server goes to it alone, as it would to
//! the one server of another route; what concerns all of them is told what it asks of each.

use super::{
    EVENT, INVALID_REQUEST, Inbound, METHOD_NOT_FOUND, McpCall, NAME, To, VERSION, invalid, is_parameter, not_allowed,
    not_here,
};
use crate::{pipeline::Refused, snapshot::mcp::McpPlan};
use credentialflow_mcp::{
    Posted, as_header_value,
    servers::{Addressed, addressed, split},
};

/// What is asked of all servers is no longer: each gets it.
const MOST_ASKED: usize = 256 << 10;

/// What is asked of all servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// To begin a session.
    Initialize,
    /// What they can, in versions without sessions.
    Discover,
    /// A list of what they offer.
    List,
    /// To log what is of this level.
    Level,
    /// Nothing: the gateway itself is asked whether it is there.
    Ping,
    /// Nothing: they are told something.
    Tell,
    /// To end the session.
    End,
    /// To tell of what they like, until the caller leaves.
    Listen,
    /// The same, of what the caller names.
    Subscribe,
}

/// A request that is for all servers.
pub(super) struct ForAll {
    pub question: Question,
    /// The method of its message, and the id; empty without one.
    pub method: Box<str>,
    pub id: Box<str>,
}

/// Whose a request is that has no message.
pub(super) fn without_message(
    plan: &McpPlan,
    method: &str,
    taken_up: Option<&[u8]>,
    call: &mut McpCall,
) -> Result<(), Refused> {
    let Some(event) = taken_up else {
        let question = if method == "GET" { Question::Listen } else { Question::End };
        call.to = To::All(ForAll { question, method: Box::default(), id: Box::default() });
        return Ok(());
    };
    // The ids of events begin with their server's name.
    let unknown = || invalid("there was no such event here", INVALID_REQUEST);
    let event = std::str::from_utf8(event).map_err(|_| unknown())?;
    let (server, event) = event.split_once(':').ok_or_else(unknown)?;
    call.go_to(plan, plan.server(server).ok_or_else(unknown)?)?;
    call.fields.push((EVENT.into(), event.to_owned()));
    Ok(())
}

/// Whose a message is, and what it is there, if that is something else than what was posted.
pub(super) fn posted(
    plan: &McpPlan,
    inbound: &Inbound<'_>,
    (posted, received): (&Posted<'_>, &[u8]),
    call: &mut McpCall,
) -> Result<Option<Vec<u8>>, Refused> {
    let one = || invalid("send one message at a time", INVALID_REQUEST);
    let [message] = posted.messages.as_slice() else { return Err(one()) };
    let text = std::str::from_utf8(received).map_err(|_| one())?;
    let asks = message.asks.first();
    match addressed(text, message).map_err(|why| invalid(&why.to_string(), why.code()))? {
        Addressed::Nobody => Err(not_here(asks.map(|asks| asks.kind))),
        Addressed::One { server, body } => {
            let server = plan.server(&server).ok_or_else(|| not_here(asks.map(|asks| asks.kind)))?;
            call.go_to(plan, server)?;
            if let Some((_, own)) = asks.and_then(|asks| split(asks.kind, &asks.name))
                && inbound.header(NAME).is_some()
            {
                call.fields.push((NAME.into(), as_header_value(own)));
            }
            Ok(Some(body))
        }
        Addressed::All => {
            let method = message.method.as_deref().unwrap_or_default();
            let question = match method {
                "initialize" => Question::Initialize,
                "server/discover" => Question::Discover,
                "tools/list" | "prompts/list" | "resources/list" | "resources/templates/list" => Question::List,
                "logging/setLevel" => Question::Level,
                "ping" => Question::Ping,
                "subscriptions/listen" => Question::Subscribe,
                tells if tells.starts_with("notifications/") => Question::Tell,
                _ => return Err(not_allowed("there is no such method here", METHOD_NOT_FOUND)),
            };
            if (question == Question::Tell) == message.id.is_some() {
                return Err(invalid("what is asked has an id, and what is told has none", INVALID_REQUEST));
            }
            if received.len() > MOST_ASKED {
                return Err(invalid("what all servers here are asked has 256 KiB at the most", INVALID_REQUEST));
            }
            let id = message.id.unwrap_or_default().into();
            call.to = To::All(ForAll { question, method: method.into(), id });
            Ok(None)
        }
    }
}

impl McpCall {
    /// Sends it to one of several servers, with what that one agreed on with the caller.
    fn go_to(&mut self, plan: &McpPlan, server: usize) -> Result<(), Refused> {
        if let Some(sessions) = &self.sessions {
            let of_server = sessions.iter().find(|session| *session.server == *plan.servers[server].name);
            let Some(agreed) = of_server else {
                let away = "the server of that name was away when this session began; begin another one";
                return Err(not_allowed(away, super::INVALID_PARAMS));
            };
            self.session = agreed.id.as_deref().map(|id| id.as_bytes().into());
            self.fields.push((VERSION.into(), agreed.version.clone()));
        }
        self.to = To::One(server);
        Ok(())
    }

    /// The same request as one of several servers gets it; `None` where it has no part in the session.
    pub(super) fn for_server(&self, plan: &McpPlan, server: usize) -> Option<Self> {
        let mut one = Self {
            principal: self.principal.clone(),
            session: None,
            listens: self.listens,
            posts: self.posts,
            to: To::Server,
            sessions: self.sessions.clone(),
            fields: self.fields.iter().filter(|(name, _)| is_parameter(name.as_bytes())).cloned().collect(),
        };
        one.go_to(plan, server).is_ok().then_some(one)
    }
}
