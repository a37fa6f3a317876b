//! The sandbox's embeddings, in OpenAI's form and in Gemini's: vectors of length one that are a function of the text alone.
//!
//! They mean nothing, but the same text has the same vector. Tokens are counted by words.

use super::{SandboxAnswer, SandboxRequest, gemini, method_not_allowed, unauthorized};
use crate::gemini::request::{Action, Asked};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) const PATH: &str = "/v1/embeddings";
/// Numbers of a vector unless the call says otherwise.
const DIMENSIONS: usize = 64;
const MOST_DIMENSIONS: usize = 4096;
const MOST_TEXTS: usize = 2048;

#[derive(Deserialize)]
struct Call {
    model: String,
    input: Input,
    #[serde(default)]
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Several(Vec<String>),
}

pub(super) fn answer(request: &SandboxRequest<'_>) -> SandboxAnswer {
    if !request.presented().accepted() {
        return unauthorized();
    }
    if request.method != "POST" {
        return method_not_allowed();
    }
    let Ok(call) = serde_json::from_slice::<Call>(request.body) else {
        return invalid("The body is no request for embeddings: it needs `model` and `input`, a text or several.");
    };
    let texts = match call.input {
        Input::One(text) => vec![text],
        Input::Several(texts) => texts,
    };
    let dimensions = call.dimensions.unwrap_or(DIMENSIONS);
    if !(1..=MOST_TEXTS).contains(&texts.len()) || !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return invalid("There are too many texts or dimensions, or none.");
    }
    let base64 = call.encoding_format.as_deref() == Some("base64");
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = vector(text, dimensions);
            let embedding = match base64 {
                true => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
                    BASE64_STANDARD.encode(bytes).into()
                }
                false => json!(vector),
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        })
        .collect();
    let tokens: usize = texts.iter().map(|text| words(text)).sum();
    let usage = json!({"prompt_tokens": tokens, "total_tokens": tokens});
    SandboxAnswer::json(200, &json!({"object": "list", "data": data, "model": call.model, "usage": usage}))
}

#[derive(Deserialize)]
struct Batch {
    requests: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    content: Content,
    #[serde(default, rename = "outputDimensionality", alias = "output_dimensionality")]
    dimensions: Option<usize>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

/// The same in Gemini's form; the credential was accepted.
pub(super) fn generated(request: &SandboxRequest<'_>, asked: Asked<'_>) -> SandboxAnswer {
    let several = asked.action == Action::BatchEmbed;
    let calls = match several {
        true => serde_json::from_slice::<Batch>(request.body).map(|batch| batch.requests),
        false => serde_json::from_slice::<One>(request.body).map(|one| vec![one]),
    };
    let Ok(calls) = calls else {
        return gemini::error(400, "The body is no request for embeddings: it needs `content`.");
    };
    let fits = |one: &One| (1..=MOST_DIMENSIONS).contains(&one.dimensions.unwrap_or(DIMENSIONS));
    if !(1..=MOST_TEXTS).contains(&calls.len()) || !calls.iter().all(fits) {
        return gemini::error(400, "There are too many texts or dimensions, or none.");
    }
    let text = |one: &One| one.content.parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join(" ");
    let values = |one: &One| json!({"values": vector(&text(one), one.dimensions.unwrap_or(DIMENSIONS))});
    let tokens: usize = calls.iter().map(|one| words(&text(one))).sum();
    let vectors: Vec<Value> = calls.iter().map(values).collect();
    let mut answer = match several {
        true => json!({"embeddings": vectors}),
        false => json!({"embedding": vectors.into_iter().next()}),
    };
    answer["usageMetadata"] = json!({"promptTokenCount": tokens, "totalTokenCount": tokens});
    SandboxAnswer::json(200, &answer)
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// A vector of length one, from a text's 64-bit FNV-1a hash drawn out by a linear congruence.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut state =
        text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let mut vector: Vec<f32> = (0..dimensions)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The upper 16 bits, so that every number of them is exact.
            f32::from(u16::try_from(state >> 48).unwrap_or(u16::MAX)) - 32_767.5
        })
        .collect();
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

fn invalid(message: &str) -> SandboxAnswer {
    SandboxAnswer::error(400, "invalid_request_error", "invalid_body", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_text_has_one_vector_of_length_one() {
        for dimensions in [1, 2, DIMENSIONS, MOST_DIMENSIONS] {
            let one = vector("hello", dimensions);
            assert_eq!((one.len(), &one), (dimensions, &vector("hello", dimensions)));
            let length: f32 = one.iter().map(|v| v * v).sum();
            assert!((length - 1.0).abs() < 1e-3, "{length}");
        }
        assert_ne!(vector("hello", 8), vector("hello ", 8));
    }
}
