//! What a cache of answers has to know of calls and answers: when two calls are the same, which question a call asks, and
//! which answers may be given again.
//!
//! Calls are compared by a normal form of their JSON: the order of members and the space between them do not matter,
//! everything else does. Left out are the fields that only say for whom a call is made or how it is filed.

mod answer;
mod normal;
mod question;

pub use answer::{Form, may_be_kept};
pub use question::Question;

use crate::{named, provider::Dialect};

/// Fields of a call that do not change its answer, in each dialect.
const fn beside(speaks: Dialect) -> &'static [&'static str] {
    match speaks {
        Dialect::OpenAi | Dialect::Responses => {
            &["user", "safety_identifier", "metadata", "prompt_cache_key", "prompt_cache_retention"]
        }
        Dialect::Anthropic => &["metadata"],
        Dialect::Gemini => &["labels"],
        Dialect::Bedrock | Dialect::Replicate => &[],
    }
}

/// The normal form of a call: two calls that ask the same have the same one. `None` where nobody can say: the body is no
/// JSON object, an object names a member twice, or the call goes on with something that its provider keeps.
pub fn normal_form(speaks: Dialect, body: &[u8]) -> Option<Vec<u8>> {
    let goes_on = named::reads_along(body, speaks).is_some();
    (!goes_on).then(|| normal::of(body, beside(speaks))).flatten()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn same(speaks: Dialect, a: &str, b: &str) -> bool {
        let form = |body: &str| normal_form(speaks, body.as_bytes()).unwrap();
        form(a) == form(b)
    }

    #[test]
    fn what_does_not_change_the_answer_does_not_matter_and_all_else_does() {
        let call = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5}"#;
        for (speaks, other) in [
            (
                Dialect::OpenAi,
                r#" { "temperature" : 5e-1, "messages":[{"content":"\u0068i","role":"user"}],"model":"m"} "#,
            ),
            (
                Dialect::OpenAi,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"user":"ada","metadata":{"a":"b"},"safety_identifier":"x","prompt_cache_key":"k"}"#,
            ),
            (
                Dialect::Anthropic,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"metadata":{"user_id":"u"}}"#,
            ),
            (
                Dialect::Gemini,
                r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"labels":{"a":"b"}}"#,
            ),
        ] {
            assert!(same(speaks, call, other), "{other}");
        }
        for other in [
            r#"{"model":"m","messages":[{"role":"user","content":"ho"}],"temperature":0.5}"#,
            r#"{"model":"m","messages":[{"role":"system","content":"hi"}],"temperature":0.5}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.25}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"seed":1}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"stream":true}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi","user":"ada"}],"temperature":0.5}"#,
            r#"{"model":"m","messages":[{"role":"user","content":["hi"]}],"temperature":0.5}"#,
        ] {
            assert!(!same(Dialect::OpenAi, call, other), "{other}");
        }
        assert!(!same(Dialect::Anthropic, call, &call.replace("\"model\"", "\"user\":\"x\",\"model\"")));
    }

    #[test]
    fn what_could_be_read_in_two_ways_has_no_normal_form() {
        for body in [
            r#"{"model":"m","seed":1,"seed":2}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}"#,
            r#"{"user":"a","user":"b"}"#,
            r#"{"model":"m"} {}"#,
            r#"["model"]"#,
            "",
            "no JSON",
        ] {
            assert_eq!(normal_form(Dialect::OpenAi, body.as_bytes()), None, "{body}");
        }
        for (speaks, body) in [
            (Dialect::Responses, r#"{"model":"m","input":"hi","previous_response_id":"resp_1"}"#),
            (Dialect::Responses, r#"{"model":"m","input":"hi","conversation":"conv_1"}"#),
            (Dialect::Gemini, r#"{"contents":[],"cachedContent":"cachedContents/1"}"#),
        ] {
            assert_eq!(normal_form(speaks, body.as_bytes()), None, "it goes on with what is kept elsewhere: {body}");
        }
    }
}
