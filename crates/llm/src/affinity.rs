//! What calls have in common that should go to the same place, where a provider's prompt cache knows them: the user they are
//! made for, or the conversation they go on with. Read from the body in any dialect; numbers come out, no text is kept.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use std::{
    borrow::Cow,
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

/// A number that stands for some bytes: the same in every process of a release.
pub fn of(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// Whom a call is made for: `safety_identifier`, `user`, or `user_id` in `metadata`.
pub fn user(body: &[u8]) -> Option<u64> {
    #[derive(serde::Deserialize)]
    struct Call<'a> {
        #[serde(borrow, default)]
        safety_identifier: Option<Cow<'a, str>>,
        #[serde(borrow, default)]
        user: Option<Cow<'a, str>>,
        #[serde(default)]
        metadata: Option<Value>,
    }
    let call: Call<'_> = serde_json::from_slice(body).ok()?;
    let given = |text: Option<Cow<'_, str>>| text.filter(|text| !text.is_empty()).map(|text| of(text.as_bytes()));
    let of_metadata = || call.metadata.as_ref()?.get("user_id")?.as_str();
    given(call.safety_identifier)
        .or(given(call.user))
        .or_else(|| of_metadata().filter(|text| !text.is_empty()).map(|text| of(text.as_bytes())))
}

/// The conversation that a call goes on with: its `prompt_cache_key`, else its system prompt and what the user said first,
/// which every call of a conversation begins with. `None` where nobody said anything.
pub fn conversation(body: &[u8]) -> Option<u64> {
    let beginning: Beginning = serde_json::from_slice(body).ok()?;
    if let Some(key) = beginning.cache_key {
        return Some(key);
    }
    let mut hasher = DefaultHasher::new();
    (&beginning.system, beginning.first?).hash(&mut hasher);
    Some(hasher.finish())
}

/// How a conversation begins, as numbers.
#[derive(Default)]
struct Beginning {
    cache_key: Option<u64>,
    /// Of each text of the system prompt, wherever it stands.
    system: Vec<u64>,
    /// Of what the user said first.
    first: Option<u64>,
}

impl<'de> Deserialize<'de> for Beginning {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Beginning;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a call")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Beginning, A::Error> {
                let mut all = Beginning::default();
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "prompt_cache_key" => {
                            let key: Value = map.next_value()?;
                            all.cache_key = key.as_str().filter(|key| !key.is_empty()).map(|key| of(key.as_bytes()));
                        }
                        "system" | "instructions" | "systemInstruction" | "system_instruction" => {
                            all.system.push(map.next_value::<Texts>()?.0);
                        }
                        "messages" | "input" | "contents" => {
                            let Turns { system, first } = map.next_value()?;
                            all.system.extend(system);
                            all.first = all.first.or(first);
                        }
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                // Members stand in any order.
                all.system.sort_unstable();
                Ok(all)
            }
        }
        d.deserialize_map(Read)
    }
}

/// The first turns: those of the system, and the first of a user.
#[derive(Default)]
struct Turns {
    system: Vec<u64>,
    first: Option<u64>,
}

impl<'de> Deserialize<'de> for Turns {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Turns;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("turns")
            }
            fn visit_str<E>(self, text: &str) -> Result<Turns, E> {
                Ok(Turns { system: vec![], first: Some(of_texts([text])) })
            }
            fn visit_unit<E>(self) -> Result<Turns, E> {
                Ok(Turns::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Turns, A::Error> {
                let mut turns = Turns::default();
                while turns.first.is_none() {
                    let Some(turn) = seq.next_element::<Value>()? else { return Ok(turns) };
                    let said = of_value(turn.get("content").or(turn.get("parts")).unwrap_or(&Value::Null));
                    match turn.get("role").and_then(Value::as_str).unwrap_or("user") {
                        "system" | "developer" => turns.system.push(said),
                        "user" => turns.first = Some(said),
                        _ => {}
                    }
                }
                // What follows is passed over.
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(turns)
            }
        }
        d.deserialize_any(Read)
    }
}

/// The texts of a value, as a number.
struct Texts(u64);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Value::deserialize(d).map(|value| Self(of_value(&value)))
    }
}

/// The texts of a message's content, in whichever form it is written: marks for a cache move while a conversation goes on.
fn of_value(value: &Value) -> u64 {
    let part = |part: &Value| part.get("text").and_then(Value::as_str).map(str::to_owned);
    match value {
        Value::String(text) => of_texts([text.as_str()]),
        Value::Array(parts) => of_texts(parts.iter().filter_map(part)),
        Value::Object(whole) => match whole.get("parts").or(whole.get("content")) {
            Some(inner) => of_value(inner),
            None => of_texts(part(value)),
        },
        _ => 0,
    }
}

fn of_texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> u64 {
    let mut hasher = DefaultHasher::new();
    texts.into_iter().for_each(|text| text.as_ref().hash(&mut hasher));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of_call(call: Value) -> Option<u64> {
        conversation(call.to_string().as_bytes())
    }

    #[test]
    fn a_conversation_is_told_by_how_it_begins_in_every_dialect() {
        let user = |text: &str| json!({"role": "user", "content": text});
        let system = json!({"role": "system", "content": "be brief"});
        let more = [json!({"role": "assistant", "content": "hello"}), user("and then?")];
        let marked = json!({"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]});
        for (first, later, other) in [
            (
                json!({"messages": [system, user("hi")]}),
                json!({"messages": [system, user("hi"), more[0], more[1]]}),
                json!({"messages": [system, user("ho")]}),
            ),
            (
                json!({"system": "x", "messages": [marked]}),
                json!({"messages": [user("hi"), more[0]], "system": [{"type": "text", "text": "x"}]}),
                json!({"system": "y", "messages": [user("hi")]}),
            ),
            (
                json!({"input": "hi", "instructions": "x"}),
                json!({"input": [user("hi"), more[0]], "instructions": "x"}),
                json!({"input": "ho", "instructions": "x"}),
            ),
            (
                json!({"contents": [{"parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": "x"}]}}),
                json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": []}], "systemInstruction": {"parts": [{"text": "x"}]}}),
                json!({"contents": [{"parts": [{"text": "hi"}]}]}),
            ),
            (
                json!({"prompt_cache_key": "a", "input": "x"}),
                json!({"prompt_cache_key": "a", "input": "y"}),
                json!({"prompt_cache_key": "b", "input": "x"}),
            ),
        ] {
            assert!(of_call(first.clone()).is_some(), "{first}");
            assert_eq!(of_call(first.clone()), of_call(later.clone()), "{first} {later}");
            assert_ne!(of_call(first.clone()), of_call(other.clone()), "{first} {other}");
        }
        for nothing in [json!({"messages": []}), json!({"messages": [system]}), json!([]), json!({"input": null})] {
            assert_eq!(of_call(nothing.clone()), None, "{nothing}");
        }
    }

    #[test]
    fn a_user_is_told_by_any_of_its_names() {
        let of_call = |call: Value| user(call.to_string().as_bytes());
        let anna = Some(of(b"anna"));
        for call in [
            json!({"user": "anna"}),
            json!({"safety_identifier": "anna", "user": "somebody"}),
            json!({"metadata": {"user_id": "anna"}}),
        ] {
            assert_eq!(of_call(call.clone()), anna, "{call}");
        }
        for nothing in [json!({}), json!({"user": ""}), json!({"metadata": {"user_id": 7}}), json!({"user": 7})] {
            assert_eq!(of_call(nothing.clone()), None, "{nothing}");
        }
    }
}
