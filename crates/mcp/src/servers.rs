//! Several servers behind one address: how callers call what each of them offers, and whom a message is for.
//!
//! Tools and prompts are the server's name, [`SEPARATOR`] and their own name, resources the server's name, `+` and their
//! URI, which is a URI again. What a server asks by itself has its id, and the token of its progress, written as a text that
//! begins with the server's name and `:`, so that the answer finds its way back. Names of servers have neither of these
//! characters, so all of them are read in one way.

use crate::{
    Message, Unreadable,
    answer::LISTS,
    json::{Edits, Members, elements, quoted, string},
    message::{InvalidMessage, is_id},
};
use credentialflow_model::resource::Offered;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Between the name of a server and the name of a tool or a prompt.
pub const SEPARATOR: &str = "__";

/// What callers call something that a server offers.
pub fn joined(kind: Offered, server: &str, name: &str) -> String {
    match kind {
        Offered::Resource => format!("{server}+{name}"),
        Offered::Tool | Offered::Prompt => format!("{server}{SEPARATOR}{name}"),
    }
}

/// The server, and what it calls something that callers call so.
pub fn split(kind: Offered, name: &str) -> Option<(&str, &str)> {
    let parts = match kind {
        Offered::Resource => name.split_once('+'),
        Offered::Tool | Offered::Prompt => name.split_once(SEPARATOR),
    };
    parts.filter(|(server, name)| !server.is_empty() && !name.is_empty())
}

/// A server's id of a request or token of progress, as callers get it.
fn token(server: &str, raw: &str) -> String {
    quoted(&format!("{server}:{raw}"))
}

/// The server and its own id, as it is written, of an id that a caller repeats.
fn opened(raw: &str) -> Option<(String, String)> {
    let text = string(raw)?;
    let (server, id) = text.split_once(':')?;
    // Of a text in quotes, `is_id` sees the quotes alone.
    let whole = serde_json::from_str::<&RawValue>(id).is_ok_and(|value| value.get() == id);
    (is_id(id) && whole).then(|| (server.to_owned(), id.to_owned()))
}

/// A server's message, or a batch of them, with the names that callers know. Borrowed where it has none.
///
/// # Errors
/// [`Unreadable`].
pub fn outward<'a>(text: &'a [u8], server: &str) -> Result<Cow<'a, [u8]>, Unreadable> {
    let text = std::str::from_utf8(text).map_err(|_| Unreadable)?;
    let mut edits = Edits::of(text);
    match elements(text) {
        Some(batch) => batch.iter().try_for_each(|message| rename(message.get(), server, &mut edits))?,
        None => rename(text, server, &mut edits)?,
    }
    Ok(edits.apply())
}

fn members<'a>(text: &'a str, names: &'static [&'static str]) -> Result<Members<'a>, Unreadable> {
    Members::of(text, names).map_err(|_| Unreadable)
}

fn rename<'a>(message: &'a str, server: &str, edits: &mut Edits<'a>) -> Result<(), Unreadable> {
    let message = members(message, &["id", "method", "params", "result", "error"])?;
    if let Some(method) = message.get("method") {
        let method = string(method).ok_or(Unreadable)?;
        if let Some(id) = message.get("id") {
            edits.replace(id, token(server, id));
        }
        let Some(params) = message.get("params").filter(|params| params.starts_with('{')) else { return Ok(()) };
        let params = members(params, &["uri", "requestId", "_meta"])?;
        match &*method {
            "notifications/cancelled" => {
                if let Some(id) = params.get("requestId") {
                    edits.replace(id, token(server, id));
                }
            }
            "notifications/resources/updated" => uri(&params, server, edits),
            _ if message.get("id").is_some() => {
                if let Some(meta) = params.get("_meta").filter(|meta| meta.starts_with('{'))
                    && let Some(progress) = members(meta, &["progressToken"])?.get("progressToken")
                {
                    edits.replace(progress, token(server, progress));
                }
            }
            _ => {}
        }
        return Ok(());
    }
    let Some(result) = message.get("result").filter(|result| result.starts_with('{')) else { return Ok(()) };
    let names = &["tools", "prompts", "resources", "resourceTemplates", "contents", "content", "messages"];
    let result = members(result, names)?;
    for (list, kind, name) in LISTS {
        for element in objects(result.get(list)) {
            let element = members(element, &["name", "uri", "uriTemplate"])?;
            if let Some((written, plain)) = element.get(name).and_then(|text| Some((text, string(text)?))) {
                edits.replace(written, quoted(&joined(kind, server, &plain)));
            }
        }
    }
    for contents in objects(result.get("contents")) {
        uri(&members(contents, &["uri"])?, server, edits);
    }
    for block in objects(result.get("content")) {
        linked(block, server, edits)?;
    }
    for said in objects(result.get("messages")) {
        let Some(content) = members(said, &["content"])?.get("content") else { continue };
        if content.starts_with('{') {
            linked(content, server, edits)?;
        }
        for block in objects(Some(content)) {
            linked(block, server, edits)?;
        }
    }
    Ok(())
}

/// The objects that an array holds.
fn objects(list: Option<&str>) -> impl Iterator<Item = &str> {
    let all = list.and_then(elements).unwrap_or_default();
    all.into_iter().map(RawValue::get).filter(|element| element.starts_with('{'))
}

fn uri<'a>(of: &Members<'a>, server: &str, edits: &mut Edits<'a>) {
    if let Some((written, plain)) = of.get("uri").and_then(|text| Some((text, string(text)?))) {
        edits.replace(written, quoted(&joined(Offered::Resource, server, &plain)));
    }
}

/// A block of content that names a resource, or holds one.
fn linked<'a>(block: &'a str, server: &str, edits: &mut Edits<'a>) -> Result<(), Unreadable> {
    let block = members(block, &["type", "uri", "resource"])?;
    match block.get("type").and_then(string).as_deref() {
        Some("resource_link") => uri(&block, server, edits),
        Some("resource") => {
            if let Some(resource) = block.get("resource").filter(|resource| resource.starts_with('{')) {
                uri(&members(resource, &["uri"])?, server, edits);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Whom a posted message is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addressed {
    /// One server, by its name, with the message as it knows it.
    One {
        /// Its name; there may be no such server.
        server: String,
        /// The message.
        body: Vec<u8>,
    },
    /// All of them.
    All,
    /// Nobody: it names something that begins with no name of a server.
    Nobody,
}

/// Whom a message is for; `text` is what it was read from.
///
/// # Errors
/// [`InvalidMessage`], where it answers or tells of something that no server asked for.
pub fn addressed(text: &str, message: &Message<'_>) -> Result<Addressed, InvalidMessage> {
    let strange = || InvalidMessage::NoMessage("it answers something that no server here has asked");
    let of = |text, names| Members::of(text, names).map_err(|_| InvalidMessage::Ambiguous);
    let all = of(text, &["id", "params"])?;
    let mut edits = Edits::of(text);
    let Some(method) = message.method.as_deref() else {
        let id = all.get("id").ok_or_else(strange)?;
        let (server, own) = opened(id).ok_or_else(strange)?;
        edits.replace(id, own);
        return Ok(Addressed::One { server, body: edits.apply().into_owned() });
    };
    if method == "notifications/progress" {
        let params = of(all.get("params").unwrap_or("{}"), &["progressToken"])?;
        let told = params.get("progressToken").ok_or_else(strange)?;
        let (server, own) = opened(told).ok_or_else(strange)?;
        edits.replace(told, own);
        return Ok(Addressed::One { server, body: edits.apply().into_owned() });
    }
    let field = match method {
        "tools/call" | "prompts/get" => "name",
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => "uri",
        "completion/complete" => "ref",
        _ => return Ok(Addressed::All),
    };
    let params = of(all.get("params").unwrap_or("{}"), &["name", "uri", "ref"])?;
    let mut written = params.get(field).ok_or(InvalidMessage::NoMessage("it names nothing"))?;
    if field == "ref" {
        let reference = of(written, &["type", "name", "uri"])?;
        let named =
            if reference.get("type").and_then(string).as_deref() == Some("ref/prompt") { "name" } else { "uri" };
        written = reference.get(named).ok_or(InvalidMessage::NoMessage("`ref` names nothing"))?;
    }
    let Some((server, name)) = message.asks.first().and_then(|asks| split(asks.kind, &asks.name)) else {
        return Ok(Addressed::Nobody);
    };
    edits.replace(written, quoted(name));
    Ok(Addressed::One { server: server.to_owned(), body: edits.apply().into_owned() })
}

/// What one server is asked to tell of by `subscriptions/listen`: of the resources that are named, its own.
///
/// # Errors
/// [`InvalidMessage`].
pub fn listening(text: &str, server: &str) -> Result<Vec<u8>, InvalidMessage> {
    let of = |text, names| Members::of(text, names).map_err(|_| InvalidMessage::Ambiguous);
    let mut edits = Edits::of(text);
    if let Some(params) = of(text, &["params"])?.get("params")
        && let Some(filter) = of(params, &["notifications"])?.get("notifications")
        && let Some(list) = of(filter, &["resourceSubscriptions"])?.get("resourceSubscriptions")
    {
        let uris = elements(list).unwrap_or_default();
        let own = uris.iter().filter_map(|uri| {
            let uri = string(uri.get())?;
            let (of, uri) = split(Offered::Resource, &uri)?;
            (of == server).then(|| quoted(uri))
        });
        let own: Vec<String> = own.collect();
        edits.replace(list, crate::json::array(own.iter().map(String::as_str)));
    }
    Ok(edits.apply().into_owned())
}

/// The filter of a `subscriptions/listen`, in one line, as events have it.
pub fn listened(text: &str) -> String {
    let params = Members::of(text, &["params"]).ok().and_then(|all| all.get("params"));
    let filter = params.and_then(|params| Members::of(params, &["notifications"]).ok()?.get("notifications"));
    // Between texts, breaks of lines are space, and in texts they have escapes.
    filter.unwrap_or("{}").replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Posted;

    fn check(text: &str, expect: &str) {
        let shown = outward(text.as_bytes(), "git").unwrap();
        assert_eq!(std::str::from_utf8(&shown).unwrap(), expect);
        assert_eq!(matches!(shown, Cow::Borrowed(_)), text == expect);
    }

    #[test]
    fn what_a_server_says_has_its_name_in_front() {
        check(
            r#"{"id":1,"result":{"tools":[{"name":"add", "x":1.0},{"name":"a\u0062"}],"prompts":[{"name":"p"}]}}"#,
            r#"{"id":1,"result":{"tools":[{"name":"git__add", "x":1.0},{"name":"git__ab"}],"prompts":[{"name":"git__p"}]}}"#,
        );
        check(
            r#"{"result":{"resources":[{"uri":"a:1","name":"n"}],"resourceTemplates":[{"uriTemplate":"a:{x}"}]}}"#,
            r#"{"result":{"resources":[{"uri":"git+a:1","name":"n"}],"resourceTemplates":[{"uriTemplate":"git+a:{x}"}]}}"#,
        );
        check(
            r#"{"result":{"content":[{"type":"text","text":"add"},{"type":"resource_link","uri":"a:1"},{"type":"resource","resource":{"uri":"a:2","text":"a:2"}}]}}"#,
            r#"{"result":{"content":[{"type":"text","text":"add"},{"type":"resource_link","uri":"git+a:1"},{"type":"resource","resource":{"uri":"git+a:2","text":"a:2"}}]}}"#,
        );
        check(
            r#"{"result":{"contents":[{"uri":"a:1"}],"messages":[{"content":{"type":"resource_link","uri":"a:1"}},{"content":[{"type":"resource_link","uri":"a:2"}]}]}}"#,
            r#"{"result":{"contents":[{"uri":"git+a:1"}],"messages":[{"content":{"type":"resource_link","uri":"git+a:1"}},{"content":[{"type":"resource_link","uri":"git+a:2"}]}]}}"#,
        );
        let plain = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":5,"progress":1}}"#;
        check(plain, plain);
        let error = r#"{"id":1,"error":{"code":1}}"#;
        check(error, error);
        for bad in ["", "1", r#"{"result":{"tools":[{"name":"a","Name":"b"}]}}"#, r#"{"method":1}"#, "[1]"] {
            assert_eq!(outward(bad.as_bytes(), "git"), Err(Unreadable), "{bad}");
        }
    }

    fn to(text: &str) -> Result<Addressed, InvalidMessage> {
        let posted = Posted::read(text.as_bytes(), false).unwrap();
        addressed(text, &posted.messages[0])
    }

    fn one(server: &str, body: &str) -> Result<Addressed, InvalidMessage> {
        Ok(Addressed::One { server: server.into(), body: body.into() })
    }

    #[test]
    fn what_a_server_asks_is_answered_to_it_alone() {
        for id in ["7", "-7", r#""a:\"b""#, r#""""#] {
            let asked = format!(
                r#"{{"jsonrpc":"2.0","id":{id},"method":"sampling/createMessage","params":{{"_meta":{{"progressToken":{id}}}}}}}"#
            );
            let shown = outward(asked.as_bytes(), "git").unwrap().into_owned();
            let shown: serde_json::Value = serde_json::from_slice(&shown).unwrap();
            let told = &shown["id"];
            assert_eq!(shown["params"]["_meta"]["progressToken"], *told);
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{told},"result":{{}}}}"#);
            assert_eq!(to(&answer), one("git", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)));
            let progress =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{told}}}}}"#);
            let own =
                format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id}}}}}"#);
            assert_eq!(to(&progress), one("git", &own));
        }
        check(
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"git:7"}}"#,
        );
        for strange in [
            "7",
            r#""7""#,
            r#""git:""#,
            r#""git:x""#,
            r#""git:7,\"method\":\"x\"""#,
            r#""git:\"a\",\"b\"""#,
            r#""git: 7""#,
        ] {
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{strange},"result":{{}}}}"#);
            assert!(to(&answer).is_err(), "{answer}");
        }
    }

    #[test]
    fn what_has_a_server_s_name_goes_to_it_by_its_own() {
        let check = |method: &str, params: &str, server: &str, expect: &str| {
            let text = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
            assert_eq!(to(&text(params)), one(server, &text(expect)), "{params}");
        };
        check(
            "tools/call",
            r#"{"name":"git__add","arguments":{"name":"git__x"}}"#,
            "git",
            r#"{"name":"add","arguments":{"name":"git__x"}}"#,
        );
        check("tools/call", r#"{"name":"git___add__b"}"#, "git", r#"{"name":"_add__b"}"#);
        check("prompts/get", r#"{"name":"a-1\u005f_p"}"#, "a-1", r#"{"name":"p"}"#);
        check("resources/read", r#"{"uri":"git+svn+ssh://x"}"#, "git", r#"{"uri":"svn+ssh://x"}"#);
        check(
            "completion/complete",
            r#"{"ref":{"type":"ref/prompt","name":"git__p"},"argument":{}}"#,
            "git",
            r#"{"ref":{"type":"ref/prompt","name":"p"},"argument":{}}"#,
        );
        check(
            "completion/complete",
            r#"{"ref":{"type":"ref/resource","uri":"git+a:{x}"}}"#,
            "git",
            r#"{"ref":{"type":"ref/resource","uri":"a:{x}"}}"#,
        );
        for name in ["add", "git_add", "__add", "git__"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}"}}}}"#);
            assert_eq!(to(&text), Ok(Addressed::Nobody), "{name}");
        }
        for method in ["tools/list", "initialize", "notifications/cancelled", "ping"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
            assert_eq!(to(&text), Ok(Addressed::All), "{method}");
        }
    }

    #[test]
    fn each_server_hears_of_its_own_resources() {
        let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["git+a:1","db+a:2"]}}}"#;
        let own = String::from_utf8(listening(listen, "db").unwrap()).unwrap();
        assert_eq!(own, listen.replace(r#""git+a:1","db+a:2""#, r#""a:2""#));
        assert_eq!(listened(listen), r#"{"toolsListChanged":true,"resourceSubscriptions":["git+a:1","db+a:2"]}"#);
        let bare = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
        assert_eq!((listening(bare, "db").unwrap(), listened(bare)), (bare.as_bytes().to_vec(), "{}".to_owned()));
        assert_eq!(listened("{\"params\":{\"notifications\":{\r\n\"a\":1}}}"), "{  \"a\":1}");
    }
}
