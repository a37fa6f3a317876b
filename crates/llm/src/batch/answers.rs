//! What became of the calls of a batch: lines that are read as they pass, with the caller's name of the model in them, and
//! what they cost.

use super::{Asks, MOST_LINE, find, place, spliced, with_text};
use crate::{
    anthropic, gemini,
    guardrail::{answer::Stop, text::Unreadable},
    openai::{responses, usage::AnswerUsage},
    task::{units::Size, usage::TaskUsage},
};
use credentialflow_model::{OutcomeReason, usage::TokenUsage};
use memchr::memchr;
use serde_json::{Value, json};

/// A line has no end within [`MOST_LINE`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line has more than {MOST_LINE} bytes")]
pub struct TooLong;

/// Takes bytes and gives lines, each without its end.
#[derive(Debug, Default)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// Takes more bytes; `out` gets each line that is whole now.
    ///
    /// # Errors
    /// [`TooLong`] where a line is.
    pub fn feed(&mut self, mut bytes: &[u8], out: &mut impl FnMut(&[u8])) -> Result<(), TooLong> {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.0.len() + line.len() > MOST_LINE {
                return Err(TooLong);
            }
            if self.0.is_empty() {
                out(line);
            } else {
                self.0.extend_from_slice(line);
                out(&self.0);
                self.0.clear();
            }
            bytes = rest;
        }
        if self.0.len() + bytes.len() > MOST_LINE {
            return Err(TooLong);
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    /// Gives what follows the last end of a line.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        let rest = std::mem::take(&mut self.0);
        if !rest.is_empty() {
            out(&rest);
        }
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        self.0.capacity()
    }
}

/// Where the model is named: in a line of a file that was sent, in one that came, in a result of Anthropic's.
const NAMES: [&[&str]; 3] = [&["body", "model"], &["response", "body", "model"], &["result", "message", "model"]];

/// A line of a file or of results as callers get it: the model has their name. What is none of them stays as it is.
pub fn renamed(line: &[u8], model: &str) -> Vec<u8> {
    let written = std::str::from_utf8(line)
        .ok()
        .and_then(|line| NAMES.iter().find_map(|path| with_text(line, path, model)).map(String::into_bytes));
    written.unwrap_or_else(|| line.to_vec())
}

/// A line of results whose answer, as its model gave it, `judge` has looked at and may have changed. What tells of no answer
/// stays as it is.
///
/// # Errors
/// What `judge` says, and that nobody can tell whether there is an answer in the line.
pub fn judged(line: &[u8], judge: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Stop>) -> Result<Vec<u8>, Stop> {
    let text = std::str::from_utf8(line).map_err(|_| Unreadable::Json)?;
    if text.trim_ascii().is_empty() {
        return Ok(line.to_vec());
    }
    let (outer, inner) = match (find(text, &["response"]), find(text, &["result"])) {
        (Some(response), None) => (response, "body"),
        (None, Some(result)) => (result, "message"),
        _ => return Err(Unreadable::Json.into()),
    };
    let Some(answer) = find(outer.get(), &[inner]).filter(|answer| answer.get() != "null") else {
        return Ok(line.to_vec());
    };
    let judged = String::from_utf8(judge(answer.get().as_bytes().to_vec())?).map_err(|_| Unreadable::Json)?;
    Ok(spliced(text, place(text, answer.get()), &judged).into_bytes())
}

/// A line in the place of one whose answer nobody may have, with the reason.
pub fn withheld(line: &[u8], why: &str) -> Vec<u8> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let value = |name| find(text, &[name]).and_then(|value| serde_json::from_str(value.get()).ok());
    let own = |name| value(name).filter(Value::is_string).unwrap_or_default();
    let written = if find(text, &["result"]).is_some() {
        let error = json!({ "type": "invalid_request_error", "message": why });
        let error = json!({ "type": "error", "request_id": null, "error": error });
        json!({ "custom_id": own("custom_id"), "result": { "type": "errored", "error": error } })
    } else {
        let error = json!({ "code": OutcomeReason::AnswerBlocked.code(), "message": why });
        json!({ "id": own("id"), "custom_id": own("custom_id"), "response": null, "error": error })
    };
    written.to_string().into_bytes()
}

/// What one call of a batch used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Used {
    /// Nothing: it was not served.
    Nothing,
    /// So many tokens.
    Tokens(TokenUsage),
    /// It was served, and nobody told how much it used.
    Unknown,
}

/// What a line of results says that its call used.
pub fn used(line: &[u8], asks: Asks) -> Used {
    let Ok(line) = std::str::from_utf8(line) else { return Used::Unknown };
    if line.trim_ascii().is_empty() {
        return Used::Nothing;
    }
    let answer = match asks {
        Asks::Messages => {
            let succeeded = find(line, &["result", "type"]).is_some_and(|kind| kind.get() == "\"succeeded\"");
            find(line, &["result", "message"]).filter(|_| succeeded)
        }
        Asks::Generate => find(line, &["response"]),
        _ => {
            let status = find(line, &["response", "status_code"]).and_then(|status| status.get().parse::<u16>().ok());
            find(line, &["response", "body"]).filter(|_| status.is_some_and(|status| (200..300).contains(&status)))
        }
    };
    let Some(answer) = answer.map(|answer| answer.get().as_bytes()).filter(|answer| *answer != b"null") else {
        return Used::Nothing;
    };
    let tokens = match asks {
        Asks::Chat => fed(AnswerUsage::new(), answer, AnswerUsage::feed).finish(),
        Asks::Responses => {
            fed(responses::usage::AnswerUsage::new(), answer, responses::usage::AnswerUsage::feed).finish()
        }
        Asks::Messages => {
            fed(anthropic::usage::AnswerUsage::new(), answer, anthropic::usage::AnswerUsage::feed).finish()
        }
        Asks::Generate => fed(gemini::usage::AnswerUsage::new(), answer, gemini::usage::AnswerUsage::feed).finish(),
        Asks::Embeddings => {
            let mut usage = TaskUsage::new(asks.task(), Size::default());
            usage.fit(false);
            usage.feed(answer);
            usage.total().tokens
        }
    };
    tokens.map_or(Used::Unknown, Used::Tokens)
}

fn fed<U>(mut usage: U, answer: &[u8], feed: impl Fn(&mut U, &[u8])) -> U {
    feed(&mut usage, answer);
    usage
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const CHAT: &str = r#"{"id":"r","custom_id":"a","response":{"status_code":200,"request_id":"q","body":{"id":"c","model":"gpt-5-2025","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}},"error":null}"#;

    #[test]
    fn the_model_has_the_callers_name() {
        assert_eq!(renamed(CHAT.as_bytes(), "small"), CHAT.replace("gpt-5-2025", "small").into_bytes());
        let sent = r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"input":"model","model":"e"}}"#;
        assert_eq!(renamed(sent.as_bytes(), "x\"y"), sent.replace(r#""e""#, r#""x\"y""#).into_bytes());
        let result = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"claude","content":[]}}}"#;
        assert_eq!(renamed(result.as_bytes(), "c"), result.replace("claude", "c").into_bytes());
        for other in [&b"{}"[..], b"", b"\xff", br#"{"response":null}"#, br#"{"model":"stays"}"#] {
            assert_eq!(renamed(other, "x"), other);
        }
    }

    #[test]
    fn what_was_served_counts() {
        let tokens = |input, output| Used::Tokens(TokenUsage { input, output, ..TokenUsage::default() });
        assert_eq!(used(CHAT.as_bytes(), Asks::Chat), tokens(3, 4));
        assert_eq!(used(CHAT.replace("200", "429").as_bytes(), Asks::Chat), Used::Nothing);
        assert_eq!(used(CHAT.replace("usage", "other").as_bytes(), Asks::Chat), Used::Unknown);
        let answer =
            r#"{"response":{"status_code":200,"body":{"output":[],"usage":{"input_tokens":5,"output_tokens":6}}}}"#;
        assert_eq!(used(answer.as_bytes(), Asks::Responses), tokens(5, 6));
        let vectors =
            r#"{"response":{"status_code":200,"body":{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}}}"#;
        assert_eq!(used(vectors.as_bytes(), Asks::Embeddings), tokens(8, 0));
        let message = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"type":"message","usage":{"input_tokens":1,"output_tokens":2}}}}"#;
        assert_eq!(used(message.as_bytes(), Asks::Messages), tokens(1, 2));
        assert_eq!(used(message.replace("succeeded", "errored").as_bytes(), Asks::Messages), Used::Nothing);
        assert_eq!(used(b"{\"response\":null,\"error\":{}}", Asks::Chat), Used::Nothing);
        assert_eq!(used(b" ", Asks::Chat), Used::Nothing);
    }

    #[test]
    fn answers_are_judged_and_nothing_else() {
        let judge = |answer: Vec<u8>| {
            let text = String::from_utf8(answer).unwrap();
            match text.contains("gpt") || text.contains("claude") {
                true => Ok(text.replace("[]", "[1]").into_bytes()),
                false => Err(Stop::Unreadable(Unreadable::TooMuch)),
            }
        };
        assert_eq!(judged(CHAT.as_bytes(), judge), Ok(CHAT.replace("[]", "[1]").into_bytes()));
        let result = r#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"claude","content":[]}}}"#;
        assert_eq!(judged(result.as_bytes(), judge), Ok(result.replace("[]", "[1]").into_bytes()));
        let error = r#"{"id":"r","custom_id":"a","response":null,"error":{"code":"x"}}"#;
        let errored = r#"{"custom_id":"a","result":{"type":"errored","error":{}}}"#;
        for none in [error, errored, " "] {
            assert_eq!(judged(none.as_bytes(), judge), Ok(none.as_bytes().to_vec()), "{none}");
        }
        let both = r#"{"response":{"body":{"a":"gpt"}},"result":{"message":{}}}"#;
        for odd in [&b"{}"[..], b"\xff", b"[]", b"{", br#"{"body":{}}"#, both.as_bytes()] {
            assert_eq!(judged(odd, judge), Err(Unreadable::Json.into()));
        }
        assert_eq!(judged(&CHAT.replace("gpt", "o").into_bytes(), judge), Err(Unreadable::TooMuch.into()));
    }

    #[test]
    fn a_line_that_is_withheld_keeps_its_form_and_its_name() {
        let told = |line: &[u8]| serde_json::from_slice::<Value>(&withheld(line, "no \"x\"")).unwrap();
        assert_eq!(
            told(CHAT.as_bytes()),
            json!({ "id": "r", "custom_id": "a", "response": null, "error": { "code": "answer_blocked", "message": "no \"x\"" } })
        );
        let result = told(br#"{"custom_id":"a","result":{"type":"succeeded","message":{}}}"#);
        assert_eq!((&result["custom_id"], &result["result"]["type"]), (&json!("a"), &json!("errored")));
        assert_eq!(told(b"\xff")["custom_id"], Value::Null);
    }

    proptest! {
        #[test]
        fn lines_are_the_same_in_any_pieces(text in "[ab\n]{0,60}", piece in 1usize..20) {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for bytes in text.as_bytes().chunks(piece) {
                lines.feed(bytes, &mut |line| got.push(line.to_vec())).unwrap();
            }
            lines.finish(&mut |line| got.push(line.to_vec()));
            let mut expect: Vec<_> = text.split('\n').map(|line| line.as_bytes().to_vec()).collect();
            if expect.last().is_some_and(Vec::is_empty) {
                expect.pop();
            }
            prop_assert_eq!(got, expect);
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for asks in Asks::ALL {
                used(&bytes, asks);
            }
            renamed(&bytes, "m");
            let _ = judged(&bytes, Ok);
            withheld(&bytes, "w");
        }
    }
}
