use super::*;
use proptest::prelude::*;

/// What came, as it can be kept.
fn told(message: Message<'_>) -> (char, Vec<u8>) {
    match message {
        Message::Text(text) => ('t', text.as_bytes().to_vec()),
        Message::Binary(bytes) => ('b', bytes.to_vec()),
        Message::Ping(bytes) => ('p', bytes.to_vec()),
        Message::Pong(bytes) => ('q', bytes.to_vec()),
        Message::Close(bytes) => ('c', bytes.to_vec()),
    }
}

/// All messages of bytes that come in pieces of this size.
fn run(sender: Sender, most: usize, bytes: &[u8], step: usize) -> Result<Vec<(char, Vec<u8>)>, Broken> {
    let mut reader = Reader::new(sender, most);
    let mut all = Vec::new();
    for mut piece in bytes.chunks(step.max(1)) {
        while !piece.is_empty() {
            let (n, message) = reader.read(piece)?;
            let ended = message.is_some();
            all.extend(message.map(told));
            if n == 0 && !ended {
                return Ok(all);
            }
            piece = &piece[n..];
        }
    }
    Ok(all)
}

fn from_server(bytes: &[u8]) -> Result<Vec<(char, Vec<u8>)>, Broken> {
    let whole = run(Sender::Server, 100_000, bytes, bytes.len());
    for step in [1, 2, 7] {
        assert_eq!(run(Sender::Server, 100_000, bytes, step), whole, "in steps of {step}");
    }
    whole
}

#[test]
fn messages_come_whole_with_control_frames_between_their_fragments() {
    let frames = [&[0x01, 2][..], b"he", &[0x89, 1], b"!", &[0x00, 0], &[0x80, 3], b"llo", &[0x82, 1, 0xff]].concat();
    let expect = vec![('p', b"!".to_vec()), ('t', b"hello".to_vec()), ('b', vec![0xff])];
    assert_eq!(from_server(&frames), Ok(expect));
    // After the end nothing is read any more.
    let ended = [&[0x88, 2, 3, 232][..], &[0x81, 1], b"x"].concat();
    assert_eq!(from_server(&ended), Ok(vec![('c', vec![3, 232])]));
    // Masked, as the RFC shows it.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(run(Sender::Client, 9, &hello, 3), Ok(vec![('t', b"Hello".to_vec())]));
}

#[test]
fn what_breaks_the_rules_is_refused() {
    let long = |n: u64| [&[0x82, 127][..], &n.to_be_bytes()].concat();
    for (frames, why) in [
        (vec![0xc1, 0], Broken::Reserved),
        (vec![0x91], Broken::Reserved),
        (vec![0x83, 0], Broken::Opcode),
        (vec![0x8b, 0], Broken::Opcode),
        (vec![0x81, 0x80], Broken::Mask),
        (vec![0x82, 126, 0, 125], Broken::Length),
        (long(65_535), Broken::Length),
        (long(1 << 63), Broken::Length),
        (long(100_001), Broken::TooLarge),
        (vec![0x09, 0], Broken::Control),
        (vec![0x89, 126], Broken::Control),
        (vec![0x80, 0], Broken::Fragments),
        (vec![0x01, 0, 0x81, 0], Broken::Fragments),
        (vec![0x01, 0, 0x02, 0], Broken::Fragments),
        (vec![0x81, 1, 0xff], Broken::Utf8),
        (vec![0x88, 1, 3], Broken::Close),
        (vec![0x88, 2, 3, 237], Broken::Close),
        (vec![0x88, 2, 0, 0], Broken::Close),
        (vec![0x88, 3, 3, 232, 0xff], Broken::Utf8),
    ] {
        assert_eq!(from_server(&frames), Err(why), "{frames:?}");
    }
    assert_eq!(run(Sender::Client, 9, &[0x81, 0], 2), Err(Broken::Mask));
    // Together, not each alone.
    let two = [&[0x01, 5][..], b"12345", &[0x80, 5]].concat();
    assert_eq!(run(Sender::Server, 9, &two, 3), Err(Broken::TooLarge));
    let many = [vec![0x01, 0], [0x00, 0].repeat(5000)].concat();
    assert_eq!(run(Sender::Server, 9, &many, 100), Err(Broken::Fragments));
}

#[test]
fn a_reason_is_cut_where_a_character_ends() {
    let long = close(1008, &"ä".repeat(100));
    assert_eq!((long.len(), check_close(&long)), (124, Ok(())));
    assert_eq!(close(1001, "over"), [3, 233, b'o', b'v', b'e', b'r']);
}

#[test]
fn large_messages_are_not_kept() {
    let mut reader = Reader::new(Sender::Server, 1 << 20);
    let mut frame = Vec::new();
    write(&Message::Binary(&[7; 500_000]), None, &mut frame);
    assert!(matches!(reader.read(&frame), Ok((n, Some(Message::Binary(_)))) if n == frame.len()));
    assert!(reader.memory() >= 500_000);
    reader.read(&[]).unwrap();
    assert!(reader.memory() == 0 && reader.is_between_messages());
}

proptest! {
    #[test]
    fn what_is_written_is_read(payload in prop::collection::vec(any::<u8>(), 0..70_000), mask in any::<Option<[u8; 4]>>(), step in 1usize..5000) {
        let sender = if mask.is_some() { Sender::Client } else { Sender::Server };
        let mut bytes = Vec::new();
        write(&Message::Binary(&payload), mask, &mut bytes);
        write(&Message::Ping(&payload[..payload.len().min(125)]), mask, &mut bytes);
        let got = run(sender, 70_000, &bytes, step).unwrap();
        prop_assert_eq!(&got[0], &('b', payload.clone()));
        prop_assert_eq!(&got[1].1, &payload[..payload.len().min(125)]);
    }

    #[test]
    fn any_bytes_are_taken_and_pieces_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..20) {
        for sender in [Sender::Client, Sender::Server] {
            let whole = run(sender, 200, &bytes, bytes.len());
            prop_assert_eq!(run(sender, 200, &bytes, step), whole);
        }
    }
}

#[test]
fn a_handshake_is_answered_as_the_protocol_says() {
    // As RFC 6455 shows it, 1.3.
    assert_eq!(accept(b"dGhlIHNhbXBsZSBub25jZQ==").as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    for wrong in [&b""[..], b"AAAA", b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZSBub25jZQ===", b"\xff"] {
        assert_eq!(accept(wrong), None);
    }
}
