//! Ids of tools' calls as a provider takes them: others are refused by some, and a conversation may have begun elsewhere.

use super::call::{Block, Turns};
use crate::{
    affinity,
    provider::{CallIds, Dialect},
};
use std::borrow::Cow;

/// Digits and letters, of which ids are made.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The longest that OpenAI takes in Chat Completions, and in Responses.
const MOST_IN_CHAT: usize = 40;
const MOST_IN_RESPONSES: usize = 64;
/// The longest that Anthropic and AWS take.
const MOST_OF_WORDS: usize = 64;
/// As many as Mistral takes, no more and no less.
const NINE: usize = 9;

/// Gives calls and their results another id where theirs does not fit: always the same for the same, so that both still
/// belong together and what the provider keeps of the prompt is found again.
pub(super) fn fit(turns: &mut Turns<'_>, dialect: Dialect, ids: CallIds) {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let fits: &dyn Fn(&str) -> bool = match (dialect, ids) {
        (_, CallIds::NineCharacters) => &|id| id.len() == NINE && id.bytes().all(|b| b.is_ascii_alphanumeric()),
        (Dialect::Anthropic | Dialect::Bedrock, _) => {
            &|id| (1..=MOST_OF_WORDS).contains(&id.len()) && id.bytes().all(word)
        }
        (Dialect::OpenAi, _) => &|id| id.len() <= MOST_IN_CHAT,
        (Dialect::Responses, _) => &|id| id.len() <= MOST_IN_RESPONSES,
        (Dialect::Gemini | Dialect::Replicate, _) => return,
    };
    for block in turns.0.iter_mut().flat_map(|turn| &mut turn.content) {
        if let Block::ToolUse { id, .. } | Block::ToolResult { id, .. } = block
            && !fits(id)
        {
            id.0 = Cow::Owned(made(id));
        }
    }
}

/// Nine digits and letters, which fit everywhere.
fn made(id: &str) -> String {
    let mut rest = affinity::of(id.as_bytes());
    let digit = |_| {
        let digit = DIGITS[(rest % DIGITS.len() as u64) as usize];
        rest /= DIGITS.len() as u64;
        char::from(digit)
    };
    (0..NINE).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_made_of_the_id() {
        let (one, two) = (made("functions.x:0"), made("functions.x:1"));
        assert_eq!((one.len(), two.len()), (NINE, NINE));
        assert!(one != two && one == made("functions.x:0") && one.bytes().all(|b| b.is_ascii_alphanumeric()), "{one}");
    }
}
