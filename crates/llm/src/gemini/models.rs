//! The answers of `GET /v1beta/models` and `GET /v1beta/models/{id}` in the Gemini dialect. All models are on one page.
//!
//! Which names a caller may see is not decided here.
//! Reference: <https://ai.google.dev/api/models>.

use crate::openai::request::write_json_string;

/// The body of `GET /v1beta/models`, in the order given.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"models\":[");
    for (i, name) in names.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_model(&mut out, name);
    }
    out.extend_from_slice(b"]}");
    out
}

/// The body of `GET /v1beta/models/{id}`.
pub fn one(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    write_model(&mut out, name);
    out
}

fn write_model(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b"{\"name\":");
    write_json_string(out, &format!("models/{name}"));
    out.extend_from_slice(b",\"displayName\":");
    write_json_string(out, name);
    out.extend_from_slice(
        b",\"supportedGenerationMethods\":[\"generateContent\",\"streamGenerateContent\",\"countTokens\"]}",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn wire_form() {
        let model = |id: &str| {
            json!({"name": format!("models/{id}"), "displayName": id,
                "supportedGenerationMethods": ["generateContent", "streamGenerateContent", "countTokens"]})
        };
        let got: Value = serde_json::from_slice(&list(["chat-default", "odd\"name"])).unwrap();
        assert_eq!(got, json!({"models": [model("chat-default"), model("odd\"name")]}));
        assert_eq!(list([]), b"{\"models\":[]}");
        assert_eq!(serde_json::from_slice::<Value>(&one("a")).unwrap(), model("a"));
    }
}
