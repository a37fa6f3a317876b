//! Frames of WebSockets: however they are cut, they hold the same messages; what is read can be written and read again; and
//! what stands in them as an event is read or refused.
#![no_main]

use credentialflow_gateway::ws::{self, Message, Reader, Sender};
use credentialflow_llm::realtime::{Asked, said::Said, told::Told};
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
                    Told::read(text);
                    if let Ok(said) = Said::read(text) {
                        let same: Vec<_> = said.named.iter().map(|named| named.model.as_str().into()).collect();
                        assert_eq!(said.renamed(text, &same), text);
                        let other: Vec<_> = said.named.iter().map(|_| "another".into()).collect();
                        let renamed = Said::read(&said.renamed(text, &other)).expect("it is still an event");
                        assert!(renamed.named.iter().all(|named| named.model == "another"));
                    }
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
