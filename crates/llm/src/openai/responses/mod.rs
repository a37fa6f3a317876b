//! OpenAI's Responses: what a call asks of its provider beside an answer, and the tokens of answers.
//!
//! Calls are forwarded as those of Chat Completions are, with [`ChatCall`](crate::ChatCall); errors have the same form.
//! Reference: <https://platform.openai.com/docs/api-reference/responses>.

pub mod usage;

use super::request::InvalidCall;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// What a call builds on or leaves behind at its provider.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The field that names what an earlier call left with the provider.
    pub continues: Option<&'static str>,
    /// The answer is to be fetched later, and not awaited.
    pub background: bool,
}

#[derive(serde::Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    previous_response_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    conversation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    background: Option<&'a RawValue>,
}

impl Kept {
    /// Reads a body that [`ChatCall`](crate::ChatCall) has read. A field that is null counts as absent.
    ///
    /// # Errors
    /// [`InvalidCall::Duplicate`] when one of the fields stands more than once.
    pub fn of(body: &[u8]) -> Result<Self, InvalidCall> {
        // That it is an object is known, so nothing else can be wrong.
        let Fields { previous_response_id, conversation, background } =
            serde_json::from_slice(body).map_err(|_| InvalidCall::Duplicate("previous_response_id"))?;
        let continues = previous_response_id.map(|_| "previous_response_id").or(conversation.map(|_| "conversation"));
        // What is no truth value is the provider's to refuse.
        Ok(Self { continues, background: background.is_some_and(|raw| raw.get() != "false") })
    }
}

/// How a call names what its provider keeps and reads along with it: an earlier answer, a conversation, a stored prompt or
/// an item of one of them. How many tokens that is cannot be known from the call. Files and images are not meant.
///
/// Reads a body that [`ChatCall`](crate::ChatCall) has read. Of fields that stand more than once each counts, unless null.
pub fn reads_along(body: &[u8]) -> Option<&'static str> {
    let mut found = None;
    let _ = serde_json::Deserializer::from_slice(body).deserialize_map(Each(|name: &str, value: &RawValue| {
        let here = match name {
            _ if value.get() == "null" => None,
            "previous_response_id" => Some("previous_response_id"),
            "conversation" => Some("conversation"),
            "prompt" => Some("prompt"),
            "input" if refers_to_items(value.get()) => Some("item_reference"),
            _ => None,
        };
        found = found.or(here);
    }));
    found
}

/// Whether something of an `input` is an item by its id alone. Its type may be left out there.
fn refers_to_items(input: &str) -> bool {
    let mut refers = false;
    let _ = serde_json::Deserializer::from_str(input).deserialize_seq(Each(|_: &str, item: &RawValue| {
        let (mut named, mut id, mut more) = (false, false, false);
        let _ = serde_json::Deserializer::from_str(item.get()).deserialize_map(Each(|name: &str, value: &RawValue| {
            match name {
                _ if value.get() == "null" => {}
                "type" => {
                    let kind = serde_json::from_str::<String>(value.get());
                    named |= kind.is_ok_and(|kind| kind == "item_reference");
                    more = true;
                }
                "id" => id = true,
                "role" | "content" => more = true,
                _ => {}
            }
        }));
        refers |= named || (id && !more);
    }));
    refers
}

/// Tells the fields of an object, or the items of an array, one after the other; nothing is kept.
pub(crate) struct Each<F>(pub(crate) F);

impl<'de, F: FnMut(&str, &'de RawValue)> Visitor<'de> for Each<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
            (self.0)(&name, value);
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element()? {
            (self.0)("", value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_call_leaves_with_its_provider() {
        let kept = |body: &str| Kept::of(body.as_bytes()).unwrap();
        assert_eq!(kept(r#"{"model":"m","input":"x","background":false,"conversation":null}"#), Kept::default());
        let continues = |field| Kept { continues: Some(field), background: false };
        assert_eq!(kept(r#"{"previous_response_id":"resp_1"}"#), continues("previous_response_id"));
        assert_eq!(kept(r#"{"previous_\u0072esponse_id":"resp_1"}"#), continues("previous_response_id"));
        assert_eq!(kept(r#"{"conversation":{"id":"conv_1"}}"#), continues("conversation"));
        for background in ["true", "1", "\"true\""] {
            assert!(kept(&format!(r#"{{"background":{background}}}"#)).background);
        }
        assert!(Kept::of(br#"{"background":false,"background":true}"#).is_err());
        assert!(Kept::of(br#"{"previous_response_id":null,"previous_response_id":"x"}"#).is_err());
    }

    #[test]
    fn what_a_provider_reads_along() {
        for (body, expect) in [
            (r#"{"model":"m","input":"x","previous_response_id":null,"conversation":null,"prompt":null}"#, None),
            (r#"{"input":[{"role":"user","content":"previous_response_id"}],"metadata":{"prompt":"x"}}"#, None),
            (r#"{"input":[{"id":"msg_1","type":"message","role":"assistant","content":[]},7,[{"id":"x"}]]}"#, None),
            (
                r#"{"input":[{"type":"function_call_output","id":"fc_1","call_id":"c","output":"item_reference"}]}"#,
                None,
            ),
            (r#"{"input":{"type":"item_reference"}}"#, None),
            ("no json", None),
            (r#"{"previous_\u0072esponse_id": "resp_1"}"#, Some("previous_response_id")),
            (r#"{"conversation":"conv_1"}"#, Some("conversation")),
            (r#"{"conversation":{"id":"conv_1"},"input":[]}"#, Some("conversation")),
            (r#"{"prompt":{"id":"pmpt_1"}}"#, Some("prompt")),
            (r#"{"prompt":{"id":"pmpt_1"},"prompt":null}"#, Some("prompt")),
            (
                r#"{"input":[{"role":"user","content":"x"},{"type":"item_reference","id":"msg_1"}]}"#,
                Some("item_reference"),
            ),
            (r#"{"input":[{"type":"message","type":"item_\u0072eference","id":"msg_1"}]}"#, Some("item_reference")),
            (r#"{"input": [ {"id":"msg_1"} ]}"#, Some("item_reference")),
            (r#"{"input":[{"id":"msg_1","type":null}],"input":"x"}"#, Some("item_reference")),
        ] {
            assert_eq!(reads_along(body.as_bytes()), expect, "{body}");
        }
    }
}
