//! What was produced when nobody counted.
//!
//! A rule and not a count, made to be documented: where a count is missing, three bytes of text are a token.

use memchr::{memchr, memchr2};

/// Bytes of text that are a token where nobody counted.
const BYTES_OF_TOKEN: u64 = 3;

/// The tokens of so much text where nobody counted.
pub const fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_OF_TOKEN)
}

/// Counts the text of an answer as its bytes pass, in pieces of any size: the strings under the names that carry what a
/// model wrote, in any dialect, streamed or whole. No tree is built, nothing is kept but the last name.
#[derive(Debug, Default)]
pub struct Produced {
    bytes: u64,
    place: Place,
    /// Whether the byte before was a backslash within a string.
    escaped: bool,
    /// The string that ended last, as far as it can be one of the names; empty when it is longer.
    last: Vec<u8>,
    too_long: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Between strings; no name was read that its colon could follow.
    #[default]
    Outside,
    /// In a string that may turn out to be a name.
    Name,
    /// After such a string.
    Named,
    /// After the colon of a name that carries text.
    Colon,
    /// In a text of the model.
    Text,
}

const LONGEST: usize = 17;
const NAMES: [&[u8]; 9] = [
    b"content",
    b"text",
    b"delta",
    b"arguments",
    b"reasoning",
    b"reasoning_content",
    b"thinking",
    b"partial_json",
    b"refusal",
];

impl Produced {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            match self.place {
                Place::Name | Place::Text => {
                    if std::mem::take(&mut self.escaped) {
                        self.string(&bytes[..1]);
                        bytes = &bytes[1..];
                        continue;
                    }
                    let end = memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len());
                    self.string(&bytes[..end]);
                    match bytes.get(end) {
                        Some(b'\\') => self.escaped = true,
                        Some(_) if self.place == Place::Name => self.place = Place::Named,
                        Some(_) => self.place = Place::Outside,
                        None => {}
                    }
                    bytes = bytes.get(end + 1..).unwrap_or_default();
                }
                Place::Outside => match memchr(b'"', bytes) {
                    Some(at) => {
                        self.begin(Place::Name);
                        bytes = &bytes[at + 1..];
                    }
                    None => return,
                },
                Place::Named | Place::Colon => {
                    let named = self.place == Place::Named;
                    match first {
                        b' ' | b'\t' | b'\r' | b'\n' => {}
                        b':' if named && !self.too_long && NAMES.contains(&self.last.as_slice()) => {
                            self.place = Place::Colon;
                        }
                        b'"' => self.begin(if named { Place::Name } else { Place::Text }),
                        _ => self.place = Place::Outside,
                    }
                    bytes = &bytes[1..];
                }
            }
        }
    }

    fn begin(&mut self, place: Place) {
        self.place = place;
        self.too_long = false;
        self.last.clear();
    }

    fn string(&mut self, part: &[u8]) {
        if self.place == Place::Text {
            self.bytes += part.len() as u64;
        } else if self.last.len() + part.len() > LONGEST {
            self.too_long = true;
        } else {
            self.last.extend_from_slice(part);
        }
    }

    /// The tokens of what came so far: at least one.
    pub fn tokens(&self) -> u64 {
        estimated_tokens(self.bytes).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &str = concat!(
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n",
        "data: {\"choices\":[{\"delta\":{ \"content\" : \" \\\"you\\\"\"}}]}\n\n",
        "event: content_block_delta\ndata: {\"delta\":{\"type\":\"text_delta\",\"text\":\"abc\"}}\n\n",
    );

    fn counted<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (u64, u64) {
        let mut produced = Produced::default();
        pieces.into_iter().for_each(|piece| produced.feed(piece));
        (produced.bytes, produced.tokens())
    }

    #[test]
    fn text_is_counted_and_nothing_around_it() {
        // Two backslashes are not counted: what they escape is.
        assert_eq!(counted([STREAM.as_bytes()]), (5 + 6 + 3, 5));
        assert_eq!(counted([&b"data: [DONE]"[..]]), (0, 1), "never nothing");
        let whole =
            r#"{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}}]}"#;
        assert_eq!(counted([whole.as_bytes()]).0, 2);
        assert_eq!(counted([&br#"{"content":[{"type":"text","text":"hey"}],"kind":"content"}"#[..]]).0, 3);
        assert_eq!(counted([&br#"["content","not a value"]"#[..]]).0, 0);
        let event = r#"{"type":"response.output_text.delta","item_id":"msg_1","delta":"Hello","logprobs":[]}"#;
        assert_eq!(counted([event.as_bytes()]).0, 5);
    }

    proptest! {
        #[test]
        fn how_bytes_are_cut_changes_nothing(size in 1usize..40) {
            prop_assert_eq!(counted(STREAM.as_bytes().chunks(size)), counted([STREAM.as_bytes()]));
        }

        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (counted, _) = counted([bytes.as_slice()]);
            prop_assert!(counted <= bytes.len() as u64);
        }
    }
}
