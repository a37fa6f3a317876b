//! OpenAI's Realtime: what a session asks for stands in its address ([`Asked`]), each message is an event with a `type`.
//!
//! Reference: <https://developers.openai.com/api/reference/resources/realtime>.

mod said;
mod told;

use super::{InvalidEvent, Protocol, Said, Told};
use crate::openai::{
    error::{kind, message},
    request::write_json_string,
};
use credentialflow_model::{OutcomeReason, RequestId};
use std::fmt::Write;

/// Sessions of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Realtime;

impl Protocol for Realtime {
    fn said(&mut self, text: &str) -> Result<Said, InvalidEvent> {
        said::read(text)
    }

    fn told(&mut self, text: &str) -> Vec<Told> {
        told::read(text).into_iter().collect()
    }

    fn error(&self, reason: OutcomeReason, id: RequestId, detail: Option<&str>, about: Option<&str>) -> Option<String> {
        let mut out = Vec::with_capacity(320);
        out.extend_from_slice(b"{\"type\":\"error\",\"event_id\":");
        write_json_string(&mut out, &format!("event_{id}"));
        out.extend_from_slice(b",\"error\":{\"type\":");
        write_json_string(&mut out, kind(reason.status()));
        out.extend_from_slice(b",\"code\":");
        write_json_string(&mut out, reason.code());
        out.extend_from_slice(b",\"message\":");
        write_json_string(&mut out, &message(reason, id, detail, None));
        out.extend_from_slice(b",\"param\":null,\"event_id\":");
        match about {
            Some(about) => write_json_string(&mut out, about),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b"}}");
        String::from_utf8(out).ok()
    }

    fn farewell(&self, reason: OutcomeReason, _: Option<&str>) -> String {
        reason.title().to_owned()
    }

    fn cancel(&self, response: &str) -> Option<String> {
        let mut out = b"{\"type\":\"response.cancel\",\"response_id\":".to_vec();
        write_json_string(&mut out, response);
        out.push(b'}');
        String::from_utf8(out).ok()
    }

    fn cancel_any(&self, event: &str) -> Option<String> {
        let mut out = b"{\"type\":\"response.cancel\",\"event_id\":".to_vec();
        write_json_string(&mut out, event);
        out.push(b'}');
        String::from_utf8(out).ok()
    }
}

/// Why an address asks for no session. The texts are safe to show: they hold nothing from the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It names no model.
    #[error("name the model in the address: `/v1/realtime?model=NAME`")]
    ModelMissing,
    /// It says something twice.
    #[error("the address says `{0}` more than once")]
    Twice(&'static str),
    /// What it says cannot be read.
    #[error("the address says a `{0}` that cannot be read")]
    Unreadable(&'static str),
    /// It asks for a call that the provider keeps.
    #[error("`call_id` joins a call that one provider keeps, and which one is not known; start a session with `model`")]
    Call,
}

/// What the address of a session asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// Whether what is heard is only to be written down.
    pub transcribes: bool,
}

impl Asked {
    /// Reads a query (RFC 3986, 3.4).
    ///
    /// # Errors
    /// [`InvalidAddress`] where it names no model, or says something that decides in two ways.
    pub fn of_query(query: Option<&str>) -> Result<Self, InvalidAddress> {
        let (mut model, mut intent) = (None, None);
        for part in query.unwrap_or_default().split('&') {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = decoded(name).unwrap_or_default();
            let (place, name) = match name.as_str() {
                "model" => (&mut model, "model"),
                "intent" => (&mut intent, "intent"),
                "call_id" => return Err(InvalidAddress::Call),
                _ => continue,
            };
            let value = decoded(value).ok_or(InvalidAddress::Unreadable(name))?;
            if place.replace(value).is_some() {
                return Err(InvalidAddress::Twice(name));
            }
        }
        let transcribes = match intent.as_deref() {
            None | Some("realtime" | "conversation") => false,
            Some("transcription") => true,
            Some(_) => return Err(InvalidAddress::Unreadable("intent")),
        };
        let model = model.filter(|model| !model.is_empty()).ok_or(InvalidAddress::ModelMissing)?;
        Ok(Self { model, transcribes })
    }

    /// The query for a provider: its own name of the model. A session that only writes down names none, as its model
    /// stands in an event.
    pub fn query(&self, provider_model: &str) -> String {
        if self.transcribes {
            return "intent=transcription".into();
        }
        let mut query = "model=".to_owned();
        for byte in provider_model.bytes() {
            match byte {
                b if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') => query.push(char::from(b)),
                b => {
                    let _ = write!(query, "%{b:02X}");
                }
            }
        }
        query
    }
}

/// Without its escapes; `None` where one is broken, or no text is left.
fn decoded(text: &str) -> Option<String> {
    let digit = |b: Option<&u8>| char::from(*b?).to_digit(16);
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        if *byte == b'%' {
            let (high, low) = (digit(bytes.get(at + 1))?, digit(bytes.get(at + 2))?);
            out.push((high << 4 | low) as u8);
            at += 3;
        } else {
            out.push(*byte);
            at += 1;
        }
    }
    String::from_utf8(out).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let of = |query| Asked::of_query(Some(query));
        let asked = |model: &str, transcribes| Ok(Asked { model: model.into(), transcribes });
        for (query, expect) in [
            ("model=gpt-realtime", asked("gpt-realtime", false)),
            ("api-version=1&model=a%2Fb+c&x", asked("a/b+c", false)),
            ("m%6Fdel=ab&intent=realtime", asked("ab", false)),
            ("intent=transcription&model=t", asked("t", true)),
            ("model=", Err(InvalidAddress::ModelMissing)),
            ("intent=transcription", Err(InvalidAddress::ModelMissing)),
            ("", Err(InvalidAddress::ModelMissing)),
            ("model=a&model=a", Err(InvalidAddress::Twice("model"))),
            ("model=a&mode%6c=b", Err(InvalidAddress::Twice("model"))),
            ("model=%zz", Err(InvalidAddress::Unreadable("model"))),
            ("model=a%", Err(InvalidAddress::Unreadable("model"))),
            ("model=%ff", Err(InvalidAddress::Unreadable("model"))),
            ("model=a%0d%0a", Err(InvalidAddress::Unreadable("model"))),
            ("model=a&intent=else", Err(InvalidAddress::Unreadable("intent"))),
            ("model=a&call_id=rtc_1", Err(InvalidAddress::Call)),
        ] {
            assert_eq!(of(query), expect, "{query}");
        }
        assert_eq!(Asked::of_query(None), Err(InvalidAddress::ModelMissing));
        let asked = of("model=x").unwrap();
        assert_eq!(asked.query("gpt-realtime"), "model=gpt-realtime");
        assert_eq!(asked.query("a/b&c=ä"), "model=a%2Fb%26c%3D%C3%A4");
        assert_eq!(of("model=x&intent=transcription").unwrap().query("y"), "intent=transcription");
    }

    #[test]
    fn events_of_ours_are_json() {
        let json = |text: Option<String>| serde_json::from_str::<serde_json::Value>(&text.unwrap()).unwrap();
        let told = json(Realtime.error(OutcomeReason::BudgetExceeded, RequestId(7), Some("a \"word\""), Some("e\"1")));
        assert_eq!((&told["type"], &told["error"]["event_id"]), (&"error".into(), &"e\"1".into()));
        assert_eq!(told["error"]["code"], "budget_exceeded");
        assert!(told["error"]["message"].as_str().unwrap().contains("a \"word\""), "{told}");
        let revoked = json(Realtime.error(OutcomeReason::Revoked, RequestId(7), None, None));
        assert!(revoked["error"]["event_id"].is_null());
        assert_eq!(json(Realtime.cancel("r\"1"))["response_id"], "r\"1");
        let any = json(Realtime.cancel_any("e1"));
        assert_eq!((&any["event_id"], any.get("response_id")), (&"e1".into(), None));
    }
}
