//! AWS Bedrock: the wire format of `/model/{modelId}/converse` and `/converse-stream` (the Converse API).
//!
//! No caller speaks it: calls are translated into it and answers out of it. The model stands in the path; a stream comes
//! in frames of AWS's own.
//! Reference: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.

pub mod events;
pub mod frames;
pub mod usage;

use std::fmt::Write as _;

/// The media type of a streamed answer.
pub const STREAM_TYPE: &str = "application/vnd.amazon.eventstream";
/// The header in which AWS names an error, as in `ThrottlingException`, or that with an address behind a colon.
pub const ERROR_HEADER: &str = "x-amzn-errortype";
/// The header in which InvokeModel tells how many tokens were read.
pub const INPUT_TOKENS_HEADER: &str = "x-amzn-bedrock-input-token-count";

/// Where a call of a model goes below the endpoint's base: its id or ARN is one segment of the path.
pub fn path(model: &str, stream: bool) -> String {
    below(model, if stream { "/converse-stream" } else { "/converse" })
}

/// Where a model is asked in its maker's own form (InvokeModel).
pub(crate) fn invoke_path(model: &str) -> String {
    below(model, "/invoke")
}

/// Where the tokens of a call are counted: by the model itself, as AWS refuses to count for an inference profile
/// (<https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html>). What an application's own profile is of is
/// not known.
pub fn count_path(model: &str) -> String {
    let id = match model.rsplit_once('/') {
        Some((arn, id)) if arn.ends_with(":inference-profile") => id,
        _ => model,
    };
    let of_profile = id.split_once('.').filter(|(place, rest)| is_place(place) && rest.contains('.'));
    below(of_profile.map_or(model, |(_, rest)| rest), "/count-tokens")
}

/// Whether an id begins with where an inference profile is served, as `eu` or `global`.
fn is_place(word: &str) -> bool {
    matches!(word, "apac" | "global" | "us-gov") || (word.len() == 2 && word.bytes().all(|b| b.is_ascii_lowercase()))
}

fn below(model: &str, action: &str) -> String {
    let mut path = String::with_capacity(model.len() + 40);
    path.push_str("/model/");
    for b in model.bytes() {
        if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(b));
        } else {
            let _ = write!(path, "%{b:02X}");
        }
    }
    path.push_str(action);
    path
}

/// Those whose models are asked in ways of their own.
const MAKERS: &[&str] = &["amazon", "anthropic", "openai"];

/// Whose model an id or ARN names, where that makes a difference and it says so: `us.anthropic.claude-…` is
/// `anthropic`'s. Before the name may stand where an inference profile is served.
pub(crate) fn maker(model: &str) -> Option<&'static str> {
    let id = model.rsplit('/').next()?;
    id.split('.').take(2).find_map(|part| MAKERS.iter().find(|maker| **maker == part).copied())
}

/// Whether an id or ARN names a model whose name begins so, wherever an inference profile is served:
/// `us.cohere.embed-v4:0` is a `cohere.embed-`.
pub(crate) fn is_of(model: &str, name: &str) -> bool {
    let id = model.rsplit('/').next().unwrap_or_default();
    id.starts_with(name) || id.split_once('.').is_some_and(|(_, rest)| rest.starts_with(name))
}

/// Whether a model has the catalogue's price at an endpoint: AWS's own address in a region that the price is for.
pub(crate) fn has_known_price(endpoint: &str, model: &str) -> bool {
    let host = endpoint.trim_end_matches('/').strip_prefix("https://bedrock-runtime.");
    let Some(region) = host.and_then(|host| host.strip_suffix(".amazonaws.com")) else { return false };
    let is_region =
        !region.is_empty() && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let (in_states, in_europe) = (["us-east-1", "us-east-2", "us-west-2"].contains(&region), region.starts_with("eu-"));
    match model.split('.').next() {
        Some("global") => is_region && !region.starts_with("us-gov-"),
        Some("eu") => is_region && in_europe,
        _ => in_states,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_one_segment_of_the_path() {
        assert_eq!(
            path("us.anthropic.claude-sonnet-4-5-20250929-v1:0", false),
            "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse"
        );
        assert_eq!(
            path("arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/1arbu5hu2sjr", true),
            "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Aapplication-inference-profile%2F1arbu5hu2sjr/converse-stream"
        );
        assert_eq!(path("../x?y#z", false), "/model/..%2Fx%3Fy%23z/converse");
    }

    #[test]
    fn models_count_and_profiles_do_not() {
        let arn = "arn:aws:bedrock:eu-central-1:1:application-inference-profile/eu.anthropic.x";
        for (model, counted) in [
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1%3A0"),
            ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5-20250929-v1%3A0"),
            ("global.anthropic.claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
            ("us-gov.anthropic.claude-3-haiku", "anthropic.claude-3-haiku"),
            ("openai.gpt-5.6", "openai.gpt-5.6"),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/apac.anthropic.claude-x", "anthropic.claude-x"),
            (arn, "arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Aapplication-inference-profile%2Feu.anthropic.x"),
            ("arn:aws:bedrock:a::foundation-model/b.c", "arn%3Aaws%3Abedrock%3Aa%3A%3Afoundation-model%2Fb.c"),
        ] {
            assert_eq!(count_path(model), format!("/model/{counted}/count-tokens"));
        }
    }

    #[test]
    fn prices_are_those_of_a_region() {
        let at = |region: &str| format!("https://bedrock-runtime.{region}.amazonaws.com");
        for (endpoint, model, known) in [
            (at("us-east-1"), "amazon.nova-lite-v1:0", true),
            (at("us-west-2") + "/", "us.anthropic.claude-sonnet-4-6", true),
            (at("eu-central-1"), "amazon.nova-lite-v1:0", false),
            (at("eu-central-1"), "eu.anthropic.claude-sonnet-4-6", true),
            (at("us-east-1"), "eu.anthropic.claude-sonnet-4-6", false),
            (at("ap-south-1"), "global.anthropic.claude-sonnet-4-6", true),
            (at("us-gov-west-1"), "global.anthropic.claude-sonnet-4-6", false),
            (at("us-gov-west-1"), "us.anthropic.claude-sonnet-4-6", false),
            (at("x.example.com/"), "global.anthropic.claude-sonnet-4-6", false),
            ("https://example.com".to_owned(), "us.anthropic.claude-sonnet-4-6", false),
        ] {
            assert_eq!(has_known_price(&endpoint, model), known, "{endpoint} {model}");
        }
    }

    #[test]
    fn ids_name_the_model() {
        assert_eq!(invoke_path("cohere.embed-v4:0"), "/model/cohere.embed-v4%3A0/invoke");
        let titan = |model: &str| is_of(model, "amazon.titan-embed-text");
        assert!(titan("amazon.titan-embed-text-v2:0") && titan("eu.amazon.titan-embed-text-v2:0"));
        assert!(titan("arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-embed-text-v1"));
        assert!(!titan("amazon.titan-text-lite-v1") && !titan("x.amazon") && !titan("a.b.amazon.titan-embed-text"));
    }

    #[test]
    fn ids_name_whose_model_it_is() {
        for (model, of) in [
            ("anthropic.claude-3-haiku-20240307-v1:0", Some("anthropic")),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", Some("anthropic")),
            ("global.anthropic.claude-haiku-4-5-20251001-v1:0", Some("anthropic")),
            ("amazon.nova-lite-v1:0", Some("amazon")),
            ("us.amazon.nova-2-lite-v1:0", Some("amazon")),
            ("us-gov.anthropic.claude-3-5-sonnet-20240620-v1:0", Some("anthropic")),
            ("openai.gpt-oss-120b-1:0", Some("openai")),
            ("openai.gpt-5.6", Some("openai")),
            ("arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-2-1b-instruct-v1:0", None),
            ("arn:aws:bedrock:us-east-1:1:inference-profile/eu.amazon.nova-pro-v1:0", Some("amazon")),
            ("arn:aws:bedrock:us-east-1:1:application-inference-profile/1arbu5hu2sjr", None),
            ("", None),
        ] {
            assert_eq!(maker(model), of, "{model}");
        }
    }
}
