//! What a provider's error says of a call that it did not take although nothing is wrong with the provider: another model
//! may take it.
//!
//! Codes come first; providers without one say it in words, and those that are known stand here. An error that is not
//! recognised is the call's answer, as any other.

use serde_json::Value;

/// Larger errors are not read: none of a provider's is that long.
pub const MOST: usize = 64 * 1024;

/// Why a provider did not take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsuited {
    /// It is more than fits into its model.
    Context,
    /// The provider's own rules do not allow it.
    Policy,
}

/// The words of an error that say so, in small letters, and those of its codes.
const CONTEXT: &[&str] = &[
    // OpenAI, Azure, Groq, Fireworks as a code; llama.cpp as a type.
    "context_length_exceeded",
    "exceed_context_size",
    // OpenAI, DeepSeek, Mistral, vLLM, Together, OpenRouter.
    "context length",
    // OpenAI's Responses.
    "context window",
    // Anthropic, where the answer would not fit any more.
    "context limit",
    "context size",
    // Anthropic, and Claude at Bedrock and Vertex AI.
    "prompt is too long",
    // Bedrock.
    "input is too long",
    "too many input tokens",
    // Gemini.
    "exceeds the maximum number of tokens",
    // xAI.
    "maximum prompt length",
    // Groq.
    "reduce the length of the messages",
];
const POLICY: &[&str] = &[
    // Azure.
    "content_filter",
    "responsibleaipolicyviolation",
    "content management policy",
    // OpenAI, of conversations and of images.
    "content_policy_violation",
    "moderation_blocked",
    "usage policy",
    // Anthropic.
    "content filtering policy",
    // DeepSeek.
    "content exists risk",
    // Alibaba.
    "data_inspection_failed",
];

/// The members in which errors say what is wrong.
const MEMBERS: &[&str] = &["code", "type", "message", "Message", "detail", "title", "msg"];

impl Unsuited {
    /// What an error's body says.
    pub fn of(body: &[u8]) -> Option<Self> {
        if body.len() > MOST {
            return None;
        }
        let told: Value = serde_json::from_slice(body).ok()?;
        // Google's proxies answer with an array of one.
        let told = told.as_array().and_then(|all| all.first()).unwrap_or(&told);
        let error = &told["error"];
        let places = [told, error, &error["innererror"], &error["metadata"]];
        let members = places.iter().flat_map(|place| MEMBERS.iter().map(|member| &place[*member]));
        // Some say it in a text alone, and what stands within `metadata` is the error of whoever is behind them.
        let mut texts = members.chain([error, &error["metadata"]["raw"]]).filter_map(Value::as_str);
        texts.find_map(Self::said)
    }

    fn said(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        match () {
            () if says(CONTEXT) => Some(Self::Context),
            () if says(POLICY) => Some(Self::Policy),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(body: Value) -> Option<Unsuited> {
        Unsuited::of(body.to_string().as_bytes())
    }

    #[test]
    fn what_does_not_fit_is_told_by_code_or_words() {
        for error in [
            json!({"error": {"code": "context_length_exceeded", "message": "Too much.", "type": "invalid_request_error"}}),
            json!({"error": {"message": "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens.", "type": "invalid_request_error", "code": "invalid_request_error"}}),
            json!({"error": {"message": "Your input exceeds the context window of this model."}}),
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000"}}),
            json!({"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count (1300000) exceeds the maximum number of tokens allowed (1048575)."}}),
            json!([{"error": {"code": 400, "message": "The input token count exceeds the maximum number of tokens allowed 1048576."}}]),
            json!({"message": "Input is too long for requested model."}),
            json!({"Message": "Too many input tokens. Max input tokens: 8192"}),
            json!({"object": "error", "message": "Prompt contains 66385 tokens, too large for model with 32768 maximum context length", "code": 3051}),
            json!({"code": "Client specified an invalid argument", "error": "This model's maximum prompt length is 131072 but the request contains 537812 tokens."}),
            json!({"error": {"message": "Please reduce the length of the messages or completion.", "code": 400}}),
            json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "too much"}}),
            json!({"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": "{\"error\":\"prompt is too long\"}"}}}),
        ] {
            assert_eq!(of(error.clone()), Some(Unsuited::Context), "{error}");
        }
    }

    #[test]
    fn what_a_provider_does_not_allow_is_told_too() {
        for error in [
            json!({"error": {"code": "content_filter", "message": "The response was filtered due to the prompt triggering Azure OpenAI's policy.", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
            json!({"error": {"code": "content_policy_violation", "message": "Your request was rejected."}}),
            json!({"error": {"code": "invalid_prompt", "message": "Your prompt was flagged as potentially violating our usage policy."}}),
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "Output blocked by content filtering policy"}}),
            json!({"error": {"message": "Content Exists Risk", "code": "invalid_request_error"}}),
        ] {
            assert_eq!(of(error.clone()), Some(Unsuited::Policy), "{error}");
        }
    }

    #[test]
    fn anything_else_is_an_answer() {
        for error in [
            json!({"error": {"code": "unknown_parameter", "message": "Unknown parameter: 'tpo_p'."}}),
            json!({"error": {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens."}}),
            json!({"error": {"message": "no", "param": "context length"}}),
            json!("prompt is too long"),
            json!(7),
        ] {
            assert_eq!(of(error.clone()), None, "{error}");
        }
        assert_eq!(Unsuited::of(b"prompt is too long"), None);
        let long = json!({"error": {"message": "prompt is too long", "more": "x".repeat(MOST)}}).to_string();
        assert_eq!(Unsuited::of(long.as_bytes()), None);
    }
}
