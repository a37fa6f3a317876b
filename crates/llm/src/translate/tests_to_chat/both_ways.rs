//! What is said in Messages and back is what it was.

use super::{
    streams::{gathered, relayed},
    *,
};
use crate::translate::tests_chats::{chats, completions, streamed};
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_chat_said_in_messages_and_back_is_the_same(chat in chats()) {
        let there = to_messages(&chat).unwrap();
        let mut back = translated(&there).unwrap();
        let mut expect = chat;
        // What a budget for thinking is when there is room for it.
        if there.get("thinking").is_none() {
            expect.as_object_mut().unwrap().remove("reasoning_effort");
        } else {
            let effort = |budget: u64| if budget >= 16_384 { "high" } else if budget >= 8192 { "medium" } else { "low" };
            expect["reasoning_effort"] = effort(there["thinking"]["budget_tokens"].as_u64().unwrap()).into();
        }
        for message in expect["messages"].as_array_mut().unwrap().iter_mut().chain(back["messages"].as_array_mut().unwrap()) {
            for call in message["tool_calls"].as_array_mut().into_iter().flatten() {
                let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                call["function"]["arguments"] = arguments;
            }
            message.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        prop_assert_eq!(back, expect);
    }

    #[test]
    fn an_answer_said_in_messages_and_back_is_the_same(completion in completions()) {
        let there = answer().whole(completion.to_string().as_bytes()).unwrap();
        let mut back: Value = serde_json::from_slice(&chat_answer().whole(&there).unwrap()).unwrap();
        let mut expect = completion;
        for answer in [&mut back, &mut expect] {
            for call in answer["choices"][0]["message"]["tool_calls"].as_array_mut().into_iter().flatten() {
                let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                call["function"]["arguments"] = arguments;
            }
        }
        prop_assert_eq!(back, expect);
    }

    #[test]
    fn a_stream_adds_up_to_the_whole_answer(
        completion in completions(), piece in 1..9usize, mut cuts in prop::collection::vec(any::<usize>(), 0..10)
    ) {
        let whole = answer().whole(completion.to_string().as_bytes()).unwrap();
        let stream = streamed(&completion, piece);
        let bytes = stream.as_bytes();
        let at_once = relayed(&[bytes]);
        prop_assert_eq!(gathered(&at_once), serde_json::from_slice::<Value>(&whole).unwrap());
        cuts.iter_mut().for_each(|c| *c %= bytes.len() + 1);
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(&relayed(&pieces), &at_once);
        prop_assert_eq!(&relayed(&bytes.chunks(1).collect::<Vec<_>>()), &at_once);
        // And back into a chat: the same words.
        let (mut stream, mut out) = (chat_answer().stream(), Vec::new());
        stream.feed(at_once.as_bytes(), &mut out);
        stream.finish(&mut out);
        prop_assert_eq!(stream.failure(), None);
    }

    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[\\[\\]{}\",:a-z0-9 ]{0,60}") {
        for body in [&bytes[..], text.as_bytes()] {
            let _ = request(body);
            answer().whole(body);
            answer().error(500, body);
            relayed(&body.chunks(7).collect::<Vec<_>>());
            relayed(&[b"data: ", body, b"\n\n"]);
        }
    }
}
