use super::{super::super::Named, *};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

fn read(event: &Value) -> Said {
    super::read(&event.to_string()).unwrap()
}

fn named(said: &Said) -> Vec<(Names, &str)> {
    said.named.iter().map(|Named { names, name, .. }| (*names, name.as_str())).collect()
}

#[test]
fn models_are_found_wherever_they_are_named_and_replaced() {
    let event = json!({"type": "session.update", "event_id": "e1", "session": {
        "type": "realtime", "model": "m", "instructions": "say \"model\"",
        "audio": {"input": {"transcription": {"model": "t", "language": "en"}}, "output": {"voice": "x"}},
    }});
    let text = event.to_string();
    let said = read(&event);
    assert_eq!((said.kind, said.event_id.as_deref()), (Kind::Session, Some("e1")));
    let mut all = named(&said);
    all.sort_by_key(|(_, model)| *model);
    assert_eq!(all, [(Names::Session, "m"), (Names::Transcription, "t")]);
    let names: Vec<Cow<'_, str>> = said.named.iter().map(|n| Cow::Owned(format!("other-{}", n.name))).collect();
    let got: Value = serde_json::from_str(&said.renamed(&text, &names)).unwrap();
    let mut expect = event.clone();
    expect["session"]["model"] = "other-m".into();
    expect["session"]["audio"]["input"]["transcription"]["model"] = "other-t".into();
    assert_eq!(got, expect);
    let same: Vec<Cow<'_, str>> = said.named.iter().map(|n| Cow::Borrowed(n.name.as_str())).collect();
    assert!(matches!(said.renamed(&text, &same), Cow::Borrowed(same) if same == text));
    // The older form, and an answer of its own.
    let older =
        json!({"type": "transcription_session.update", "session": {"input_audio_transcription": {"model": "t"}}});
    assert_eq!(named(&read(&older)), [(Names::Transcription, "t")]);
    assert_eq!(named(&read(&json!({"type": "response.create", "response": {"model": "x"}}))), [(Names::Session, "x")]);
    assert_eq!(named(&read(&json!({"type": "whatever", "model": "x"}))), [(Names::Session, "x")]);
    assert!(read(&json!({"type": "session.update", "session": {"audio": {"input": {"transcription": {}}}}})).nameless);
    let off = read(
        &json!({"type": "session.update", "session": {"model": null, "audio": {"input": {"transcription": null}}}}),
    );
    assert!(off.named.is_empty() && !off.nameless);
    let talks = |kind: &str| read(&json!({"type": "session.update", "session": {"type": kind}})).talks;
    assert!(talks("realtime") && !talks("transcription"));
    assert_eq!(read(&json!({"type": "response.create", "response": {"prompt": {"id": "p"}}})).kept, Some("prompt"));
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (text, why) in [
        ("", InvalidEvent::NotAnEvent),
        ("[]", InvalidEvent::NotAnEvent),
        (r#"["session.update"]"#, InvalidEvent::NotAnEvent),
        (r#"{"session":{}}"#, InvalidEvent::NotAnEvent),
        (r#"{"type":7}"#, InvalidEvent::NotAnEvent),
        (r#"{"type":"a"} {}"#, InvalidEvent::NotAnEvent),
        (r#"{"type":"response.cancel","type":"session.update"}"#, InvalidEvent::Ambiguous),
        (r#"{"type":"session.update","session":{},"session":{"model":"m"}}"#, InvalidEvent::Ambiguous),
        (r#"{"type":"session.update","session":{"model":"a","model":"b"}}"#, InvalidEvent::Ambiguous),
        (r#"{"type":"session.update","session":{"model":["a"]}}"#, InvalidEvent::Ambiguous),
        (r#"{"type":"session.update","session":["a"]}"#, InvalidEvent::Ambiguous),
        (r#"{"type":"session.update","session":{"audio":[{"transcription":{"model":"b"}}]}}"#, InvalidEvent::Ambiguous),
        (
            r#"{"type":"session.update","session":{"audio":{"input":{"transcription":{"model":"a","model":"b"}}}}}"#,
            InvalidEvent::Ambiguous,
        ),
    ] {
        assert_eq!(super::read(text).map(|said| said.kind), Err(why), "{text}");
    }
    // An escape hides nothing.
    let hidden = r#"{"\u0074ype":"session.update","session":{"m\u006fdel":"b"}}"#;
    assert_eq!(named(&super::read(hidden).unwrap()), [(Names::Session, "b")]);
}

#[test]
fn what_is_no_text_is_known_and_counted() {
    let user = |part: Value| json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": [part]}});
    let sound = "A".repeat(66_600);
    for (event, is_text, least, most) in [
        (user(json!({"type": "input_text", "text": "hello"})), true, 5, 200),
        (user(json!({"type": "input_audio", "audio": sound})), false, 100, 300),
        (user(json!({"type": "input_image", "image_url": "data:image/png;base64,AAAA"})), false, 16_384, 16_600),
        (user(json!({"type": "anything", "blob": sound})), false, 66_600, 67_000),
        (
            json!({"type": "conversation.item.create", "item": {"type": "message", "content": {"a": sound}}}),
            false,
            66_600,
            67_000,
        ),
        (
            json!({"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "{}"}}),
            true,
            2,
            200,
        ),
        (json!({"type": "input_audio_buffer.append", "audio": sound}), false, 100, 101),
        (json!({"type": "input_audio_buffer.append", "audio": {"x": sound}}), false, 100, 67_000),
        (
            json!({"type": "response.create", "response": {"input": [{"type": "message", "content": [{"type": "input_audio", "audio": sound}]}]}}),
            false,
            100,
            300,
        ),
        (json!({"type": "response.create", "response": {"input": {"content": sound}}}), false, 66_600, 67_000),
        (json!({"type": "response.create"}), true, 1, 30),
        (json!({"type": "input_audio_buffer.commit"}), true, 1, 50),
        (json!({"type": "not.known", "x": sound}), false, 66_600, 67_000),
    ] {
        let said = read(&event);
        let short: String = event.to_string().chars().take(120).collect();
        assert_eq!(said.is_text, is_text, "{short}");
        assert!((least..=most).contains(&said.tokens), "{}: {short}", said.tokens);
    }
}

#[test]
fn an_answer_to_something_else_is_known() {
    for (response, apart) in [
        (json!({}), false),
        (json!({"input": null}), false),
        (json!({"input": []}), true),
        (json!({"input": [], "conversation": "auto"}), true),
        (json!({"input": [], "conversation": "none"}), false),
        (json!({"input": [], "conversation": ["none"]}), true),
        (json!({"conversation": "none"}), false),
    ] {
        assert_eq!(read(&json!({"type": "response.create", "response": response})).apart, apart, "{response}");
    }
    let twice = r#"{"type":"response.create","response":{"input":[],"conversation":"none","conversation":"auto"}}"#;
    assert_eq!(super::read(twice), Err(InvalidEvent::Ambiguous));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", session in "[a-z\":{}\\[\\],]{0,60}") {
        let _ = super::read(&text);
        if let Ok(said) = super::read(&format!("{{\"type\":\"session.update\",\"session\":{session}}}")) {
            prop_assert!(said.kind == Kind::Session);
        }
    }
}
