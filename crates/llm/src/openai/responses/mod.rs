//! OpenAI's Responses: what a call asks of its provider beside an answer, and the tokens of answers.
//!
//! Calls are forwarded as those of Chat Completions are, with [`ChatCall`](crate::ChatCall); errors have the same form.
//! Reference: <https://platform.openai.com/docs/api-reference/responses>.

pub mod usage;

use super::request::InvalidCall;
use serde::de::{MapAccess, SeqAccess, Visitor};
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
}
