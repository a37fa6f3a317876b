#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(body: &str) -> Result<ChatCall, InvalidCall> {
    ChatCall::parse(body.as_bytes())
}

#[track_caller]
fn rewritten(body: &str, model: &str, ask: bool, expect: &str) {
    let call = parse(body).unwrap();
    let got = call.rewrite(body.as_bytes(), model, ask);
    assert_eq!(std::str::from_utf8(&got).unwrap(), expect);
    assert_eq!(matches!(got, Cow::Borrowed(_)), body == expect, "borrowed exactly when unchanged");
}

#[test]
fn reads_the_fields_it_needs() {
    let call = parse(r#"{"messages":[{"model":"no","stream":true}],"mod\u0065l":"a\"b","x":1e3}"#).unwrap();
    assert_eq!((call.model(), call.stream(), call.asks_usage()), ("a\"b", false, false));
    let call = parse(r#" {"model":"m","stream":true,"stream_options":{"include_usage":true}} "#).unwrap();
    assert_eq!((call.stream(), call.asks_usage(), call.will_ask(true)), (true, true, false));
    let call = parse(r#"{"model":"m","stream":true}"#).unwrap();
    assert!(call.will_ask(true) && !call.will_ask(false));
    assert!(!parse(r#"{"model":"m","stream":null}"#).unwrap().stream());
    assert!(!parse(r#"{"model":"m","stream_options":{"include_usage":true}}"#).unwrap().asks_usage());
}

#[test]
fn refuses() {
    for (body, expect) in [
        ("[]", InvalidCall::NotAnObject),
        ("\"model\"", InvalidCall::NotAnObject),
        ("{}", InvalidCall::ModelMissing),
        (r#"{"model":1}"#, InvalidCall::ModelNotAName),
        (r#"{"model":null}"#, InvalidCall::ModelNotAName),
        (r#"{"model":""}"#, InvalidCall::ModelNotAName),
        (r#"{"model":"a","model":"a"}"#, InvalidCall::Duplicate("model")),
        (r#"{"model":"a","mod\u0065l":"b"}"#, InvalidCall::Duplicate("model")),
        (r#"{"model":"a","stream":true,"stream":false}"#, InvalidCall::Duplicate("stream")),
        (r#"{"model":"a","stream_options":{},"stream_options":{}}"#, InvalidCall::Duplicate("stream_options")),
        (
            r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#,
            InvalidCall::Duplicate("include_usage"),
        ),
        (r#"{"model":"a","stream":"true"}"#, InvalidCall::StreamNotBoolean),
        (r#"{"model":"a","stream":1}"#, InvalidCall::StreamNotBoolean),
    ] {
        assert_eq!(parse(body), Err(expect), "{body}");
    }
    let deep = format!(r#"{{"model":"a","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let not_json = ["", "{", r#"{"model":"a"} x"#, r#"{"model":"a",}"#, r#"{"model":"a"}{"model":"b"}"#, "nul", &deep];
    for body in not_json {
        assert!(matches!(parse(body), Err(InvalidCall::NotJson { .. })), "{body}");
    }
    assert!(matches!(ChatCall::parse(b"{\"model\":\"a\",\"x\":\"\xff\"}"), Err(InvalidCall::NotJson { .. })));
    assert!(matches!(ChatCall::parse(b"{\"model\":\"a\",\"x\xff\":1}"), Err(InvalidCall::NotJson { .. })));
}

#[test]
fn errors_tell_nothing_of_the_body() {
    for body in [r#"{"model":"a" sk-secret"#, r#"{"model":["sk-secret"]}"#, r#""sk-secret""#] {
        let e = parse(body).unwrap_err();
        assert!(!format!("{e} {e:?}").contains("secret"));
    }
}

#[test]
fn splices_only_what_must_change() {
    let plain = r#"{ "temperature" : 0.50, "model" : "chat-default" , "x":[1e2, 3]}"#;
    rewritten(plain, "chat-default", true, plain);
    rewritten(plain, "gpt\"5", true, r#"{ "temperature" : 0.50, "model" : "gpt\"5" , "x":[1e2, 3]}"#);
    let s = r#"{"model":"a","stream":true}"#;
    rewritten(s, "a", false, s);
    rewritten(s, "b", true, r#"{"stream_options":{"include_usage":true},"model":"b","stream":true}"#);
    for (options, expect) in [
        ("null", r#"{"include_usage":true}"#),
        ("{}", r#"{"include_usage":true}"#),
        ("{ }", r#"{"include_usage":true }"#),
        (r#"{ "include_usage" : false }"#, r#"{ "include_usage" : true }"#),
        (r#"{"include_obfuscation":false}"#, r#"{"include_usage":true,"include_obfuscation":false}"#),
        (r#"{"include_usage":true}"#, r#"{"include_usage":true}"#),
        ("[]", "[]"),
    ] {
        let before = format!(r#"{{"stream_options":{options}, "stream":true,"model":"a"}}"#);
        rewritten(&before, "a", true, &format!(r#"{{"stream_options":{expect}, "stream":true,"model":"a"}}"#));
        let before = format!(r#"{{"model":"a","stream":true,"stream_options":{options}}}"#);
        rewritten(&before, "b2", true, &format!(r#"{{"model":"b2","stream":true,"stream_options":{expect}}}"#));
    }
    let whole = r#"{"model":"a","stream_options":{"include_usage":false}}"#;
    rewritten(whole, "a", true, whole);
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Against serde_json's tree as the oracle: the rewritten body means the same but for what was to change.
    #[test]
    fn rewriting_means_what_it_says(
        others in prop::collection::vec((".{1,6}", json_value()), 0..4),
        model in ".{1,8}", target in ".{1,8}", stream: bool, ask: bool,
        options in prop_oneof![Just(None), Just(Some(json!(null))), json_value().prop_map(|v| Some(json!({"o": v}))),
            any::<bool>().prop_map(|b| Some(json!({"include_usage": b, "z": 1})))],
        pretty: bool,
    ) {
        let mut before: serde_json::Map<String, Value> = others.into_iter().collect();
        before.insert("model".into(), json!(model));
        before.insert("stream".into(), json!(stream));
        if let Some(options) = &options {
            before.insert("stream_options".into(), options.clone());
        }
        let body = if pretty { serde_json::to_vec_pretty(&before) } else { serde_json::to_vec(&before) }.unwrap();
        let call = ChatCall::parse(&body).unwrap();
        prop_assert_eq!(call.model(), &model);
        let mut expect = before.clone();
        expect["model"] = json!(target);
        if stream && ask {
            let entry = expect.entry("stream_options").or_insert(json!({}));
            if entry.is_null() { *entry = json!({}); }
            entry["include_usage"] = json!(true);
        }
        let got: Value = serde_json::from_slice(&call.rewrite(&body, &target, ask)).unwrap();
        prop_assert_eq!(got, Value::Object(expect));
    }

    #[test]
    fn never_panics(body in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(call) = ChatCall::parse(&body) { call.rewrite(&body, "m", true); }
    }

    #[test]
    fn accepts_only_what_serde_json_accepts(body in r#"[{}\[\]",:a1 ]{0,12}"#) {
        let body = format!(r#"{{"model":"m","x":{body}}}"#);
        prop_assert!(parse(&body).is_err() || serde_json::from_str::<Value>(&body).is_ok());
    }
}
