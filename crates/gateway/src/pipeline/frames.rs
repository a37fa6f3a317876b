//! WebSocket frames on their way to the caller (RFC 6455, 5.2): secrets are taken out of messages, also
//! when one is spread over several frames. Behind the step that takes out the injected credential messages are looked at
//! for other live secrets of ours, as answers are; control frames are not.
//!
//! Frames keep their lengths, so their heads pass as they are. What may be the beginning of a secret
//! waits for the rest of its message, and with it the heads and control frames that come after it; a
//! message that is complete holds nothing back. Compressed messages are not looked into: the gateway
//! does not let compression be agreed on unless told to.

use super::scrub::Scrub;
use std::collections::VecDeque;

/// Frames that may wait for the rest of a message; more are sent only to get round the search.
const MOST_WAITING: usize = 256;
/// Payload of a control frame (RFC 6455, 5.5).
const LONGEST_CONTROL: u64 = 125;

/// Who looks at messages once the injected credential is out of them.
pub(super) trait Looks {
    /// Whether anything is looked for.
    fn looks(&self) -> bool;

    /// Passes a piece of a message on to `out`, in the end as long as it came.
    fn pass(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8]));

    /// The message is over: what waited passes.
    fn end(&mut self, out: &mut impl FnMut(&[u8]));
}

/// The frames of one connection.
pub(super) struct Frames {
    /// Of messages.
    scrub: Scrub,
    /// Of control frames, which may come between the frames of a message.
    control: Scrub,
    /// The head that is being read.
    head: Vec<u8>,
    frame: Frame,
    /// What stands before the next payload that goes out, in order.
    waiting: VecDeque<Waiting>,
}

/// The frame whose payload is being read.
#[derive(Clone, Copy, Default)]
struct Frame {
    /// Payload still to come.
    left: u64,
    is_control: bool,
    ends_message: bool,
}

enum Waiting {
    /// Payload of a message, so many bytes; its head has gone out when it is the first.
    Payload { head: Vec<u8>, left: u64 },
    /// A whole control frame, or what there is of it.
    Control(Vec<u8>),
}

/// The frames are not followed any further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Too many frames wait for the rest of a message.
    TooManyWaiting,
    /// A control frame that must wait is longer than 125 bytes or in fragments (RFC 6455, 5.5).
    ControlFrame,
}

impl Frames {
    /// From the first frame on.
    pub fn new(scrub: Scrub) -> Self {
        Self {
            control: scrub.another(),
            scrub,
            head: Vec::with_capacity(14),
            frame: Frame::default(),
            waiting: VecDeque::new(),
        }
    }

    /// What took secrets out.
    pub fn scrubs(&self) -> [&Scrub; 2] {
        [&self.scrub, &self.control]
    }

    /// Passes bytes on to `out`.
    pub fn feed(&mut self, mut bytes: &[u8], guard: &mut impl Looks, out: &mut Vec<u8>) -> Result<(), Broken> {
        if self.scrub.is_idle() && !guard.looks() {
            out.extend_from_slice(bytes);
            return Ok(());
        }
        while let Some(first) = bytes.first() {
            if self.frame.left == 0 {
                self.head.push(*first);
                bytes = &bytes[1..];
                if let Some(length) = payload_length(&self.head) {
                    self.begin(length, guard, out)?;
                }
                continue;
            }
            let n = usize::try_from(self.frame.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(n);
            self.frame.left -= n as u64;
            self.payload(payload, guard, out);
            bytes = rest;
        }
        Ok(())
    }

    /// Nothing more comes; what waited is passed on.
    pub fn finish(&mut self, guard: &mut impl Looks, out: &mut Vec<u8>) {
        self.end_message(guard, out);
        self.end_control(out);
        for left in self.waiting.drain(..) {
            let (Waiting::Payload { head, .. } | Waiting::Control(head)) = left;
            out.extend_from_slice(&head);
        }
        out.append(&mut self.head);
    }

    fn begin(&mut self, length: u64, guard: &mut impl Looks, out: &mut Vec<u8>) -> Result<(), Broken> {
        let head = std::mem::take(&mut self.head);
        let opcode = head[0] & 0x0f;
        self.frame = Frame { left: length, is_control: opcode >= 8, ends_message: head[0] & 0x80 != 0 };
        let waits = !self.waiting.is_empty();
        // One that waits is kept whole, so it must be what the protocol allows.
        if waits && self.frame.is_control && (length > LONGEST_CONTROL || !self.frame.ends_message) {
            return Err(Broken::ControlFrame);
        }
        if self.waiting.len() >= MOST_WAITING {
            return Err(Broken::TooManyWaiting);
        }
        if !waits {
            out.extend_from_slice(&head);
        }
        let head = if waits { head } else { Vec::new() };
        if self.frame.is_control {
            if waits {
                self.waiting.push_back(Waiting::Control(head));
            }
        } else if length > 0 || waits {
            self.waiting.push_back(Waiting::Payload { head, left: length });
        }
        if length == 0 {
            self.end_frame(guard, out);
        }
        Ok(())
    }

    fn payload(&mut self, payload: &[u8], guard: &mut impl Looks, out: &mut Vec<u8>) {
        if self.frame.is_control {
            let to = last_control(&mut self.waiting).unwrap_or(out);
            self.control.feed(payload, &mut |b| to.extend_from_slice(b));
        } else {
            let waiting = &mut self.waiting;
            self.scrub.feed(payload, &mut |b| guard.pass(b, &mut |b| release(waiting, b, out)));
        }
        if self.frame.left == 0 {
            self.end_frame(guard, out);
        }
    }

    fn end_frame(&mut self, guard: &mut impl Looks, out: &mut Vec<u8>) {
        if self.frame.is_control {
            self.end_control(out);
        } else if self.frame.ends_message {
            self.end_message(guard, out);
        }
    }

    fn end_control(&mut self, out: &mut Vec<u8>) {
        let to = last_control(&mut self.waiting).unwrap_or(out);
        self.control.finish(&mut |b| to.extend_from_slice(b));
    }

    fn end_message(&mut self, guard: &mut impl Looks, out: &mut Vec<u8>) {
        let waiting = &mut self.waiting;
        self.scrub.finish(&mut |b| guard.pass(b, &mut |b| release(waiting, b, out)));
        guard.end(&mut |b| release(waiting, b, out));
        release(waiting, &[], out);
    }
}

/// Where the control frame that is being read goes, if it has to wait.
fn last_control(waiting: &mut VecDeque<Waiting>) -> Option<&mut Vec<u8>> {
    match waiting.back_mut() {
        Some(Waiting::Control(frame)) => Some(frame),
        _ => None,
    }
}

/// Sends payload of a message and what stands before and directly behind it.
fn release(waiting: &mut VecDeque<Waiting>, mut payload: &[u8], out: &mut Vec<u8>) {
    loop {
        match waiting.front_mut() {
            Some(Waiting::Payload { head, left }) => {
                out.append(head);
                let n = usize::try_from(*left).unwrap_or(usize::MAX).min(payload.len());
                out.extend_from_slice(&payload[..n]);
                payload = &payload[n..];
                *left -= n as u64;
                if *left > 0 {
                    return;
                }
            }
            Some(Waiting::Control(frame)) => out.append(frame),
            None => return,
        }
        waiting.pop_front();
    }
}

/// The length of the payload, once the head is complete.
pub(super) fn payload_length(head: &[u8]) -> Option<u64> {
    let second = head.get(1)?;
    let short = second & 0x7f;
    let long = match short {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mask = if second & 0x80 == 0 { 0 } else { 4 };
    if head.len() < 2 + long + mask {
        return None;
    }
    let length = head[2..2 + long].iter().fold(0, |n, b| n << 8 | u64::from(*b));
    Some(if long == 0 { u64::from(short) } else { length })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"hunter22";

    struct Nobody;

    impl Looks for Nobody {
        fn looks(&self) -> bool {
            false
        }

        fn pass(&mut self, piece: &[u8], out: &mut impl FnMut(&[u8])) {
            out(piece);
        }

        fn end(&mut self, _: &mut impl FnMut(&[u8])) {}
    }

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            n @ 0..126 => frame.push(n as u8),
            n @ 126..65536 => frame.extend([126, (n >> 8) as u8, n as u8]),
            n => {
                frame.push(127);
                frame.extend((n as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    /// Bytes that came, and bytes that would pass if nothing more came.
    fn run(pieces: &[&[u8]]) -> Vec<u8> {
        let mut frames = Frames::new(Scrub::new(SECRET));
        let mut out = Vec::new();
        for piece in pieces {
            frames.feed(piece, &mut Nobody, &mut out).unwrap();
        }
        out
    }

    fn check(stream: &[u8], expect: &[u8]) {
        for step in [1, 2, 3, 5, 1000] {
            let pieces: Vec<&[u8]> = stream.chunks(step).collect();
            assert_eq!(String::from_utf8_lossy(&run(&pieces)), String::from_utf8_lossy(expect), "in steps of {step}");
        }
    }

    #[test]
    fn frames_pass_and_a_complete_message_holds_nothing_back() {
        for payload in [b"".as_slice(), b"hello", b"hunter2", &[7; 300], &[7; 70_000]] {
            check(&frame(0x81, payload), &frame(0x81, payload));
        }
        check(&frame(0x81, b"<hunter22>"), &frame(0x81, b"<********>"));
        // Masked, which only callers do: the length is still understood.
        check(&[0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c'], &[0x81, 0x83, 1, 2, 3, 4, b'a', b'b', b'c']);
    }

    #[test]
    fn a_secret_over_several_frames() {
        let stream = [frame(1, b"<hun"), frame(0, b""), frame(0, b"te"), frame(0x80, b"r22>")].concat();
        let expect = [frame(1, b"<***"), frame(0, b""), frame(0, b"**"), frame(0x80, b"***>")].concat();
        check(&stream, &expect);
        let stream = [frame(1, b"<hun"), frame(0x89, b"ping"), frame(0x80, b"ter22>")].concat();
        let expect = [frame(1, b"<***"), frame(0x89, b"ping"), frame(0x80, b"*****>")].concat();
        check(&stream, &expect);
        // The ends of two messages are no beginning of a secret.
        let stream = [frame(0x81, b"hunter"), frame(0x81, b"22")].concat();
        check(&stream, &stream);
        check(&frame(0x89, b"hunter22"), &frame(0x89, b"********"));
    }

    #[test]
    fn what_waits_is_bounded_and_passed_on_at_the_end() {
        let mut frames = Frames::new(Scrub::new(SECRET));
        let mut out = Vec::new();
        let began = [frame(1, b"hunter"), frame(0x89, b"p"), vec![0, 5]].concat();
        frames.feed(&began, &mut Nobody, &mut out).unwrap();
        assert_eq!(out, [1, 6]);
        frames.finish(&mut Nobody, &mut out);
        assert_eq!(out, began);
        let mut frames = Frames::new(Scrub::new(SECRET));
        frames.feed(&frame(1, b"h"), &mut Nobody, &mut out).unwrap();
        let pings = frame(0x89, b"").repeat(1000);
        assert_eq!(frames.feed(&pings, &mut Nobody, &mut out), Err(Broken::TooManyWaiting));
    }

    #[test]
    fn control_frames_that_wait_are_short_and_whole() {
        let long = |first: u8, length: u64| [&[first, 127][..], &length.to_be_bytes()].concat();
        for bad in [long(0x89, 1 << 40), long(0x8a, 126), long(0x88, 1 << 63), frame(0x09, b"ping"), frame(0x09, b"")] {
            let mut frames = Frames::new(Scrub::new(SECRET));
            let mut out = Vec::new();
            frames.feed(&frame(1, b"<h"), &mut Nobody, &mut out).unwrap();
            let told = out.len();
            assert_eq!(frames.feed(&bad, &mut Nobody, &mut out), Err(Broken::ControlFrame), "{bad:?}");
            assert_eq!(out.len(), told);
            // Where nothing waits it passes as it comes, and nothing is kept.
            let mut frames = Frames::new(Scrub::new(SECRET));
            let mut out = Vec::new();
            frames.feed(&[&bad[..], &[7; 64]].concat(), &mut Nobody, &mut out).unwrap();
            assert!(out.len() > bad.len() && frames.waiting.len() <= 1);
        }
        check(&frame(0x89, &[7; 125]), &frame(0x89, &[7; 125]));
        let stream = [frame(1, b"<h"), frame(0x89, &[7; 125]), frame(0x80, b"unt>")].concat();
        check(&stream, &stream);
    }

    proptest! {
        #[test]
        fn no_cut_lets_a_secret_through_and_all_else_passes(
            parts in prop::collection::vec("[hunter2<>]{0,9}", 1..5), cuts in prop::collection::vec(0usize..80, 0..8), ping in 0usize..5,
        ) {
            let (mut stream, mut is_message) = (Vec::new(), Vec::new());
            for (i, part) in parts.iter().enumerate() {
                let part = if i == 1 { format!("{part}hunter22") } else { part.clone() };
                let first = if i == 0 { 1 } else { 0 } | if i + 1 == parts.len() { 0x80 } else { 0 };
                stream.extend(frame(first, part.as_bytes()));
                is_message.extend([false; 2]);
                is_message.resize(stream.len(), true);
                if i == ping && i + 1 < parts.len() {
                    stream.extend(frame(0x89, b"ping"));
                    is_message.resize(stream.len(), false);
                }
            }
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect();
            let got = run(&pieces);
            prop_assert_eq!(got.len(), stream.len());
            for (a, b) in got.iter().zip(&stream) {
                prop_assert!(a == b || *a == b'*');
            }
            let message: Vec<u8> = got.iter().zip(&is_message).filter(|(_, is)| **is).map(|(b, _)| *b).collect();
            prop_assert!(memchr::memmem::find(&message, SECRET).is_none());
        }
    }
}
