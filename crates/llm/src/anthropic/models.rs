//! The answers of `GET /v1/models` and `GET /v1/models/{id}` in the Anthropic dialect. All models are on one page.
//!
//! Which names a caller may see is not decided here.
//! Reference: <https://platform.claude.com/docs/en/api/models-list>.

use crate::openai::request::write_json_string;
use credentialflow_model::Timestamp;

/// The body of `GET /v1/models`, in the order given. `created` is told for each model, as this room has no clock.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>, created: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"data\":[");
    let (mut first, mut last) = (None, None);
    for name in names {
        if last.is_some() {
            out.push(b',');
        }
        write_model(&mut out, name, created);
        first = first.or(Some(name));
        last = Some(name);
    }
    out.extend_from_slice(b"],\"has_more\":false,\"first_id\":");
    write_or_null(&mut out, first);
    out.extend_from_slice(b",\"last_id\":");
    write_or_null(&mut out, last);
    out.push(b'}');
    out
}

/// The body of `GET /v1/models/{id}`.
pub fn one(name: &str, created: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_model(&mut out, name, created);
    out
}

fn write_model(out: &mut Vec<u8>, name: &str, created: Timestamp) {
    out.extend_from_slice(b"{\"type\":\"model\",\"id\":");
    write_json_string(out, name);
    out.extend_from_slice(b",\"display_name\":");
    write_json_string(out, name);
    out.extend_from_slice(b",\"created_at\":");
    write_json_string(out, &created.to_string());
    out.push(b'}');
}

fn write_or_null(out: &mut Vec<u8>, name: Option<&str>) {
    match name {
        Some(name) => write_json_string(out, name),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn wire_form() {
        let at = Timestamp::from_secs(1_790_000_000);
        let model = |id: &str| json!({"type": "model", "id": id, "display_name": id, "created_at": at.to_string()});
        let got: Value = serde_json::from_slice(&list(["chat-default", "odd\"name"], at)).unwrap();
        assert_eq!(
            got,
            json!({"data": [model("chat-default"), model("odd\"name")], "has_more": false,
                "first_id": "chat-default", "last_id": "odd\"name"})
        );
        let none: Value = serde_json::from_slice(&list([], at)).unwrap();
        assert_eq!(none, json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
        assert_eq!(serde_json::from_slice::<Value>(&one("a", at)).unwrap(), model("a"));
    }
}
