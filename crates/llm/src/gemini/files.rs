//! Google's Files API: what begins an upload, where its pieces go, and what is told of a file.
//!
//! An upload is begun with what is to be known of the file; the answer names an address of its own for the pieces, which come
//! without a key. Reference: <https://ai.google.dev/api/files>.

use crate::{batch::object::Uploaded, files::GEMINI_FILES};
use serde_json::{Map, Value, json};

/// The folder in which files are named.
const FOLDER: &str = "files/";
/// The longest address of an upload.
const LONGEST: usize = 2048;

/// Why an upload cannot begin. The texts are safe to show: they hold nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStart {
    /// It is no JSON object with at most a `file`.
    #[error("an upload begins with a JSON object with `file`, and nothing else")]
    NoFile,
    /// It names the file.
    #[error("files get their names here: leave `file.name` out, and take the name from the answer")]
    Named,
}

/// What begins an upload, as it goes on: written anew, so that nobody reads another thing in it than was read here.
///
/// # Errors
/// [`InvalidStart`] when it cannot go on.
pub fn start(body: &[u8]) -> Result<Vec<u8>, InvalidStart> {
    let object = match serde_json::from_slice(body) {
        _ if body.trim_ascii().is_empty() => Map::new(),
        Ok(Value::Object(object)) => object,
        _ => return Err(InvalidStart::NoFile),
    };
    if object.iter().any(|(field, value)| field != "file" || !value.is_object()) {
        return Err(InvalidStart::NoFile);
    }
    if object.get("file").is_some_and(|file| file.get("name").is_some_and(|name| !name.is_null())) {
        return Err(InvalidStart::Named);
    }
    Ok(Value::Object(object).to_string().into_bytes())
}

/// What is done with a piece of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// It brings bytes, and may end the upload.
    Upload,
    /// It asks how far the upload is, or gives it up.
    Other,
}

impl Command {
    /// As `X-Goog-Upload-Command` has it: one or more words.
    pub fn of(told: &[u8]) -> Option<Self> {
        let words: Vec<&[u8]> = told.split(|b| *b == b',').map(<[u8]>::trim_ascii).collect();
        match words.as_slice() {
            [b"upload"] | [b"upload", b"finalize"] | [b"finalize"] => Some(Self::Upload),
            [b"query"] | [b"cancel"] => Some(Self::Other),
            _ => None,
        }
    }
}

/// The path and the query of the address that an upload has at its provider; `None` where that is not below `at`
/// (`https://host/…`), the place that was asked for it, or cannot stand in a request as it is.
pub fn upload_at<'u>(address: &'u str, at: &str) -> Option<(&'u str, &'u str)> {
    let rest = address.strip_prefix(at)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&b);
    let leads_on = path.starts_with("/upload/") && !path.contains('%');
    let goes_back = path.split('/').any(|part| matches!(part, "." | ".."));
    (leads_on && !goes_back && address.len() <= LONGEST && rest.bytes().all(is_plain)).then_some((path, query))
}

/// A file as its provider tells of it, by itself or at the end of an upload, with the name `name`, as in `files/a`, in place
/// of its own. `None` where it is none.
pub fn file(answer: &[u8], name: &str) -> Option<Uploaded> {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(answer) else { return None };
    if let Some(Value::Object(file)) = object.remove("file") {
        object = file;
        object.remove("file");
    }
    let there = object.insert("name".into(), name.into())?.as_str().filter(|name| is_name(name))?.to_owned();
    object.insert("uri".into(), format!("{GEMINI_FILES}{name}").into());
    // It names the provider's own, and leads past us.
    object.remove("downloadUri");
    let expires = object.get("expirationTime").and_then(Value::as_str).and_then(|at| at.parse().ok());
    Some(Uploaded { told: Value::Object(object).to_string(), id: there, expires })
}

/// Whether a file can be read by calls, as was told of it.
pub fn is_ready(told: &str) -> bool {
    serde_json::from_str::<Value>(told).is_ok_and(|file| file.get("state").is_none_or(|state| state == "ACTIVE"))
}

/// What ends an upload, of what is told of the file.
pub fn uploaded(told: &str) -> String {
    format!("{{\"file\":{told}}}")
}

/// A page of files or of batches, which have this name in it, of what is told of each, and where the next one begins.
pub fn page(name: &str, files: &[&str], next: Option<&str>) -> Vec<u8> {
    let next = next.map(|next| format!(",\"nextPageToken\":{}", json!(next))).unwrap_or_default();
    if files.is_empty() && next.is_empty() {
        return b"{}".to_vec();
    }
    format!("{{\"{name}\":[{}]{next}}}", files.join(",")).into_bytes()
}

/// Whether it is the name of a file as Google gives them: it is written into requests that carry a credential.
fn is_name(name: &str) -> bool {
    let own = name.strip_prefix(FOLDER).unwrap_or_default();
    (1..=40).contains(&own.len()) && own.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_model::Timestamp;

    #[test]
    fn an_upload_begins_without_a_name() {
        let began = |body: &str| start(body.as_bytes()).map(|body| String::from_utf8(body).unwrap());
        assert_eq!(
            began(r#" {"file": {"displayName":"a", "mimeType":"text/plain","sizeBytes":3}} "#),
            Ok(r#"{"file":{"displayName":"a","mimeType":"text/plain","sizeBytes":3}}"#.into())
        );
        assert_eq!((began("{}"), began(" ")), (Ok("{}".into()), Ok("{}".into())));
        assert_eq!(began(r#"{"file":{"name":"files/mine"}}"#), Err(InvalidStart::Named));
        assert_eq!(began(r#"{"file":{"n\u0061me":"files/mine"}}"#), Err(InvalidStart::Named));
        assert_eq!(began(r#"{"file":{"name":"files/mine","name":null}}"#), Ok(r#"{"file":{"name":null}}"#.into()));
        for none in ["[]", "x", r#"{"file":[]}"#, r#"{"files":{}}"#, r#"{"file":{},"uris":["gs://a"]}"#, "\u{0}"] {
            assert_eq!(began(none), Err(InvalidStart::NoFile), "{none}");
        }
    }

    #[test]
    fn commands_are_read() {
        for (told, expect) in [
            ("upload", Some(Command::Upload)),
            ("upload, finalize", Some(Command::Upload)),
            ("upload,finalize", Some(Command::Upload)),
            ("finalize", Some(Command::Upload)),
            ("query", Some(Command::Other)),
            ("cancel", Some(Command::Other)),
            ("start", None),
            ("start, upload, finalize", None),
            ("upload, finalize, start", None),
            ("", None),
            ("UPLOAD", None),
        ] {
            assert_eq!(Command::of(told.as_bytes()), expect, "{told}");
        }
    }

    #[test]
    fn pieces_go_to_the_provider_alone() {
        let at = "https://generativelanguage.googleapis.com";
        let own = format!("{at}/upload/v1beta/files?upload_id=AB_c-1&upload_protocol=resumable");
        let parts = ("/upload/v1beta/files", "upload_id=AB_c-1&upload_protocol=resumable");
        assert_eq!(upload_at(&own, at), Some(parts));
        assert_eq!(upload_at("http://127.0.0.1:81/x/upload/a", "http://127.0.0.1:81/x"), Some(("/upload/a", "")));
        for other in [
            "https://evil.example/upload/v1beta/files?upload_id=1".to_owned(),
            "http://generativelanguage.googleapis.com/upload/v1beta/files".into(),
            format!("{at}.evil.example/upload/v1beta/files"),
            format!("{at}:8443/upload/v1beta/files"),
            format!("{at}@evil.example/upload/x"),
            format!("{at}/v1beta/files/abc"),
            format!("{at}/upload/../v1beta/files/abc"),
            format!("{at}/upload/%2e%2e/v1beta/files/abc"),
            format!("{at}/upload/v1beta/files?a=b#c"),
            format!("{at}/upload/v1beta/files HTTP/1.1"),
            format!("{at}/upload/v1beta/files\\x"),
            format!("{at}/upload/{}", "x".repeat(LONGEST)),
            "/upload/v1beta/files".into(),
            String::new(),
        ] {
            assert_eq!(upload_at(&other, at), None, "{other}");
        }
    }

    #[test]
    fn files_have_names_of_ours() {
        let there = json!({"name": "files/abc-123", "uri": format!("{GEMINI_FILES}files/abc-123"), "sizeBytes": "3",
            "downloadUri": format!("{GEMINI_FILES}files/abc-123:download?alt=media"), "mimeType": "text/plain",
            "state": "ACTIVE", "expirationTime": "2026-11-25T00:00:00.123456789Z"});
        for answer in [there.clone(), json!({ "file": there })] {
            let Uploaded { told, id, expires } = file(answer.to_string().as_bytes(), "files/0a").unwrap();
            assert_eq!((id.as_str(), told.contains("abc-123")), ("files/abc-123", false), "{told}");
            assert_eq!(expires, "2026-11-25T00:00:00.123456Z".parse::<Timestamp>().ok());
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!((&told["name"], &told["sizeBytes"]), (&json!("files/0a"), &json!("3")));
            assert_eq!(told["uri"], "https://generativelanguage.googleapis.com/v1beta/files/0a");
        }
        for none in ["", "files/", "abc", "files/a/b", "files/../x", "files/A", "files/a b", "files/a\r\nx", "models/a"]
        {
            assert_eq!(file(json!({ "name": none }).to_string().as_bytes(), "files/0a"), None, "{none}");
        }
        let long = format!("files/{}", "a".repeat(41));
        assert_eq!(file(json!({ "name": long }).to_string().as_bytes(), "files/0a"), None);
        assert!(file(b"{}", "files/0a").is_none() && file(b"[]", "files/0a").is_none());
        assert!(is_ready(r#"{"state":"ACTIVE"}"#) && is_ready("{}"));
        assert!(!is_ready(r#"{"state":"PROCESSING"}"#) && !is_ready(r#"{"state":"FAILED"}"#) && !is_ready(""));
    }

    #[test]
    fn lists_are_pages() {
        let told: Value = serde_json::from_slice(&page("files", &["{\"name\":\"a\"}", "{}"], Some("t\"x"))).unwrap();
        assert_eq!(told, json!({"files": [{"name": "a"}, {}], "nextPageToken": "t\"x"}));
        assert_eq!(page("files", &[], None), b"{}");
        assert_eq!(uploaded("{\"name\":\"a\"}"), "{\"file\":{\"name\":\"a\"}}");
    }
}
