//! Just enough DER (ITU-T X.690) to take a public key out of its envelope (RFC 5280, RFC 8017).

/// What an envelope holds.
pub(super) enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    P521(Vec<u8>),
    Ed25519(Vec<u8>),
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT: u8 = 0x06;
const VERSION: u8 = 0xa0;

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// One element: its tag, its content, all its bytes, and what follows.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
    rest: &'a [u8],
}

fn next(bytes: &[u8]) -> Option<Element<'_>> {
    let (&tag, after) = bytes.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = if first < 0x80 {
        (usize::from(first), after)
    } else {
        let count = usize::from(first & 0x7f);
        if count == 0 || count > 3 || after.len() < count {
            return None;
        }
        let (digits, after) = after.split_at(count);
        (digits.iter().fold(0usize, |sum, d| sum << 8 | usize::from(*d)), after)
    };
    if after.len() < length {
        return None;
    }
    let (content, rest) = after.split_at(length);
    Some(Element { tag, content, whole: &bytes[..bytes.len() - rest.len()], rest })
}

fn expect(bytes: &[u8], tag: u8) -> Option<Element<'_>> {
    next(bytes).filter(|e| e.tag == tag)
}

/// The key in a SubjectPublicKeyInfo.
pub(super) fn public_key(spki: &[u8]) -> Option<PublicKey> {
    let outer = expect(spki, SEQUENCE)?;
    let algorithm = expect(outer.content, SEQUENCE)?;
    let key = expect(algorithm.rest, BIT_STRING)?.content.strip_prefix(&[0])?;
    let kind = expect(algorithm.content, OBJECT)?;
    match kind.content {
        RSA => rsa_public_key(key).map(|(n, e)| PublicKey::Rsa { n, e }),
        ED25519 => (key.len() == 32).then(|| PublicKey::Ed25519(key.to_vec())),
        EC => {
            // Uncompressed points only.
            let point = (key.first() == Some(&4)).then(|| key.to_vec())?;
            match expect(kind.rest, OBJECT)?.content {
                P256 => Some(PublicKey::P256(point)),
                P384 => Some(PublicKey::P384(point)),
                P521 => Some(PublicKey::P521(point)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Modulus and exponent of an RSAPublicKey.
pub(crate) fn rsa_public_key(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let outer = expect(bytes, SEQUENCE)?;
    let n = expect(outer.content, INTEGER)?;
    let e = expect(n.rest, INTEGER)?;
    Some((n.content.to_vec(), e.content.to_vec()))
}

/// The SubjectPublicKeyInfo of a certificate.
pub(super) fn spki_of_certificate(certificate: &[u8]) -> Option<&[u8]> {
    let outer = expect(certificate, SEQUENCE)?;
    let mut rest = expect(outer.content, SEQUENCE)?.content;
    if let Some(version) = expect(rest, VERSION) {
        rest = version.rest;
    }
    // Serial number, signature algorithm, issuer, validity, subject.
    for _ in 0..5 {
        rest = next(rest)?.rest;
    }
    expect(rest, SEQUENCE).map(|e| e.whole)
}
