//! What calls have in common that should go to the same place, where a provider's prompt cache knows them: the user they are
//! made for, or the conversation they go on with. Read from the body in any dialect; numbers come out, no text is kept.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
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
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Call {
        safety_identifier: Said,
        user: Said,
        metadata: Said,
    }
    let call: Call = serde_json::from_slice(body).ok()?;
    call.safety_identifier.itself.or(call.user.itself).or(call.metadata.user_id)
}

/// The conversation that a call goes on with: its `prompt_cache_key`, else its system prompt and what the user said first,
/// which every call of a conversation begins with. `None` where nobody said anything.
pub fn conversation(body: &[u8]) -> Option<u64> {
    let beginning: Beginning = serde_json::from_slice(body).ok()?;
    if let Some(key) = beginning.cache_key {
        return Some(key);
    }
    Some(of_all((beginning.system, beginning.first?)))
}

/// How a conversation begins, as numbers.
#[derive(Default)]
struct Beginning {
    cache_key: Option<u64>,
    /// Of the texts of the system prompt, wherever they stand.
    system: u64,
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
                        "prompt_cache_key" => all.cache_key = map.next_value::<Said>()?.itself,
                        "system" | "instructions" | "systemInstruction" | "system_instruction" => {
                            all.system = all.system.wrapping_add(map.next_value::<Said>()?.texts);
                        }
                        "messages" | "input" | "contents" => {
                            let Turns { system, first } = map.next_value()?;
                            // Members stand in any order.
                            all.system = all.system.wrapping_add(system);
                            all.first = all.first.or(first);
                        }
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                Ok(all)
            }
        }
        d.deserialize_map(Read)
    }
}

/// The first turns: those of the system, added up, and the first of a user.
#[derive(Default)]
struct Turns {
    system: u64,
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
                Ok(Turns { system: 0, first: Some(Said::text(text).texts) })
            }
            fn visit_unit<E>(self) -> Result<Turns, E> {
                Ok(Turns::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Turns, A::Error> {
                let (system, developer, user) = (of(b"system"), of(b"developer"), of(b"user"));
                let mut turns = Turns::default();
                while turns.first.is_none() {
                    let Some(turn) = seq.next_element::<Said>()? else { return Ok(turns) };
                    match turn.role.unwrap_or(user) {
                        role if role == system || role == developer => {
                            turns.system = turns.system.wrapping_add(turn.texts);
                        }
                        role if role == user => turns.first = Some(turn.texts),
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

/// What any value says, as numbers: made while it is read, as a tree would be many times as large as what came.
#[derive(Clone, Copy, Default)]
struct Said {
    /// Of a text that is not empty.
    itself: Option<u64>,
    /// Of the texts in it, in whichever form a message's content is written. Marks for a cache do not count: they move while
    /// a conversation goes on.
    texts: u64,
    /// Of the texts that these members are.
    text: Option<u64>,
    role: Option<u64>,
    user_id: Option<u64>,
}

impl Said {
    fn text(text: &str) -> Self {
        let itself = Some(of(text.as_bytes())).filter(|_| !text.is_empty());
        Self { itself, texts: of_all(itself), ..Self::default() }
    }
}

fn of_all(all: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    all.hash(&mut hasher);
    hasher.finish()
}

impl<'de> Deserialize<'de> for Said {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Said;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Said, E> {
                Ok(Said::default())
            }
            fn visit_i64<E>(self, _: i64) -> Result<Said, E> {
                Ok(Said::default())
            }
            fn visit_u64<E>(self, _: u64) -> Result<Said, E> {
                Ok(Said::default())
            }
            fn visit_f64<E>(self, _: f64) -> Result<Said, E> {
                Ok(Said::default())
            }
            fn visit_unit<E>(self) -> Result<Said, E> {
                Ok(Said::default())
            }
            fn visit_str<E>(self, text: &str) -> Result<Said, E> {
                Ok(Said::text(text))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Said, A::Error> {
                let mut texts = None;
                while let Some(part) = seq.next_element::<Said>()? {
                    // One alone is as if it stood there without a list.
                    texts = match (texts, part.text) {
                        (Some(before), Some(text)) => Some(of_all((before, text))),
                        (before, text) => before.or(text),
                    };
                }
                Ok(Said { texts: of_all(texts), ..Said::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Said, A::Error> {
                let (mut all, mut parts, mut content) = (Said::default(), None, None);
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    match &*key {
                        "text" => all.text = map.next_value::<Said>()?.itself,
                        "role" => all.role = map.next_value::<Said>()?.itself,
                        "user_id" => all.user_id = map.next_value::<Said>()?.itself,
                        "parts" => parts = Some(map.next_value::<Said>()?.texts),
                        "content" => content = Some(map.next_value::<Said>()?.texts),
                        _ => _ = map.next_value::<IgnoredAny>()?,
                    }
                }
                all.texts = parts.or(content).unwrap_or_else(|| of_all(all.text));
                Ok(all)
            }
        }
        d.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

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
    fn texts_in_several_parts_differ_from_others() {
        let of = |parts: Value| of_call(json!({"messages": [{"role": "user", "content": parts}]}));
        let text = |text: &str| json!({"type": "text", "text": text});
        let (ab, ba) = (json!([text("a"), text("b")]), json!([text("b"), text("a")]));
        assert_ne!(of(ab.clone()), of(ba));
        assert_ne!(of(ab.clone()), of(json!([text("a")])));
        assert_eq!(of(ab.clone()), of(json!([text("a"), {"type": "image", "data": [1, {"text": "x"}]}, text("b")])));
        assert_eq!(of(json!([text("a")])), of(json!("a")));
    }

    #[test]
    fn a_user_is_told_by_any_of_its_names() {
        let of_call = |call: Value| user(call.to_string().as_bytes());
        let anna = Some(of(b"anna"));
        for call in [
            json!({"user": "anna"}),
            json!({"safety_identifier": "anna", "user": "somebody"}),
            json!({"metadata": {"user_id": "anna"}}),
            json!({"user": "anna", "metadata": {"user_id": 7}}),
            json!({"user": "anna", "metadata": [1, {"user_id": "x"}]}),
        ] {
            assert_eq!(of_call(call.clone()), anna, "{call}");
        }
        for nothing in [json!({}), json!({"user": ""}), json!({"metadata": {"user_id": 7}}), json!({"user": 7})] {
            assert_eq!(of_call(nothing.clone()), None, "{nothing}");
        }
    }
}
