//! What was produced when nobody counted.
//!
//! A rule and not a count, made to be documented: where a count is missing, three bytes of text are a token.

mod counter;
mod run;

use counter::{Counter, Place};
use run::{Followed, Run};

/// Bytes of text that are a token where nobody counted.
pub(crate) const BYTES_OF_TOKEN: u64 = 3;

/// The tokens of so much text where nobody counted.
pub const fn estimated_tokens(bytes: u64) -> u64 {
    bytes.div_ceil(BYTES_OF_TOKEN)
}

/// Counts the text of an answer as its bytes pass, in pieces of any size: the strings under the names that carry what a
/// model wrote, in any dialect, streamed or whole.
///
/// The events of a stream differ in little but the text. What stood around the text of the event before is therefore only
/// compared with what comes, and read byte by byte from where it differs on. That changes nothing of what is counted: both
/// begin where nothing matters of what came before, so the same bytes lead to the same place.
#[derive(Debug, Default)]
pub struct Produced {
    counter: Counter,
    /// What stands before the first text of an event, and behind a text up to the next or to the event's end.
    before: Run,
    behind: Run,
    course: Course,
    /// An event has ended: another may be like it. The first is often unlike the others, and a whole answer is the only one.
    streams: bool,
}

/// What the next bytes belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Course {
    /// The run before a text.
    #[default]
    Before,
    /// A text.
    Text,
    /// The run behind it.
    Behind,
}

impl Produced {
    /// Takes the next bytes.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.course {
                Course::Text => self.text(bytes),
                Course::Before | Course::Behind => self.around(bytes),
            };
            bytes = &bytes[taken..];
        }
    }

    /// Takes some bytes of a text. How many.
    fn text(&mut self, bytes: &[u8]) -> usize {
        let taken = self.counter.step(bytes);
        if self.counter.place() != Place::Text {
            self.course = Course::Behind;
            self.behind.begin(self.streams);
        }
        taken
    }

    /// Takes some bytes of what stands around texts. How many.
    fn around(&mut self, bytes: &[u8]) -> usize {
        let Self { counter, before, behind, course, streams } = self;
        let run = if *course == Course::Before { before } else { behind };
        let (taken, end) = match run.follow(bytes) {
            Followed::Some(taken) => return taken,
            Followed::All(taken, end) => {
                counter.go_to(end);
                (taken, end)
            }
            Followed::Not => {
                if let Some(mut again) = run.differs() {
                    counter.go_to(Place::Outside);
                    while !again.is_empty() {
                        again = &again[counter.step(again)..];
                    }
                }
                let taken = counter.step(bytes);
                match run.read(&bytes[..taken], counter.place()) {
                    Some(end) => (taken, end),
                    None => return taken,
                }
            }
        };
        match end {
            Place::Text => *course = Course::Text,
            _ => {
                *course = Course::Before;
                *streams = true;
                self.before.begin(true);
            }
        }
        taken
    }

    /// Whether more than text came: sound, its words, a picture. What tokens that has, nobody can see.
    ///
    /// Never forgotten: a name comes for the first time where nothing is remembered of it, and is read.
    pub const fn is_more_than_text(&self) -> bool {
        self.counter.more
    }

    /// The tokens of what came so far: at least one.
    pub fn tokens(&self) -> u64 {
        estimated_tokens(self.counter.bytes).max(1)
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
        (produced.counter.bytes, produced.tokens())
    }

    /// The same without anything that is remembered.
    fn plainly(bytes: &[u8]) -> u64 {
        counter_of(bytes).bytes
    }

    fn counter_of(mut bytes: &[u8]) -> Counter {
        let mut counter = Counter::default();
        while !bytes.is_empty() {
            bytes = &bytes[counter.step(bytes)..];
        }
        counter
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

    #[test]
    fn sound_and_pictures_are_seen_and_only_words_are_counted() {
        let chat = |audio: &str| format!("data: {{\"choices\":[{{\"delta\":{{\"audio\":{{{audio}}}}}}}]}}\n\n");
        let gemini = |data: &str| {
            format!("data: {{\"parts\":[{{\"inlineData\":{{\"mimeType\":\"audio/pcm\",\"data\":\"{data}\"}}}}]}}\n\n")
        };
        for (events, bytes, more) in [
            (chat("\"transcript\":\"hello\""), 5, true),
            (chat(&format!("\"data\" : \"{}\"", "AAAA".repeat(100))), 0, true),
            (gemini("AAAA"), 0, true),
            (r#"{"type":"response.x.partial_image","partial_image_b64":"AAAA"}"#.to_owned(), 0, true),
            (r#"{"item":{"type":"image_generation_call","status":"completed","result":"AAAA"}}"#.to_owned(), 0, true),
            (r#"{"type":"speech.audio.delta","audio":"AAAA"}"#.to_owned(), 0, true),
            (r#"{"images":[{"image_url":{"url": "data:image\/png;base64,AAAA"}}]}"#.to_owned(), 0, true),
            (r#"{"annotations":[{"url_citation":{"url":"https://x/data:y","title":"data:x"}}]}"#.to_owned(), 0, false),
            (r#"{"item":{"type":"image_generation_call","result":null},"modalities":["audio"]}"#.to_owned(), 0, false),
            (r#"{"image":{"format":"png","source":{"bytes":"AAAA"}}}"#.to_owned(), 0, true),
            (
                r#"{"object":"list","data":[{"content":"data","text":"a transcript: \"data\":\"x\""}]}"#.to_owned(),
                28,
                false,
            ),
            (chat("\"id\":\"audio_1\""), 0, false),
        ] {
            for size in [1, 7, events.len()] {
                let mut produced = Produced::default();
                // Behind events of text that stand as these do.
                produced.feed(STREAM.as_bytes());
                let before = produced.counter.bytes;
                events.as_bytes().chunks(size).for_each(|piece| produced.feed(piece));
                assert_eq!((produced.counter.bytes - before, produced.is_more_than_text()), (bytes, more), "{events}");
            }
        }
    }

    #[test]
    fn events_that_differ_anywhere_are_counted_as_they_stand() {
        let chat = |i: usize| {
            let (text, noise) = ("word ".repeat(i % 3), "x".repeat(i % 7));
            format!(
                "data: {{\"id\":\"c\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}],\"obfuscation\":\"{noise}\"}}\n\n"
            )
        };
        let response = |i: usize| {
            let kind = if i.is_multiple_of(5) { "response.output_item.added" } else { "response.output_text.delta" };
            format!(
                "event: {kind}\r\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{i},\"delta\":\"abc\",\"logprobs\":[]}}\r\n\r\n"
            )
        };
        let two = |i: usize| {
            let more = if i % 4 == 1 { ",\"content\"" } else { "" };
            format!("data: [{{\"delta\":\"one\"}},{{\"x\":[\"text\"{more}],\"text\":\"{i}\"}}]\n\n")
        };
        let long = |i: usize| {
            let ids = "\"id\":1,".repeat(if i.is_multiple_of(3) { 90 } else { 40 });
            format!("data: {{{ids}\"text\":\"abc\",{ids}\"content\":\"d\\\"e\"}}\n\n")
        };
        let texts = |of: &dyn Fn(usize) -> String| (0..40).map(of).collect::<String>();
        for (text, bytes) in [
            (texts(&chat), Some(39 * 5)),
            (texts(&response), Some(40 * 3)),
            (texts(&two), Some(40 * 3 + 10 + 2 * 30)),
            (texts(&long), Some(40 * 6)),
            (texts(&|i| [chat(i), response(i), two(i), long(i)].concat()), None),
        ] {
            let expected = plainly(text.as_bytes());
            assert!(bytes.is_none_or(|bytes| bytes == expected), "{expected}: {text}");
            for size in [1, 2, 3, 7, 50, 185, 1000, text.len()] {
                assert_eq!(counted(text.as_bytes().chunks(size)).0, expected, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn what_stands_around_texts_is_only_compared() {
        let mut produced = Produced::default();
        produced.feed(STREAM.as_bytes());
        let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
        // What differs is learned from the event after.
        produced.feed(&event.repeat(2));
        let end = event.len() - b"Hello\"}}]}\n\n".len();
        // Whatever comes of it comes in as many steps as there are texts, and what stands between them.
        assert_eq!(produced.around(event), end);
        assert_eq!(produced.course, Course::Text);
        assert_eq!(produced.text(&event[end..]), 6);
        assert_eq!(produced.around(&event[end + 6..]), event.len() - end - 6);
        assert_eq!(produced.course, Course::Before);
    }

    /// Streams of events that are nearly alike, and whatever else.
    fn streams() -> impl Strategy<Value = Vec<u8>> {
        let part = prop::sample::select(vec![
            "data: {\"id\":1,\"delta\":{\"content\":\"",
            "data: {\"id\":2,\"delta\":{\"content\":\"",
            "\"}}\n\n",
            "\"}}\r\n\r\n",
            "\"}}\n",
            "\n",
            "\r",
            "\"",
            "\\",
            "\\\"",
            "a",
            "text",
            ",\"text\":\"",
            ",\"x\":\"",
            ",\"data\":\"",
            ",\"url\":\"",
            "data:",
            "\"transcript\"",
            "\"text\"",
            " : ",
            ":",
            ",",
            "event: x\n",
        ]);
        let tokens = prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat().into_bytes());
        (tokens, 1usize..4).prop_map(|(text, times)| text.repeat(times))
    }

    proptest! {
        #[test]
        fn what_is_remembered_changes_no_count(text in streams(), mut cuts in prop::collection::vec(any::<usize>(), 0..10)) {
            cuts.iter_mut().for_each(|cut| *cut %= text.len() + 1);
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut produced = Produced::default();
            cuts.windows(2).for_each(|cut| produced.feed(&text[cut[0]..cut[1]]));
            let plainly = counter_of(&text);
            prop_assert_eq!((produced.counter.bytes, produced.is_more_than_text()), (plainly.bytes, plainly.more));
        }

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
