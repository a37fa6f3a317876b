//! Files that providers keep and calls [name](crate::named) by an id: where they are, and the splice that puts other ids in
//! their places.
//!
//! In OpenAI's and Anthropic's forms a file is named by `file_id` or in a list of `file_ids`, in Gemini's by the address of
//! a file at Google.

use crate::task::multipart::Form;
use std::ops::Range;

/// Files that one call may name.
pub const MOST_NAMED: usize = 100;

/// A file that a call names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Where the id, a JSON string with its quotes, stands in the body.
    pub at: Range<usize>,
    /// The id; of Gemini's, the name (`files/…`).
    pub id: String,
    /// What stands before the id in that string.
    pub(crate) before: &'static str,
}

/// Where Gemini's files are, as its answers say.
pub const GEMINI_FILES: &str = "https://generativelanguage.googleapis.com/v1beta/";

/// Whether a form has a field that names a file by its id.
pub fn is_named_in(form: &Form) -> bool {
    form.parts.iter().any(|part| part.name.contains("file_id"))
}

/// The body with other ids in the places of the files that it [names](crate::named::names), in their order.
pub fn with_ids<'i>(body: &[u8], named: &[Named], ids: impl IntoIterator<Item = &'i str>) -> Vec<u8> {
    let (mut out, mut done) = (Vec::with_capacity(body.len() + 64), 0);
    for (one, id) in named.iter().zip(ids) {
        out.extend_from_slice(body.get(done..one.at.start).unwrap_or_default());
        let text = serde_json::Value::String(format!("{}{id}", one.before));
        out.extend_from_slice(text.to_string().as_bytes());
        done = one.at.end;
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    out
}

/// Where a file of Gemini's is.
pub(crate) enum At<'u> {
    /// At Google, among those of the Files API.
    Google(&'u str),
    /// In a bucket, which Google reads with the account of the call.
    Bucket,
    /// Anywhere else in the web.
    Elsewhere,
    Unclear,
}

/// Where a file of Gemini's is, by its address.
pub(crate) fn at_google(uri: &str) -> At<'_> {
    for version in ["v1beta", "v1alpha", "v1"] {
        let name = uri.strip_prefix("https://generativelanguage.googleapis.com/");
        let name = name.and_then(|rest| rest.strip_prefix(version)).and_then(|rest| rest.strip_prefix('/'));
        if let Some(name) = name.filter(|name| name.starts_with("files/")) {
            return At::Google(name);
        }
    }
    let lower = uri.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else { return At::Unclear };
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let is_plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_:".contains(&b));
    match scheme {
        "gs" => At::Bucket,
        "https" | "http" if is_plain && !host.contains("generativelanguage") => At::Elsewhere,
        _ => At::Unclear,
    }
}

/// Whether an address is one of the web that anybody may read; none of what Google keeps for an account.
pub(crate) fn is_of_the_web(address: &str) -> bool {
    let is_web = ["https://", "http://"].iter().any(|scheme| address.starts_with(scheme));
    is_web && matches!(at_google(address), At::Elsewhere)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        named::{TOLD, Unnamed, is_passed, names},
        provider::Dialect,
    };
    use proptest::prelude::*;
    use serde_json::json;

    fn named(body: &[u8], speaks: Dialect) -> Result<Vec<Named>, Unnamed> {
        names(body, speaks).map(|names| names.files)
    }

    fn ids(body: &str, speaks: Dialect) -> Vec<String> {
        named(body.as_bytes(), speaks).unwrap().into_iter().map(|one| one.id).collect()
    }

    #[test]
    fn every_form_in_which_a_file_is_named_is_seen() {
        let chat = json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "file", "file": {"file_id": "file-1"}}, {"type": "text", "text": "file_id"}]}]});
        assert_eq!(ids(&chat.to_string(), Dialect::OpenAi), ["file-1"]);
        let answers = json!({"model": "m", "input": [
            {"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}, {"type": "input_image", "file_id": "file-2"}]},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "file-3"}]},
            {"type": "computer_call_output", "output": {"type": "computer_screenshot", "file_id": "file-4"}}],
            "prompt": {"id": "p", "variables": {"doc": {"type": "input_file", "file_id": "file-5"}}},
            "tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-6", "file-7"]}},
                {"type": "image_generation", "input_image_mask": {"file_id": "file-8"}}]});
        let mut seen = ids(&answers.to_string(), Dialect::Responses);
        seen.sort();
        assert_eq!(seen, (1..9).map(|n| format!("file-{n}")).collect::<Vec<_>>());
        let messages = json!({"model": "m", "messages": [{"role": "user", "content": [
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
            {"type": "container_upload", "file_id": "file_2"},
            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image", "source": {"type": "file", "file_id": "file_3"}}]}]}]});
        assert_eq!(ids(&messages.to_string(), Dialect::Anthropic), ["file_1", "file_2", "file_3"]);
        let escaped = r#"{"x":{"fil\u0065\u005fid":"file\u002d1"},"file_id":null}"#;
        assert_eq!(ids(escaped, Dialect::OpenAi), ["file-1"]);
        let twice = r#"{"a":{"file_id":"file-1","file_id":"file-2"},"file_ids":"file-3"}"#;
        assert_eq!(ids(twice, Dialect::OpenAi), ["file-1", "file-2", "file-3"]);
        // What calls itself an answer's word, and something else as well, may be read as either.
        let both = r#"{"annotations":[{"type":"file_citation","type":"input_file","file_id":"file-1"}]}"#;
        assert_eq!(ids(both, Dialect::Responses), ["file-1"]);
    }

    #[test]
    fn what_calls_itself_something_else_names_a_file_still() {
        let part = |more: serde_json::Value| json!({"messages": [{"role": "user", "content": [more]}]}).to_string();
        for kind in TOLD {
            let named = json!({"type": kind, "file_id": "file-1"});
            for body in [
                part(json!({"type": "file", "file": named})),
                part(json!({"type": "document", "source": named})),
                part(json!({"type": "document", "content": named})),
                part(json!([named])),
                json!({"tools": [{"type": "image_generation", "input_image_mask": named}]}).to_string(),
                json!({"input": [named], "x": {"annotations": named}}).to_string(),
            ] {
                for speaks in [Dialect::OpenAi, Dialect::Responses] {
                    assert!(ids(&body, speaks).contains(&"file-1".to_owned()), "{body}");
                }
            }
            assert_eq!(ids(&part(json!({"type": "file", "source": named})), Dialect::Anthropic), ["file-1"]);
        }
        // Variables have the names that the prompt's author gave them.
        for name in ["metadata", "parameters", "schema", "arguments", "results", "type", "annotations", "doc"] {
            let file = json!({"type": "input_file", "file_id": "file-1"});
            let cited = json!([{"type": "file_citation", "file_id": "file-2"}]);
            let body = json!({"prompt": {"id": "pmpt_1", "variables": {name: file, "b": {name: cited}}}}).to_string();
            let mut seen = ids(&body, Dialect::Responses);
            seen.sort();
            assert_eq!(seen, ["file-1", "file-2"], "{body}");
        }
        assert_eq!(ids(r#"{"type":{"file_id":"file-1"}}"#, Dialect::OpenAi), ["file-1"]);
        let deep = format!("{}{{\"file_id\":\"a\"}}{}", "{\"type\":".repeat(200), "}".repeat(200));
        assert_eq!(named(deep.as_bytes(), Dialect::OpenAi), Err(Unnamed::Unreadable));
    }

    #[test]
    fn what_is_no_file_for_the_provider_is_passed_over() {
        let answers = json!({"model": "m", "metadata": {"file_id": "mine"}, "input": [
            {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{\"file_id\":\"x\"}"},
            {"type": "file_search_call", "id": "fs", "queries": [], "results": [{"file_id": "file-x"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t", "annotations": [
                {"type": "file_citation", "file_id": "file-y", "index": 1}]}]}],
            "tools": [{"type": "function", "name": "f", "parameters": {"properties": {"file_id": {"type": "string"}}, "x": {"file_id": "z"}}}]});
        assert_eq!(ids(&answers.to_string(), Dialect::Responses), [""; 0]);
        let messages = json!({"messages": [{"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "mine"}},
            {"type": "text", "text": "t", "citations": [{"type": "char_location", "file_id": "file_x", "document_index": 0}]},
            {"type": "code_execution_tool_result", "content": {"content": [{"type": "code_execution_output", "file_id": "file_y"}]}}]}],
            "tools": [{"name": "f", "input_schema": {"properties": {"file_id": {"const": "x"}}}}]});
        assert_eq!(ids(&messages.to_string(), Dialect::Anthropic), [""; 0]);
        assert_eq!(ids(r#"{"fileUri":"x"}"#, Dialect::OpenAi), [""; 0]);
    }

    #[test]
    fn addresses_of_files_at_google_are_told_from_others() {
        let call = |uri: &str| json!({"contents": [{"parts": [{"fileData": {"fileUri": uri}}]}]}).to_string();
        let at = "https://generativelanguage.googleapis.com";
        for ours in [format!("{at}/v1beta/files/abc"), format!("{at}/v1/files/abc")] {
            assert_eq!(ids(&call(&ours), Dialect::Gemini), ["files/abc"]);
            assert_eq!(ids(&call(&ours).replace("fileUri", "file_uri"), Dialect::Gemini), ["files/abc"]);
        }
        for other in ["https://www.youtube.com/watch?v=files/abc", "gs://bucket/a", "http://example.com:80/a.png"] {
            assert_eq!(ids(&call(other), Dialect::Gemini), [""; 0], "{other}");
        }
        for unclear in [
            "files/abc".to_owned(),
            "abc".into(),
            format!("{at}/v1beta/./files/abc"),
            format!("{at}:443/v1beta/files/abc"),
            at.replace("https", "HTTPS") + "/v1beta/files/abc",
            at.replace("https://", "http://") + "/v1beta/files/abc",
            at.replace("generative", "GENERATIVE") + "/v1beta/files/abc",
            at.replace("generative", "%67enerative") + "/v1beta/files/abc",
            at.replace("https://", "https://x@") + "/v1beta/files/abc",
            format!("{at}/download/v1beta/files/abc"),
            at.replace("https://", "https:///") + "/v1beta/files/abc",
        ] {
            assert_eq!(named(call(&unclear).as_bytes(), Dialect::Gemini), Err(Unnamed::Address), "{unclear}");
        }
        let said = json!({"contents": [{"parts": [{"functionCall": {"name": "f", "args": {"fileUri": "files/a"}}},
            {"functionResponse": {"name": "f", "response": {"fileUri": "files/a"}}}]}]});
        assert_eq!(ids(&said.to_string(), Dialect::Gemini), [""; 0]);
    }

    #[test]
    fn nothing_but_the_ids_is_written_anew() {
        let body = r#"{ "model":"m",  "a":[{"file_id" : "file-1"}, {"fil\u0065_id":"file-2"}],"x":1.50}"#;
        let found = named(body.as_bytes(), Dialect::OpenAi).unwrap();
        let written = with_ids(body.as_bytes(), &found, ["there", "th\"ere"]);
        let expect = body.replace("\"file-1\"", "\"there\"").replace("\"file-2\"", "\"th\\\"ere\"");
        assert_eq!(String::from_utf8(written).unwrap(), expect);
        let body = format!(r#"{{"fileData":{{"fileUri":"{GEMINI_FILES}files/a"}}}}"#);
        let found = named(body.as_bytes(), Dialect::Gemini).unwrap();
        let written = with_ids(body.as_bytes(), &found, ["files/there"]);
        assert_eq!(String::from_utf8(written).unwrap(), body.replace("files/a", "files/there"));
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let many = json!({"file_ids": vec!["a"; MOST_NAMED + 1]}).to_string();
        let deep = format!("{}{{\"file_id\":\"a\"}}{}", "[".repeat(200), "]".repeat(200));
        for (body, why) in [
            (many.as_str(), Unnamed::TooMany),
            (r#"{"file_id":{"a":1}}"#, Unnamed::NotText),
            (r#"{"file_ids":[1]}"#, Unnamed::NotText),
            (deep.as_str(), Unnamed::Unreadable),
        ] {
            assert_eq!(named(body.as_bytes(), Dialect::OpenAi), Err(why));
        }
        assert_eq!(named(b"{\"file_id\":\"\xff\"}", Dialect::OpenAi), Err(Unnamed::Unreadable));
        assert_eq!(
            named(json!({"file_ids": vec!["a"; MOST_NAMED]}).to_string().as_bytes(), Dialect::OpenAi).unwrap().len(),
            MOST_NAMED
        );
    }

    proptest! {
        #[test]
        fn ids_are_found_wherever_they_stand(
            fields in prop::collection::vec(prop_oneof![
                8 => "[a-z]{3,9}",
                1 => prop::sample::select(vec!["type", "content", "annotations", "metadata", "arguments"]).prop_map(str::to_owned),
            ], 0..6), id in "[a-zA-Z0-9-]{1,20}", text in ".{0,40}",
        ) {
            let mut value = json!({"file_id": id, "text": text});
            let mut is_seen = true;
            for field in &fields {
                is_seen &= !is_passed(field, Dialect::OpenAi);
                value = json!({"before": text, field.as_str(): [value]});
            }
            let body = value.to_string();
            let found = named(body.as_bytes(), Dialect::OpenAi).unwrap();
            prop_assert_eq!(found.len(), usize::from(is_seen));
            if is_seen {
                let written = with_ids(body.as_bytes(), &found, ["there"]);
                prop_assert_eq!(String::from_utf8(written).unwrap(), body.replace(&format!("\"file_id\":\"{id}\""), "\"file_id\":\"there\""));
            }
        }
    }
}
