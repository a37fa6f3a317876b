//! Embeddings in OpenAI's form at a provider of Gemini: each text becomes one call of a batch, and each answer's vector
//! comes back as numbers or, as OpenAI's own SDKs ask for by themselves, in base64.

use super::{
    Answers, Caller, Named, Translation, Untranslatable, Why,
    read::{Text, list, members, present, read},
    responses::Frame,
    write::Object,
};
use crate::{
    gemini::request::{Frames, full_name},
    openai::request::write_json_string,
    provider::Dialect,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use credentialflow_model::Timestamp;
use serde::Deserialize;
use std::{io::Write as _, sync::Arc};

/// Texts of a call at the most, as many as OpenAI takes.
const MOST_TEXTS: usize = 2048;
/// Fields of a call at the most.
const MOST_FIELDS: usize = 100;

/// How the answer to one call comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Embeddings {
    model: Box<str>,
    base64: bool,
}

/// Translates a call, which [`TaskCall`](crate::task::call::TaskCall) has read, for a provider of Gemini.
///
/// # Errors
/// [`Untranslatable`] when it cannot be said there.
pub fn request(body: &[u8], to: &super::To<'_>) -> Result<(Vec<u8>, Translation), Untranslatable> {
    let untranslatable = |why| Untranslatable { why, from: Dialect::OpenAi, to: Dialect::Gemini };
    let (out, base64) = written(body, to.model).map_err(untranslatable)?;
    let frame = Frame { created: Timestamp::from_secs(0), echo: Arc::from([]) };
    let translation = Translation {
        from: Dialect::Gemini,
        to: Caller::Chat,
        frame,
        include_usage: false,
        frames: Frames::Events,
        named: Named::default(),
        answers: Answers::Embeddings(Embeddings { model: to.model.into(), base64 }),
    };
    Ok((out, translation))
}

fn written(body: &[u8], model: &str) -> Result<(Vec<u8>, bool), Why> {
    let (mut texts, mut dimensions, mut base64) = (None, None, false);
    for (name, raw) in members(body, MOST_FIELDS)? {
        let Some(raw) = present(Some(raw)) else { continue };
        match &*name {
            // Who asks decides nothing there.
            "model" | "user" => {}
            "input" if raw.get().starts_with('"') => texts = Some(vec![read::<Text<'_>>(raw, "`input`")?]),
            "input" if is_of_tokens(raw.get()) => return Err(Why::NoCounterpart("`input` in tokens".to_owned())),
            "input" => texts = Some(list(raw, "`input`", MOST_TEXTS, "texts")?),
            "dimensions" => dimensions = Some(read::<u32>(raw, "`dimensions`")?),
            "encoding_format" => match &*read::<Text<'_>>(raw, "`encoding_format`")? {
                "base64" => base64 = true,
                "float" => {}
                _ => return Err(Why::Form("`encoding_format`".to_owned())),
            },
            _ => return Err(Why::NoCounterpart("a field of the call".to_owned())),
        }
    }
    let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| Why::Form("`input`".to_owned()))?;
    let model = full_name(model);
    let mut out = Vec::with_capacity(body.len() + texts.len() * (model.len() + 64) + 64);
    let mut all = Object::new(&mut out);
    all.array("requests", &texts, |out, text| {
        let mut one = Object::new(out);
        one.text("model", &model);
        let mut content = one.object("content");
        content.array("parts", [text], |out, text| {
            let mut part = Object::new(out);
            part.text("text", text);
            part.end();
        });
        content.end();
        if let Some(dimensions) = dimensions {
            one.number("outputDimensionality", dimensions.into());
        }
        one.end();
    });
    all.end();
    Ok((out, base64))
}

/// Whether an array holds numbers, or arrays of them.
fn is_of_tokens(array: &str) -> bool {
    let first = array.trim_start_matches(|c: char| c == '[' || c.is_ascii_whitespace());
    array.starts_with('[') && first.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

impl Embeddings {
    /// A whole answer. `None` when it is none.
    pub(super) fn answer(&self, body: &[u8]) -> Option<Vec<u8>> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        if answer.embeddings.is_empty() || answer.embeddings.len() > MOST_TEXTS {
            return None;
        }
        let mut out = Vec::with_capacity(body.len() + 256);
        out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
        for (i, embedding) in answer.embeddings.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            let _ = write!(out, "{{\"object\":\"embedding\",\"index\":{i},\"embedding\":");
            if self.base64 {
                let bytes: Vec<u8> = embedding.values.iter().flat_map(|value| value.to_le_bytes()).collect();
                write_json_string(&mut out, &BASE64_STANDARD.encode(bytes));
            } else {
                serde_json::to_writer(&mut out, &embedding.values).ok()?;
            }
            out.push(b'}');
        }
        let tokens = answer.usage.prompt;
        out.extend_from_slice(b"],\"model\":");
        write_json_string(&mut out, &self.model);
        let _ = write!(out, ",\"usage\":{{\"prompt_tokens\":{tokens},\"total_tokens\":{tokens}}}}}");
        Some(out)
    }
}

#[derive(Deserialize)]
struct Answer {
    embeddings: Vec<Embedding>,
    #[serde(default, rename = "usageMetadata")]
    usage: Usage,
}

#[derive(Deserialize)]
struct Embedding {
    values: Vec<f32>,
}

#[derive(Default, Deserialize)]
struct Usage {
    #[serde(default, rename = "promptTokenCount")]
    prompt: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::{Value, json};

    fn asked(body: &Value) -> Result<(Value, Translation), String> {
        let to = super::super::To::new(Dialect::Gemini, "gemini-embedding-001");
        let (out, translation) = request(body.to_string().as_bytes(), &to).map_err(|why| why.to_string())?;
        Ok((serde_json::from_slice(&out).unwrap(), translation))
    }

    #[test]
    fn each_text_is_a_call_of_a_batch() {
        let one = |text: &str| json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": text}]}});
        let (said, _) = asked(&json!({"model": "m", "input": "a \"b\"", "user": "u"})).unwrap();
        assert_eq!(said, json!({"requests": [one("a \"b\"")]}));
        let (said, _) = asked(&json!({"model": "m", "input": ["a", "b"], "dimensions": 256, "x": null})).unwrap();
        let sized = |text: &str| {
            let mut one = one(text);
            one["outputDimensionality"] = 256.into();
            one
        };
        assert_eq!(said, json!({"requests": [sized("a"), sized("b")]}));
        for (body, why) in [
            (json!({"model": "m"}), "`input` is not what"),
            (json!({"model": "m", "input": []}), "`input` is not what"),
            (json!({"model": "m", "input": 7}), "`input` is not what"),
            (json!({"model": "m", "input": [1, 2]}), "in tokens has no counterpart"),
            (json!({"model": "m", "input": [[1], [2]]}), "in tokens has no counterpart"),
            (json!({"model": "m", "input": "a", "encoding_format": "hex"}), "`encoding_format` is not what"),
            (json!({"model": "m", "input": "a", "dimensions": -1}), "`dimensions` is not what"),
            (json!({"model": "m", "input": "a", "input_type": "query"}), "a field of the call has no counterpart"),
            (json!({"model": "m", "input": vec!["a"; MOST_TEXTS + 1]}), "too many texts"),
        ] {
            let told = asked(&body).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn vectors_come_back_as_numbers_and_in_base64() {
        let answer = json!({"embeddings": [{"values": [0.5, -1.25]}, {"values": [3.0]}],
            "usageMetadata": {"promptTokenCount": 4}});
        let back = |format: &str| -> Value {
            let (_, translation) =
                asked(&json!({"model": "m", "input": ["a", "b"], "encoding_format": format})).unwrap();
            serde_json::from_slice(&translation.whole(answer.to_string().as_bytes()).unwrap()).unwrap()
        };
        let told = back("float");
        assert_eq!(told["data"][0], json!({"object": "embedding", "index": 0, "embedding": [0.5, -1.25]}));
        assert_eq!((&told["data"][1]["index"], &told["object"]), (&json!(1), &json!("list")));
        assert_eq!(told["usage"], json!({"prompt_tokens": 4, "total_tokens": 4}));
        let told = back("base64");
        let bytes = BASE64_STANDARD.decode(told["data"][0]["embedding"].as_str().unwrap()).unwrap();
        assert_eq!(bytes, [0.5f32.to_le_bytes(), (-1.25f32).to_le_bytes()].concat());
        let (_, translation) = asked(&json!({"model": "m", "input": "a"})).unwrap();
        for none in ["", "{}", r#"{"embeddings":[]}"#, r#"{"embeddings":[{"values":["x"]}]}"#] {
            assert_eq!(translation.whole(none.as_bytes()), None, "{none}");
        }
        let error = translation.error(400, br#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT"}}"#);
        let error: Value = serde_json::from_slice(&error).unwrap();
        assert_eq!(error["error"]["message"], "no");
    }
}
