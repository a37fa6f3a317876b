//! How many tokens a call would have that is not made: asked by a caller of one dialect, counted by a provider of another.
//!
//! The call is written as it would be sent, and goes without what says only how the answer is to be made: it counts for
//! nothing, and providers refuse to be told here. Looked up in November 2026:
//!
//! | Provider | Reference |
//! | --- | --- |
//! | Anthropic | <https://platform.claude.com/docs/en/api/messages/count_tokens> |
//! | OpenAI | <https://developers.openai.com/api/reference/resources/responses/subresources/input_tokens> |
//! | Gemini | <https://ai.google.dev/api/tokens> |
//! | Vertex AI | <https://docs.cloud.google.com/vertex-ai/generative-ai/docs/model-reference/count-tokens> |
//! | Bedrock | <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html> |

use super::{
    Answers, Caller, Named, To, Translation, Untranslatable, Why,
    call::{Call, MAX_FIELDS, Sampling},
    gemini::schema::Schemas,
    read::{Members, members, present},
    responses::Frame,
    write::Object,
};
use crate::{
    gemini::request::{Frames, full_name},
    provider::{Counting, Dialect},
};
use credentialflow_model::Timestamp;
use serde::Deserialize;
use std::sync::Arc;

/// Translates a call for a provider that counts so. `body` is one that [`ChatCall`](crate::ChatCall) or, from a caller of
/// Gemini, [`GeminiCall`](crate::gemini::request::GeminiCall) has read.
///
/// # Errors
/// [`Untranslatable`] when the call cannot be said in the provider's dialect.
pub fn request(
    body: &[u8],
    from: Dialect,
    to: &To<'_>,
    by: Counting,
) -> Result<(Vec<u8>, Translation), Untranslatable> {
    let to = To { dialect: by.dialect(), ..*to };
    let untranslatable = |why| Untranslatable { why, from, to: to.dialect };
    // In Chat Completions nobody can ask.
    let caller = Caller::of(from).filter(|caller| *caller != Caller::Chat);
    let caller = caller.ok_or_else(|| untranslatable(Why::Form("the dialect".to_owned())))?;
    let body = match caller {
        Caller::Gemini => within(body).map_err(untranslatable)?,
        _ => body,
    };
    let schemas = Schemas::of(from, body).map_err(untranslatable)?;
    let mut call = caller.call(body, &schemas, false, true).map_err(untranslatable)?;
    only_the_prompt(&mut call, by);
    let mut written = Vec::with_capacity(body.len() + 256);
    super::write_call(&mut call, &to, &mut written).map_err(untranslatable)?;
    let out = counted(&written, to.model, by).map_err(untranslatable)?;
    let translation = Translation {
        from: to.dialect,
        place: to.place,
        to: caller,
        frame: Frame { created: Timestamp::from_secs(0), echo: Arc::from([]) },
        include_usage: false,
        frames: Frames::Events,
        named: Named::default(),
        many: 1,
        answers: Answers::Count(by),
    };
    Ok((out, translation))
}

/// A whole call in a body of Gemini's, where it stands in one; else the body is one, as far as it goes.
fn within(body: &[u8]) -> Result<&[u8], Why> {
    let all: Members<'_> = members(body, MAX_FIELDS)?;
    let mut there = all.iter().filter(|(_, raw)| present(Some(raw)).is_some());
    let is_whole = |name: &str| matches!(name, "generateContentRequest" | "generate_content_request");
    let Some((_, whole)) = there.clone().find(|(name, _)| is_whole(name)) else { return Ok(body) };
    match there.all(|(name, _)| is_whole(name) || &**name == "model") {
        true => Ok(whole.get().as_bytes()),
        false => Err(Why::Form("what stands beside `generateContentRequest`".to_owned())),
    }
}

/// Leaves out how the answer is to be made, and what the provider takes no fields for.
fn only_the_prompt(call: &mut Call<'_>, by: Counting) {
    (call.limit, call.stream, call.temperature, call.top_p) = (None, false, None, None);
    (call.sampling, call.images, call.user) = (Sampling::default(), None, None);
    (call.logprobs, call.answers) = (None, None);
    call.stop.clear();
    call.openai.clear();
    call.others.retain(|(name, _)| takes(by).contains(&&**name));
}

/// The fields of a call that a provider counts.
const fn takes(by: Counting) -> &'static [&'static str] {
    match by {
        Counting::Messages => &["model", "system", "messages", "tools", "tool_choice", "thinking", "output_config"],
        Counting::Responses => &["model", "input", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"],
        Counting::Gemini => &["systemInstruction", "contents", "tools", "toolConfig", "generationConfig"],
        Counting::Vertex => &["systemInstruction", "contents", "tools", "generationConfig"],
        Counting::Converse => &["system", "messages", "toolConfig", "additionalModelRequestFields"],
    }
}

/// The body to send of a call that is written.
fn counted(written: &[u8], model: &str, by: Counting) -> Result<Vec<u8>, Why> {
    let all = members(written, MAX_FIELDS)?;
    let fields = |to: &mut Object<'_>| {
        for (name, raw) in all.iter().filter(|(name, _)| takes(by).contains(&&**name)) {
            to.other(name, raw.get());
        }
    };
    let mut out = Vec::with_capacity(written.len() + model.len() + 64);
    let mut body = Object::new(&mut out);
    match by {
        Counting::Messages | Counting::Responses | Counting::Vertex => fields(&mut body),
        Counting::Gemini => {
            let mut call = body.object("generateContentRequest");
            call.text("model", &full_name(model));
            fields(&mut call);
            call.end();
        }
        Counting::Converse => {
            let mut input = body.object("input");
            let mut call = input.object("converse");
            fields(&mut call);
            call.end();
            input.end();
        }
    }
    body.end();
    Ok(out)
}

/// What a provider counted.
#[derive(Deserialize)]
struct Counted {
    /// Anthropic's and OpenAI's.
    #[serde(default)]
    input_tokens: Option<u64>,
    /// Google's.
    #[serde(default, rename = "totalTokens")]
    total: Option<u64>,
    /// Bedrock's.
    #[serde(default, rename = "inputTokens")]
    input: Option<u64>,
}

/// The answer for a caller of a provider's. `None` when it is none.
pub(super) fn answer(by: Counting, to: Caller, body: &[u8]) -> Option<Vec<u8>> {
    let told: Counted = serde_json::from_slice(body).ok()?;
    let tokens = match by {
        Counting::Messages | Counting::Responses => told.input_tokens,
        Counting::Gemini | Counting::Vertex => told.total,
        Counting::Converse => told.input,
    }?;
    let text = match to {
        Caller::Chat => return None,
        Caller::Messages => format!(r#"{{"input_tokens":{tokens}}}"#),
        Caller::Responses => format!(r#"{{"object":"response.input_tokens","input_tokens":{tokens}}}"#),
        Caller::Gemini => format!(r#"{{"totalTokens":{tokens}}}"#),
    };
    Some(text.into_bytes())
}
