//! The end user that a call says it is for.

use crate::provider::Dialect;
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    safety_identifier: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    user: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    user_id: Option<Cow<'a, str>>,
}

/// Whom a call is for: `safety_identifier` or else `user` in OpenAI's dialects, `metadata.user_id` in Anthropic's. Google's
/// has no place for it. `None` also where it is said twice or is no text.
pub fn of_call(speaks: Dialect, body: &[u8]) -> Option<Cow<'_, str>> {
    match speaks {
        Dialect::OpenAi | Dialect::Responses => {
            let call: Call<'_> = serde_json::from_slice(body).ok()?;
            call.safety_identifier.or(call.user)
        }
        Dialect::Anthropic => serde_json::from_slice::<Message<'_>>(body).ok()?.metadata?.user_id,
        Dialect::Gemini | Dialect::Bedrock | Dialect::Replicate => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_dialect_has_its_own_place() {
        let of = |speaks, body: &str| of_call(speaks, body.as_bytes()).map(Cow::into_owned);
        let some = |text: &str| Some(text.to_owned());
        let call = r#"{"messages":[{"role":"user","content":"user"}],"user":"ada","metadata":{"user_id":"m"}}"#;
        assert_eq!(of(Dialect::OpenAi, call), some("ada"));
        assert_eq!(of(Dialect::Responses, call), some("ada"));
        assert_eq!(of(Dialect::Anthropic, call), some("m"));
        assert_eq!(of(Dialect::Gemini, call), None);
        assert_eq!(of(Dialect::OpenAi, r#"{"user":"ada","safety_identifier":"s\u00e4"}"#), some("sä"));
        assert_eq!(of(Dialect::OpenAi, r#"{"user":null,"safety_identifier":null}"#), None);
        for (speaks, none) in [
            (Dialect::OpenAi, r#"{"user":"ada","user":"grace"}"#),
            (Dialect::OpenAi, r#"{"user":7}"#),
            (Dialect::OpenAi, r#"{"input":{"user":"ada"}}"#),
            (Dialect::OpenAi, "no JSON"),
            (Dialect::Anthropic, r#"{"metadata":"m"}"#),
            (Dialect::Anthropic, r#"{"user_id":"m"}"#),
        ] {
            assert_eq!(of(speaks, none), None, "{none}");
        }
    }
}
