//! What a provider tells in a session: when an answer begins and ends, what was heard and written down, and what was used.

use super::super::{Told, string};
use crate::task::usage::count;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Reads a message.
pub(super) fn read(text: &str) -> Option<Told> {
    if is_delta(text) {
        return None;
    }
    let event: Event<'_> = serde_json::from_str(text).ok()?;
    let response = || serde_json::from_str::<Response<'_>>(event.response?.get()).ok();
    let item = || event.item_id.and_then(string).unwrap_or_default();
    Some(match &*event.kind {
        "response.created" => Told::Began { response: response()?.id.into_owned() },
        "response.done" => {
            let response = response()?;
            Told::Done {
                used: response.usage.and_then(count),
                in_conversation: response.conversation_id.is_some(),
                failed: response.status.is_some_and(|status| status.get() == "\"failed\""),
                response: response.id.into_owned(),
            }
        }
        "input_audio_buffer.committed" => Told::Heard { item: item() },
        "conversation.item.input_audio_transcription.completed" => {
            Told::Transcribed { item: item(), used: event.usage.and_then(count), failed: false }
        }
        "conversation.item.input_audio_transcription.failed" => {
            Told::Transcribed { item: item(), used: None, failed: true }
        }
        "error" => {
            let error = event.error.and_then(|raw| serde_json::from_str::<Refusal<'_>>(raw.get()).ok());
            Told::Refused { about: error.and_then(|error| error.event_id).map(Cow::into_owned) }
        }
        _ => return None,
    })
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
    item_id: Option<&'t RawValue>,
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
        let Some(Told::Done { response, used: Some(used), in_conversation, failed: false }) = read(done) else {
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
        assert!(matches!(read(&beside), Some(Told::Done { in_conversation: false, .. })));
        let untold = r#"{"type":"response.done","response":{"id":"r","status":"failed","usage":null}}"#;
        assert_eq!(
            read(untold),
            Some(Told::Done { response: "r".into(), used: None, in_conversation: false, failed: true })
        );
    }

    #[test]
    fn other_events() {
        let began = r#"{"response":{"id":"r"},"type":"response.created"}"#;
        assert_eq!(read(began), Some(Told::Began { response: "r".into() }));
        let heard = |usage: &str| {
            read(&format!(
                r#"{{"type":"conversation.item.input_audio_transcription.completed","item_id":"i","usage":{usage}}}"#
            ))
        };
        let Some(Told::Transcribed { used: Some(used), failed: false, .. }) =
            heard(r#"{"type":"duration","seconds":3.2}"#)
        else {
            panic!()
        };
        assert_eq!((used.tokens, used.units.seconds), (None, 4));
        let tokens =
            r#"{"type":"tokens","input_tokens":14,"input_token_details":{"audio_tokens":10},"output_tokens":5}"#;
        let Some(Told::Transcribed { used: Some(used), failed: false, .. }) = heard(tokens) else { panic!() };
        assert_eq!((used.tokens.unwrap().input, used.units.audio_tokens), (14, 10));
        let committed = r#"{"type":"input_audio_buffer.committed","previous_item_id":null,"item_id":"i"}"#;
        assert_eq!(read(committed), Some(Told::Heard { item: "i".into() }));
        let failed = r#"{"type":"conversation.item.input_audio_transcription.failed","item_id":"i","error":{}}"#;
        assert_eq!(read(failed), Some(Told::Transcribed { item: "i".into(), used: None, failed: true }));
        assert_eq!(read(r#"{"type":"error","error":{"code":"x"}}"#), Some(Told::Refused { about: None }));
        let about = read(r#"{"type":"error","error":{"code":"x","event_id":"e1"}}"#);
        assert_eq!(about, Some(Told::Refused { about: Some("e1".into()) }));
        // A text that looks like one is none.
        let text =
            r#"{"type":"response.output_text.delta","delta":"{\"type\":\"response.done\"}","response":{"id":"r"}}"#;
        assert_eq!(read(text), None);
        assert_eq!(read("no json"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "\\PC{0,200}") {
            read(&text);
        }
    }
}
