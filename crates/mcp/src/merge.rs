//! What several servers answer to one question, as one answer: their lists one after the other, what they can together.

use crate::{
    Unreadable,
    json::{Edits, Members, array, elements, quoted, string},
    message::InvalidMessage,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json, value::RawValue};

/// The longest place in a list that a caller may name.
const LONGEST_CURSOR: usize = 64 << 10;
/// All that servers say about their use together.
const LONGEST_INSTRUCTIONS: usize = 64 << 10;
/// What clients of the protocol's versions know of what servers can, and the parts of it that are true or not.
const CAPABILITIES: [(&str, &[&str]); 5] = [
    ("tools", &["listChanged"]),
    ("prompts", &["listChanged"]),
    ("resources", &["listChanged", "subscribe"]),
    ("logging", &[]),
    ("completions", &[]),
];
/// Where an answer says which servers have no part in it.
const ABSENT: &str = "credentialflow/absentServers";

/// What a server's message answers: its result, or the code of its error.
///
/// # Errors
/// [`Unreadable`]; also where it is neither.
pub fn answered(message: &[u8]) -> Result<Result<&str, i64>, Unreadable> {
    let text = std::str::from_utf8(message).map_err(|_| Unreadable)?;
    let members = Members::of(text, &["id", "result", "error"]).map_err(|_| Unreadable)?;
    if let Some(error) = members.get("error") {
        let code = Members::of(error, &["code"]).ok().and_then(|error| error.get("code")?.parse().ok());
        return Ok(Err(code.unwrap_or_default()));
    }
    members.get("result").filter(|result| result.starts_with('{')).map(Ok).ok_or(Unreadable)
}

/// Whether a message of a stream is the answer to the request with this id, and not something that is said beside it.
pub fn is_answer(message: &[u8], id: &str) -> bool {
    let text = std::str::from_utf8(message).unwrap_or_default();
    let Ok(members) = Members::of(text, &["id", "method"]) else { return false };
    // Servers may write it with other escapes.
    let value = |id: &str| serde_json::from_str::<Value>(id).ok();
    members.get("method").is_none() && members.get("id").is_some_and(|own| own == id || value(own) == value(id))
}

/// The answer to a request.
pub fn result(id: &str, result: &str) -> Vec<u8> {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#).into_bytes()
}

/// A page of several servers' lists.
#[derive(Debug)]
pub struct MergedList {
    list: &'static str,
    elements: Vec<String>,
    next: Vec<(String, String)>,
    /// How long the answer may be kept, in milliseconds, where every server says so.
    keeps: Option<u64>,
    is_typed: bool,
}

impl MergedList {
    /// For the answer to a method; `None` where it asks for no list.
    pub const fn of(method: &str) -> Option<Self> {
        let list = match method.as_bytes() {
            b"tools/list" => "tools",
            b"prompts/list" => "prompts",
            b"resources/list" => "resources",
            b"resources/templates/list" => "resourceTemplates",
            _ => return None,
        };
        Some(Self { list, elements: Vec::new(), next: Vec::new(), keeps: None, is_typed: false })
    }

    /// Takes what one server answered, as callers may see it.
    ///
    /// # Errors
    /// [`Unreadable`]: it is no list of this kind.
    pub fn take(&mut self, server: &str, result: &str) -> Result<(), Unreadable> {
        let names = &["tools", "prompts", "resources", "resourceTemplates", "nextCursor", "ttlMs", "resultType"];
        let result = Members::of(result, names).map_err(|_| Unreadable)?;
        let all = result.get(self.list).and_then(elements).ok_or(Unreadable)?;
        self.elements.extend(all.into_iter().map(RawValue::get).map(str::to_owned));
        if let Some(next) = result.get("nextCursor").and_then(string) {
            self.next.push((server.to_owned(), next.into_owned()));
        }
        if let Some(keeps) = result.get("ttlMs").and_then(|ms| ms.parse().ok()) {
            self.keeps = Some(self.keeps.map_or(keeps, |least| least.min(keeps)));
        }
        self.is_typed |= result.get("resultType").is_some();
        Ok(())
    }

    /// The result; `absent` are servers of which nothing is known just now.
    pub fn finish(self, absent: &[&str]) -> String {
        let list = array(self.elements.iter().map(String::as_str));
        let mut out = format!("{{{}:{list}", quoted(self.list));
        if !self.next.is_empty() {
            let next = BASE64_URL_SAFE_NO_PAD.encode(json!(self.next).to_string());
            out.push_str(&format!(r#","nextCursor":"{next}""#));
        }
        close(&mut out, self.is_typed, self.keeps, absent);
        out
    }
}

/// Ends a result with what all of them may have.
fn close(out: &mut String, is_typed: bool, keeps: Option<u64>, absent: &[&str]) {
    if is_typed {
        out.push_str(r#","resultType":"complete""#);
    }
    if let Some(keeps) = keeps {
        // What is missing may be back at any time; and who asks decides what is shown.
        let keeps = if absent.is_empty() { keeps } else { 0 };
        out.push_str(&format!(r#","ttlMs":{keeps},"cacheScope":"private""#));
    }
    if !absent.is_empty() {
        out.push_str(&format!(r#","_meta":{}"#, json!({ ABSENT: absent })));
    }
    out.push('}');
}

/// The page of each server's list that a request asks for: `None` for the first of all of them.
///
/// # Errors
/// [`InvalidMessage`]: it names a place that no answer here has named.
pub fn pages(text: &str) -> Result<Option<Vec<(String, String)>>, InvalidMessage> {
    let bad = || InvalidMessage::NoMessage("`cursor` is none that was given here");
    let params = Members::of(text, &["params"]).ok().and_then(|all| all.get("params"));
    let Some(params) = params else { return Ok(None) };
    let Some(cursor) = Members::of(params, &["cursor"]).map_err(|_| InvalidMessage::Ambiguous)?.get("cursor") else {
        return Ok(None);
    };
    let cursor = string(cursor).filter(|cursor| cursor.len() <= LONGEST_CURSOR).ok_or_else(bad)?;
    let decoded = BASE64_URL_SAFE_NO_PAD.decode(&*cursor).map_err(|_| bad())?;
    serde_json::from_slice(&decoded).map(Some).map_err(|_| bad())
}

/// A request for a list with another place in it.
///
/// # Errors
/// [`InvalidMessage`].
pub fn at_page(text: &str, cursor: &str) -> Result<Vec<u8>, InvalidMessage> {
    let mut edits = Edits::of(text);
    let params = Members::of(text, &["params"]).ok().and_then(|all| all.get("params"));
    let written = params.and_then(|params| Members::of(params, &["cursor"]).ok()?.get("cursor"));
    edits.replace(written.ok_or(InvalidMessage::NoMessage("`cursor` is missing"))?, quoted(cursor));
    Ok(edits.apply().into_owned())
}

/// What several servers say of themselves.
#[derive(Debug, Default)]
pub struct MergedServers {
    capabilities: Map<String, Value>,
    instructions: String,
    /// The oldest version that one of them chose.
    version: Option<String>,
    /// The versions that all of them have.
    versions: Option<Vec<String>>,
    keeps: Option<u64>,
    is_typed: bool,
}

impl MergedServers {
    /// Takes what one server answered to `initialize` or `server/discover`; gives the version that it chose.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn take(&mut self, server: &str, result: &str) -> Result<Option<String>, Unreadable> {
        let result: Map<String, Value> = serde_json::from_str(result).map_err(|_| Unreadable)?;
        let version = result.get("protocolVersion").and_then(Value::as_str);
        let versions: Option<Vec<&str>> =
            result.get("supportedVersions").and_then(|all| all.as_array()?.iter().map(Value::as_str).collect());
        if version.is_none() && versions.is_none() {
            return Err(Unreadable);
        }
        // Dates: the oldest is the smallest.
        if let Some(version) = version
            && self.version.as_deref().is_none_or(|oldest| version < oldest)
        {
            self.version = Some(version.to_owned());
        }
        if let Some(versions) = versions {
            let mine = self.versions.get_or_insert_with(|| versions.iter().copied().map(str::to_owned).collect());
            mine.retain(|version| versions.contains(&version.as_str()));
        }
        for (name, parts) in CAPABILITIES {
            let Some(theirs) = result.get("capabilities").and_then(|all| all.get(name)) else { continue };
            let mine = self.capabilities.entry(name).or_insert_with(|| json!({}));
            for part in parts.iter().filter(|part| theirs[**part] == true) {
                mine[*part] = true.into();
            }
        }
        if let Some(said) = result.get("instructions").and_then(Value::as_str).filter(|said| !said.trim().is_empty()) {
            let gap = if self.instructions.is_empty() { "" } else { "\n\n" };
            let more = format!("{gap}# {server}\n\n{}", said.trim());
            if self.instructions.len() + more.len() <= LONGEST_INSTRUCTIONS {
                self.instructions.push_str(&more);
            }
        }
        if let Some(keeps) = result.get("ttlMs").and_then(Value::as_u64) {
            self.keeps = Some(self.keeps.map_or(keeps, |least| least.min(keeps)));
        }
        self.is_typed |= result.contains_key("resultType");
        Ok(version.map(str::to_owned))
    }

    /// The result, from a server of this name and version.
    pub fn finish(self, (name, version): (&str, &str), absent: &[&str]) -> String {
        let mut said = Map::new();
        if let Some(chosen) = self.version {
            said.insert("protocolVersion".into(), chosen.into());
        }
        if let Some(versions) = self.versions {
            said.insert("supportedVersions".into(), json!(versions));
        }
        said.insert("capabilities".into(), self.capabilities.into());
        said.insert("serverInfo".into(), json!({ "name": name, "version": version }));
        if !self.instructions.is_empty() {
            said.insert("instructions".into(), self.instructions.into());
        }
        let mut out = Value::from(said).to_string();
        out.pop();
        close(&mut out, self.is_typed, self.keeps, absent);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_one_after_the_other_page_by_page() {
        let mut list = MergedList::of("tools/list").unwrap();
        list.take("a", r#"{"tools":[{"name":"a__x", "n":1.0}],"nextCursor":"2","ttlMs":500,"resultType":"complete"}"#)
            .unwrap();
        list.take("b", r#"{"tools":[],"ttlMs":0}"#).unwrap();
        list.take("c", r#"{"tools":[{"name":"c__y"}],"nextCursor":"\"z\""}"#).unwrap();
        assert_eq!(list.take("d", r#"{"prompts":[]}"#), Err(Unreadable));
        assert_eq!(list.take("d", r#"{"tools":[],"Tools":[]}"#), Err(Unreadable));
        let out = list.finish(&[]);
        let next = serde_json::from_str::<Value>(&out).unwrap()["nextCursor"].as_str().unwrap().to_owned();
        let rest = r#","resultType":"complete","ttlMs":0,"cacheScope":"private"}"#;
        assert_eq!(
            out,
            format!(r#"{{"tools":[{{"name":"a__x", "n":1.0}},{{"name":"c__y"}}],"nextCursor":"{next}"{rest}"#)
        );
        let asked = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"cursor":"{next}"}}}}"#);
        let expect = vec![("a".to_owned(), "2".to_owned()), ("c".to_owned(), "\"z\"".to_owned())];
        assert_eq!(pages(&asked), Ok(Some(expect)));
        let own = String::from_utf8(at_page(&asked, "\"z\"").unwrap()).unwrap();
        assert_eq!(own, asked.replace(&next, r#"\"z\""#));
        for none in [r#"{"method":"tools/list"}"#, r#"{"params":{}}"#] {
            assert_eq!(pages(none), Ok(None), "{none}");
        }
        for bad in [r#"{"params":{"cursor":"!"}}"#, r#"{"params":{"cursor":5}}"#, r#"{"params":{"cursor":"e30"}}"#] {
            assert!(pages(bad).is_err(), "{bad}");
        }
        let mut list = MergedList::of("resources/templates/list").unwrap();
        list.take("a", r#"{"resourceTemplates":[],"ttlMs":500}"#).unwrap();
        let expect = r#"{"resourceTemplates":[],"ttlMs":0,"cacheScope":"private","_meta":{"credentialflow/absentServers":["b"]}}"#;
        assert_eq!(list.finish(&["b"]), expect, "an answer without a server is not kept");
        assert!(MergedList::of("tools/call").is_none());
    }

    #[test]
    fn several_servers_can_what_one_of_them_can() {
        let mut all = MergedServers::default();
        let one = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"experimental":{"x":{}}},"instructions":" Be kind. ","serverInfo":{"name":"one"}}"#;
        let two = r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":false},"resources":{"subscribe":true}},"instructions":""}"#;
        assert_eq!(all.take("one", one), Ok(Some("2025-11-25".into())));
        assert_eq!(all.take("two", two), Ok(Some("2025-06-18".into())));
        assert_eq!(all.take("three", "{}"), Err(Unreadable));
        let out: Value = serde_json::from_str(&all.finish(("tools", "1"), &["three"])).unwrap();
        let expect = json!({
            "protocolVersion": "2025-06-18",
            "capabilities": { "tools": { "listChanged": true }, "resources": { "subscribe": true } },
            "serverInfo": { "name": "tools", "version": "1" },
            "instructions": "# one\n\nBe kind.",
            "_meta": { "credentialflow/absentServers": ["three"] },
        });
        assert_eq!(out, expect);

        let mut all = MergedServers::default();
        let one =
            r#"{"supportedVersions":["2026-07-28","2027-01-01"],"capabilities":{},"resultType":"complete","ttlMs":7}"#;
        let two = r#"{"supportedVersions":["2026-07-28"],"capabilities":{"prompts":{}},"ttlMs":9}"#;
        assert_eq!((all.take("one", one), all.take("two", two)), (Ok(None), Ok(None)));
        let out: Value = serde_json::from_str(&all.finish(("tools", "1"), &[])).unwrap();
        assert_eq!(out["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!((&out["resultType"], &out["ttlMs"]), (&json!("complete"), &json!(7)));
    }

    #[test]
    fn answers_are_told_from_what_is_said_beside_them() {
        assert_eq!(answered(br#"{"id":1,"result":{"a":1}}"#), Ok(Ok(r#"{"a":1}"#)));
        assert_eq!(answered(br#"{"id":1,"error":{"code":-32601}}"#), Ok(Err(-32601)));
        for bad in [&b"1"[..], b"{}", br#"{"result":1}"#, br#"{"result":{},"Result":{}}"#, b"\xff"] {
            assert_eq!(answered(bad), Err(Unreadable));
        }
        assert!(is_answer(br#"{"id":"a","result":{}}"#, "\"a\""));
        assert!(is_answer(br#"{"id":"\u0061","result":{}}"#, "\"a\""));
        assert!(!is_answer(br#"{"id":"a","method":"ping"}"#, "\"a\"") && !is_answer(br#"{"id":2,"result":{}}"#, "1"));
    }
}
