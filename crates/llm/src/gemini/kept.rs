//! What a call names that Google keeps: content that was cached before, and is read along with the call.

use crate::openai::responses::Each;
use aho_corasick::AhoCorasick;
use serde::de::Deserializer;
use serde_json::value::RawValue;
use std::sync::LazyLock;

/// Finds what every such name has in it, or the escapes of ASCII letters with which one could be written.
static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(["ached", "\\u00"]).ok());

/// Where content that is kept may be named, besides at the top, level by level: in the call that tokens are counted of,
/// and in OpenAI's dialect, which Google's servers speak as well, in fields of their own.
const WITHIN: [&[&str]; 2] =
    [&["generateContentRequest", "generate_content_request", "extra_body", "google"], &["google"]];

/// The field by which a call names content that its provider keeps. How many tokens that is cannot be known from the
/// call. Names are read in camel case and in snake case, as Google's servers do.
///
/// Reads a body that [`GeminiCall`](super::request::GeminiCall) or [`ChatCall`](crate::ChatCall) has read. Of fields that
/// stand more than once each counts, unless null.
pub fn reads_along(body: &[u8]) -> Option<&'static str> {
    // Nearly always: nothing like it.
    if FINDER.as_ref().is_some_and(|finder| !finder.is_match(body)) {
        return None;
    }
    std::str::from_utf8(body).ok().and_then(|body| named(body, &WITHIN))
}

fn named(object: &str, within: &[&[&str]]) -> Option<&'static str> {
    let mut found = None;
    let _ = serde_json::Deserializer::from_str(object).deserialize_map(Each(|name: &str, value: &RawValue| {
        let here = match name {
            _ if value.get() == "null" => None,
            "cachedContent" => Some("cachedContent"),
            "cached_content" => Some("cached_content"),
            name => within
                .split_first()
                .filter(|(names, _)| names.contains(&name))
                .and_then(|(_, deeper)| named(value.get(), deeper)),
        };
        found = found.or(here);
    }));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_content_is_read_along_wherever_it_is_named() {
        let (camel, snake) = (Some("cachedContent"), Some("cached_content"));
        for (body, expect) in [
            (r#"{"contents":[],"cachedContent":null}"#, None),
            (r#"{"contents":[{"parts":[{"text":"cachedContent"}]}],"labels":{"cachedContent":"x"}}"#, None),
            (r#"{"contents":[{"parts":[{"functionCall":{"args":{"cachedContent":"x"}}}]}]}"#, None),
            (r#"{"google":{"google":{"google":{"cached_content":"x"}}}}"#, None),
            (r#"[{"cachedContent":"x"}]"#, None),
            ("no json", None),
            (r#"{"contents":[],"cachedContent":"cachedContents/abc"}"#, camel),
            (r#"{"cached_content":"cachedContents/abc","contents":[]}"#, snake),
            (r#"{"c\u0061chedContent" : "cachedContents/abc"}"#, camel),
            (r#"{"cachedContent":"cachedContents/abc","cachedContent":null}"#, camel),
            (r#"{"cachedContent":null,"cachedContent":{"name":"x"}}"#, camel),
            (r#"{"generateContentRequest":{"cachedContent":"cachedContents/abc"}}"#, camel),
            (r#"{"generate_content_request":{"cached_content":"cachedContents/abc"}}"#, snake),
            (r#"{"messages":[],"extra_body":{"google":{"cached_content":"cachedContents/abc"}}}"#, snake),
            (r#"{"messages":[],"google":{"cachedContent":"cachedContents/abc"}}"#, camel),
        ] {
            assert_eq!(reads_along(body.as_bytes()), expect, "{body}");
        }
        // However deep it is: nothing is followed further than it can stand.
        let deep = r#"{"google":"#.repeat(100_000);
        assert_eq!(reads_along(deep.as_bytes()), None);
    }
}
