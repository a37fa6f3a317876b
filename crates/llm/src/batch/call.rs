//! One call of a batch: what it asks, of which model, and the splice that sends it on.

use super::{Asks, gemini, place, spliced};
use crate::{
    bound::{Bound, Keeps},
    gemini::request::GeminiCall,
    named,
    openai::{
        request::{ChatCall, InvalidCall},
        responses::{Each, Kept},
    },
    task::{
        Task,
        call::{InvalidTask, TaskCall},
        units::{Size, Units},
    },
};
use serde::de::Deserializer;
use serde_json::value::RawValue;
use std::ops::Range;

/// Why something is no call of a batch. The texts are safe to show: they hold nothing of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLine {
    /// It is not one JSON object.
    #[error("it is not one JSON object")]
    NotAnObject,
    /// The requests are no list.
    #[error("`requests` is not a list")]
    NotAList,
    /// It has a field that calls of batches do not have, or one of theirs twice.
    #[error("its fields are {0}, each once")]
    Fields(&'static str),
    /// `custom_id` is no text.
    #[error("`custom_id` is not a text of 1 to 512 bytes")]
    Id,
    /// `method` is not POST.
    #[error("`method` is not POST")]
    Method,
    /// `url` is nothing that batches ask.
    #[error("`url` is none of /v1/chat/completions, /v1/responses and /v1/embeddings")]
    Url,
    /// The answer is to be streamed.
    #[error("answers of batches are not streamed")]
    Streams,
    /// It goes on from what one provider keeps, or leaves something there.
    #[error("`{0}` is for calls that are not in a batch")]
    Kept(&'static str),
    /// It is no call.
    #[error("{0}")]
    Call(#[from] InvalidCall),
    /// It is no such call.
    #[error("{0}")]
    Task(#[from] InvalidTask),
}

/// One call of a batch, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchCall {
    asks: Asks,
    body: Range<usize>,
    named: Named,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    Chat(ChatCall),
    Task(TaskCall),
    /// One of which its path names the model.
    Placed(String, GeminiCall),
}

impl BatchCall {
    /// Reads a line of a file in OpenAI's form: `custom_id`, `method`, `url` and `body`.
    ///
    /// # Errors
    /// [`InvalidLine`] when it is not that.
    pub fn of_line(line: &str) -> Result<Self, InvalidLine> {
        const FIELDS: &str = "`custom_id`, `method`, `url` and `body`";
        let [id, method, url, body] = fields(line, ["custom_id", "method", "url", "body"], FIELDS)?;
        check_id(id)?;
        if text(method).as_deref() != Some("POST") {
            return Err(InvalidLine::Method);
        }
        let is_openai = |asks: &Asks| !matches!(asks, Asks::Messages | Asks::Generate);
        let asks = text(url).and_then(|url| Asks::of_path(&url)).filter(is_openai);
        Self::read(asks.ok_or(InvalidLine::Url)?, line, body)
    }

    /// Reads one of the requests of a batch in Anthropic's form: `custom_id` and `params`.
    ///
    /// # Errors
    /// [`InvalidLine`] when it is not that.
    pub fn of_request(request: &str) -> Result<Self, InvalidLine> {
        let [id, params] = fields(request, ["custom_id", "params"], "`custom_id` and `params`")?;
        check_id(id)?;
        Self::read(Asks::Messages, request, params)
    }

    /// Reads one of the calls of a batch of this model in Google's form: `request`, and `metadata` where there is any.
    ///
    /// # Errors
    /// [`InvalidLine`] when it is not that.
    pub fn of_content(text: &str, model: &str) -> Result<Self, InvalidLine> {
        let (body, call) = gemini::call(text, model)?;
        Ok(Self { asks: Asks::Generate, body, named: Named::Placed(model.to_owned(), call) })
    }

    fn read(asks: Asks, whole: &str, body: &RawValue) -> Result<Self, InvalidLine> {
        let at = place(whole, body.get());
        let body = body.get().as_bytes();
        let named = match asks {
            Asks::Embeddings => Named::Task(TaskCall::parse(Task::Embeddings, None, body)?),
            Asks::Chat | Asks::Responses | Asks::Messages | Asks::Generate => Named::Chat(ChatCall::parse(body)?),
        };
        let streams = match &named {
            Named::Chat(call) => call.stream(),
            Named::Task(call) => call.streams(),
            Named::Placed(..) => false,
        };
        if streams {
            return Err(InvalidLine::Streams);
        }
        if asks == Asks::Responses {
            let kept = Kept::of(body)?;
            if let Some(field) = kept.continues.or(kept.background.then_some("background")) {
                return Err(InvalidLine::Kept(field));
            }
        }
        Ok(Self { asks, body: at, named })
    }

    /// What it asks.
    pub const fn asks(&self) -> Asks {
        self.asks
    }

    /// Of which model.
    pub fn model(&self) -> &str {
        match &self.named {
            Named::Chat(call) => call.model(),
            Named::Task(call) => call.model(),
            Named::Placed(model, _) => model,
        }
    }

    /// Its body, of the text that was read.
    pub fn body<'t>(&self, whole: &'t str) -> &'t str {
        whole.get(self.body.clone()).unwrap_or_default()
    }

    /// Whether its texts are given as numbers of tokens, which nobody can read.
    pub fn is_of_tokens(&self) -> bool {
        matches!(&self.named, Named::Task(call) if call.is_of_tokens())
    }

    /// The text that was read, with the provider's name of the model in it.
    pub fn rewrite(&self, whole: &str, provider_model: &str) -> String {
        let body = self.body(whole).as_bytes();
        let written = match &self.named {
            Named::Chat(call) => call.rewrite(body, provider_model, false),
            Named::Task(call) => call.rewrite(body, provider_model),
            Named::Placed(_, call) => call.rewrite(body, provider_model),
        };
        spliced(whole, self.body.clone(), &String::from_utf8_lossy(&written))
    }

    /// The text that was read, with another body.
    pub fn with_body(&self, whole: &str, body: &str) -> String {
        spliced(whole, self.body.clone(), body)
    }

    /// The most that it may use, of its body as the provider gets it.
    pub fn most(&self, body: &str, keeps: Keeps, longest: u64) -> (Bound, Units) {
        match &self.named {
            Named::Chat(_) | Named::Placed(..) => (Bound::of(body.as_bytes(), keeps, longest), Units::default()),
            Named::Task(call) => Size::most(&call.size(), self.asks.task(), body.len() as u64),
        }
    }

    /// The field by which it names what its provider keeps and reads along, so that nobody knows how much that is.
    pub fn reads_along(&self, body: &str) -> Option<&'static str> {
        named::reads_along(body.as_bytes(), self.asks.speaks())
    }
}

/// The requests of a batch in Anthropic's form, one by one; it has nothing beside them.
///
/// # Errors
/// [`InvalidLine`] when the body is not that.
pub fn requests(body: &str) -> Result<Vec<&str>, InvalidLine> {
    let [all] = fields(body, ["requests"], "`requests`")?;
    let mut each = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(all.get());
    reader.deserialize_seq(Each(|_: &str, one| each.push(RawValue::get(one)))).map_err(|_| InvalidLine::NotAList)?;
    Ok(each)
}

/// The values of these fields of an object, each of which stands once, and none beside them.
fn fields<'j, const N: usize>(
    json: &'j str,
    names: [&str; N],
    told: &'static str,
) -> Result<[&'j RawValue; N], InvalidLine> {
    let (mut found, mut odd) = ([None; N], false);
    let each = Each(|name: &str, value: &'j RawValue| match names.iter().position(|one| *one == name) {
        Some(at) => odd |= found[at].replace(value).is_some(),
        None => odd = true,
    });
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_map(each).map_err(|_| InvalidLine::NotAnObject)?;
    reader.end().map_err(|_| InvalidLine::NotAnObject)?;
    let whole: Vec<&RawValue> = found.into_iter().flatten().collect();
    match whole.try_into() {
        Ok(values) if !odd => Ok(values),
        _ => Err(InvalidLine::Fields(told)),
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn check_id(id: &RawValue) -> Result<(), InvalidLine> {
    match text(id) {
        Some(id) if (1..=512).contains(&id.len()) => Ok(()),
        _ => Err(InvalidLine::Id),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn line(url: &str, body: &str) -> String {
        format!(r#"{{"custom_id": "a", "method": "POST", "url": "{url}", "body": {body}}}"#)
    }

    #[test]
    fn only_the_name_of_the_model_is_written_anew() {
        let chat = line("/v1/chat/completions", r#"{"x":1.50, "model":"small","messages":[],"max_tokens":5}"#);
        let call = BatchCall::of_line(&chat).unwrap();
        assert_eq!((call.model(), call.asks()), ("small", Asks::Chat));
        assert_eq!(call.rewrite(&chat, "gpt-5"), chat.replace("small", "gpt-5"));
        let body = call.body(&chat).to_owned();
        assert_eq!(call.most(&body, Keeps::MaxTokens, 100).0, Bound { input: body.len() as u64, output: 5 });
        let embed = line("/v1/embeddings", r#"{"model":"e","input":"x"}"#);
        let call = BatchCall::of_line(&embed).unwrap();
        assert_eq!((call.most(call.body(&embed), Keeps::MaxTokens, 9).0.output, call.is_of_tokens()), (0, false));
        let request = r#"{"custom_id":"a","params":{"model":"c","max_tokens":1,"messages":[]}}"#;
        let call = BatchCall::of_request(request).unwrap();
        assert_eq!((call.model(), call.asks()), ("c", Asks::Messages));
        assert_eq!(call.rewrite(request, "claude"), request.replace("\"c\"", "\"claude\""));
        assert_eq!(call.with_body(request, "{}"), r#"{"custom_id":"a","params":{}}"#);
    }

    #[test]
    fn what_could_be_read_in_two_ways_or_is_no_call_is_refused() {
        let chat = |body: &str| BatchCall::of_line(&line("/v1/chat/completions", body)).unwrap_err();
        assert_eq!(chat(r#"{"model":"a","model":"b"}"#), InvalidCall::Duplicate("model").into());
        assert_eq!(chat(r#"{"model":"a","stream":true}"#), InvalidLine::Streams);
        assert_eq!(chat("{}"), InvalidCall::ModelMissing.into());
        let answers = |body: &str| BatchCall::of_line(&line("/v1/responses", body)).unwrap_err();
        assert_eq!(answers(r#"{"model":"a","background":true}"#), InvalidLine::Kept("background"));
        assert_eq!(answers(r#"{"model":"a","previous_response_id":"r"}"#), InvalidLine::Kept("previous_response_id"));
        for (text, why) in [
            ("", InvalidLine::NotAnObject),
            ("[]", InvalidLine::NotAnObject),
            ("{} {}", InvalidLine::NotAnObject),
            (
                r#"{"custom_id":"a","method":"POST","body":{}}"#,
                InvalidLine::Fields("`custom_id`, `method`, `url` and `body`"),
            ),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{},"body":{}}"#,
                InvalidLine::Fields("`custom_id`, `method`, `url` and `body`"),
            ),
            (
                r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{},"x":1}"#,
                InvalidLine::Fields("`custom_id`, `method`, `url` and `body`"),
            ),
            (r#"{"custom_id":"","method":"POST","url":"/v1/embeddings","body":{}}"#, InvalidLine::Id),
            (r#"{"custom_id":"a","method":"GET","url":"/v1/embeddings","body":{}}"#, InvalidLine::Method),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/messages","body":{}}"#, InvalidLine::Url),
            (r#"{"custom_id":"a","method":"POST","url":"/v1/files","body":{}}"#, InvalidLine::Url),
        ] {
            assert_eq!(BatchCall::of_line(text).unwrap_err(), why, "{text}");
        }
        assert!(BatchCall::of_request(r#"{"custom_id":"a","params":{"model":"c"},"stream":true}"#).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,200}") {
            let _ = BatchCall::of_line(&text);
            let _ = BatchCall::of_request(&text);
        }
    }
}
