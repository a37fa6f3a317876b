//! What a tool is called with and what servers answer with: the values of a message that hold what is said, as one list of
//! JSON for whoever looks for something in it, and the message with what stands there then.

use crate::{
    Unreadable,
    json::{Edits, Members, array, elements, quoted, string},
};
use serde_json::value::RawValue;

/// The values of a message that hold what is said.
pub struct Said<'a> {
    whole: &'a str,
    values: Vec<&'a str>,
}

fn members<'a>(text: &'a str, names: &'static [&'static str]) -> Result<Members<'a>, Unreadable> {
    Members::of(text, names).map_err(|_| Unreadable)
}

impl<'a> Said<'a> {
    /// What tools and prompts are asked for with, in one message or several.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn in_call(text: &'a [u8]) -> Result<Self, Unreadable> {
        Self::of(text, |message, values| {
            if let Some(params) = members(message, &["params"])?.get("params").filter(|it| it.starts_with('{')) {
                values.extend(members(params, &["arguments"])?.get("arguments"));
            }
            Ok(())
        })
    }

    /// What a server answers with, in one message or several: the texts of tools, prompts and resources, and what is
    /// structured. Sounds, pictures and other bytes are no texts.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn in_answer(text: &'a [u8]) -> Result<Self, Unreadable> {
        Self::of(text, answered)
    }

    fn of(
        text: &'a [u8],
        find: impl Fn(&'a str, &mut Vec<&'a str>) -> Result<(), Unreadable>,
    ) -> Result<Self, Unreadable> {
        let whole = std::str::from_utf8(text).map_err(|_| Unreadable)?;
        let mut values = Vec::new();
        match elements(whole) {
            Some(batch) => batch.into_iter().try_for_each(|message| find(message.get(), &mut values))?,
            None => find(whole, &mut values)?,
        }
        Ok(Self { whole, values })
    }

    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What is said, as one list.
    pub fn list(&self) -> Vec<u8> {
        array(self.values.iter().copied()).into_bytes()
    }

    /// The message in which this list is what is said.
    ///
    /// # Errors
    /// [`Unreadable`]: it is no list of as many values.
    pub fn with(&self, list: &[u8]) -> Result<Vec<u8>, Unreadable> {
        let list = std::str::from_utf8(list).map_err(|_| Unreadable)?;
        let new = elements(list).filter(|new| new.len() == self.values.len()).ok_or(Unreadable)?;
        let mut edits = Edits::of(self.whole);
        for (old, new) in self.values.iter().zip(new.into_iter().map(RawValue::get)) {
            if *old != new {
                edits.replace(old, new.to_owned());
            }
        }
        Ok(edits.apply().into_owned())
    }
}

fn answered<'a>(message: &'a str, values: &mut Vec<&'a str>) -> Result<(), Unreadable> {
    let message = members(message, &["result", "error", "method"])?;
    if let Some(error) = message.get("error").filter(|error| error.starts_with('{')) {
        let error = members(error, &["message", "data"])?;
        values.extend(error.get("message"));
        values.extend(error.get("data"));
    }
    let Some(result) = message.get("result").filter(|result| result.starts_with('{')) else { return Ok(()) };
    let result = members(result, &["content", "structuredContent", "contents", "messages"])?;
    values.extend(result.get("structuredContent"));
    for block in result.get("content").into_iter().chain(result.get("contents")) {
        blocks(block, values)?;
    }
    for said in result.get("messages").and_then(elements).unwrap_or_default() {
        if let Some(content) = members(said.get(), &["content"])?.get("content") {
            blocks(content, values)?;
        }
    }
    Ok(())
}

/// The texts of one block, or of a list of them.
fn blocks<'a>(value: &'a str, values: &mut Vec<&'a str>) -> Result<(), Unreadable> {
    if value.starts_with('{') {
        return block(value, values);
    }
    elements(value).unwrap_or_default().into_iter().try_for_each(|one| block(one.get(), values))
}

fn block<'a>(value: &'a str, values: &mut Vec<&'a str>) -> Result<(), Unreadable> {
    if !value.starts_with('{') {
        values.push(value);
        return Ok(());
    }
    let block = members(value, &["text", "resource", "title", "description"])?;
    values.extend(["text", "title", "description"].into_iter().filter_map(|name| block.get(name)));
    if let Some(resource) = block.get("resource").filter(|resource| resource.starts_with('{')) {
        values.extend(members(resource, &["text"])?.get("text"));
    }
    Ok(())
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
            r#"{"content":[{"type":"text","text":"a"},{"type":"image","data":"AAAA"},{"type":"resource","resource":{"uri":"x:1","text":"b"}}],"structuredContent":{"c":1}}"#,
            r#"[{"c":1},"a","b"]"#,
        );
        check(r#"{"contents":[{"uri":"x:1","text":"a"},{"uri":"x:2","blob":"AAAA"}]}"#, r#"["a"]"#);
        check(
            r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}},{"content":[{"text":"b"}]}]}"#,
            r#"["a","b"]"#,
        );
        check(r#"{"content":["odd"]}"#, r#"["odd"]"#);
        check(r#"{"tools":[{"name":"a"}]}"#, "[]");
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
