//! Replicate: the wire format of predictions (`/models/{owner}/{name}/predictions`, `/predictions/{id}`).
//!
//! No caller speaks it: calls are translated into it and answers out of it. A prediction is made with one request; what
//! comes of it is in that answer, in a later one to a question for it, or in a stream of events at an address that the
//! answer names. Reference: <https://replicate.com/docs/reference/http> and <https://replicate.com/docs/streaming>, looked
//! up in November 2026. There is no address of Replicate's own at which it speaks a dialect of others.

pub mod events;
pub mod usage;

use credentialflow_model::http::EndpointUrl;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// Longer ids are none of a prediction.
const MAX_ID: usize = 64;
/// A version of a model is named by so many hexadecimal digits.
const VERSION_DIGITS: usize = 64;
/// What stands before the name of a deployment, which has an address of its own.
const DEPLOYMENTS: &str = "deployments/";
/// Where streams are served, beside the API's own host: below these domains, which are Replicate's.
const STREAM_DOMAINS: &[&str] = &[".replicate.com", ".replicate.net"];

/// Where a prediction of a model is asked for below the endpoint's base. A model is `owner/name`, `owner/name:version`, the
/// version alone, or `deployments/owner/name`.
pub fn path(model: &str) -> String {
    if version(model).is_some() {
        return "/predictions".to_owned();
    }
    let mut path = String::with_capacity(model.len() + 32);
    if !model.starts_with(DEPLOYMENTS) {
        path.push_str("/models");
    }
    for segment in model.split('/') {
        path.push('/');
        let dots = segment.bytes().all(|b| b == b'.');
        for b in segment.bytes() {
            if !dots && (b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')) {
                path.push(char::from(b));
            } else {
                let _ = write!(path, "%{b:02X}");
            }
        }
    }
    path.push_str("/predictions");
    path
}

/// The version that a model's name is of, where it says so; then the call names it.
pub(crate) fn version(model: &str) -> Option<&str> {
    let is_version = |text: &&str| text.len() == VERSION_DIGITS && text.bytes().all(|b| b.is_ascii_hexdigit());
    match model.rsplit_once(':') {
        Some((_, version)) => Some(version),
        None => Some(model).filter(is_version),
    }
}

/// How far a prediction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits or runs.
    Runs,
    /// It is there.
    Done,
    /// It failed, or was ended by somebody.
    Failed,
}

/// What is to be known of a prediction to follow it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    id: String,
    /// How far it is.
    pub state: State,
    /// Where what it says can be heard while it runs: what the answer says, of which nothing is known yet.
    pub stream: Option<String>,
}

impl Prediction {
    /// Of an answer. `None`: it is none of a prediction.
    pub fn of(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            id: String,
            status: String,
            #[serde(default)]
            urls: Option<Urls>,
        }
        #[derive(Deserialize)]
        struct Urls {
            #[serde(default)]
            stream: Option<String>,
        }
        let Wire { id, status, urls } = serde_json::from_slice(body).ok()?;
        // It becomes a part of a path.
        let is_id = !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|b| b.is_ascii_alphanumeric());
        let state = match status.as_str() {
            "starting" | "processing" | "queued" => State::Runs,
            "succeeded" | "successful" => State::Done,
            "failed" | "canceled" | "aborted" => State::Failed,
            _ => return None,
        };
        is_id.then(|| Self { id, state, stream: urls.and_then(|urls| urls.stream) })
    }

    /// Where it is asked for. Made of its id: the addresses that an answer names could lead anywhere.
    pub fn path(&self) -> String {
        format!("/predictions/{}", self.id)
    }

    /// Where it is ended.
    pub fn cancel_path(&self) -> String {
        format!("/predictions/{}/cancel", self.id)
    }
}

/// Where a stream is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamPlace<'a> {
    /// The address, taken apart.
    pub url: EndpointUrl<'a>,
    /// Whether it is at the endpoint that made the prediction, and not at a host of Replicate's for streams.
    pub own: bool,
}

/// The place that an answer says a stream is at, if it is one to go to: the endpoint (`host` and `port`, by TLS or not)
/// that gave the answer itself, or, where that is asked by TLS, a host below Replicate's domains, by TLS at the usual port.
pub fn stream_place<'a>(url: &'a str, (secure, host, port): (bool, &str, u16)) -> Option<StreamPlace<'a>> {
    let url = EndpointUrl::parse(url).ok().filter(|url| !url.path.is_empty())?;
    let own = (url.secure, url.port) == (secure, port) && url.host.eq_ignore_ascii_case(host);
    let lower = url.host.to_ascii_lowercase();
    let theirs = secure && url.secure && url.port == 443 && STREAM_DOMAINS.iter().any(|domain| lower.ends_with(domain));
    (own || theirs).then_some(StreamPlace { url, own })
}

/// What counts of a prediction: it repeats what was asked, and tells what its model logged.
pub fn told(body: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize, Serialize)]
    struct Told<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow)]
        status: &'a RawValue,
        #[serde(borrow, default)]
        output: Option<&'a RawValue>,
        #[serde(borrow, default)]
        error: Option<&'a RawValue>,
        #[serde(borrow, default)]
        metrics: Option<&'a RawValue>,
    }
    serde_json::to_vec(&serde_json::from_slice::<Told<'_>>(body).ok()?).ok()
}

/// Whether a header steers how a prediction is made, which is said here.
pub fn steers(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    let of_replicate = name.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"replicate-"));
    is("prefer") || is("cancel-after") || of_replicate
}

/// The texts of a whole answer in a form in which they are counted as those of other providers are.
pub fn said(body: &[u8]) -> Vec<u8> {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default)]
        output: serde_json::Value,
    }
    let text = match serde_json::from_slice::<Wire>(body).map(|wire| wire.output) {
        Ok(serde_json::Value::String(text)) => text,
        Ok(serde_json::Value::Array(texts)) => texts.iter().filter_map(serde_json::Value::as_str).collect(),
        _ => String::new(),
    };
    serde_json::json!({ "text": text }).to_string().into_bytes()
}

/// A finished prediction as the stream of it.
pub fn as_stream(body: &[u8]) -> Vec<u8> {
    let said: serde_json::Value = serde_json::from_slice(&said(body)).unwrap_or_default();
    let text = said["text"].as_str().unwrap_or_default();
    let mut out = Vec::with_capacity(text.len() + 64);
    if !text.is_empty() {
        out.extend_from_slice(b"event: output\n");
        // A carriage return would end a line of its own, and is none in a text.
        for line in text.replace("\r\n", "\n").replace('\r', "\n").split('\n') {
            out.extend_from_slice(b"data: ");
            out.extend_from_slice(line.as_bytes());
            out.push(b'\n');
        }
        out.push(b'\n');
    }
    out.extend_from_slice(b"event: done\ndata: {}\n\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_at_a_path_of_its_own_or_named_by_its_version() {
        let digits = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa";
        for (model, path_of, version_of) in [
            ("meta/meta-llama-3-70b-instruct", "/models/meta/meta-llama-3-70b-instruct/predictions", None),
            ("deployments/acme/chat", "/deployments/acme/chat/predictions", None),
            (&format!("acme/chat:{digits}"), "/predictions", Some(digits)),
            (digits, "/predictions", Some(digits)),
            ("../x?y#z", "/models/%2E%2E/x%3Fy%23z/predictions", None),
        ] {
            assert_eq!((&*path(model), version(model)), (path_of, version_of), "{model}");
        }
    }

    #[test]
    fn a_prediction_is_followed_by_its_id_alone() {
        let told = Prediction::of(
            br#"{"id":"gm3q","status":"starting","urls":{"get":"https://evil.example/","stream":"https://stream.replicate.com/v1/files/a"},"input":{}}"#,
        )
        .unwrap();
        assert_eq!((&*told.path(), &*told.cancel_path()), ("/predictions/gm3q", "/predictions/gm3q/cancel"));
        assert_eq!(told.stream.as_deref(), Some("https://stream.replicate.com/v1/files/a"));
        for (status, state) in [("processing", State::Runs), ("succeeded", State::Done), ("aborted", State::Failed)] {
            let told = Prediction::of(format!(r#"{{"id":"a","status":"{status}"}}"#).as_bytes());
            assert_eq!(told.map(|told| told.state), Some(state));
        }
        for bad in [
            r#"{"id":"a/../b","status":"starting"}"#,
            r#"{"id":"","status":"starting"}"#,
            r#"{"id":"a\r\nx","status":"starting"}"#,
            r#"{"id":"a","status":"strange"}"#,
            r#"{"detail":"x"}"#,
            "no json",
        ] {
            assert_eq!(Prediction::of(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Prediction::of(format!(r#"{{"id":"{}","status":"failed"}}"#, "a".repeat(65)).as_bytes()), None);
    }

    #[test]
    fn a_stream_is_at_the_endpoint_itself_or_at_replicate() {
        let at = |url: &str, own: (bool, &str, u16)| stream_place(url, own).map(|place| place.own);
        let api = (true, "api.replicate.com", 443);
        let local = (false, "127.0.0.1", 9001);
        for (url, own, expect) in [
            ("https://stream.replicate.com/v1/files/abc", api, Some(false)),
            ("https://stream-b.svc.rno2.c.replicate.net/v1/streams/abc", api, Some(false)),
            ("https://API.replicate.com/v1/x", api, Some(true)),
            ("http://127.0.0.1:9001/v1/stream/a", local, Some(true)),
            // What is asked without TLS is no Replicate, and what it says leads nowhere else.
            ("https://stream.replicate.com/v1/files/abc", local, None),
            ("http://stream.replicate.com/v1/files/abc", api, None),
            ("https://stream.replicate.com:8443/v1/files/abc", api, None),
            ("https://replicate.com.example/v1/files/abc", api, None),
            ("https://evilreplicate.com/v1/files/abc", api, None),
            ("https://169.254.169.254/latest", api, None),
            ("http://127.0.0.1:9002/v1/stream/a", local, None),
            ("https://stream.replicate.com@evil.example/x", api, None),
            ("https://stream.replicate.com/x?y", api, None),
            ("https://stream.replicate.com/x y", api, None),
            ("https://stream.replicate.com", api, None),
            ("gopher://stream.replicate.com/x", api, None),
        ] {
            assert_eq!(at(url, own), expect, "{url}");
        }
    }

    #[test]
    fn what_was_said_whole_is_one_stream() {
        let body = br#"{"id":"a","status":"succeeded","output":["Hel","lo\n","\r\nyou"],"input":{"prompt":"Hi"}}"#;
        assert_eq!(said(body), br#"{"text":"Hello\n\r\nyou"}"#);
        let stream = String::from_utf8(as_stream(body)).unwrap();
        assert_eq!(stream, "event: output\ndata: Hello\ndata: \ndata: you\n\nevent: done\ndata: {}\n\n");
        assert_eq!(
            told(body).unwrap(),
            br#"{"id":"a","status":"succeeded","output":["Hel","lo\n","\r\nyou"],"error":null,"metrics":null}"#
        );
        assert!(steers(b"Prefer") && steers(b"replicate-max-lifetime") && !steers(b"preference"));
        assert_eq!(as_stream(br#"{"output":null}"#), b"event: done\ndata: {}\n\n");
        assert_eq!(said(br#"{"output":"one"}"#), br#"{"text":"one"}"#);
    }
}
