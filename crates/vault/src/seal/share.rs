//! One Shamir share as text a person can keep, read out and type.
//!
//! `cfs1_<set>_<number>_<payload>`, as in `cfs1_3f9a01bc_2_0c4h…`: the set (8 hexadecimal digits, the same
//! for all shares made together) and the number may be shown and logged; the payload is the 32 secret
//! bytes and a CRC-32 of everything, in Crockford's base32 (no `i`, `l`, `o`, `u`; case, spaces and
//! dashes do not matter). A typing error is found here, before anything is combined, and is told by
//! set and number alone. As bytes: a format byte, 4 of the set, the number, the 32, and the CRC-32.
//!
//! The checksum is against mistakes, not against forgers: a made-up share combines to a key that does
//! not open. Knows nothing about fields and polynomials.

use credentialflow_model::SecretValue;
use std::fmt;
use zeroize::Zeroizing;

/// Begins every share, so that scanners and people recognise one.
pub const PREFIX: &str = "cfs1_";
/// A share's length as bytes.
pub const BYTES: usize = 1 + 4 + 1 + VALUE + 4;

const FORMAT: u8 = 1;
const VALUE: usize = 32;
/// 36 bytes in groups of 5 bits.
const PAYLOAD: usize = 58;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Longer texts are not looked at.
const MAX_TEXT: usize = 256;

/// Which shares were made together: public, and new with every split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShareSet(pub [u8; 4]);

impl fmt::Display for ShareSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl ShareSet {
    /// Reads 8 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let right = text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
        right.then(|| u32::from_str_radix(text, 16).ok().map(|n| Self(n.to_be_bytes()))).flatten()
    }
}

/// One share. Shows its set and number only.
pub struct Share {
    /// Which shares it goes with.
    pub set: ShareSet,
    /// Its number in the set, from 1.
    pub number: u8,
    value: Zeroizing<[u8; VALUE]>,
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({} of set {})", self.number, self.set)
    }
}

/// What is wrong with a share. Tells its set and number, never its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// It does not look like one.
    #[error("this is not a share; one begins with cfs1_")]
    NotAShare,
    /// It looks like one and its checksum does not fit.
    #[error("share {number} of set {set} was mistyped: its checksum does not fit")]
    Mistyped {
        /// The number as it was given.
        number: u8,
        /// The set as it was given.
        set: String,
    },
    /// It was made for another split, as before the last rekey.
    #[error("share {number} belongs to set {set}, this vault opens with set {expected}")]
    OtherSet {
        /// Its number.
        number: u8,
        /// Its set.
        set: String,
        /// The set that is wanted.
        expected: String,
    },
    /// It was handed in before.
    #[error("share {number} was handed in already; another one is wanted")]
    Repeated {
        /// Its number.
        number: u8,
    },
}

impl Share {
    pub(super) fn new(set: ShareSet, number: u8, value: Zeroizing<[u8; VALUE]>) -> Self {
        Self { set, number, value }
    }

    pub(super) fn value(&self) -> &[u8; VALUE] {
        &self.value
    }

    /// Reads a share as it was typed.
    pub fn parse(text: &str) -> Result<Self, ShareError> {
        let text = text.trim();
        let rest = text.get(..PREFIX.len()).filter(|p| p.eq_ignore_ascii_case(PREFIX)).map(|_| &text[PREFIX.len()..]);
        let rest = rest.filter(|_| text.len() <= MAX_TEXT).ok_or(ShareError::NotAShare)?;
        let mut parts = rest.splitn(3, '_');
        let (Some(set), Some(number), Some(payload)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(ShareError::NotAShare);
        };
        let set = ShareSet::parse(set).ok_or(ShareError::NotAShare)?;
        let digits = (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse::<u8>().ok().filter(|n| digits && *n > 0).ok_or(ShareError::NotAShare)?;
        let mistyped = || ShareError::Mistyped { number, set: set.to_string() };
        let bytes = decode(payload.as_bytes()).ok_or_else(mistyped)?;
        Self::checked(set, number, &bytes).ok_or_else(mistyped)
    }

    /// Reads a share from its [`BYTES`] bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ShareError> {
        let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| ShareError::NotAShare)?;
        let set = ShareSet([bytes[1], bytes[2], bytes[3], bytes[4]]);
        let number = bytes[5];
        if bytes[0] != FORMAT || number == 0 {
            return Err(ShareError::NotAShare);
        }
        let mut rest = Zeroizing::new([0u8; VALUE + 4]);
        rest.copy_from_slice(&bytes[6..]);
        Self::checked(set, number, &rest).ok_or_else(|| ShareError::Mistyped { number, set: set.to_string() })
    }

    fn checked(set: ShareSet, number: u8, rest: &[u8; VALUE + 4]) -> Option<Self> {
        let mut value = Zeroizing::new([0u8; VALUE]);
        value.copy_from_slice(&rest[..VALUE]);
        let share = Self { set, number, value };
        (share.checksum() == rest[VALUE..]).then_some(share)
    }

    /// The share as text, to be shown once.
    pub fn to_text(&self) -> SecretValue {
        let mut payload = Zeroizing::new([0u8; VALUE + 4]);
        payload[..VALUE].copy_from_slice(&*self.value);
        payload[VALUE..].copy_from_slice(&self.checksum());
        let head = format!("{PREFIX}{}_{}_", self.set, self.number);
        let mut text = Vec::with_capacity(head.len() + PAYLOAD);
        text.extend_from_slice(head.as_bytes());
        encode(&payload, &mut text);
        SecretValue::new(text)
    }

    /// The share as bytes, for interfaces that speak hexadecimal or base64.
    pub fn to_bytes(&self) -> SecretValue {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.set.0);
        bytes.push(self.number);
        bytes.extend_from_slice(&*self.value);
        bytes.extend_from_slice(&self.checksum());
        SecretValue::new(bytes)
    }

    fn checksum(&self) -> [u8; 4] {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[FORMAT]);
        crc.update(&self.set.0);
        crc.update(&[self.number]);
        crc.update(&*self.value);
        crc.finalize().to_be_bytes()
    }
}

/// Five bits a character, the first bits first, two zero bits at the end.
fn encode(bytes: &[u8; VALUE + 4], text: &mut Vec<u8>) {
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(ALPHABET[(held >> bits) as usize & 31]);
        }
        held &= (1 << bits) - 1;
    }
    text.push(ALPHABET[(held << (5 - bits)) as usize & 31]);
}

fn decode(text: &[u8]) -> Option<Zeroizing<[u8; VALUE + 4]>> {
    let mut bytes = Zeroizing::new([0u8; VALUE + 4]);
    let (mut bits, mut held, mut at, mut read) = (0u32, 0u32, 0, 0);
    for byte in text.iter().filter(|b| !matches!(b, b' ' | b'-')) {
        let digit = match byte.to_ascii_lowercase() {
            b'o' => 0,
            b'i' | b'l' => 1,
            lower => ALPHABET.iter().position(|c| *c == lower)? as u32,
        };
        held = (held << 5) | digit;
        bits += 5;
        read += 1;
        if bits >= 8 {
            bits -= 8;
            *bytes.get_mut(at)? = (held >> bits) as u8;
            at += 1;
            held &= (1 << bits) - 1;
        }
    }
    (read == PAYLOAD && held == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(number: u8) -> Share {
        Share::new(ShareSet([0x3f, 0x9a, 1, 0xbc]), number, Zeroizing::new([0xa5; VALUE]))
    }

    #[test]
    fn a_share_is_read_as_it_was_written_and_as_people_type_it() {
        let text = share(2).to_text();
        let text = text.expose_str().unwrap();
        assert!(text.starts_with("cfs1_3f9a01bc_2_"), "{text}");
        assert_eq!(text.len(), "cfs1_3f9a01bc_2_".len() + PAYLOAD);
        let (head, payload) = text.rsplit_once('_').unwrap();
        let grouped: Vec<_> = payload.as_bytes().chunks(4).map(|c| std::str::from_utf8(c).unwrap()).collect();
        for typed in [
            text.to_owned(),
            text.to_uppercase(),
            format!("  {text}\n"),
            format!("{head}_{}", grouped.join("-")),
            format!("{head}_{}", payload.replace('1', "l").replace('0', "O")),
        ] {
            let read = Share::parse(&typed).unwrap();
            assert_eq!((read.number, read.value()), (2, share(2).value()), "{typed}");
        }
        assert_eq!(format!("{:?}", share(2)), "Share(2 of set 3f9a01bc)");
    }

    #[test]
    fn what_is_no_share_is_told_apart_from_a_mistyped_one() {
        let text = share(1).to_text();
        let text = text.expose_str().unwrap();
        for none in
            ["", "cfs1_", "cfs2_3f9a01bc_1_0", "cfs1_3f9a01bc_0_0", "cfs1_3f9a01bc_256_0", "cfs1_3f9a01b_1_0", "é"]
        {
            assert_eq!(Share::parse(none).err(), Some(ShareError::NotAShare), "{none}");
        }
        let named = |number| Some(ShareError::Mistyped { number, set: "3f9a01bc".into() });
        assert_eq!(Share::parse(&text[..text.len() - 1]).err(), named(1));
        assert_eq!(Share::parse(&format!("{text}0")).err(), named(1));
        assert_eq!(Share::parse(&text.replacen("_1_", "_7_", 1)).err(), named(7));
        let told = Share::parse(&text[..text.len() - 1]).unwrap_err().to_string();
        assert_eq!(told, "share 1 of set 3f9a01bc was mistyped: its checksum does not fit");
    }

    proptest! {
        #[test]
        fn text_and_bytes_give_the_share_back(set: [u8; 4], number in 1u8..=255, value: [u8; VALUE]) {
            let share = Share::new(ShareSet(set), number, Zeroizing::new(value));
            for read in [Share::parse(share.to_text().expose_str().unwrap()), Share::from_bytes(share.to_bytes().expose())] {
                let read = read.unwrap();
                prop_assert_eq!((read.set, read.number, *read.value()), (ShareSet(set), number, value));
            }
        }

        #[test]
        fn every_wrong_character_and_every_swap_is_found(value: [u8; VALUE], at in 0usize..PAYLOAD, by in 1usize..32) {
            let text = Share::new(ShareSet([1; 4]), 3, Zeroizing::new(value)).to_text();
            let mut typed = text.expose().to_vec();
            let start = typed.len() - PAYLOAD;
            let digit = ALPHABET.iter().position(|c| *c == typed[start + at]).unwrap();
            typed[start + at] = ALPHABET[(digit + by) % 32];
            let told = Share::parse(std::str::from_utf8(&typed).unwrap()).err();
            prop_assert_eq!(told, Some(ShareError::Mistyped { number: 3, set: "01010101".to_owned() }));
            let mut swapped = text.expose().to_vec();
            if at + 1 < PAYLOAD && swapped[start + at] != swapped[start + at + 1] {
                swapped.swap(start + at, start + at + 1);
                prop_assert!(Share::parse(std::str::from_utf8(&swapped).unwrap()).is_err());
            }
        }

        #[test]
        fn any_text_and_bytes_are_survived(text in "\\PC{0,120}", bytes: Vec<u8>) {
            let _ = Share::parse(&text);
            let _ = Share::parse(&format!("cfs1_3f9a01bc_2_{text}"));
            let _ = Share::from_bytes(&bytes);
        }
    }
}
