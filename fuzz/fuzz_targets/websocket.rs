//! Frames of WebSockets: however they are cut, they hold the same messages; what is read can be written and read again; and
//! what stands in them as an event is read or refused.
#![no_main]

use credentialflow_gateway::ws::{self, Message, Reader, Sender};
use credentialflow_llm::realtime::{
    Protocol, Told,
    gemini::Live,
    openai::{Asked, Realtime},
};
use libfuzzer_sys::fuzz_target;

/// The messages, written again by a server; and whether the frames were broken.
fn run(sender: Sender, bytes: &[u8], step: usize) -> (Vec<u8>, bool) {
    let (mut reader, mut out) = (Reader::new(sender, 4096), Vec::new());
    for mut piece in bytes.chunks(step) {
        while !piece.is_empty() {
            let Ok((n, message)) = reader.read(piece) else { return (out, true) };
            let ended = message.is_none() && n == 0;
            if let Some(message) = message {
                ws::write(&message, None, &mut out);
                if let Message::Text(text) = message {
                    // Read as the first message and as a later one.
                    let mut set_up = Live::default();
                    let _ = set_up.said(r#"{"setup":{"model":"m"}}"#);
                    let protocols: [fn() -> Box<dyn Protocol>; 2] = [|| Box::new(Realtime), || Box::<Live>::default()];
                    for make in protocols {
                        event(&mut *make(), text, Some(make));
                    }
                    event(&mut set_up, text, None);
                }
            }
            if ended {
                return (out, false);
            }
            piece = &piece[n..];
        }
    }
    (out, false)
}

/// Reads a message of either side. `again`: what reads the message with other names in it.
fn event(protocol: &mut dyn Protocol, text: &str, again: Option<fn() -> Box<dyn Protocol>>) {
    for told in protocol.told(text) {
        if let Told::Resumable(handle) = told {
            let other = handle.replaced(text, "other");
            let told = Live::default().told(&other);
            assert!(told.iter().any(|told| matches!(told, Told::Resumable(handle) if handle.handle == "other")));
        }
    }
    let Ok(said) = protocol.said(text) else { return };
    let same: Vec<_> = said.named.iter().map(|named| named.name.as_str().into()).collect();
    assert_eq!(said.renamed(text, &same), text);
    let other: Vec<_> = said.named.iter().map(|_| "another".into()).collect();
    if let Some(again) = again {
        let renamed = again().said(&said.renamed(text, &other)).expect("it is still an event");
        assert!(renamed.named.iter().all(|named| named.name == "another"));
    }
}

// The first byte says how the rest is cut.
fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    for sender in [Sender::Client, Sender::Server] {
        let whole = run(sender, bytes, bytes.len().max(1));
        assert_eq!(run(sender, bytes, usize::from(*cut).max(1)), whole);
        assert_eq!(run(Sender::Server, &whole.0, whole.0.len().max(1)), (whole.0.clone(), false));
    }
    let _ = Asked::of_query(std::str::from_utf8(bytes).ok());
});
