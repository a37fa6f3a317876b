//! What models of Anthropic's take differs by generation: the same call for each of them.
#![allow(clippy::unwrap_used)]
use super::To;
use crate::provider::Dialect;
use credentialflow_model::Timestamp;
use serde_json::{Value, json};

const AT: Timestamp = Timestamp::from_secs(1_790_000_000);

fn sent(call: &Value, from: Dialect, to: &To<'_>) -> Result<Value, String> {
    let (body, _) = super::request(call.to_string().as_bytes(), from, to, AT).map_err(|why| why.to_string())?;
    Ok(serde_json::from_slice(&body).unwrap())
}

/// What a call of Chat Completions with these fields says to a model by Messages, beside its message.
fn in_messages(fields: &Value, model: &str) -> Result<Value, String> {
    let mut call = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    call.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    let mut sent = sent(&call, Dialect::OpenAi, &To::new(Dialect::Anthropic, model))?;
    ["model", "messages"].iter().for_each(|name| drop(sent.as_object_mut().unwrap().remove(*name)));
    Ok(sent)
}

/// What a call of Messages with these fields says to a model by Converse: what models read themselves, and the limits.
fn in_converse(fields: &Value, model: &str) -> Result<(Value, Value), String> {
    let mut call = json!({"model": "m", "max_tokens": 9000, "messages": [{"role": "user", "content": "hi"}]});
    call.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
    let sent = sent(&call, Dialect::Anthropic, &To::new(Dialect::Bedrock, model))?;
    Ok((sent["additionalModelRequestFields"].clone(), sent["inferenceConfig"].clone()))
}

#[test]
fn an_effort_becomes_what_the_model_takes() {
    let shown = json!({"type": "adaptive", "display": "summarized"});
    for (model, effort, expect) in [
        (
            "claude-opus-4-5",
            "high",
            json!({"max_tokens": 20_480, "thinking": {"type": "enabled", "budget_tokens": 16_384}}),
        ),
        (
            "claude-opus-4-6",
            "high",
            json!({"max_tokens": 4096, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ),
        (
            "claude-sonnet-4-6",
            "xhigh",
            json!({"max_tokens": 4096, "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}),
        ),
        (
            "claude-opus-4-7",
            "xhigh",
            json!({"max_tokens": 4096, "thinking": shown, "output_config": {"effort": "xhigh"}}),
        ),
        (
            "claude-sonnet-5",
            "minimal",
            json!({"max_tokens": 4096, "thinking": shown, "output_config": {"effort": "low"}}),
        ),
        ("claude-opus-5-5", "max", json!({"max_tokens": 4096, "thinking": shown, "output_config": {"effort": "max"}})),
        // Not to think is said in the model's own way.
        ("claude-opus-4-5", "none", json!({"max_tokens": 4096})),
        ("claude-opus-4-8", "none", json!({"max_tokens": 4096})),
        ("claude-haiku-5-5", "none", json!({"max_tokens": 4096, "thinking": {"type": "disabled"}})),
        ("claude-sonnet-5-5", "none", json!({"max_tokens": 4096, "thinking": {"type": "between_tools"}})),
        ("claude-fable-5-1", "none", json!({"max_tokens": 4096, "output_config": {"effort": "low"}})),
    ] {
        assert_eq!(in_messages(&json!({"reasoning_effort": effort}), model), Ok(expect), "{model} {effort}");
    }
    // Beside a schema, both stand in one object.
    let schema = json!({"type": "object", "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    assert_eq!(
        in_messages(&json!({"reasoning_effort": "low", "response_format": format}), "claude-opus-5").unwrap()["output_config"],
        json!({"effort": "low", "format": {"type": "json_schema", "schema": schema}})
    );
    // The provider's own words stand.
    assert_eq!(
        in_messages(&json!({"reasoning_effort": "low", "thinking": {"type": "disabled"}}), "claude-opus-5"),
        Ok(json!({"max_tokens": 4096, "thinking": {"type": "disabled"}}))
    );
}

#[test]
fn models_that_adapt_think_on_after_a_tool_was_called() {
    let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let messages = json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": null, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "b"}]);
    let thinks = |model: &str| {
        in_messages(&json!({"messages": messages, "reasoning_effort": "low"}), model).unwrap()["thinking"].is_object()
    };
    assert!(!thinks("claude-sonnet-4-5"));
    assert!(thinks("claude-sonnet-4-6"));
}

#[test]
fn how_to_choose_tokens_is_left_out_where_it_is_refused() {
    let fields = json!({"temperature": 0, "top_p": 0.5, "top_k": 5});
    for model in ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5", "claude-haiku-5-5", "claude-fable-5"] {
        assert_eq!(in_messages(&fields, model), Ok(json!({"max_tokens": 4096})), "{model}");
        let (additional, inference) = in_converse(&fields, &format!("eu.anthropic.{model}")).unwrap();
        assert_eq!((additional, inference), (Value::Null, json!({"maxTokens": 9000})), "{model}");
    }
    for model in ["claude-sonnet-4-5", "claude-opus-4-6"] {
        let expect = json!({"max_tokens": 4096, "temperature": 0, "top_k": 5});
        assert_eq!(in_messages(&fields, model), Ok(expect), "{model}");
        let (additional, inference) = in_converse(&fields, &format!("eu.anthropic.{model}")).unwrap();
        assert_eq!(
            (additional, inference),
            (json!({"top_k": 5}), json!({"maxTokens": 9000, "temperature": 0})),
            "{model}"
        );
    }
    // Nor beside thinking of a model that would take it alone.
    let fields = json!({"temperature": 0, "top_p": 0.97, "top_k": 5, "reasoning_effort": "low"});
    let expect = json!({"max_tokens": 4096, "top_p": 0.97, "thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}});
    assert_eq!(in_messages(&fields, "claude-opus-4-6"), Ok(expect));
}

#[test]
fn what_a_model_does_not_take_at_all_is_refused() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let forced = json!({"tools": tool, "tool_choice": "required", "reasoning_effort": "high"});
    for (model, thinking) in [
        ("claude-opus-4-5", Value::Null),
        ("claude-opus-4-8", Value::Null),
        ("claude-opus-5", json!({"type": "disabled"})),
        ("claude-fable-5", Value::Null),
    ] {
        let sent = in_messages(&forced, model).unwrap();
        assert_eq!((&sent["tool_choice"], &sent["thinking"]), (&json!({"type": "any"}), &thinking), "{model}");
    }
    for model in ["claude-opus-5-5", "claude-sonnet-5-5", "claude-fable-5-1"] {
        assert!(in_messages(&forced, model).unwrap_err().contains("a tool must be called"), "{model}");
    }
    let begun = json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
    assert!(in_messages(&begun, "claude-opus-4-5").is_ok());
    assert!(in_messages(&begun, "claude-opus-4-6").unwrap_err().contains("does not go on with"));
}

#[test]
fn what_callers_of_messages_say_of_thinking_is_said_to_bedrock_in_the_models_words() {
    let enabled = json!({"thinking": {"type": "enabled", "budget_tokens": 3000}});
    let adaptive = json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}});
    let omitted = json!({"thinking": {"type": "adaptive", "display": "omitted"}});
    let disabled = json!({"thinking": {"type": "disabled"}, "temperature": 0.5});
    let (old, new, newest) =
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-opus-4-7", "anthropic.claude-sonnet-5-5");
    for (fields, model, expect) in [
        (&enabled, old, json!({"thinking": {"type": "enabled", "budget_tokens": 3000}})),
        (
            &enabled,
            new,
            json!({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}}),
        ),
        // At most half of the limit.
        (&adaptive, old, json!({"thinking": {"type": "enabled", "budget_tokens": 4500}})),
        (&adaptive, new, json!({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}})),
        (&omitted, new, json!({"thinking": {"type": "adaptive", "display": "omitted"}})),
        (&omitted, old, Value::Null),
        (&disabled, old, Value::Null),
        (&disabled, new, Value::Null),
        (&disabled, newest, json!({"thinking": {"type": "between_tools"}})),
    ] {
        let (additional, inference) = in_converse(fields, model).unwrap();
        assert_eq!(additional, expect, "{fields} {model}");
        assert_eq!(inference["temperature"].is_number(), fields == &disabled && model == old, "{fields} {model}");
    }
}

#[test]
fn the_limit_that_nobody_sets_is_the_models_own() {
    let limit = |fields: Value, longest: Option<u64>| {
        let mut call = json!({"model": "m", "messages": []});
        call.as_object_mut().unwrap().append(fields.clone().as_object_mut().unwrap());
        let to = To { longest, ..To::new(Dialect::Anthropic, "claude-sonnet-4-5") };
        let sent = sent(&call, Dialect::OpenAi, &to).unwrap();
        (sent["max_tokens"].as_u64().unwrap(), sent["thinking"]["budget_tokens"].as_u64())
    };
    let thinks = || json!({"reasoning_effort": "xhigh"});
    assert_eq!(limit(json!({}), None), (4096, None));
    assert_eq!(limit(json!({}), Some(8192)), (8192, None));
    // Bounded, as budgets hold it back.
    assert_eq!(limit(json!({}), Some(128_000)), (32_768, None));
    assert_eq!(limit(json!({"max_tokens": 7}), Some(128_000)), (7, None));
    assert_eq!(limit(thinks(), None), (36_864, Some(32_768)));
    assert_eq!(limit(thinks(), Some(64_000)), (64_000, Some(32_000)));
    assert_eq!(limit(thinks(), Some(128_000)), (65_536, Some(32_768)));
    assert_eq!(limit(thinks(), Some(8192)), (8192, Some(4096)));
}
