//! What a provider's error says of the key that it was sent, where its status does not say so: some answer 400 to a key that
//! they do not know, that is over, or whose account may not be used.
//!
//! Codes are compared whole, and what people read by how it begins: errors repeat what callers wrote, and nobody must be
//! able to have a key taken for a refused one by that.

use serde_json::Value;

/// Larger errors are not read: none of a provider's is that long.
pub const MOST: usize = crate::unsuited::MOST;

/// Whether an answer with this status may say so.
pub const fn may_be(status: u16) -> bool {
    status == 400
}

/// The codes that say so, in small letters.
const CODES: &[&str] = &[
    // Google, of keys that it does not know, that were deleted and that are over.
    "api_key_invalid",
    // OpenAI, and those who speak as it does; the second where an account has a limit for money.
    "invalid_api_key",
    "billing_hard_limit_reached",
];
/// How what is said begins, in small letters.
const WORDS: &[&str] = &[
    // Google.
    "api key not valid",
    "api key not found",
    "api key expired",
    // xAI.
    "incorrect api key provided",
    // Anthropic: no credit, what an account may spend in a month, an account that was closed.
    "your credit balance is too low",
    "you have reached your specified api usage limits",
    "this organization has been disabled",
];

/// Whether an error's body says that the key it was sent with is not taken.
pub fn is_said(body: &[u8]) -> bool {
    if body.len() > MOST {
        return false;
    }
    let Ok(told) = serde_json::from_slice::<Value>(body) else { return false };
    // Google's API for OpenAI's SDKs answers with an array of one.
    let told = told.as_array().and_then(|all| all.first()).unwrap_or(&told);
    let error = &told["error"];
    let details = error["details"].as_array().into_iter().flatten().map(|detail| &detail["reason"]);
    let codes = [&error["code"], &error["type"], &told["code"]].into_iter().chain(details);
    // xAI says it in a text alone.
    let texts = [&error["message"], &told["message"], error];
    let is = |text: &Value, is: fn(&str, &str) -> bool, those: &[&str]| {
        text.as_str().map(str::to_ascii_lowercase).is_some_and(|text| those.iter().any(|one| is(&text, one)))
    };
    codes.into_iter().any(|code| is(code, |text, one| text == one, CODES))
        || texts.into_iter().any(|text| is(text, |text, one| text.starts_with(one), WORDS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn google(message: &str) -> Value {
        json!({"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT", "details": [
            {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com",
             "metadata": {"service": "generativelanguage.googleapis.com"}},
            {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": message}]}})
    }

    fn anthropic(message: &str) -> Value {
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"})
    }

    #[test]
    fn providers_say_that_they_do_not_take_a_key() {
        for error in [
            google("API key not valid. Please pass a valid API key."),
            google("API Key not found. Please pass a valid API key."),
            google("API key expired. Please renew the API key."),
            google("In other words."),
            json!([google("API key not valid. Please pass a valid API key.")]),
            json!({"error": {"code": 400, "message": "API Key not found. Please pass a valid API key."}}),
            json!({"code": "Client specified an invalid argument", "error": "Incorrect API key provided: xa***Ju. You can obtain an API key from https://console.x.ai."}),
            anthropic(
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
            ),
            anthropic(
                "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC.",
            ),
            anthropic("This organization has been disabled."),
            json!({"error": {"code": "billing_hard_limit_reached", "message": "Billing hard limit has been reached", "type": "image_generation_user_error"}}),
            json!({"error": {"code": "invalid_api_key", "message": "No."}}),
        ] {
            assert!(is_said(error.to_string().as_bytes()), "{error}");
        }
    }

    #[test]
    fn what_is_said_of_the_call_is_not_said_of_the_key() {
        for error in [
            json!({"error": {"code": 400, "message": "Request contains an invalid argument.", "status": "INVALID_ARGUMENT"}}),
            json!({"code": "Client specified an invalid argument", "error": "The model expects a single `text` element per message."}),
            anthropic("prompt is too long: 210000 tokens > 200000 maximum"),
            // What callers wrote comes back in errors.
            anthropic("tools.0.name: Incorrect API key provided: this organization has been disabled"),
            json!({"error": {"message": "Unknown parameter: 'API_KEY_INVALID'.", "param": "api_key_invalid", "code": "unknown_parameter"}}),
            json!({"error": {"details": [{"reason": "not API_KEY_INVALID"}, {"field": "API_KEY_INVALID"}]}}),
            json!("API key not valid"),
            json!(["API key not valid"]),
            json!(7),
        ] {
            assert!(!is_said(error.to_string().as_bytes()), "{error}");
        }
        assert!(!is_said(b"API key not valid"));
        let long = json!({"error": {"message": "API key not valid", "more": "x".repeat(MOST)}}).to_string();
        assert!(!is_said(long.as_bytes()));
    }
}
