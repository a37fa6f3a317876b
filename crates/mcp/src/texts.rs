//! What a tool is called with and what servers answer with: the values of a message that hold what is said, as one list of
//! JSON for whoever looks for something in it, and the message with what stands there then.
//!
//! All is said but what is named here as something else, so what this version does not know is looked at as well.

use crate::{
    Unreadable,
    answer::LISTS,
    json::{Edits, Members, array, elements, quoted, string},
    message::METHODS,
};
use std::borrow::Cow;

/// Members that hold parts of an answer, each of which is looked at by itself; so deep at the most.
const PARTS: &[&str] = &["content", "contents", "messages", "resource"];
const DEEPEST_PART: usize = 8;
/// What stands in `type`, `role` and `resultType` of the protocol.
const KINDS: &[&str] = &[
    "assistant",
    "audio",
    "complete",
    "image",
    "input_required",
    "resource",
    "resource_link",
    "task",
    "text",
    "tool_result",
    "tool_use",
    "user",
];
/// Names that the protocol gives to members. Others are looked at too.
const NAMES: &[&str] = &[
    "_meta",
    "action",
    "annotations",
    "argument",
    "arguments",
    "blob",
    "cacheScope",
    "capabilities",
    "code",
    "completion",
    "content",
    "contents",
    "context",
    "cursor",
    "data",
    "description",
    "error",
    "icons",
    "id",
    "inputRequests",
    "inputResponses",
    "instructions",
    "isError",
    "jsonrpc",
    "message",
    "messages",
    "method",
    "mimeType",
    "model",
    "name",
    "nextCursor",
    "params",
    "progress",
    "progressToken",
    "prompts",
    "protocolVersion",
    "reason",
    "ref",
    "requestId",
    "requestState",
    "resource",
    "resourceTemplates",
    "resources",
    "result",
    "resultType",
    "role",
    "roots",
    "serverInfo",
    "size",
    "stopReason",
    "structuredContent",
    "supportedVersions",
    "text",
    "title",
    "tools",
    "total",
    "ttlMs",
    "type",
    "uri",
];
/// What must be read in one way alone, as it says which others are looked at.
const DECIDES: &[&str] = &[
    "type",
    "role",
    "resultType",
    "data",
    "blob",
    "text",
    "title",
    "description",
    "content",
    "contents",
    "messages",
    "resource",
    "structuredContent",
    "inputRequests",
    "requestState",
    "tools",
    "prompts",
    "resources",
    "resourceTemplates",
];
/// Methods whose parameters say nothing: the client tells what it is and can, or which list it asks for.
const QUIET: &[&str] = &[
    "initialize",
    "logging/setLevel",
    "ping",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "server/discover",
    "subscriptions/listen",
    "tools/list",
];

/// The values of a message that hold what is said.
pub struct Said<'a> {
    whole: &'a str,
    values: Vec<&'a str>,
    /// Names of members that nobody knows, which stay as they are or do not pass.
    names: Vec<String>,
}

fn members<'a>(text: &'a str, names: &'static [&'static str]) -> Result<Members<'a>, Unreadable> {
    Members::of(text, names).map_err(|_| Unreadable)
}

impl<'a> Said<'a> {
    /// What tools and prompts are asked for with, in one message or several: all parameters but the names of what is asked
    /// for and of the request, and what a client answers to something that a server asked it.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn in_call(text: &'a [u8]) -> Result<Self, Unreadable> {
        Self::of(text, Self::called)
    }

    /// What a server answers with, in one message or several: all of it but lists of what it offers, and the bytes of
    /// sounds, pictures and other files.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn in_answer(text: &'a [u8]) -> Result<Self, Unreadable> {
        Self::of(text, Self::answered)
    }

    fn of(text: &'a [u8], find: impl Fn(&mut Self, &'a str) -> Result<(), Unreadable>) -> Result<Self, Unreadable> {
        let whole = std::str::from_utf8(text).map_err(|_| Unreadable)?;
        let mut said = Self { whole, values: Vec::new(), names: Vec::new() };
        match elements(whole) {
            Some(batch) => batch.into_iter().try_for_each(|message| find(&mut said, message.get()))?,
            None => find(&mut said, whole)?,
        }
        Ok(said)
    }

    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty() && self.names.is_empty()
    }

    /// What is said, as one list.
    pub fn list(&self) -> Vec<u8> {
        array(self.values.iter().copied().chain(self.names.iter().map(String::as_str))).into_bytes()
    }

    /// The message in which this list is what is said.
    ///
    /// # Errors
    /// [`Unreadable`]: it is no list of as many values, or a member would have another name.
    pub fn with(&self, list: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let list = std::str::from_utf8(list).map_err(|_| Unreadable)?;
        let all = self.values.len() + self.names.len();
        let new = elements(list).filter(|new| new.len() == all).ok_or(Unreadable)?;
        let (values, names) = new.split_at(self.values.len());
        if names.iter().zip(&self.names).any(|(new, old)| new.get() != old) {
            return Err(Unreadable);
        }
        let mut edits = Edits::of(self.whole);
        for (old, new) in self.values.iter().zip(values.iter().map(|value| value.get())) {
            if *old != new {
                edits.replace(old, new.to_owned());
            }
        }
        Ok(edits.apply().into_owned())
    }

    fn called(&mut self, message: &'a str) -> Result<(), Unreadable> {
        let read = members(message, &["method", "params", "result", "error"])?;
        let method = match read.get("method") {
            Some(method) => string(method).ok_or(Unreadable)?,
            None if read.get("params").is_none() => return self.answered(message),
            None => Cow::Borrowed(""),
        };
        let Some(params) = read.get("params").filter(|_| !QUIET.contains(&&*method)) else { return Ok(()) };
        if !params.starts_with('{') {
            self.value(params);
            return Ok(());
        }
        let names: &[&str] = match METHODS.binary_search(&&*method) {
            Ok(_) => &["name", "uri", "requestId", "progressToken", "progress", "total"],
            Err(_) => &[],
        };
        let known = &["arguments", "inputResponses", "requestState", "name", "uri", "ref", "argument", "_meta"];
        for (name, value) in members(params, known)?.iter() {
            match name {
                "ref" if value.starts_with('{') && !names.is_empty() => {
                    self.members(value, &["type", "name", "uri"], |name, _| matches!(name, "type" | "name" | "uri"))?;
                }
                // The client's own words about the request, which name versions and traces.
                "_meta" if value.starts_with('{') => self.members(value, &[], |name, _| {
                    matches!(name, "progressToken" | "traceparent" | "tracestate" | "baggage")
                        || name.starts_with("io.modelcontextprotocol/")
                })?,
                name if names.contains(&name) && !value.starts_with(['{', '[']) => {}
                name => self.member(name, value),
            }
        }
        Ok(())
    }

    fn answered(&mut self, message: &'a str) -> Result<(), Unreadable> {
        let read = members(message, &["jsonrpc", "id", "result", "error", "method", "params"])?;
        for (name, value) in read.iter() {
            match name {
                "jsonrpc" | "id" | "method" | "params" => {}
                "error" if value.starts_with('{') => {
                    self.members(value, &["code"], |name, value| name == "code" && value.parse::<i64>().is_ok())?;
                }
                "result" if value.starts_with('{') => self.part(value, 0)?,
                name => self.member(name, value),
            }
        }
        Ok(())
    }

    /// A part of an answer, or a list of them.
    fn parts(&mut self, value: &'a str, depth: usize) -> Result<(), Unreadable> {
        let one = |said: &mut Self, value: &'a str| match value.starts_with('{') && depth <= DEEPEST_PART {
            true => said.part(value, depth),
            false => {
                said.value(value);
                Ok(())
            }
        };
        match elements(value) {
            Some(all) => all.into_iter().try_for_each(|part| one(self, part.get())),
            None => one(self, value),
        }
    }

    /// An object of an answer; the result itself has no depth.
    fn part(&mut self, value: &'a str, depth: usize) -> Result<(), Unreadable> {
        let read = members(value, DECIDES)?;
        let is_list = LISTS.iter().any(|(list, ..)| read.get(list).is_some());
        let is_media = matches!(read.get("type"), Some(r#""image""# | r#""audio""#));
        for (name, value) in read.iter() {
            let is_said = match name {
                name if PARTS.contains(&name) => {
                    self.parts(value, depth + 1)?;
                    continue;
                }
                "type" | "role" | "resultType" => !string(value).is_some_and(|kind| KINDS.contains(&&*kind)),
                "data" if is_media => !is_bytes(value),
                "blob" => !is_bytes(value),
                "size" | "ttlMs" => value.parse::<f64>().is_err(),
                "protocolVersion" if depth == 0 => !is_version(value),
                "supportedVersions" if depth == 0 => {
                    !elements(value).is_some_and(|all| all.into_iter().all(|one| is_version(one.get())))
                }
                "nextCursor" if depth == 0 && is_list => false,
                name if depth == 0 && LISTS.iter().any(|(list, ..)| *list == name) => !value.starts_with('['),
                _ => true,
            };
            if is_said {
                self.member(name, value);
            }
        }
        Ok(())
    }

    /// All members of an object but some.
    fn members(
        &mut self,
        object: &'a str,
        names: &'static [&'static str],
        but: impl Fn(&str, &str) -> bool,
    ) -> Result<(), Unreadable> {
        for (name, value) in members(object, names)?.iter().filter(|(name, value)| !but(name, value)) {
            self.member(name, value);
        }
        Ok(())
    }

    fn member(&mut self, name: &str, value: &'a str) {
        if !NAMES.contains(&name) {
            self.names.push(quoted(name));
        }
        self.value(value);
    }

    fn value(&mut self, value: &'a str) {
        if !matches!(value, "null" | "true" | "false") {
            self.values.push(value);
        }
    }
}

/// Whether it is nothing else than bytes in base64.
fn is_bytes(value: &str) -> bool {
    let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    // A slash may stand with an escape.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=' | b'-' | b'_');
    inner.is_some_and(|inner| inner.replace("\\/", "/").bytes().all(plain))
}

/// Whether it is the day of a version of the protocol.
fn is_version(value: &str) -> bool {
    value.len() == 12
        && value.starts_with('"')
        && value.bytes().skip(1).take(10).all(|b| b.is_ascii_digit() || b == b'-')
}

/// What stands in the place of a server's message, or of several, that does not pass: of a tool a result that says that it
/// failed and why, else an error.
pub fn withheld(text: &[u8], code: i64, why: &str) -> Vec<u8> {
    let text = std::str::from_utf8(text).unwrap_or_default();
    let why = quoted(why);
    let instead = |message: &str| {
        let members = Members::of(message, &["id", "result"]).ok();
        let of = |name| members.as_ref().and_then(|members| members.get(name));
        let names = &["content", "structuredContent", "resultType"];
        let result = of("result").and_then(|result| Members::of(result, names).ok());
        let has = |name| result.as_ref().is_some_and(|result| result.get(name).is_some());
        let of_tool = has("content") || has("structuredContent");
        // Since 2026-07-28, every result says of which kind it is.
        let kind = if has("resultType") { r#","resultType":"complete""# } else { "" };
        // Nothing else than a text or a number is one.
        let id = of("id").filter(|id| id.parse::<i64>().is_ok() || string(id).is_some()).unwrap_or("null");
        match of_tool {
            true => format!(
                r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":{why}}}],"isError":true{kind}}}}}"#
            ),
            false => format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{why}}}}}"#),
        }
    };
    match elements(text) {
        Some(batch) => {
            let all: Vec<String> = batch.iter().map(|one| instead(one.get())).collect();
            array(all.iter().map(String::as_str))
        }
        None => instead(text),
    }
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(said: &Said<'_>) -> String {
        String::from_utf8(said.list()).unwrap()
    }

    #[test]
    fn what_tools_are_called_with_is_looked_at_and_put_back_in_its_place() {
        let call =
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mail","arguments":{"to": "a@b.c"}}}"#;
        let said = Said::in_call(call.as_bytes()).unwrap();
        assert_eq!(list(&said), r#"[{"to": "a@b.c"}]"#);
        let new = said.with(br#"[{"to": "[EMAIL]"}]"#).unwrap();
        assert_eq!(String::from_utf8(new).unwrap(), call.replace("a@b.c", "[EMAIL]"));
        for bad in [&b"[]"[..], b"[1,2]", b"{}", b"x", b"[1"] {
            assert_eq!(said.with(bad), Err(Unreadable));
        }
        let none = Said::in_call(br#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#).unwrap();
        assert!(none.is_empty());
        assert!(Said::in_call(br#"{"params":{"arguments":1,"Arguments":2}}"#).is_err());
    }

    #[test]
    fn the_texts_of_an_answer_are_looked_at_and_its_bytes_are_not() {
        let check = |result: &str, expect: &str| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
            assert_eq!(list(&Said::in_answer(text.as_bytes()).unwrap()), expect, "{result}");
        };
        check(
            r#"{"content":[{"type":"text","text":"a"},{"type":"image","data":"AAAA","mimeType":"image/png"},{"type":"resource","resource":{"uri":"x:1","text":"b"}}],"structuredContent":{"c":1}}"#,
            r#"["a","image/png","x:1","b",{"c":1}]"#,
        );
        check(r#"{"contents":[{"uri":"x:1","text":"a"},{"uri":"x:2","blob":"AAAA"}]}"#, r#"["x:1","a","x:2"]"#);
        check(
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}},{"content":[{"text":"b"}]}]}"#,
            r#"["a","b"]"#,
        );
        check(r#"{"tools":[{"name":"a"}],"nextCursor":"n"}"#, "[]");
        let begun = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"a"},"instructions":"b"}"#;
        check(begun, r#"[{"tools":{}},{"name":"a"},"b"]"#);
    }

    #[test]
    fn what_is_not_known_or_of_another_shape_is_looked_at() {
        let check = |message: &str, expect: &str| {
            assert_eq!(list(&Said::in_answer(message.as_bytes()).unwrap()), expect, "{message}");
        };
        for odd in [
            r#"{"result":"a"}"#,
            r#"{"error":"a"}"#,
            r#"{"result":{"content":"a"}}"#,
            r#"{"result":{"content":["a"]}}"#,
            r#"{"result":{"messages":{"role":"user","content":"a"}}}"#,
            r#"{"result":{"messages":[{"role":"a","content":[]}]}}"#,
            r#"{"result":{"description":"a"}}"#,
            r#"{"result":{"tools":"a"}}"#,
            r#"{"result":{"tools":[],"requestState":"a"}}"#,
            r#"{"result":{"content":[{"type":"a"}]}}"#,
            r#"{"result":{"content":[{"type":"resource_link","name":"a"}]}}"#,
            r#"{"result":{"content":[{"type":"text","data":"a"}]}}"#,
            r#"{"result":{"content":[{"type":"tool_result","content":[{"type":"text","text":"a"}]}]}}"#,
        ] {
            check(odd, r#"["a"]"#);
        }
        check(r#"{"result":{"toolResult":"a"}}"#, r#"["a","toolResult"]"#);
        check(r#"{"result":{"content":[{"type":"image","data":"a b"}]}}"#, r#"["a b"]"#);
        check(r#"{"result":{"completion":{"values":["a"]}}}"#, r#"[{"values":["a"]}]"#);
        check(
            r#"{"result":{"resultType":"input_required","inputRequests":{"q":{"method":"elicitation/create"}}}}"#,
            r#"[{"q":{"method":"elicitation/create"}}]"#,
        );
        let named = Said::in_answer(br#"{"result":{"ann@example.com":1}}"#).unwrap();
        assert_eq!(named.with(br#"[1,"[EMAIL]"]"#), Err(Unreadable), "names do not change");
    }

    #[test]
    fn parameters_are_looked_at_and_names_are_not() {
        let check = |message: &str, expect: &str| {
            assert_eq!(list(&Said::in_call(message.as_bytes()).unwrap()), expect, "{message}");
        };
        check(
            r#"{"method":"tools/call","params":{"name":"n","arguments":{"a":1},"inputResponses":{"q":{"content":"b"}},"requestState":"c","_meta":{"progressToken":1,"io.modelcontextprotocol/protocolVersion":"v","own":"d"}}}"#,
            r#"[{"a":1},{"q":{"content":"b"}},"c","d","own"]"#,
        );
        check(
            r#"{"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"x","value":"a"}}}"#,
            r#"[{"name":"x","value":"a"}]"#,
        );
        check(r#"{"method":"resources/read","params":{"uri":"a:1","inputResponses":{"q":1}}}"#, r#"[{"q":1}]"#);
        check(r#"{"method":"own","params":{"name":"a"}}"#, r#"["a"]"#);
        check(r#"{"method":"initialize","params":{"clientInfo":{"name":"a"}}}"#, "[]");
        // What a client answers to what it was asked.
        check(r#"{"id":1,"result":{"action":"accept","content":{"text":"a"}}}"#, r#"["accept","a"]"#);
    }

    #[test]
    fn errors_and_batches_are_looked_at() {
        let error = r#"{"id":1,"error":{"code":1,"message":"a","data":{"b":1}}}"#;
        assert_eq!(list(&Said::in_answer(error.as_bytes()).unwrap()), r#"["a",{"b":1}]"#);
        let batch = br#"[{"id":1,"result":{"content":[{"text":"a"}]}},{"method":"x","params":{"text":"no"}}]"#;
        assert_eq!(list(&Said::in_answer(batch).unwrap()), r#"["a"]"#);
        assert!(Said::in_answer(br#"{"result":{"content":[{"text":"a","Text":"b"}]}}"#).is_err());
    }

    #[test]
    fn what_does_not_pass_is_answered_all_the_same() {
        let check = |text: &str, expect: &str| {
            assert_eq!(String::from_utf8(withheld(text.as_bytes(), -32603, "no")).unwrap(), expect);
        };
        let failed = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"no"}],"isError":true}}"#;
        check(r#"{"id":7,"result":{"content":[{"text":"bad"}]}}"#, failed);
        check(
            r#"{"id":7,"result":{"content":[{"text":"bad"}],"resultType":"complete"}}"#,
            &failed.replace("true", r#"true,"resultType":"complete""#),
        );
        let error = r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32603,"message":"no"}}"#;
        check(r#"{"id":"a","result":{"contents":[{"text":"bad"}]}}"#, error);
        check(r#"{"id":"a","error":{"message":"bad"}}"#, error);
        check(r#"[{"id":7,"result":{"content":[]}}]"#, &format!("[{failed}]"));
        check(r#"{"id":{"bad":1}}"#, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"no"}}"#);
    }
}
