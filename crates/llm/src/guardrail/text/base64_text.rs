//! Texts that are sent in base64, bare or in a `data:` address.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Where the data of a `data:` address in base64 begin (RFC 2397), and whether they are a text.
pub(in crate::guardrail) fn address(text: &str) -> Option<(usize, bool)> {
    let end = text.get(..text.len().min(128)).unwrap_or_default().find(";base64,")?;
    let head = text[..end].strip_prefix("data:")?;
    let kind = head.split_once(";charset=").map_or(head, |(kind, _)| kind);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'/' | b'_');
    let kinds = ["image/", "audio/", "video/", "application/", "text/"];
    let known = kinds.iter().any(|start| kind.starts_with(start)) && kind.len() <= 80 && kind.bytes().all(plain);
    let charset = head[kind.len()..].strip_prefix(";charset=").unwrap_or_default();
    (known && charset.len() <= 16 && charset.bytes().all(plain)).then_some((end + 8, kind.starts_with("text/")))
}

/// Either alphabet, padded or not, as providers take it.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    const ANY: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    let standard = |b: u8| match b {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    };
    let text: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).map(standard).collect();
    ANY.decode(text).ok()
}
