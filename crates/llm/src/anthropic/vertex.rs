//! Claude at Google's Vertex AI: Anthropic's Messages, with the model in the path and the version of the API in the body.
//!
//! All other bytes of a call stay as they are: where `model` stood the version stands, and answers, streams and errors of
//! the model are those of Anthropic. As Anthropic and Google document it
//! (<https://platform.claude.com/docs/en/api/claude-on-vertex-ai>, looked up in November 2026).

use crate::ChatCall;

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

/// The body to send there of one that was written for Anthropic itself; one that counts keeps its model. `None`: it is no
/// such call.
pub fn body(body: &[u8], counts: bool) -> Option<Vec<u8>> {
    let value = ChatCall::parse(body).ok()?.model_at();
    let blank = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r');
    let before = |at: usize| body[..at].iter().rposition(|b| !blank(b));
    // The name of the member, however it is written, stands between the two quotes before the colon.
    let colon = before(value.start).filter(|at| body[*at] == b':')?;
    let close = before(colon).filter(|at| body[*at] == b'"')?;
    let open = body[..close].iter().rposition(|b| *b == b'"')?;
    let end = if counts { open } else { value.end };
    let comma = if counts { "," } else { "" };
    Some([&body[..open], VERSION.as_bytes(), comma.as_bytes(), &body[end..]].concat())
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
