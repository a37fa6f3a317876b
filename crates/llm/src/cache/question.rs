//! The question that a call asks: the last text of its user, apart from all that stands around it; and its embedding, as
//! it is asked for and told in OpenAI's form.

use super::normal_form;
use crate::provider::Dialect;
use serde_json::{Value, json};

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
/// Numbers of an embedding at most.
const MOST_NUMBERS: usize = 8192;

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

/// The call for the embedding of a text.
pub fn embedding(model: &str, text: &str) -> Vec<u8> {
    json!({ "model": model, "input": text, "encoding_format": "float" }).to_string().into_bytes()
}

/// The embedding that an answer tells, of length one. `None` where it tells none.
pub fn vector(answer: &[u8]) -> Option<Vec<f32>> {
    #[derive(serde::Deserialize)]
    struct Answer {
        data: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        embedding: Vec<f32>,
    }
    let mut data = serde_json::from_slice::<Answer>(answer).ok()?.data;
    let One { mut embedding } = data.pop().filter(|_| data.is_empty())?;
    let length = embedding.iter().map(|n| f64::from(*n) * f64::from(*n)).sum::<f64>().sqrt();
    let is_one = length.is_finite() && length > 0.0 && embedding.len() <= MOST_NUMBERS;
    embedding.iter_mut().for_each(|n| *n = (f64::from(*n) / length) as f32);
    is_one.then_some(embedding)
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

    #[test]
    fn an_embedding_is_one_direction() {
        let call: Value = serde_json::from_slice(&embedding("e", "a \"b\"")).unwrap();
        assert_eq!(call, json!({ "model": "e", "input": "a \"b\"", "encoding_format": "float" }));
        assert_eq!(vector(br#"{"data":[{"embedding":[3,4],"index":0}],"usage":{}}"#), Some(vec![0.6, 0.8]));
        for none in [
            r#"{"data":[{"embedding":[0,0]}]}"#,
            r#"{"data":[]}"#,
            r#"{"data":[{"embedding":[1]},{"embedding":[1]}]}"#,
            r#"{"data":[{"embedding":"AAAA"}]}"#,
            r#"{"error":{}}"#,
        ] {
            assert_eq!(vector(none.as_bytes()), None, "{none}");
        }
    }
}
