//! Who signed what a model thought. A signature is of use to its maker alone, and refused by every other, so it goes to
//! callers with a mark that says whose it is and comes back to nobody else.

use super::read::Text;
use std::borrow::Cow;

/// Who signed, and what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signer {
    /// Anthropic: the thinking before it, of which there may be nothing to see.
    Anthropic,
    /// Google: what was said or thought before it.
    Google,
    /// Google: the call of a tool after it.
    GoogleCall,
}

impl Signer {
    const ALL: [Self; 3] = [Self::Anthropic, Self::Google, Self::GoogleCall];

    /// What a marked signature begins with.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-signature:",
            Self::Google => "google-signature:",
            Self::GoogleCall => "google-signature-of-call:",
        }
    }

    pub const fn is_google(self) -> bool {
        matches!(self, Self::Google | Self::GoogleCall)
    }

    /// Takes the mark off a signature; `None` for one that has none of ours.
    pub fn unmarked<'a>(marked: &Text<'a>) -> Option<(Self, Text<'a>)> {
        let signer = Self::ALL.into_iter().find(|signer| marked.starts_with(signer.mark()))?;
        Some((signer, tail(marked, signer.mark().len())))
    }

    /// A signature as the Messages API has it, where Anthropic's are at home and have no mark.
    pub fn in_messages(self, signature: &str) -> Cow<'_, str> {
        match self {
            Self::Anthropic => Cow::Borrowed(signature),
            Self::Google | Self::GoogleCall => Cow::Owned(format!("{}{signature}", self.mark())),
        }
    }

    /// Reads what [`Self::in_messages`] wrote, or Anthropic.
    pub fn of_messages(signature: Text<'_>) -> (Self, Text<'_>) {
        match Self::unmarked(&signature) {
            Some((signer, signature)) if signer.is_google() => (signer, signature),
            _ => (Self::Anthropic, signature),
        }
    }
}

/// A text without its first bytes, which are ASCII.
fn tail<'a>(text: &Text<'a>, from: usize) -> Text<'a> {
    Text(match &text.0 {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..]),
        Cow::Owned(text) => Cow::Owned(text[from..].to_owned()),
    })
}
