//! Live secrets of ours in what callers send over a WebSocket: the payload of its frames (RFC 6455, 5.2), unmasked aside.
//!
//! All payload is one text to the search, so a secret in fragments is found too. What passes stays as it is: where secrets
//! are refused, the bytes that hold the end of one do not go on, and the connection ends. Compressed messages hold nothing
//! that can be read; the gateway does not let compression be agreed on unless told to.

use super::UploadGuard;
use crate::pipeline::frames;

/// Longest head of a frame.
const HEAD: usize = 14;

/// Follows the frames that a caller sends.
pub(in crate::pipeline) struct CallerMessages {
    guard: UploadGuard,
    head: Vec<u8>,
    /// Payload still to come.
    left: u64,
    mask: [u8; 4],
    /// Where in the mask the next byte of payload stands.
    at: usize,
    plain: Vec<u8>,
}

impl CallerMessages {
    /// From the first frame on.
    pub fn new(guard: UploadGuard) -> Self {
        Self { guard, head: Vec::with_capacity(HEAD), left: 0, mask: [0; 4], at: 0, plain: Vec::new() }
    }

    /// Looks at the next bytes. True: they must not go on.
    pub fn stops(&mut self, mut bytes: &[u8]) -> bool {
        self.plain.clear();
        while let Some(first) = bytes.first() {
            if self.left == 0 {
                self.head.push(*first);
                bytes = &bytes[1..];
                if let Some(length) = frames::payload_length(&self.head) {
                    self.begin(length);
                }
                continue;
            }
            let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let (payload, rest) = bytes.split_at(n);
            let mask = self.mask.iter().cycle().skip(self.at);
            self.plain.extend(payload.iter().zip(mask).map(|(byte, mask)| byte ^ mask));
            self.at = (self.at + n) % self.mask.len();
            self.left -= n as u64;
            bytes = rest;
        }
        self.guard.stops(&self.plain)
    }

    /// What tells of what was met.
    pub fn guard(&mut self) -> &mut UploadGuard {
        &mut self.guard
    }

    fn begin(&mut self, length: u64) {
        let masked = self.head[1] & 0x80 != 0;
        let end = self.head.len();
        self.mask = match self.head.get(end.saturating_sub(4)..) {
            Some(&[a, b, c, d]) if masked => [a, b, c, d],
            _ => [0; 4],
        };
        self.left = length;
        self.at = 0;
        self.head.clear();
    }
}
