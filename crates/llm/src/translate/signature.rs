//! Who signed what a model thought. A signature is of use to its maker alone, and refused by every other, so it goes to
//! callers with a mark that says whose it is and comes back to nobody else.

use super::{read::Text, responses::REDACTED};
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
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
    /// OpenAI, or who else speaks Responses: the thinking itself, encrypted, behind the [target](placed) whose it is.
    OpenAi,
}

impl Signer {
    const ALL: [Self; 4] = [Self::Anthropic, Self::Google, Self::GoogleCall, Self::OpenAi];

    /// What a marked signature begins with.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic-signature:",
            Self::Google => "google-signature:",
            Self::GoogleCall => "google-signature-of-call:",
            Self::OpenAi => "openai-encrypted:",
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

    /// A signature as the Messages API has it, where Anthropic's are at home and have no mark; and as `thinking_blocks`
    /// of Chat Completions have it, which are the same.
    pub fn in_messages(self, signature: &str) -> Cow<'_, str> {
        match self {
            Self::Anthropic => Cow::Borrowed(signature),
            Self::Google | Self::GoogleCall | Self::OpenAi => Cow::Owned(format!("{}{signature}", self.mark())),
        }
    }

    /// Reads what [`Self::in_messages`] wrote, or Anthropic.
    pub fn of_messages(signature: Text<'_>) -> (Self, Text<'_>) {
        match Self::unmarked(&signature) {
            Some((signer, signature)) if signer != Self::Anthropic => (signer, signature),
            _ => (Self::Anthropic, signature),
        }
    }

    /// A signature as the Gemini API has it, where Google's are at home and have no mark. The field is one of bytes, which
    /// Google's clients read and write anew: any other is there with its mark, in base64.
    pub fn in_gemini(self, signature: &str) -> String {
        match self {
            Self::Google | Self::GoogleCall => signature.to_owned(),
            Self::Anthropic | Self::OpenAi => EITHER.encode(format!("{}{signature}", self.mark())),
        }
    }
}

/// Thinking that only a model of Anthropic's can read, as the Gemini API has it.
pub(super) fn redacted_in_gemini(data: &str) -> String {
    EITHER.encode(format!("{REDACTED}{data}"))
}

/// What the `thoughtSignature` of a Gemini call is.
pub(super) enum Carried {
    /// Google's own.
    Own,
    /// What [`Signer::in_gemini`] wrote.
    Signed(Signer, String),
    /// What [`redacted_in_gemini`] wrote.
    Redacted(String),
}

impl Carried {
    pub fn of(signature: &str) -> Self {
        if !is_foreign_to_gemini(signature) {
            return Self::Own;
        }
        // Some clients write the alphabet that is meant for addresses.
        let signature = signature.replace('-', "+").replace('_', "/");
        let Some(told) = EITHER.decode(signature).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return Self::Own;
        };
        match (told.strip_prefix(REDACTED), Signer::unmarked(&Text(Cow::Borrowed(&told)))) {
            (Some(data), _) => Self::Redacted(data.to_owned()),
            (_, Some((signer, signature))) => Self::Signed(signer, signature.0.into_owned()),
            _ => Self::Own,
        }
    }
}

/// What every `thoughtSignature` begins with that is not Google's: as much of the marks as is whole characters of base64.
pub(super) const NOT_GOOGLES: &[&str] =
    &["YW50aHJvcGljLXNpZ25hdHVyZT", "YW50aHJvcGljLXJlZGFjdGVkO", "b3BlbmFpLWVuY3J5cHRlZD"];

pub(super) fn is_foreign_to_gemini(signature: &str) -> bool {
    NOT_GOOGLES.iter().any(|begins| signature.starts_with(begins))
}

/// Base64 as it is written, and read with or without what fills it up.
const EITHER: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a model that speaks Responses encrypted, with the place of its target before it: neither another model nor another
/// account can read it, and both refuse a call that brings it (`invalid_encrypted_content`).
pub(super) fn placed(place: u64, encrypted: &str) -> String {
    format!("{place:016x}:{encrypted}")
}

/// What [`placed`] wrote: the place, and what was encrypted.
pub(super) fn of_place(signature: &str) -> Option<(u64, &str)> {
    let (place, encrypted) = signature.split_once(':')?;
    Some((u64::from_str_radix(place, 16).ok()?, encrypted))
}

/// A text without its first bytes, which are ASCII.
fn tail<'a>(text: &Text<'a>, from: usize) -> Text<'a> {
    Text(match &text.0 {
        Cow::Borrowed(text) => Cow::Borrowed(&text[from..]),
        Cow::Owned(text) => Cow::Owned(text[from..].to_owned()),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_googles_is_known_by_how_it_begins() {
        for word in ["", "a", "EqQB", "é?"] {
            for signer in [Signer::Anthropic, Signer::OpenAi] {
                let carried = signer.in_gemini(word);
                // As it was written, in the other alphabet, and without what fills it up.
                for carried in [carried.clone(), carried.replace('+', "-").replace('/', "_"), carried.replace('=', "")]
                {
                    assert!(is_foreign_to_gemini(&carried), "{carried}");
                    assert!(matches!(Carried::of(&carried), Carried::Signed(by, told) if by == signer && told == word));
                }
            }
            let carried = redacted_in_gemini(word);
            assert!(is_foreign_to_gemini(&carried), "{carried}");
            assert!(matches!(Carried::of(&carried), Carried::Redacted(told) if told == word));
            assert!(matches!(Carried::of(word), Carried::Own));
        }
        assert!(matches!(Carried::of("b3BlbmFpLWVuY3J5cHRlZD!"), Carried::Own));
    }

    #[test]
    fn what_was_encrypted_tells_whose_it_is() {
        assert_eq!(of_place(&placed(7, "gAAA:A")), Some((7, "gAAA:A")));
        assert_eq!(of_place(&placed(u64::MAX, "")), Some((u64::MAX, "")));
        assert_eq!(of_place("gAAAA"), None);
        assert_eq!(of_place("x:gAAAA"), None);
    }
}
