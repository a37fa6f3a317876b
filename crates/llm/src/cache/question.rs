//! The question that a call asks: the last text of its user, apart from all that stands around it.

use super::normal_form;
use crate::provider::Dialect;
use serde_json::Value;

/// What a call asks, and everything else that it says.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// The last text of the user.
    pub text: String,
    /// The normal form of the call without it.
    pub rest: Vec<u8>,
}

/// Longer texts are no questions that are asked again in other words.
const MOST_TEXT: usize = 8 * 1024;

impl Question {
    /// The question of a call; `None` where its last turn is not the user's, or holds anything but text.
    pub fn of(speaks: Dialect, body: &[u8]) -> Option<Self> {
        // Refuses what could be read in two ways, so that it does not matter how it is read here.
        normal_form(speaks, body)?;
        let mut call: Value = serde_json::from_slice(body).ok()?;
        let turns = match speaks {
            Dialect::OpenAi | Dialect::Anthropic => "messages",
            Dialect::Responses => "input",
            Dialect::Gemini => "contents",
            Dialect::Bedrock | Dialect::Replicate => return None,
        };
        let place = call.get_mut(turns)?;
        let said = match place {
            Value::String(_) if speaks == Dialect::Responses => place,
            Value::Array(list) => {
                let last = list.last_mut()?;
                let role = last.get("role");
                let is_user = role.is_some_and(|role| role == "user") || (speaks == Dialect::Gemini && role.is_none());
                if !is_user {
                    return None;
                }
                last.get_mut(if speaks == Dialect::Gemini { "parts" } else { "content" })?
            }
            _ => return None,
        };
        let text = one_text(said)?;
        if text.trim().is_empty() || text.len() > MOST_TEXT {
            return None;
        }
        *said = Value::Null;
        let rest = normal_form(speaks, call.to_string().as_bytes())?;
        Some(Self { text, rest })
    }
}

/// A text, or the only text of a list that holds nothing else.
fn one_text(said: &Value) -> Option<String> {
    let text = match said {
        Value::String(text) => return Some(text.clone()),
        Value::Array(parts) => match &parts[..] {
            [Value::Object(part)] => part,
            _ => return None,
        },
        _ => return None,
    };
    // A mark for the provider's cache, or anything else beside the text, is no part of the question.
    let alone = text.keys().all(|name| matches!(name.as_str(), "type" | "text"));
    let is_text = text.get("type").is_none_or(|kind| kind == "text" || kind == "input_text");
    text.get("text").and_then(Value::as_str).filter(|_| alone && is_text).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_text_of_the_user_is_the_question_in_every_dialect() {
        for (speaks, body) in [
            (
                Dialect::OpenAi,
                r#"{"messages":[{"role":"system","content":"be brief"},{"role":"user","content":"why?"}]}"#,
            ),
            (Dialect::OpenAi, r#"{"messages":[{"role":"user","content":[{"type":"text","text":"why?"}]}]}"#),
            (Dialect::Anthropic, r#"{"system":"x","messages":[{"role":"user","content":"why?"}]}"#),
            (Dialect::Responses, r#"{"input":"why?"}"#),
            (Dialect::Responses, r#"{"input":[{"role":"user","content":[{"type":"input_text","text":"why?"}]}]}"#),
            (Dialect::Gemini, r#"{"contents":[{"parts":[{"text":"why?"}]}]}"#),
        ] {
            let question = Question::of(speaks, body.as_bytes()).unwrap();
            assert_eq!(question.text, "why?", "{body}");
            let other = Question::of(speaks, body.replace("why?", "how?").as_bytes()).unwrap();
            assert_eq!((other.text.as_str(), &other.rest), ("how?", &question.rest), "only the question differs");
            assert!(!question.rest.windows(4).any(|part| part == b"why?"));
        }
        let of = |body: &str| Question::of(Dialect::OpenAi, body.as_bytes());
        let (a, b) = (
            of(r#"{"messages":[{"role":"system","content":"a"},{"role":"user","content":"q"}]}"#),
            of(r#"{"messages":[{"role":"system","content":"b"},{"role":"user","content":"q"}]}"#),
        );
        assert_ne!(a.unwrap().rest, b.unwrap().rest);
        for body in [
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q"},{"type":"image_url","image_url":{"url":"u"}}]}]}"#,
            r#"{"messages":[{"role":"tool","content":"q","tool_call_id":"t"}]}"#,
            r#"{"messages":[{"role":"user","content":" "}]}"#,
            r#"{"messages":[]}"#,
            r#"{"messages":"q"}"#,
        ] {
            assert_eq!(of(body), None, "{body}");
        }
    }
}
