//! What is said in another dialect and back is what it was.

use super::{
    answers::{answering, stream},
    *,
};
use proptest::prelude::*;

/// A call in Gemini's dialect of what all dialects can say.
fn calls() -> impl Strategy<Value = Value> {
    let text = "[a-zA-Zäö\"\\\\ {}]{0,12}[a-zö\"\\\\{}]";
    let said = prop_oneof![
        text.prop_map(|text| json!({"text": text})),
        Just(json!({"inlineData": {"mimeType": "image/png", "data": "aGk="}})),
        Just(json!({"fileData": {"mimeType": "image/jpeg", "fileUri": "https://example.com/a.jpg"}})),
    ];
    let turn = (prop::collection::vec(said, 1..4), text, prop::option::of("[a-z]{1,5}"), text);
    let turns = prop::collection::vec(turn, 1..4);
    (
        turns,
        prop::option::of(1u64..9999),
        prop::option::of((0u8..5).prop_map(|n| f64::from(n) / 4.0)),
        prop::option::of(text),
        any::<bool>(),
    )
        .prop_map(|(turns, limit, temperature, system, tool)| {
            let (mut contents, mut n) = (Vec::new(), 0);
            for (said, answer, call, result) in turns {
                contents.push(json!({"role": "user", "parts": said}));
                let mut parts = vec![json!({"text": answer})];
                if let Some(name) = &call {
                    n += 1;
                    parts.push(json!({"functionCall": {"id": format!("c{n}"), "name": name, "args": {"x": result}}}));
                }
                contents.push(json!({"role": "model", "parts": parts}));
                let mut parts = vec![];
                if let Some(name) = &call {
                    let result = json!({"result": format!("a{result}")});
                    parts.push(json!({"functionResponse": {"id": format!("c{n}"), "name": name, "response": result}}));
                }
                parts.push(json!({"text": "go on"}));
                contents.push(json!({"role": "user", "parts": parts}));
                contents.push(json!({"role": "model", "parts": [{"text": "ok"}]}));
            }
            contents.push(json!({"role": "user", "parts": [{"text": "end"}]}));
            let mut call = json!({"contents": contents, "generationConfig": {}});
            if let Some(limit) = limit {
                call["generationConfig"]["maxOutputTokens"] = limit.into();
            }
            if let Some(temperature) = temperature {
                call["generationConfig"]["temperature"] = temperature.into();
            }
            if let Some(system) = system {
                call["systemInstruction"] = json!({"parts": [{"text": system}]});
            }
            if tool {
                let schema = json!({"type": "object", "properties": {"x": {"type": "string"}}});
                call["tools"] = json!([{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}]);
                call["toolConfig"] = json!({"functionCallingConfig": {"mode": "AUTO"}});
            }
            call
        })
}

proptest! {
    #[test]
    fn a_call_comes_back_as_it_was(call in calls()) {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
            let there = said_in(dialect, &call, None).unwrap();
            let mut back = in_gemini(dialect, &there, "gemini-2.5-pro").unwrap();
            if call["generationConfig"]["maxOutputTokens"].is_null() && dialect == Dialect::Anthropic {
                // The Messages API does not go without.
                back["generationConfig"].as_object_mut().unwrap().remove("maxOutputTokens");
            }
            let mut expect = call.clone();
            expect["contents"].as_array_mut().unwrap().retain(|content| content["parts"] != json!([]));
            prop_assert_eq!(back, expect);
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for dialect in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic, Dialect::Gemini] {
            let _ = gemini_request(&bytes, None, &to(dialect, "m"), AT);
            let _ = request(&bytes, dialect, &to(Dialect::Gemini, "m"), AT);
        }
        for other in [Dialect::OpenAi, Dialect::Responses, Dialect::Anthropic] {
          for (provider, caller) in [(Dialect::Gemini, other), (other, Dialect::Gemini)] {
            let translation = answering(provider, caller, Some(Frames::Array));
            let _ = translation.whole(&bytes);
            serde_json::from_slice::<Value>(&translation.error(400, &bytes)).unwrap();
            let _ = stream(translation, &bytes, 5);
          }
        }
    }
}
