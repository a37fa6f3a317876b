//! What is said in Responses and back is what it was.

use super::*;
use crate::translate::tests_chats::{chats, completions, streamed};
use proptest::prelude::*;

/// With arguments read, and without what is null.
fn loosened(mut message: Value) -> Value {
    for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        call["function"]["arguments"] = arguments;
    }
    message.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    message
}

proptest! {
    #[test]
    fn a_chat_said_in_responses_and_back_is_the_same(mut chat in chats()) {
        chat.as_object_mut().unwrap().remove("stop");
        let there = translated(&chat, Dialect::OpenAi, Dialect::Responses).unwrap();
        let mut back = translated(&there, Dialect::Responses, Dialect::OpenAi).unwrap();
        chat["model"] = "other".into();
        for call in [&mut back, &mut chat] {
            for message in call["messages"].as_array_mut().unwrap() {
                *message = loosened(message.take());
            }
        }
        prop_assert_eq!(back, chat);
    }

    #[test]
    fn an_answer_said_in_responses_and_back_is_the_same(mut completion in completions()) {
        let there = answer(Dialect::OpenAi, Dialect::Responses).whole(completion.to_string().as_bytes()).unwrap();
        let back = answer(Dialect::Responses, Dialect::OpenAi).whole(&there).unwrap();
        let mut back: Value = serde_json::from_slice(&back).unwrap();
        for answer in [&mut back, &mut completion] {
            let message = answer["choices"][0]["message"].take();
            answer["choices"][0]["message"] = loosened(message);
        }
        prop_assert_eq!(back, completion);
    }

    #[test]
    fn an_answer_said_in_gemini_on_the_way_is_the_same(completion in completions(), piece in 1..9usize) {
        let direct = answer(Dialect::OpenAi, Dialect::Responses);
        let (there, onward) = (answer(Dialect::OpenAi, Dialect::Gemini), answer(Dialect::Gemini, Dialect::Responses));
        let expect = whole(&direct, &completion);
        let got = whole(&onward, &whole(&there, &completion));
        prop_assert_eq!(&got["output"], &expect["output"]);
        for field in ["id", "model", "status", "incomplete_details"] {
            prop_assert_eq!(&got[field], &expect[field]);
        }
        for field in ["input_tokens", "output_tokens", "total_tokens"] {
            prop_assert_eq!(&got["usage"][field], &expect["usage"][field]);
        }
        let (stream, failure) = relayed(&there, &[streamed(&completion, piece).as_bytes()]);
        prop_assert_eq!(failure, None);
        let (stream, failure) = relayed(&onward, &stream.as_bytes().chunks(piece * 9).collect::<Vec<_>>());
        prop_assert_eq!(failure, None);
        let events = events(&stream);
        prop_assert_eq!(&events.last().unwrap()["response"], &got);
        prop_assert_eq!(&json!(gathered(&events)), &got["output"]);
    }

    #[test]
    fn a_stream_adds_up_to_the_whole_answer(
        completion in completions(), piece in 1..9usize, mut cuts in prop::collection::vec(any::<usize>(), 0..10)
    ) {
        let answer = answer(Dialect::OpenAi, Dialect::Responses);
        let whole = whole(&answer, &completion);
        let stream = streamed(&completion, piece);
        let bytes = stream.as_bytes();
        let (at_once, _) = relayed(&answer, &[bytes]);
        let events = events(&at_once);
        prop_assert_eq!(&events.last().unwrap()["response"], &whole);
        prop_assert_eq!(&json!(gathered(&events)), &whole["output"]);
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&relayed(&answer, &pieces).0, &at_once);
        prop_assert_eq!(&relayed(&answer, &bytes.chunks(1).collect::<Vec<_>>()).0, &at_once);
        // And back into all others: nothing is wrong with it.
        for into in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
            let (_, failure) = relayed(&self::answer(Dialect::Responses, into), &[at_once.as_bytes()]);
            prop_assert_eq!(failure, None);
        }
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            for other in [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini] {
                let _ = request(body, Dialect::Responses, other);
                let _ = request(body, other, Dialect::Responses);
                for answer in [answer(Dialect::Responses, other), answer(other, Dialect::Responses)] {
                    answer.whole(body);
                    answer.error(500, body);
                    relayed(&answer, &body.chunks(7).collect::<Vec<_>>());
                    relayed(&answer, &[b"data: ", body, b"\n\n"]);
                }
            }
        }
    }
}
