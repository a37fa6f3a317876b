#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn rule(rule: Value) -> Remote {
    Remote::of(Some("house".into()), &serde_json::from_value(rule).unwrap()).unwrap()
}

fn webhook(action: &str) -> Remote {
    rule(json!({"detect": "webhook", "action": action, "upstream": "judge", "path": "/v1"}))
}

fn said(texts: &[&str]) -> Vec<Said> {
    texts.iter().map(|text| Said { text: (*text).into(), origin: Origin::Caller, words: true }).collect()
}

fn judge(rule: &Remote, said: &[Said], answer: &Value) -> Result<Judgement, Unusable> {
    let mut judgement = Judgement::default();
    judgement.take(rule, rule.read(said, answer.to_string().as_bytes())?);
    Ok(judgement)
}

fn told(judgement: &Judgement) -> Vec<String> {
    let one = |met: &Met| {
        let label = met.label.as_deref().unwrap_or_default();
        format!("{}.{label}/{}:{}", met.detect.as_str(), met.action.as_str(), met.count)
    };
    judgement.met.iter().map(one).collect()
}

#[test]
fn moderation() {
    let flags = rule(json!({"detect": "moderation", "action": "block", "model": "omni"}));
    let texts = said(&["hello", "123", "I hate it"]);
    let about = About { answer: false, model: "m", application: None, request: "r" };
    let asked: Value = serde_json::from_slice(&flags.question(&texts, &about).unwrap()).unwrap();
    assert_eq!(asked, json!({"model": "omni", "input": ["hello", "I hate it"]}));
    let result = |flagged: bool, hate: f64| {
        json!({"flagged": flagged, "categories": {"hate/threatening": flagged, "violence": false},
            "category_scores": {"hate/threatening": hate, "violence": 0.1}})
    };
    let answer = |first, second| json!({"id": "1", "results": [first, second]});
    let calm = answer(result(false, 0.2), result(false, 0.0));
    let angry = answer(result(false, 0.2), result(true, 0.9));
    assert_eq!(judge(&flags, &texts, &calm), Ok(Judgement::default()));
    let judged = judge(&flags, &texts, &angry).unwrap();
    assert_eq!(
        (judged.blocked, told(&judged)),
        (Some(Detect::Moderation), vec!["moderation.hate-threatening/block:0".into()])
    );
    let strict = rule(json!({"detect": "moderation", "action": "flag", "model": "omni",
        "categories": {"hate/threatening": 0.2, "violence": 0.5}}));
    let judged = judge(&strict, &texts, &calm).unwrap();
    assert_eq!((judged.blocked, told(&judged)), (None, vec!["moderation.hate-threatening/flag:0".into()]));
    let other = rule(json!({"detect": "moderation", "action": "flag", "model": "omni", "categories": {"fear": 0.2}}));
    assert!(judge(&other, &texts, &calm).is_err(), "a category that is not there is no pass");
    for wrong in [json!({}), json!({"results": []}), answer(json!({}), json!({})), json!([1])] {
        assert!(judge(&flags, &texts, &wrong).is_err(), "{wrong}");
    }
    assert_eq!(flags.question(&said(&["12", ""]), &about), None, "there is nothing to ask about");
    assert_eq!(webhook("block").question(&[], &about), None);
    let many = said(&vec!["word"; 950]);
    let inputs = moderation::inputs(&many);
    assert!(inputs.len() <= moderation::MOST_INPUTS && inputs.concat().matches("word").count() == 950);
}

#[test]
fn webhooks() {
    let texts = said(&["Anna Löw 🙂 is here", "nobody"]);
    let about = About { answer: true, model: "m", application: Some("shop"), request: "r" };
    let asked: Value = serde_json::from_slice(&webhook("redact").question(&texts, &about).unwrap()).unwrap();
    assert_eq!(
        asked,
        json!({"version": 1, "guardrails": "house", "on": "answer", "model": "m", "application": "shop", "request_id": "r",
            "texts": [{"text": "Anna Löw 🙂 is here", "role": "user"}, {"text": "nobody", "role": "user"}]})
    );
    let block = json!({"verdict": "block", "reason": "Off topic!"});
    for (action, blocked, met) in [
        ("block", true, "webhook.Off-topic-/block:0"),
        ("redact", true, "webhook.Off-topic-/block:0"),
        ("flag", false, "webhook.Off-topic-/flag:0"),
    ] {
        let judged = judge(&webhook(action), &texts, &block).unwrap();
        assert_eq!((judged.blocked.is_some(), told(&judged)), (blocked, vec![met.into()]));
    }
    assert_eq!(judge(&webhook("route"), &texts, &block).unwrap().routed, Some(Detect::Webhook));
    assert_eq!(judge(&webhook("block"), &texts, &json!({"verdict": "allow"})), Ok(Judgement::default()));
}

#[test]
fn places_are_counted_as_the_webhook_counts() {
    let texts = said(&["nobody", "Löw 🙂 is Anna"]);
    let body =
        json!({"messages": [{"role": "user", "content": "nobody"}, {"role": "user", "content": "Löw 🙂 is Anna"}]});
    for (unit, first, second) in
        [("characters", (4, 5), (9, 13)), ("bytes", (5, 9), (13, 17)), ("utf16", (4, 6), (10, 14))]
    {
        let answer = json!({"verdict": "redact", "unit": unit, "replacements": [
            {"text": 1, "start": second.0, "end": second.1, "with": "[NAME]"},
            {"text": 1, "start": first.0, "end": first.1, "with": ""}]});
        let judged = judge(&webhook("redact"), &texts, &answer).unwrap();
        assert_eq!(told(&judged), ["webhook./redact:2"]);
        let new = judged.masked(body.to_string().as_bytes(), &texts, None).unwrap().0;
        let new: Value = serde_json::from_slice(&new).unwrap();
        assert_eq!(new["messages"][1]["content"], "Löw  is [NAME]", "{unit}");
    }
    let one = |start, end| json!({"verdict": "redact", "replacements": [{"text": 1, "start": start, "end": end}]});
    assert!(judge(&webhook("redact"), &texts, &one(0, 13)).is_ok());
    for wrong in [
        one(0, 14),
        one(3, 3),
        one(5, 4),
        json!({"verdict": "redact"}),
        json!({"verdict": "allow", "replacements": [{"text": 0, "start": 0, "end": 1}]}),
        json!({"verdict": "redact", "replacements": [{"text": 2, "start": 0, "end": 1}]}),
        json!({"verdict": "redact", "unit": "bytes", "replacements": [{"text": 1, "start": 0, "end": 2}]}),
        json!({"verdict": "redact", "replacement": []}),
        json!({"verdict": "pass"}),
        json!({"verdict": "redact", "replacements": [{"text": 0, "start": 0, "end": 1, "with": "x".repeat(2000)}]}),
        json!("allow"),
    ] {
        assert!(judge(&webhook("redact"), &texts, &wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_is_replaced_stands_wherever_the_text_stands() {
    let arguments = json!({"to": "Anna", "n": 7}).to_string();
    let body = json!({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "send", "arguments": arguments}}]},
        {"role": "user", "content": "Anna"}]})
    .to_string();
    let texts = said_in_call(body.as_bytes()).unwrap();
    let number = texts.iter().position(|said| said.text == "Anna").unwrap();
    let answer =
        json!({"verdict": "redact", "replacements": [{"text": number, "start": 0, "end": 4, "with": "[NAME]"}]});
    let judged = judge(&webhook("redact"), &texts, &answer).unwrap();
    let new = String::from_utf8(judged.masked(body.as_bytes(), &texts, None).unwrap().0).unwrap();
    assert!(!new.contains("Anna") && new.matches("[NAME]").count() == 2, "{new}");
}

#[test]
fn what_is_masked_has_a_name_of_its_kind_beside_those_there_are() {
    let body = json!({"messages": [
        {"role": "user", "content": "<PERSON_1>: Anna Lee <EMAIL_1> of Lisbon"},
        {"role": "user", "content": "Anna Lee"},
    ]})
    .to_string();
    let texts = said_in_call(body.as_bytes()).unwrap();
    let number = |text: &str| texts.iter().position(|said| said.text.contains(text)).unwrap();
    let (long, short) = (number("Lisbon"), texts.iter().position(|said| said.text == "Anna Lee").unwrap());
    let at = |word: &str| texts[long].text.find(word).unwrap();
    let place = |start: usize, end: usize, with: &str| json!({"text": long, "start": start, "end": end, "with": with});
    let answer = |places: Vec<Value>| json!({"verdict": "redact", "replacements": places});
    let person = || place(at("Anna"), at("Anna") + 8, "[PERSON]");
    let all = vec![
        person(),
        place(at("Lisbon"), at("Lisbon") + 6, "somewhere"),
        json!({"text": short, "start": 0, "end": 8, "with": "<PERSON>"}),
        // The middle of a name that is there.
        place(at("<EMAIL") + 1, at("<EMAIL") + 6, "[ORG]"),
    ];
    let before = || {
        let mut masks = Masks::beside(&text::flattened(&text::texts_of(body.as_bytes(), Of::Call).unwrap().0).unwrap());
        // The call says that of itself: it is none of ours.
        assert_eq!(masks.name("[EMAIL]", "anna@example.com").unwrap(), "<EMAIL_2>");
        masks
    };
    let said = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        [0, 1].map(|at| body["messages"][at]["content"].as_str().unwrap().to_owned())
    };
    let masked = judge(&webhook("mask"), &texts, &answer(all.clone())).unwrap();
    assert_eq!(told(&masked), ["webhook./mask:4"]);
    let (new, masks) = masked.masked(body.as_bytes(), &texts, Some(before())).unwrap();
    assert_eq!(said(&new), ["<PERSON_1>: <PERSON_2> <<ORG_1>_1> of <MASKED_1>".to_owned(), "<PERSON_2>".to_owned()]);
    let masks = masks.unwrap();
    assert_eq!(
        masks.restored("<PERSON_1> <PERSON_2> <MASKED_1> <EMAIL_2>"),
        "<PERSON_1> Anna Lee Lisbon anna@example.com"
    );
    // Of one that was given before, all is taken, and what it stands for comes back.
    let (body, mut masks) = ("to <EMAIL_1> now", Some(Masks::beside(&[])));
    assert_eq!(masks.as_mut().unwrap().name("[EMAIL]", "anna@example.com").unwrap(), "<EMAIL_1>");
    let within = Place { text: 0, range: 4..9, with: "[ORG]".into(), masks: true };
    assert_eq!(with_places(body, vec![&within], &mut masks).unwrap(), "to <ORG_1> now");
    assert_eq!(masks.unwrap().restored("<ORG_1>"), "anna@example.com");
    // What is redacted wins.
    let mut judgement = judge(&webhook("mask"), &texts, &answer(vec![person()])).unwrap();
    let redact = webhook("redact");
    judgement.take(&redact, redact.read(&texts, answer(vec![person()]).to_string().as_bytes()).unwrap());
    assert_eq!(long, 0);
    let (new, _) = judgement.masked(&new_body(&texts[long].text), &texts, None).unwrap();
    assert!(String::from_utf8(new).unwrap().contains("[PERSON]"));
    // Where nobody says where, it is refused.
    let judged = judge(&webhook("mask"), &texts, &json!({"verdict": "block"})).unwrap();
    assert_eq!((judged.blocked, told(&judged)), (Some(Detect::Webhook), vec!["webhook./block:0".to_owned()]));
}

fn new_body(text: &str) -> Vec<u8> {
    json!({"messages": [{"role": "user", "content": text}]}).to_string().into_bytes()
}

#[test]
fn pieces_of_a_stream_are_one_text() {
    let event = |index: u32, text: &str| {
        format!("data: {}\n\n", json!({"choices": [{"index": index, "delta": {"content": text}}]}))
    };
    let stream = event(0, "Good ") + &event(1, "Bye") + &event(0, "day") + "data: [DONE]\n\n";
    let texts: Vec<_> = said_in_answer(stream.as_bytes(), true).unwrap().into_iter().map(|said| said.text).collect();
    assert_eq!(texts, ["Good day", "Bye"]);
    let part = |text: &str| json!({"candidates": [{"index": 0, "content": {"parts": [{"text": text}]}}]});
    let array = json!([part("Good "), part("day")]).to_string();
    let texts: Vec<_> = said_in_answer(array.as_bytes(), false).unwrap().into_iter().map(|said| said.text).collect();
    assert_eq!(texts, ["Good day"]);
    assert!(said_in_answer(b"data: {\n\n", true).is_err());
}

proptest! {
    #[test]
    fn any_answer_is_read(body in ".{0,200}", text in ".{0,40}", start in 0usize..50, end in 0usize..50) {
        let texts = said(&[&text]);
        let _ = webhook("redact").read(&texts, body.as_bytes());
        for unit in ["characters", "bytes", "utf16"] {
            let answer = json!({"verdict": "redact", "unit": unit, "replacements": [{"text": 0, "start": start, "end": end, "with": "x"}]});
            if let Ok(judged) = judge(&webhook("redact"), &texts, &answer) {
                let body = json!({"messages": [{"role": "user", "content": text}]}).to_string();
                prop_assert!(judged.masked(body.as_bytes(), &texts, None).is_ok());
                // What is masked comes back as it was.
                let judged = judge(&webhook("mask"), &texts, &answer).unwrap();
                let (_, masks) = judged.masked(body.as_bytes(), &texts, None).unwrap();
                let mut masks = masks.map(Some).unwrap();
                let places = judged.places.iter().collect();
                let named = with_places(&text, places, &mut masks).unwrap();
                prop_assert_eq!(masks.unwrap().restored(&named), text.clone());
            }
        }
    }
}
