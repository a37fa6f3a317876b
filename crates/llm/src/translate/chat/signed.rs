//! What providers of Chat Completions tell of signatures beside a message: Google's in `extra_content` of it and of its
//! calls of tools, Anthropic's in `thinking_blocks`, the form that LiteLLM gave it, and those of both in OpenRouter's
//! `reasoning_details`. None of it is in OpenAI's description, so what cannot be read is left out.

use super::{
    super::{
        answer::{MAX_BLOCKS, Piece},
        read::{Text, list, present},
        signature::Signer,
    },
    read_turns::google_signature,
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// How OpenRouter names who thought.
pub(super) const OF_ANTHROPIC: &str = "anthropic-claude-v1";
pub(super) const OF_GOOGLE: &str = "google-gemini-v1";
/// What it calls thinking that is shown, and what only the model can read.
pub(super) const SHOWN: &str = "reasoning.text";
pub(super) const ENCRYPTED: &str = "reasoning.encrypted";

/// One of `thinking_blocks` or of `reasoning_details`.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
    #[serde(borrow, default)]
    format: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default, alias = "thinking")]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
}

/// Thinking that a message tells apart from its text.
pub(super) struct Thought<'a> {
    /// What is shown of it.
    pub text: Option<Text<'a>>,
    /// Its signature, or what is redacted.
    pub signed: Option<Piece<'a>>,
}

/// What is told of signatures.
#[derive(Default)]
pub(super) struct Signed<'a> {
    pub thoughts: Vec<Thought<'a>>,
    /// How Google signed calls of tools, by their ids, which may be empty.
    pub calls: Vec<(Text<'a>, Text<'a>)>,
    /// How Google signed what is said.
    pub words: Option<Text<'a>>,
}

impl<'a> Signed<'a> {
    /// Of a message, or of what a stream adds to one.
    pub fn of(
        blocks: Option<&'a RawValue>,
        details: Option<&'a RawValue>,
        extra_content: Option<&'a RawValue>,
    ) -> Self {
        let mut signed = Self { words: google_signature(extra_content), ..Self::default() };
        for told in [blocks, details].into_iter().filter_map(present) {
            for one in list::<Told<'a>>(told, "", MAX_BLOCKS, "").unwrap_or_default() {
                signed.take(one);
            }
        }
        signed
    }

    fn take(&mut self, told: Told<'a>) {
        let some = |text: Option<Text<'a>>| text.filter(|text| !text.is_empty());
        let Told { r#type, format, id, text, signature, data } = told;
        let thought = match (&*r#type, format.as_deref()) {
            ("thinking", _) | (SHOWN, Some(OF_ANTHROPIC)) => {
                let signed = some(signature).map(|signature| {
                    let (signer, signature) = Signer::of_messages(signature);
                    Piece::Signed(signer, signature)
                });
                Thought { text: some(text), signed }
            }
            ("redacted_thinking", _) | (ENCRYPTED, Some(OF_ANTHROPIC)) => {
                Thought { text: None, signed: some(data).map(Piece::Redacted) }
            }
            (ENCRYPTED, Some(OF_GOOGLE)) => {
                self.calls.extend(some(data).map(|data| (id.unwrap_or_default(), data)));
                return;
            }
            _ => return,
        };
        self.thoughts.push(thought);
    }

    /// Whether any thinking is signed.
    pub fn has_thoughts(&self) -> bool {
        self.thoughts.iter().any(|thought| thought.signed.is_some())
    }

    /// Takes how a call of this id is signed.
    pub fn of_call(&mut self, id: &str) -> Option<Text<'a>> {
        let own = self.calls.iter().position(|(of, _)| !id.is_empty() && **of == *id);
        let at = own.or_else(|| self.calls.iter().position(|(of, _)| of.is_empty()))?;
        Some(self.calls.swap_remove(at).1)
    }
}
