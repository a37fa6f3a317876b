//! The answers of `GET /v1/models` and `GET /v1/models/{id}` for a list of public model names.
//!
//! Which names a caller may see is not decided here.
//! Reference: <https://platform.openai.com/docs/api-reference/models>.

use super::request::write_json_string;
use credentialflow_model::Timestamp;
use std::io::Write;

/// The body of `GET /v1/models`, in the order given. `created` is told for each model, as this room has no clock.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>, created: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(b"{\"object\":\"list\",\"data\":[");
    for (i, name) in names.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_model(&mut out, name, created);
    }
    out.extend_from_slice(b"]}");
    out
}

/// The body of `GET /v1/models/{id}`.
pub fn one(name: &str, created: Timestamp) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    write_model(&mut out, name, created);
    out
}

fn write_model(out: &mut Vec<u8>, name: &str, created: Timestamp) {
    out.extend_from_slice(b"{\"id\":");
    write_json_string(out, name);
    let _ = write!(out, ",\"object\":\"model\",\"created\":{},\"owned_by\":\"credentialflow\"}}", created.secs());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_form() {
        let at = Timestamp::from_secs(1_790_000_000);
        assert_eq!(
            String::from_utf8(list(["chat-default", "odd\"name"], at)).unwrap(),
            r#"{"object":"list","data":[{"id":"chat-default","object":"model","created":1790000000,"owned_by":"credentialflow"},{"id":"odd\"name","object":"model","created":1790000000,"owned_by":"credentialflow"}]}"#
        );
        assert_eq!(list([], at), br#"{"object":"list","data":[]}"#);
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&one("a", at)).unwrap()["id"], "a");
    }
}
