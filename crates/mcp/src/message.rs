//! What a caller posts: one JSON-RPC message, or several in the version that has batches, and what each asks for by name.

use crate::{
    json::{Members, NoMembers, elements, string},
    strict::{self, DEEPEST, NotStrict},
};
use credentialflow_model::resource::Offered;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Messages of a batch.
pub const MOST_MESSAGES: usize = 64;
/// Names that one message asks for.
const MOST_NAMES: usize = 256;
/// The longest name of a method or id.
const LONGEST_WORD: usize = 256;
/// The longest name of a tool or prompt.
const LONGEST_NAME: usize = 256;
/// The longest URI.
const LONGEST_URI: usize = 4096;

/// The methods that callers use in the versions of the protocol up to 2026-07-28. Those of extensions are none of them:
/// what they ask for by name, nobody here can tell.
pub const METHODS: &[&str] = &[
    "completion/complete",
    "initialize",
    "logging/setLevel",
    "notifications/cancelled",
    "notifications/initialized",
    "notifications/progress",
    "notifications/roots/list_changed",
    "ping",
    "prompts/get",
    "prompts/list",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/templates/list",
    "resources/unsubscribe",
    "server/discover",
    "subscriptions/listen",
    "tools/call",
    "tools/list",
];

/// Why what was posted is no message. The texts are safe to show: they hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// It is no JSON in UTF-8.
    #[error("the body is not JSON in UTF-8")]
    NotJson,
    /// A name stands twice in an object.
    #[error("a name stands twice in one object, or beside one that differs in case only")]
    Ambiguous,
    /// It has too many levels.
    #[error("the body has more than {DEEPEST} levels")]
    TooDeep,
    /// It is no JSON-RPC message.
    #[error("the body is no JSON-RPC 2.0 message: {0}")]
    NoMessage(&'static str),
    /// There are several, where one is to come.
    #[error("batches are a part of version 2025-03-26 only; send one message at a time")]
    NoBatches,
    /// There are too many, or none.
    #[error("a batch has 1 to {MOST_MESSAGES} messages")]
    BatchSize,
    /// More than one of them is a call.
    #[error("a batch may hold one request beside notifications and answers; send requests one at a time")]
    SeveralCalls,
}

impl InvalidMessage {
    /// The code of JSON-RPC.
    pub const fn code(self) -> i64 {
        match self {
            Self::NotJson | Self::TooDeep => -32700,
            _ => -32600,
        }
    }
}

/// What a caller posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted<'a> {
    /// The messages, at least one.
    pub messages: Vec<Message<'a>>,
    /// Whether they came as a batch.
    pub is_batch: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The id as it is written; `None` for a notification.
    pub id: Option<&'a str>,
    /// The method; `None` for an answer to something that the server asked.
    pub method: Option<Cow<'a, str>>,
    /// What it asks for by name.
    pub asks: Vec<Asks>,
}

/// Something that a message asks for by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asks {
    /// What it is.
    pub kind: Offered,
    /// Its name, or its URI.
    pub name: String,
}

impl<'a> Posted<'a> {
    /// Reads a body. `batches`: whether the caller's version has any.
    ///
    /// # Errors
    /// Why nobody, or not everybody, can tell what it asks for.
    pub fn read(body: &'a [u8], batches: bool) -> Result<Self, InvalidMessage> {
        let text = std::str::from_utf8(body).map_err(|_| InvalidMessage::NotJson)?;
        strict::check(text).map_err(|why| match why {
            NotStrict::NotJson => InvalidMessage::NotJson,
            NotStrict::Twice => InvalidMessage::Ambiguous,
            NotStrict::TooDeep => InvalidMessage::TooDeep,
        })?;
        let Some(list) = elements(text) else {
            return Ok(Self { messages: vec![Message::read(text)?], is_batch: false });
        };
        if !batches {
            return Err(InvalidMessage::NoBatches);
        }
        if list.is_empty() || list.len() > MOST_MESSAGES {
            return Err(InvalidMessage::BatchSize);
        }
        let messages = list.into_iter().map(|message| Message::read(message.get())).collect::<Result<Vec<_>, _>>()?;
        if messages.iter().filter(|message| message.is_call()).count() > 1 {
            return Err(InvalidMessage::SeveralCalls);
        }
        Ok(Self { messages, is_batch: true })
    }

    /// The message that says what was posted: the call, of which there is one at most, or else the first notification.
    pub fn telling(&self) -> Option<&Message<'a>> {
        let notifies = |message: &&Message<'_>| message.method.is_some();
        self.messages.iter().find(|message| message.is_call()).or_else(|| self.messages.iter().find(notifies))
    }

    /// The ids of those that are to be answered.
    pub fn ids(&self) -> impl Iterator<Item = &'a str> {
        self.messages.iter().filter(|message| message.method.is_some()).filter_map(|message| message.id)
    }
}

impl<'a> Message<'a> {
    /// Whether it may have the server do something: anything but an answer or one of the protocol's notifications. A
    /// server may do what a request says that has no id.
    fn is_call(&self) -> bool {
        let Some(method) = self.method.as_deref() else { return false };
        let notifies = method.starts_with("notifications/") && METHODS.binary_search(&method).is_ok();
        self.id.is_some() || !notifies
    }

    fn read(text: &'a str) -> Result<Self, InvalidMessage> {
        let no = InvalidMessage::NoMessage;
        let members = object(text, &["jsonrpc", "id", "method", "params", "result", "error"], "it is no object")?;
        if members.get("jsonrpc").and_then(string).as_deref() != Some("2.0") {
            return Err(no("`jsonrpc` is not \"2.0\""));
        }
        let id = members.get("id");
        if id.is_some_and(|id| !is_id(id)) {
            return Err(no("`id` is neither a text nor a whole number"));
        }
        let (result, error) = (members.get("result").is_some(), members.get("error").is_some());
        let Some(method) = members.get("method") else {
            return match (id, result, error) {
                (Some(_), true, false) | (Some(_), false, true) => Ok(Self { id, method: None, asks: Vec::new() }),
                _ => Err(no("it is neither a request nor an answer")),
            };
        };
        if result || error {
            return Err(no("it is a request and an answer"));
        }
        let method = string(method).ok_or(no("`method` is not a text"))?;
        if method.is_empty() || method.len() > LONGEST_WORD || !method.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(no("`method` is not the name of a method"));
        }
        let asks = asks(&method, members.get("params"))?;
        Ok(Self { id, method: Some(method), asks })
    }
}

fn object<'a>(
    text: &'a str,
    names: &'static [&'static str],
    else_: &'static str,
) -> Result<Members<'a>, InvalidMessage> {
    Members::of(text, names).map_err(|why| match why {
        NoMembers::NotAnObject => InvalidMessage::NoMessage(else_),
        NoMembers::Ambiguous(_) => InvalidMessage::Ambiguous,
    })
}

/// MCP has texts and whole numbers as ids, and never null.
pub(crate) fn is_id(id: &str) -> bool {
    let whole = id.strip_prefix('-').unwrap_or(id);
    id.len() <= LONGEST_WORD
        && (id.starts_with('"') || (!whole.is_empty() && whole.bytes().all(|b| b.is_ascii_digit())))
}

/// What a call of a method asks for.
fn asks(method: &str, params: Option<&str>) -> Result<Vec<Asks>, InvalidMessage> {
    let members = match params {
        None => None,
        Some(params) => {
            let names = &["name", "uri", "ref", "notifications"];
            Some(object(params, names, "`params` is no object")?)
        }
    };
    let get = |name| members.as_ref().and_then(|members| members.get(name));
    match method {
        "tools/call" => Ok(vec![name(Offered::Tool, get("name"))?]),
        "prompts/get" => Ok(vec![name(Offered::Prompt, get("name"))?]),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            Ok(vec![name(Offered::Resource, get("uri"))?])
        }
        "completion/complete" => {
            let none = "`ref` names nothing";
            let reference = get("ref").ok_or(InvalidMessage::NoMessage(none))?;
            let reference = object(reference, &["type", "name", "uri"], none)?;
            match reference.get("type").and_then(string).as_deref() {
                Some("ref/prompt") => Ok(vec![name(Offered::Prompt, reference.get("name"))?]),
                Some("ref/resource") => Ok(vec![name(Offered::Resource, reference.get("uri"))?]),
                _ => Err(InvalidMessage::NoMessage(none)),
            }
        }
        "subscriptions/listen" => {
            let Some(filter) = get("notifications") else { return Ok(Vec::new()) };
            let filter = object(filter, &["resourceSubscriptions"], "`notifications` is no object")?;
            let Some(uris) = filter.get("resourceSubscriptions") else { return Ok(Vec::new()) };
            let uris: Vec<&RawValue> =
                elements(uris).ok_or(InvalidMessage::NoMessage("`resourceSubscriptions` is no list"))?;
            if uris.len() > MOST_NAMES {
                return Err(InvalidMessage::NoMessage("`resourceSubscriptions` is too long"));
            }
            uris.into_iter().map(|uri| name(Offered::Resource, Some(uri.get()))).collect()
        }
        _ => Ok(Vec::new()),
    }
}

/// A name that no server takes for another one: it has no space around it and no character that is not seen.
fn name(kind: Offered, text: Option<&str>) -> Result<Asks, InvalidMessage> {
    let (longest, missing) = match kind {
        Offered::Resource => (LONGEST_URI, "`uri` is no URI"),
        Offered::Tool | Offered::Prompt => (LONGEST_NAME, "`name` is no name"),
    };
    let name = text.and_then(string).ok_or(InvalidMessage::NoMessage(missing))?;
    if name.is_empty() || name.len() > longest || name.trim().len() < name.len() || name.chars().any(char::is_control) {
        return Err(InvalidMessage::NoMessage(missing));
    }
    Ok(Asks { kind, name: name.into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Posted<'_>, InvalidMessage> {
        Posted::read(text.as_bytes(), true)
    }

    /// The one thing that one message asks for.
    fn asked(text: &str) -> Option<(Offered, String)> {
        let posted = read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let [message] = posted.messages.as_slice() else { panic!("{text}") };
        assert!(message.asks.len() < 2, "{text}");
        message.asks.first().map(|asks| (asks.kind, asks.name.clone()))
    }

    #[test]
    fn what_a_message_asks_for_is_read() {
        let check = |method: &str, params: &str, expect: Option<(Offered, &str)>| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            assert_eq!(asked(&text), expect.map(|(kind, name)| (kind, name.to_owned())), "{text}");
        };
        check("tools/call", r#"{"name":"add","arguments":{"name":"x"}}"#, Some((Offered::Tool, "add")));
        check("tools/call", r#"{"name":"\u0061dd"}"#, Some((Offered::Tool, "add")));
        check("prompts/get", r#"{"name":"greet"}"#, Some((Offered::Prompt, "greet")));
        check("resources/read", r#"{"uri":"file:///a"}"#, Some((Offered::Resource, "file:///a")));
        check("resources/unsubscribe", r#"{"uri":"file:///a"}"#, Some((Offered::Resource, "file:///a")));
        check(
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"greet"}}"#,
            Some((Offered::Prompt, "greet")),
        );
        check(
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"a:{b}"}}"#,
            Some((Offered::Resource, "a:{b}")),
        );
        check(
            "subscriptions/listen",
            r#"{"notifications":{"resourceSubscriptions":["a:1"]}}"#,
            Some((Offered::Resource, "a:1")),
        );
        check("subscriptions/listen", r#"{"notifications":{"toolsListChanged":true}}"#, None);
        check("tools/list", r#"{"cursor":"2"}"#, None);
        check("initialize", r#"{"protocolVersion":"2025-06-18"}"#, None);
    }

    #[test]
    fn requests_notifications_answers_and_batches() {
        let posted = read(r#"[{"jsonrpc":"2.0","id":"a","method":"ping"},{"jsonrpc":"2.0","method":"notifications/progress"},{"jsonrpc":"2.0","id":-3,"result":{}}]"#).unwrap();
        let ids: Vec<_> = posted.messages.iter().map(|m| (m.id, m.method.as_deref())).collect();
        assert_eq!(ids, [(Some("\"a\""), Some("ping")), (None, Some("notifications/progress")), (Some("-3"), None)]);
        assert_eq!(posted.ids().collect::<Vec<_>>(), ["\"a\""]);
        let one = br#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
        assert_eq!(Posted::read(one, false), Err(InvalidMessage::NoBatches));
        assert_eq!(read("[]"), Err(InvalidMessage::BatchSize));
        let message = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let many = format!("[{}]", vec![message; MOST_MESSAGES + 1].join(","));
        assert_eq!(read(&many), Err(InvalidMessage::BatchSize));
        // One request is posted at a time: limits count requests, and the call log tells one.
        for call in [
            message,
            r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":2,"method":"notifications/progress"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/odd"}"#,
        ] {
            assert_eq!(read(&format!("[{call},{message}]")), Err(InvalidMessage::SeveralCalls), "{call}");
        }
        let last = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"},{"jsonrpc":"2.0","id":1,"method":"tools/list"}]"#;
        assert_eq!(read(last).unwrap().telling().unwrap().method.as_deref(), Some("tools/list"));
        let none = r#"[{"jsonrpc":"2.0","method":"notifications/progress"},{"jsonrpc":"2.0","method":"notifications/cancelled"}]"#;
        assert_eq!(read(none).unwrap().telling().unwrap().method.as_deref(), Some("notifications/progress"));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let ambiguous = [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","Method":"tools/call","params":{"name":"a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","NAME":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"},"param\u017f":{"name":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":1,"x":2}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"a","Type":"ref/resource"}}}"#,
        ];
        for text in ambiguous {
            assert_eq!(read(text), Err(InvalidMessage::Ambiguous), "{text}");
        }
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{}{}}}}}"#,
            "[".repeat(64),
            "]".repeat(64)
        );
        assert_eq!(read(&deep), Err(InvalidMessage::TooDeep));
        assert_eq!(
            Posted::read(b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}", true),
            Err(InvalidMessage::NotJson)
        );
        let no_message = [
            "1",
            r#"{"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":""}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/list "}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#,
            r#"{"jsonrpc":"2.0","result":{}}"#,
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["a"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":["a"]}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":" a"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a\u0000"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/tool","name":"a"}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":"a:1"}}}"#,
        ];
        for text in no_message {
            assert!(matches!(read(text), Err(InvalidMessage::NoMessage(_))), "{text}: {:?}", read(text));
        }
    }

    #[test]
    fn the_list_of_methods_is_in_order() {
        assert!(METHODS.is_sorted());
    }
}
