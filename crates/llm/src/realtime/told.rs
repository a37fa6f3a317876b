//! What a provider tells in a session: when an answer begins and ends, and what was used.
//!
//! Tolerant, as everywhere: what cannot be understood tells nothing, it never becomes an error.

use crate::task::usage::{Used, count};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// An event that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An answer has begun.
    Began {
        /// Its id.
        response: String,
    },
    /// An answer is over.
    Done {
        /// Its id.
        response: String,
        /// What it used, where that is told.
        used: Option<Used>,
        /// Whether it is a part of the conversation, which later answers read.
        in_conversation: bool,
        /// Whether the provider failed, and made nothing of it.
        failed: bool,
    },
    /// What was heard is written down.
    Transcribed {
        /// What that used, where it is told.
        used: Option<Used>,
    },
    /// The provider refused something.
    Refused {
        /// The `event_id` of what was said, where it is told.
        about: Option<String>,
    },
    /// Anything else.
    Other,
}

impl Told {
    /// Reads a message.
    pub fn read(text: &str) -> Self {
        if is_delta(text) {
            return Self::Other;
        }
        let Ok(event) = serde_json::from_str::<Event<'_>>(text) else { return Self::Other };
        let response = || event.response.and_then(|raw| serde_json::from_str::<Response<'_>>(raw.get()).ok());
        match &*event.kind {
            "response.created" => match response() {
                Some(response) => Self::Began { response: response.id.into_owned() },
                None => Self::Other,
            },
            "response.done" => match response() {
                Some(response) => Self::Done {
                    used: response.usage.and_then(count),
                    in_conversation: response.conversation_id.is_some(),
                    failed: response.status.is_some_and(|status| status.get() == "\"failed\""),
                    response: response.id.into_owned(),
                },
                None => Self::Other,
            },
            "conversation.item.input_audio_transcription.completed" => {
                Self::Transcribed { used: event.usage.and_then(count) }
            }
            "error" => {
                let error = event.error.and_then(|raw| serde_json::from_str::<Refusal<'_>>(raw.get()).ok());
                Self::Refused { about: error.and_then(|error| error.event_id).map(Cow::into_owned) }
            }
            _ => Self::Other,
        }
    }
}

/// Whether a message says so in its beginning that it is a piece of an answer, of which there are many and large ones.
fn is_delta(text: &str) -> bool {
    let kind = text.strip_prefix("{\"type\":\"").and_then(|rest| rest.split('"').next());
    kind.is_some_and(|kind| kind.ends_with(".delta"))
}

#[derive(Deserialize)]
struct Event<'t> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'t, str>,
    #[serde(borrow, default)]
    response: Option<&'t RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'t RawValue>,
    #[serde(borrow, default)]
    error: Option<&'t RawValue>,
}

#[derive(Deserialize)]
struct Refusal<'t> {
    #[serde(borrow, default)]
    event_id: Option<Cow<'t, str>>,
}

#[derive(Deserialize)]
struct Response<'t> {
    #[serde(borrow)]
    id: Cow<'t, str>,
    #[serde(borrow, default)]
    conversation_id: Option<&'t RawValue>,
    #[serde(borrow, default)]
    status: Option<&'t RawValue>,
    #[serde(borrow, default)]
    usage: Option<&'t RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::units::Units;
    use credentialflow_model::usage::TokenUsage;
    use proptest::prelude::*;

    #[test]
    fn what_an_answer_used() {
        // As the provider's guide on costs shows it.
        let done = r#"{"type":"response.done","event_id":"e","response":{"object":"realtime.response","id":"resp_1","status":"completed","conversation_id":"conv_1","output":[{"content":[{"transcript":"\"usage\""}]}],"usage":{"total_tokens":253,"input_tokens":132,"output_tokens":121,"input_token_details":{"text_tokens":119,"audio_tokens":13,"image_tokens":0,"cached_tokens":64,"cached_tokens_details":{"text_tokens":60,"audio_tokens":4,"image_tokens":0}},"output_token_details":{"text_tokens":30,"audio_tokens":91}}}}"#;
        let Told::Done { response, used: Some(used), in_conversation, failed: false } = Told::read(done) else {
            panic!()
        };
        assert_eq!((response.as_str(), in_conversation), ("resp_1", true));
        assert_eq!(
            used.tokens,
            Some(TokenUsage { input: 132, cached_input: 64, output: 121, ..TokenUsage::default() })
        );
        let units = Units { audio_tokens: 9, cached_audio_tokens: 4, audio_output_tokens: 91, ..Units::default() };
        assert_eq!(used.units, units);
        let beside = done.replace(r#""conv_1""#, "null");
        assert!(matches!(Told::read(&beside), Told::Done { in_conversation: false, .. }));
        let untold = r#"{"type":"response.done","response":{"id":"r","status":"failed","usage":null}}"#;
        assert_eq!(
            Told::read(untold),
            Told::Done { response: "r".into(), used: None, in_conversation: false, failed: true }
        );
    }

    #[test]
    fn other_events() {
        let began = r#"{"response":{"id":"r"},"type":"response.created"}"#;
        assert_eq!(Told::read(began), Told::Began { response: "r".into() });
        let heard = |usage: &str| {
            Told::read(&format!(
                r#"{{"type":"conversation.item.input_audio_transcription.completed","transcript":"x","usage":{usage}}}"#
            ))
        };
        let Told::Transcribed { used: Some(used) } = heard(r#"{"type":"duration","seconds":3.2}"#) else { panic!() };
        assert_eq!((used.tokens, used.units.seconds), (None, 4));
        let tokens =
            r#"{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":10},"output_tokens":5}"#;
        let Told::Transcribed { used: Some(used) } = heard(tokens) else { panic!() };
        assert_eq!((used.tokens.unwrap().input, used.units.audio_tokens), (14, 10));
        assert_eq!(Told::read(r#"{"type":"error","error":{"code":"x"}}"#), Told::Refused { about: None });
        let about = Told::read(r#"{"type":"error","error":{"code":"x","event_id":"e1"}}"#);
        assert_eq!(about, Told::Refused { about: Some("e1".into()) });
        // A text that looks like one is none.
        let text =
            r#"{"type":"response.output_text.delta","delta":"{\"type\":\"response.done\"}","response":{"id":"r"}}"#;
        assert_eq!(Told::read(text), Told::Other);
        assert_eq!(Told::read("no json"), Told::Other);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}") {
            Told::read(&text);
        }
    }
}
