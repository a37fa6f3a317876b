use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::borrow::Cow;

const SETUP: &str = r#"{"setup":{"model":"models/voice"}}"#;

/// A session that is set up.
fn live() -> Live {
    let mut live = Live::default();
    live.said(SETUP).unwrap();
    live
}

fn said(message: &Value) -> Said {
    live().said(&message.to_string()).unwrap()
}

#[test]
fn the_first_message_names_the_model_and_what_goes_on() {
    for text in [
        r#"{"setup":{"model":"models/voice","sessionResumption":{"handle":"h1"},"tools":[{"model":"x"}]}}"#,
        r#" {"setup": {"session_resumption": {"handle": "h1", "transparent": true}, "m\u006fdel": "voice"}}"#,
    ] {
        let said = Live::default().said(text).unwrap();
        assert_eq!((said.kind, said.is_text, said.tokens), (Kind::Session, true, text.len() as u64));
        assert_eq!(said.named_as(Names::Session).map(model), Some("voice"), "{text}");
        assert_eq!(said.named_as(Names::Resumption), Some("h1"), "{text}");
        let names: Vec<Cow<'_, str>> = said.named.iter().map(|named| format!("{:?}", named.names).into()).collect();
        let got: Value = serde_json::from_str(&said.renamed(text, &names)).unwrap();
        let mut expect: Value = serde_json::from_str(text).unwrap();
        expect["setup"]["model"] = "Session".into();
        let resumption = if text.contains('_') { "session_resumption" } else { "sessionResumption" };
        expect["setup"][resumption]["handle"] = "Resumption".into();
        assert_eq!(got, expect);
    }
    let plain = Live::default().said(SETUP).unwrap();
    assert_eq!((plain.named.len(), plain.kept), (1, None));
    let begins = r#"{"setup":{"model":"m","sessionResumption":{}}}"#;
    assert_eq!(Live::default().said(begins).unwrap().named_as(Names::Resumption), None);
    let cached = r#"{"setup":{"model":"m","cachedContent":"cachedContents/x"}}"#;
    assert_eq!(Live::default().said(cached).unwrap().kept, Some("cachedContent"));
    let pictured = r#"{"setup":{"model":"m","systemInstruction":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}}"#;
    assert!(!Live::default().said(pictured).unwrap().is_text);
    assert!(Live::default().said(r#"{"setup":{"model":"m","systemInstruction":"be brief"}}"#).unwrap().is_text);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (text, why) in [
        ("", InvalidEvent::NotAnEvent),
        ("[]", InvalidEvent::NotAnEvent),
        (r#"["setup"]"#, InvalidEvent::NotAnEvent),
        (r#"{"setup":{"model":"m"}} {}"#, InvalidEvent::NotAnEvent),
        (r#"{"clientContent":{}}"#, InvalidEvent::NotSetUp),
        ("{}", InvalidEvent::NotSetUp),
        (r#"{"setup":{}}"#, InvalidEvent::NotSetUp),
        (r#"{"setup":{"model":null}}"#, InvalidEvent::NotSetUp),
        (r#"{"setup":["model"]}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":["m"]}}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":"a","model":"b"}}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":"a"},"setup":{"model":"b"}}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":"a"},"clientContent":{}}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":"a"},"client_content":{}}"#, InvalidEvent::Ambiguous),
        (
            r#"{"setup":{"model":"a","sessionResumption":{},"session_resumption":{"handle":"h"}}}"#,
            InvalidEvent::Ambiguous,
        ),
        (r#"{"setup":{"model":"a","sessionResumption":{"handle":7}}}"#, InvalidEvent::Ambiguous),
        (r#"{"setup":{"model":"a","sessionResumption":"h"}}"#, InvalidEvent::Ambiguous),
    ] {
        assert_eq!(Live::default().said(text).map(|said| said.kind), Err(why), "{text}");
    }
    assert_eq!(live().said(SETUP), Err(InvalidEvent::SetUpTwice));
    let twice = r#"{"clientContent":{"turns":[]},"client_content":{"turns":[]}}"#;
    assert_eq!(live().said(twice), Err(InvalidEvent::Ambiguous));
    // One that was refused set nothing up.
    let mut refused = Live::default();
    assert!(refused.said(r#"{"setup":{"model":7}}"#).is_err());
    assert_eq!(refused.said("{}"), Err(InvalidEvent::NotSetUp));
    assert!(refused.said(SETUP).is_ok());
}

#[test]
fn what_asks_what_is_no_text_and_how_much_it_is() {
    let sound = "A".repeat(66_600);
    let pcm = json!({"mimeType": "audio/pcm;rate=16000", "data": sound});
    let jpeg = json!({"mime_type": "image/jpeg", "data": "AAAA"});
    let turn =
        |part: Value| json!({"clientContent": {"turns": [{"role": "user", "parts": [part]}], "turnComplete": true}});
    for (message, kind, is_text, least, most) in [
        (turn(json!({"text": "hello"})), Kind::Response, true, 5, 200),
        (
            json!({"client_content": {"turns": [{"parts": [{"text": "x"}]}], "turn_complete": false}}),
            Kind::Item,
            true,
            1,
            200,
        ),
        (json!({"clientContent": {"turnComplete": true}}), Kind::Response, true, 1, 100),
        (turn(json!({"inlineData": pcm})), Kind::Response, false, 100, 400),
        (turn(json!({"inline_data": jpeg})), Kind::Response, false, 16_384, 16_600),
        (turn(json!({"inlineData": {"mimeType": "audio/ogg", "data": sound}})), Kind::Response, false, 4_100, 4_500),
        (
            turn(json!({"inlineData": {"mimeType": "audio/pcm;rate=100", "data": sound}})),
            Kind::Response,
            false,
            4_100,
            4_500,
        ),
        (turn(json!({"inlineData": {"data": {"x": sound}}})), Kind::Response, false, 4_100, 67_000),
        (json!({"clientContent": {"turns": {"parts": sound}}}), Kind::Item, false, 66_600, 67_000),
        (json!({"realtimeInput": {"audio": pcm}}), Kind::Sound, false, 100, 102),
        (json!({"realtime_input": {"media_chunks": [pcm, jpeg]}}), Kind::Sound, false, 2_340, 2_342),
        (json!({"realtimeInput": {"video": jpeg}}), Kind::Sound, false, 2_240, 2_240),
        (json!({"realtimeInput": {"video": jpeg, "text": "look"}}), Kind::Sound, false, 2_244, 2_400),
        (json!({"realtimeInput": {"text": "hello"}}), Kind::Response, true, 5, 100),
        (json!({"realtimeInput": {"activityEnd": {}}}), Kind::Response, true, 1, 100),
        (json!({"realtimeInput": {"activityStart": {}}}), Kind::Plain, true, 1, 100),
        (json!({"realtimeInput": {"audioStreamEnd": true}}), Kind::Plain, true, 1, 100),
        (
            json!({"toolResponse": {"functionResponses": [{"id": "1", "name": "f", "response": {"x": 1}}]}}),
            Kind::Response,
            true,
            5,
            200,
        ),
        (
            json!({"tool_response": {"function_responses": [{"name": "f", "parts": [{"inlineData": jpeg}]}]}}),
            Kind::Response,
            false,
            16_384,
            16_600,
        ),
        (turn(json!({"functionResponse": {"parts": [{"inlineData": jpeg}]}})), Kind::Response, false, 16_384, 16_700),
        (json!({"else": sound}), Kind::Unknown, false, 66_600, 67_000),
    ] {
        let got = said(&message);
        let short: String = message.to_string().chars().take(120).collect();
        assert_eq!((got.kind, got.is_text), (kind, is_text), "{short}");
        assert!((least..=most).contains(&got.tokens), "{}: {short}", got.tokens);
    }
    // Also where a list is written as its only member; of what cannot be read nobody knows.
    let file = json!({"fileData": {"fileUri": "x"}});
    for message in [
        turn(file.clone()),
        json!({"clientContent": {"turns": {"parts": file}}}),
        json!({"clientContent": {"turns": [{"role": "user", "parts": file}], "turnComplete": true}}),
        json!({"toolResponse": {"functionResponses": {"name": "f", "parts": file}}}),
    ] {
        assert_eq!(said(&message).kept, Some("fileData"), "{message}");
    }
    let twice = r#"{"clientContent":{"turns":[{"parts":[{"text":"a","text":"b","fileData":{"fileUri":"x"}}]}]}}"#;
    assert!(live().said(twice).unwrap().kept.is_some());
    assert!(said(&json!({"clientContent": {"turns": [[{"parts": [file]}]]}})).kept.is_some());
    assert_eq!(said(&turn(json!({"inlineData": jpeg}))).kept, None);
    assert_eq!(said(&json!({"realtimeInput": {"mediaChunks": jpeg}})).kind, Kind::Sound);
}

fn told(live: &mut Live, message: Value) -> Vec<Told> {
    live.told(&message.to_string())
}

fn usage(prompt: u64, response: u64) -> Value {
    json!({"promptTokenCount": prompt, "responseTokenCount": response, "totalTokenCount": prompt + response})
}

fn counts(told: &[Told]) -> Vec<(String, Option<(u64, u64)>)> {
    let done = |one: &Told| match one {
        Told::Done { response, used, in_conversation: true, failed: false } => {
            Some((response.clone(), used.map(|used| used.tokens.map(|t| (t.input, t.output)).unwrap())))
        }
        _ => None,
    };
    told.iter().filter_map(done).collect()
}

#[test]
fn each_answer_is_counted_once_however_its_end_is_told() {
    let text = |text: &str| json!({"serverContent": {"modelTurn": {"parts": [{"text": text}]}}});
    let began = |id: &str| Told::Began { response: id.into() };
    // The count comes with the end.
    let mut one = live();
    assert_eq!(told(&mut one, json!({"setupComplete": {}})), []);
    assert_eq!(told(&mut one, text("a")), [began("1")]);
    assert_eq!(told(&mut one, text("b")), []);
    assert_eq!(told(&mut one, json!({"serverContent": {"generationComplete": true}})), []);
    let end = told(&mut one, json!({"serverContent": {"turnComplete": true}, "usageMetadata": usage(10, 5)}));
    assert_eq!(counts(&end), [("1".to_owned(), Some((10, 5)))]);
    // Or after it.
    assert_eq!(told(&mut one, text("c")), [began("2")]);
    assert_eq!(told(&mut one, json!({"serverContent": {"interrupted": true}})), []);
    assert_eq!(told(&mut one, json!({"serverContent": {"turnComplete": true}})), []);
    assert_eq!(counts(&told(&mut one, json!({"usageMetadata": usage(20, 6)}))), [("2".to_owned(), Some((20, 6)))]);
    // The call of a tool is one, and what follows another; what was not counted is told before the next begins.
    let call = json!({"toolCall": {"functionCalls": [{"name": "f"}]}, "usageMetadata": usage(30, 7)});
    let both = told(&mut one, call);
    assert_eq!((&both[0], counts(&both)), (&began("3"), vec![("3".to_owned(), Some((30, 7)))]));
    assert_eq!(told(&mut one, json!({"serverContent": {"outputTranscription": {"text": "x"}}})), [began("4")]);
    assert_eq!(told(&mut one, json!({"serverContent": {"turnComplete": true}})), []);
    let next = told(&mut one, text("d"));
    assert_eq!((counts(&next), &next[1]), (vec![("4".to_owned(), None)], &began("5")));
    // One that nobody saw begin.
    let mut two = live();
    assert_eq!(counts(&told(&mut two, json!({"usageMetadata": usage(1, 0)}))), [(String::new(), Some((1, 0)))]);
    // A text that looks like something is nothing.
    assert_eq!(told(&mut two, text(r#""},"usageMetadata":{"promptTokenCount":1}"#)), [began("1")]);
    assert_eq!(two.told("no json"), []);
}

#[test]
fn what_was_used_is_told_by_kind() {
    let usage = json!({
        "promptTokenCount": 1000, "cachedContentTokenCount": 300, "toolUsePromptTokenCount": 50,
        "responseTokenCount": 200, "thoughtsTokenCount": 20, "totalTokenCount": 1270, "trafficType": "ON_DEMAND",
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 500},
            {"modality": "VIDEO", "tokenCount": 258}, {"modality": "IMAGE", "tokenCount": 42}],
        "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 10}],
        "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 140}, {"modality": "AUDIO", "tokenCount": 100},
            {"modality": "VIDEO", "tokenCount": 60}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 190}, {"modality": "TEXT", "tokenCount": 10}],
    });
    let all = told(&mut live(), json!({"usageMetadata": usage}));
    let [Told::Done { used: Some(used), .. }] = all.as_slice() else { panic!("{all:?}") };
    let tokens = used.tokens.unwrap();
    assert_eq!((tokens.input, tokens.cached_input, tokens.output, tokens.reasoning), (1050, 300, 220, 20));
    let units = Units {
        audio_tokens: 410,
        cached_audio_tokens: 100,
        image_tokens: 240,
        cached_image_tokens: 60,
        audio_output_tokens: 190,
        ..Units::default()
    };
    assert_eq!(used.units, units);
    // Nothing is more than what it is a part of.
    let wrong = json!({"usageMetadata": {"promptTokenCount": 10, "cachedContentTokenCount": 50, "responseTokenCount": 1,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 90}, {"modality": "VIDEO", "tokenCount": 90}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 90}], "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}]}});
    let all = told(&mut live(), wrong);
    let [Told::Done { used: Some(used), .. }] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(used.tokens.unwrap().cached_input, 10);
    let units = Units { cached_audio_tokens: 10, audio_output_tokens: 1, ..Units::default() };
    assert_eq!(used.units, units);
    assert_eq!(told(&mut live(), json!({"usageMetadata": {"totalTokenCount": 5}})), []);
}

#[test]
fn handles_are_found_and_replaced() {
    let text = r#"{"sessionResumptionUpdate":{"resumable":true,"newHandle": "h\"1" }}"#;
    let all = live().told(text);
    let [Told::Resumable(handle)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!(handle.handle, "h\"1");
    let got = handle.replaced(text, "ours\"");
    assert_eq!(got, r#"{"sessionResumptionUpdate":{"resumable":true,"newHandle": "ours\"" }}"#);
    for none in [r#"{"sessionResumptionUpdate":{}}"#, r#"{"sessionResumptionUpdate":{"newHandle":""}}"#] {
        assert_eq!(live().told(none), []);
    }
}

#[test]
fn addresses() {
    for (base, expect) in [("/v1beta", ""), ("/v1alpha", ""), ("/proxy/v1", "/proxy"), ("", ""), ("/other", "/other")] {
        assert_eq!(below(base), expect, "{base}");
    }
    assert_eq!(model("models/m"), "m");
    assert_eq!(
        (Live::default().model_name("m"), Live::default().model_name("tuned/m")),
        ("models/m".into(), "tuned/m".into())
    );
    let why = Live::default().farewell(OutcomeReason::BudgetExceeded, None);
    assert!(why.starts_with("budget_exceeded: "), "{why}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}", part in "[a-zA-Z\":{}\\[\\],]{0,80}") {
        let mut live = live();
        let _ = live.said(&text);
        live.told(&text);
        for member in ["clientContent", "realtimeInput", "toolResponse", "serverContent", "usageMetadata"] {
            let text = format!("{{\"{member}\":{part}}}");
            if let Ok(said) = live.said(&text) {
                prop_assert!(said.kind != Kind::Session);
                prop_assert!(said.tokens <= text.len() as u64 + 100 * IMAGE_TOKENS);
            }
            live.told(&text);
        }
    }

    /// However a session goes on, what is told is consistent: an answer ends that began, or none is open.
    #[test]
    fn answers_begin_and_end_in_turn(events in prop::collection::vec(0usize..6, 0..60)) {
        let mut live = live();
        let (mut open, mut counted) = (None::<String>, 0);
        let messages = [
            json!({"serverContent": {"modelTurn": {}}}),
            json!({"serverContent": {"turnComplete": true}}),
            json!({"usageMetadata": usage(1, 1)}),
            json!({"serverContent": {"turnComplete": true, "modelTurn": {}}, "usageMetadata": usage(1, 1)}),
            json!({"toolCall": {}}),
            json!({"serverContent": {"interrupted": true}}),
        ];
        let expect = events.iter().filter(|event| matches!(event, 2 | 3)).count();
        for event in events {
            for told in told(&mut live, messages[event].clone()) {
                match told {
                    Told::Began { response } => prop_assert!(open.replace(response).is_none()),
                    Told::Done { response, used, .. } => {
                        prop_assert_eq!(open.take().unwrap_or_default(), response);
                        counted += usize::from(used.is_some());
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
        prop_assert_eq!(counted, expect);
    }
}
