//! Claude at Google's Vertex AI: Anthropic's Messages, with the model in the path and the version of the API in the body.
//!
//! All other bytes of a call stay as they are: where `model` stood the version stands, and answers, streams and errors of
//! the model are those of Anthropic. As Anthropic and Google document it
//! (<https://platform.claude.com/docs/en/api/claude-on-vertex-ai>, looked up in November 2026).

use crate::{ChatCall, openai::responses::Each};
use serde::Deserializer as _;
use serde_json::value::RawValue;

/// The member that takes the place of the model.
const VERSION: &str = "\"anthropic_version\":\"vertex-2023-10-16\"";

/// Where a call goes below `publishers/anthropic`.
pub fn path(model: &str, streams: bool, counts: bool) -> String {
    match (counts, streams) {
        (true, _) => "/models/count-tokens:rawPredict".into(),
        (false, true) => format!("/models/{model}:streamRawPredict"),
        (false, false) => format!("/models/{model}:rawPredict"),
    }
}

/// The body to send there of one that was written for Anthropic itself; one that counts keeps its model, and one that names
/// a version already keeps that. `None`: it is no such call.
pub fn body(body: &[u8], counts: bool) -> Option<Vec<u8>> {
    let value = ChatCall::parse(body).ok()?.model_at();
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    let before = |at: usize| body[..at].iter().rposition(|b| !blank(b));
    // The name of the member, however it is written, stands between the two quotes before the colon.
    let colon = before(value.start).filter(|at| body[*at] == b':')?;
    let close = before(colon).filter(|at| body[*at] == b'"')?;
    let open = body[..close].iter().rposition(|b| *b == b'"')?;
    let (mut start, mut end) = (open, value.end);
    let (new, comma) = match (names_version(body), counts) {
        (true, true) => return Some(body.to_vec()),
        (true, false) => {
            // With the comma that parts it from another member; there is one, which names the version.
            match body[end..].iter().position(|b| !blank(b)).map(|at| end + at) {
                Some(comma) if body[comma] == b',' => end = comma + 1,
                _ => start = before(open).filter(|at| body[*at] == b',')?,
            }
            ("", "")
        }
        (false, true) => {
            end = open;
            (VERSION, ",")
        }
        (false, false) => (VERSION, ""),
    };
    Some([&body[..start], new.as_bytes(), comma.as_bytes(), &body[end..]].concat())
}

/// Whether a call names the version itself.
fn names_version(body: &[u8]) -> bool {
    let mut names = false;
    let read = serde_json::Deserializer::from_slice(body)
        .deserialize_map(Each(|name: &str, _: &RawValue| names |= name == "anthropic_version"));
    read.is_ok() && names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn written(call: &str, counts: bool) -> String {
        String::from_utf8(body(call.as_bytes(), counts).unwrap()).unwrap()
    }

    #[test]
    fn nothing_changes_but_the_model() {
        let rest = r#" "max_tokens" : 1.50 ,"messages":[{"role":"user","content":"\u00e4 \"model\":\"x\""}] }"#;
        let version = VERSION;
        for model in [r#""model":"claude""#, "\"model\" \n:\t \"claude\"", r#""mod\u0065l":"cl\"aude""#] {
            assert_eq!(written(&format!("{{{model},{rest}"), false), format!("{{{version},{rest}"));
            assert_eq!(written(&format!("{{{model},{rest}"), true), format!("{{{version},{model},{rest}"));
            let last = format!("{{\"messages\":[],{model} }}");
            assert_eq!(written(&last, false), format!("{{\"messages\":[],{version} }}"));
        }
        assert_eq!(body(b"[]", false), None);
        assert_eq!(body(br#"{"messages":[]}"#, false), None);
    }

    #[test]
    fn a_version_that_the_caller_names_stays_the_only_one() {
        for named in [r#""anthropic_version":"mine""#, r#""anthropic_\u0076ersion" : null"#] {
            for (call, written_as) in [
                (format!(r#"{{"model":"m" , {named}}}"#), format!("{{ {named}}}")),
                (format!(r#"{{{named} , "model" : "m" }}"#), format!("{{{named}  }}")),
                (format!(r#"{{{named},"model":"m","stream":true}}"#), format!(r#"{{{named},"stream":true}}"#)),
            ] {
                assert_eq!(written(&call, false), written_as);
                assert_eq!(written(&call, true), call);
                assert!(serde_json::from_str::<Value>(&written_as).is_ok());
            }
        }
        let within = r#"{"model":"m","metadata":{"anthropic_version":"x"}}"#;
        assert_eq!(written(within, false), format!(r#"{{{VERSION},"metadata":{{"anthropic_version":"x"}}}}"#));
    }

    #[test]
    fn places() {
        let model = "claude-sonnet-4-5@20250929";
        assert_eq!(path(model, false, false), "/models/claude-sonnet-4-5@20250929:rawPredict");
        assert_eq!(path(model, true, false), "/models/claude-sonnet-4-5@20250929:streamRawPredict");
        assert_eq!(path(model, false, true), "/models/count-tokens:rawPredict");
    }

    proptest! {
        #[test]
        fn what_is_written_is_json(name in ".{1,20}", before in ".{0,20}", counts in any::<bool>()) {
            let call = serde_json::json!({"a": before, "model": name, "stream": true}).to_string();
            let new: Value = serde_json::from_slice(&body(call.as_bytes(), counts).unwrap()).unwrap();
            prop_assert_eq!(&new["anthropic_version"], "vertex-2023-10-16");
            prop_assert_eq!(new.get("model").is_some(), counts);
            prop_assert_eq!(&new["a"], &Value::String(before));
        }
    }
}
