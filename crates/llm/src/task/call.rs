//! A caller's call for one of these tasks: the model, how much is asked for, and the splice that sends it on.
//!
//! Nothing but that is kept; whatever else the body holds passes untouched. A body is JSON or, where files come along, a
//! form, as its content type says; anything else is refused, because a provider might read it differently.

use super::{
    Task,
    multipart::{self, Form, InvalidForm, Part, boundary},
    units::Size,
};
use crate::openai::{
    request::{ChatCall, InvalidCall},
    responses::Each,
};
use serde::de::Deserializer;
use serde_json::value::RawValue;
use std::{borrow::Cow, ops::Range};

/// Why a body is no such call. The texts are safe to show: they hold nothing from the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTask {
    /// The content type is none in which it can be asked.
    #[error("{0} is asked for as `application/json`")]
    NotJsonType(Task),
    /// The content type is none in which it can be asked, and a form is.
    #[error("{0} is asked for as `multipart/form-data` or `application/json`")]
    NotFormType(Task),
    /// How many answers are to be made cannot be read, or can be read in two ways.
    #[error("`n` must be a whole number")]
    Count,
    /// As JSON it is no call.
    #[error(transparent)]
    Json(#[from] InvalidCall),
    /// The form cannot be read.
    #[error(transparent)]
    Form(#[from] InvalidForm),
}

/// What the gateway knows of one request body, by position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskCall {
    size: Size,
    streams: bool,
    /// Texts are given as the numbers of their tokens.
    tokens: bool,
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Json(ChatCall),
    Form { model: Box<str>, model_at: Range<usize>, texts: Vec<Range<usize>> },
}

/// The content type of what goes to a provider, of a call that was read: its body's, and nothing of the caller's by which
/// the body could be read differently.
pub fn content_type(task: Task, told: Option<&[u8]>) -> Cow<'static, str> {
    match form_boundary(task, told) {
        Ok(Some(boundary)) => multipart::content_type(boundary).into(),
        _ => "application/json".into(),
    }
}

/// The boundary, where the body is a form.
fn form_boundary(task: Task, told: Option<&[u8]>) -> Result<Option<&str>, InvalidForm> {
    match told.map(std::str::from_utf8) {
        Some(Ok(told)) if task.may_be_form() => boundary(told),
        _ => Ok(None),
    }
}

impl TaskCall {
    /// Reads the body of a call.
    ///
    /// # Errors
    /// [`InvalidTask`] when it is neither one JSON object nor a form with one `model`.
    pub fn parse(task: Task, content_type: Option<&[u8]>, body: &[u8]) -> Result<Self, InvalidTask> {
        let kind = content_type.map_or(Ok("application/json"), std::str::from_utf8).unwrap_or_default();
        if let Some(boundary) = form_boundary(task, content_type)? {
            return Self::of_form(Form::parse(body, boundary)?, body);
        }
        let plain = kind.split(';').next().unwrap_or_default().trim();
        if !plain.eq_ignore_ascii_case("application/json") {
            return Err(if task.may_be_form() {
                InvalidTask::NotFormType(task)
            } else {
                InvalidTask::NotJsonType(task)
            });
        }
        let call = ChatCall::parse(body)?;
        let asked = Asked::of(body)?;
        if asked.odd_count {
            return Err(InvalidTask::Count);
        }
        let streams = call.stream() || asked.events;
        Ok(Self { size: asked.size(), streams, tokens: asked.tokens, body: Body::Json(call) })
    }

    fn of_form(form: Form, body: &[u8]) -> Result<Self, InvalidTask> {
        let text = |part: &Part| std::str::from_utf8(&body[part.content.clone()]).unwrap_or_default();
        let mut size = Size { files: form.parts.iter().filter(|part| part.file).count() as u64, ..Size::default() };
        let (mut model, mut n, mut streams, mut texts) = (None, None, false, Vec::new());
        for part in &form.parts {
            let once = |twice: bool, field| {
                if twice { Err(InvalidTask::Json(InvalidCall::Duplicate(field))) } else { Ok(()) }
            };
            match &*part.name {
                "model" => once(model.replace(part).is_some(), "model")?,
                "n" => once(n.replace(whole(text(part).trim()).ok_or(InvalidTask::Count)?).is_some(), "n")?,
                "stream" => streams |= text(part).trim().eq_ignore_ascii_case("true"),
                _ if !part.file => {
                    size.elsewhere |= ["file", "url", "file_url", "audio_url", "file_id"].contains(&&*part.name);
                    texts.push(part.content.clone());
                }
                _ => {}
            }
        }
        size.elsewhere |= size.files == 0;
        let model = model.ok_or(InvalidTask::Json(InvalidCall::ModelMissing))?;
        let named = text(model);
        // White space around it is read by some and dropped by others.
        if model.file || named.is_empty() || named.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(InvalidCall::ModelNotAName.into());
        }
        size.n = n.unwrap_or(1).max(1);
        size.texts = texts.iter().map(|at| at.len() as u64).sum();
        let body = Body::Form { model: named.into(), model_at: model.content.clone(), texts };
        Ok(Self { size, streams, tokens: false, body })
    }

    /// The model asked for.
    pub fn model(&self) -> &str {
        match &self.body {
            Body::Json(call) => call.model(),
            Body::Form { model, .. } => model,
        }
    }

    /// Whether the answer is to come as events.
    pub const fn streams(&self) -> bool {
        self.streams
    }

    /// How much is asked for.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Whether texts are given as numbers of tokens, which nobody can read.
    pub const fn is_of_tokens(&self) -> bool {
        self.tokens
    }

    /// The body to send to the provider: `body`, which must be the one parsed, with the provider's model name in place of
    /// the caller's. All other bytes stay.
    pub fn rewrite<'b>(&self, body: &'b [u8], provider_model: &str) -> Cow<'b, [u8]> {
        match &self.body {
            Body::Json(call) => call.rewrite(body, provider_model, false),
            Body::Form { model, .. } if **model == *provider_model => Cow::Borrowed(body),
            Body::Form { model_at, .. } => {
                Cow::Owned(Form::rewrite(body, [(model_at, Cow::Borrowed(provider_model.as_bytes()))]))
            }
        }
    }

    /// The texts of a form as JSON that guardrails can read; `None` for a body that is JSON itself.
    pub fn texts(&self, body: &[u8]) -> Option<Vec<u8>> {
        let Body::Form { texts, .. } = &self.body else { return None };
        let text = |at: &Range<usize>| String::from_utf8_lossy(body.get(at.clone()).unwrap_or_default()).into_owned();
        let contents: Vec<_> = texts.iter().map(|at| serde_json::json!({ "content": text(at) })).collect();
        // That there are files nobody looks at is told by one without content.
        serde_json::to_vec(&serde_json::json!({ "messages": contents, "files": [{ "type": "file" }] })).ok()
    }

    /// The form with its texts as they stand in what [`Self::texts`] gave, changed. `None` when that is not what it was.
    pub fn with_texts(&self, body: &[u8], changed: &[u8]) -> Option<Vec<u8>> {
        #[derive(serde::Deserialize)]
        struct Texts {
            messages: Vec<Text>,
        }
        #[derive(serde::Deserialize)]
        struct Text {
            content: String,
        }
        let Body::Form { texts, .. } = &self.body else { return None };
        let changed: Texts = serde_json::from_slice(changed).ok()?;
        let contents = changed.messages.into_iter().map(|text| Cow::Owned(text.content.into_bytes()));
        (contents.len() == texts.len()).then(|| Form::rewrite(body, texts.iter().zip(contents)))
    }
}

/// The fields of a JSON body that say how much is asked for.
#[derive(Default)]
struct Asked {
    n: Option<u64>,
    odd_count: bool,
    characters: u64,
    tokens: bool,
    query: u64,
    documents: u64,
    files: u64,
    events: bool,
}

impl Asked {
    /// Of a body that is one JSON object. What is not of the form that is expected counts as it can at most, or not at all:
    /// its provider refuses it.
    fn of(body: &[u8]) -> Result<Self, InvalidCall> {
        let (mut asked, mut twice) = (Self::default(), None);
        let mut seen = [false; 4];
        let field = |name: &str, value: &RawValue| {
            let once = match name {
                "n" => Some((0, "n")),
                "input" => Some((1, "input")),
                "query" => Some((2, "query")),
                "documents" => Some((3, "documents")),
                _ => None,
            };
            if let Some((at, name)) = once
                && std::mem::replace(&mut seen[at], true)
            {
                twice = Some(name);
            }
            match name {
                "n" => {
                    asked.n = whole(value.get().trim_matches('"'));
                    asked.odd_count = asked.n.is_none() && value.get() != "null";
                }
                "input" => {
                    asked.characters = text(value).map_or(0, |text| text.chars().count() as u64);
                    asked.tokens = holds_numbers(value);
                }
                "query" => asked.query = value.get().len() as u64,
                "documents" => asked.documents = items(value),
                "image" | "images" | "mask" => asked.files += items(value).max(1),
                "stream_format" => asked.events |= text(value).is_some_and(|text| text == "sse"),
                _ => {}
            }
        };
        serde_json::Deserializer::from_slice(body)
            .deserialize_map(Each(field))
            .map_err(|e| InvalidCall::NotJson { line: e.line(), column: e.column() })?;
        match twice {
            Some(field) => Err(InvalidCall::Duplicate(field)),
            None => Ok(asked),
        }
    }

    fn size(&self) -> Size {
        let Self { n, characters, query, documents, files, .. } = *self;
        // Of sound, JSON tells where it is, or brings it under a name that nobody agrees on.
        Size { n: n.unwrap_or(1).max(1), characters, query, documents, files, texts: 0, elsewhere: true }
    }
}

/// A whole number, however it is written: `3`, or `3.0` as many servers take it.
fn whole(number: &str) -> Option<u64> {
    let (number, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number =
        number.bytes().all(|b| b.is_ascii_digit()) && !fraction.is_empty() && fraction.bytes().all(|b| b == b'0');
    if is_number { number.parse().ok() } else { None }
}

fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    serde_json::from_str::<CowText<'_>>(value.get()).ok().map(|text| text.0)
}

/// A string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct CowText<'a>(#[serde(borrow)] Cow<'a, str>);

/// How many items an array has; none where it is no array.
fn items(value: &RawValue) -> u64 {
    let mut items = 0;
    let _ = serde_json::Deserializer::from_str(value.get()).deserialize_seq(Each(|_: &str, _: &RawValue| items += 1));
    items
}

/// Whether an array, or one within it, holds a number. What is nested more deeply than any text is taken for numbers, and
/// not read again for each level.
fn holds_numbers(value: &RawValue) -> bool {
    let begins_with = |item: &RawValue, what: fn(char) -> bool| item.get().starts_with(what);
    let is_number = |item: &RawValue| begins_with(item, |c| c == '-' || c.is_ascii_digit());
    let is_array = |item: &RawValue| begins_with(item, |c| c == '[');
    holds(value, |item| is_number(item) || (is_array(item) && holds(item, |item| is_number(item) || is_array(item))))
}

/// Whether that is so of any item of an array; of none where it is no array.
fn holds(value: &RawValue, is: impl Fn(&RawValue) -> bool) -> bool {
    #[cfg(test)]
    tests::READ.with(|read| read.set(read.get() + value.get().len()));
    let mut found = false;
    let each = |_: &str, item: &RawValue| found = found || is(item);
    let _ = serde_json::Deserializer::from_str(value.get()).deserialize_seq(Each(each));
    found
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
