//! The forms a private key is handed out in: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017), SEC 1 (RFC 5915), each in DER or
//! PEM (RFC 7468). Every buffer that holds a key is wiped.

use base64::{Engine, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use zeroize::Zeroizing;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OBJECT: u8 = 0x06;
/// `rsaEncryption` (RFC 8017).
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// `id-ecPublicKey` (RFC 5480).
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// A key of PKCS #8 in the form of its own kind, with that form's name in PEM. `None`: it has none, or this is no key.
pub(crate) fn traditional(pkcs8: &[u8]) -> Option<(&'static str, Zeroizing<Vec<u8>>)> {
    let (mut body, _) = take(SEQUENCE, pkcs8)?;
    (_, body) = take(INTEGER, body)?;
    let (algorithm, body) = take(SEQUENCE, body)?;
    let (kind, parameters) = take(OBJECT, algorithm)?;
    let (key, _) = take(OCTETS, body)?;
    if kind == RSA {
        return Some(("RSA PRIVATE KEY", Zeroizing::new(key.to_vec())));
    }
    if kind != EC {
        return None;
    }
    // The curve stands outside in PKCS #8, and inside in the other form.
    let (fields, _) = take(SEQUENCE, key)?;
    let (version, rest) = take(INTEGER, fields)?;
    let (number, rest) = take(OCTETS, rest)?;
    let rest = take(0xa0, rest).map_or(rest, |(_, after)| after);
    let mut whole = Zeroizing::new(Vec::with_capacity(key.len() + parameters.len() + 16));
    whole.extend_from_slice(&tagged(INTEGER, version));
    whole.extend_from_slice(&tagged(OCTETS, number));
    whole.extend_from_slice(&tagged(0xa0, parameters));
    whole.extend_from_slice(rest);
    Some(("EC PRIVATE KEY", tagged(SEQUENCE, &whole)))
}

/// A key of PKCS #8 in its first version (RFC 5208): without the public key that the second may have, which OpenSSL 3.0
/// and older do not read. `None`: this is no key.
pub(crate) fn first_version(pkcs8: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (body, _) = take(SEQUENCE, pkcs8)?;
    let (_, body) = take(INTEGER, body)?;
    let (algorithm, body) = take(SEQUENCE, body)?;
    let (key, _) = take(OCTETS, body)?;
    let mut whole = Zeroizing::new(Vec::with_capacity(pkcs8.len()));
    whole.extend_from_slice(&tagged(INTEGER, &[0]));
    whole.extend_from_slice(&tagged(SEQUENCE, algorithm));
    whole.extend_from_slice(&tagged(OCTETS, key));
    Some(tagged(SEQUENCE, &whole))
}

/// DER as PEM, without an end of line at the end.
pub(crate) fn pem(label: &str, der: &[u8]) -> SecretValue {
    let text = Zeroizing::new(STANDARD.encode(der));
    let (begin, end) = (format!("-----BEGIN {label}-----\n"), format!("-----END {label}-----"));
    // Exactly large enough: a buffer that grows would leave the key behind.
    let mut out = Vec::with_capacity(begin.len() + text.len() + text.len().div_ceil(64) + end.len());
    out.extend_from_slice(begin.as_bytes());
    for line in text.as_bytes().chunks(64) {
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.extend_from_slice(end.as_bytes());
    SecretValue::new(out)
}

/// One value of DER.
pub(crate) fn tagged(tag: u8, content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(content.len() + 6));
    out.push(tag);
    let length = content.len().to_be_bytes();
    match content.len() {
        short @ 0..128 => out.push(u8::try_from(short).unwrap_or_default()),
        _ => {
            let start = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
            out.push(0x80 | u8::try_from(length.len() - start).unwrap_or_default());
            out.extend_from_slice(&length[start..]);
        }
    }
    out.extend_from_slice(content);
    out
}

/// The content of the first value, which has this tag, and what comes after it.
fn take(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<2>()?;
    if head[0] != tag {
        return None;
    }
    let (length, rest) = match head[1] {
        short @ 0..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f)).filter(|(d, _)| d.len() <= 4)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        for (length, head) in [
            (0, vec![4, 0]),
            (127, vec![4, 127]),
            (128, vec![4, 0x81, 128]),
            (256, vec![4, 0x82, 1, 0]),
            (65_536, vec![4, 0x83, 1, 0, 0]),
        ] {
            let content = vec![7; length];
            let value = tagged(4, &content);
            assert_eq!(value[..head.len()], head);
            assert_eq!(take(4, &value).unwrap(), (content.as_slice(), &[][..]));
            assert_eq!(take(5, &value), None);
            assert_eq!(take(4, &value[..value.len() - 1]), None);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (traditional(&bytes), first_version(&bytes));
            let _ = traditional(&tagged(SEQUENCE, &bytes));
        }
    }
}
