//! AWS Signature Version 4: what proves to AWS who asks, and the access keys it is made with.
//!
//! Bytes in, bytes out: no clock, no socket. HMAC-SHA-256 and SHA-256 are aws-lc-rs's.
//! Reference: "Create a signed AWS API request" in AWS's documentation.

mod access_key;
mod canonical;

pub use access_key::AccessKey;

use aws_lc_rs::{digest, hmac};
use canonical::{path, query};
use credentialflow_model::{SecretValue, Timestamp};
use std::fmt::Write;
use zeroize::Zeroizing;

/// What follows the head of a request.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// Bytes that are not signed. Only some services take that, and then a header says so ([`UNSIGNED`]).
    Unsigned,
}

/// What stands in place of a payload's hash where it is not signed.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// A request that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct ToSign<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as it is sent.
    pub path: &'a str,
    /// The query as it is sent, without its `?`; empty for none.
    pub query: &'a str,
    /// The service's name in the scope, as in `kms`.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// When, as [`time`] writes it.
    pub time: &'a str,
    /// Names in lower case, sorted; values as they are sent, without spaces at their ends.
    pub headers: &'a [(&'a str, &'a str)],
    /// What follows the head.
    pub payload: Payload<'a>,
}

/// The value of `Authorization`.
pub fn authorization(access_key_id: &str, secret: &SecretValue, request: &ToSign<'_>) -> String {
    let ToSign { method, service, region, time, headers, .. } = request;
    let date = time.get(..8).unwrap_or_default();
    let scope = format!("{date}/{region}/{service}/aws4_request");
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let mut canonical = format!("{method}\n{}\n{}\n", path(request.path, is_s3(service)), query(request.query));
    for (name, value) in *headers {
        let _ = writeln!(canonical, "{name}:{value}");
    }
    let _ = write!(canonical, "\n{names}\n{}", payload_hash(request.payload));
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let first = Zeroizing::new([b"AWS4", secret.expose()].concat());
    let mut key = sign(&first, date.as_bytes());
    for part in [*region, *service, "aws4_request"] {
        key = sign(key.as_ref(), part.as_bytes());
    }
    let signature = hex(sign(key.as_ref(), text.as_bytes()).as_ref());
    format!("AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}")
}

/// The value of `x-amz-content-sha256`.
pub fn payload_hash(payload: Payload<'_>) -> String {
    match payload {
        Payload::Bytes(bytes) => sha256(bytes),
        Payload::Unsigned => UNSIGNED.to_owned(),
    }
}

/// Whether a service is S3 or its like, whose paths are signed as they are and whose payloads may be unsigned.
pub fn is_s3(service: &str) -> bool {
    service == "s3" || service.starts_with("s3-") || service == "s3express"
}

/// A time as it is signed: `20260101T120000Z`.
pub fn time(at: Timestamp) -> String {
    // `2026-01-01T12:00:00…Z`, the one form of it.
    let text = at.to_string();
    let digits = text.bytes().take(19).filter(|b| !matches!(b, b'-' | b':')).map(char::from);
    digits.chain(['Z']).collect()
}

fn sign(key: &[u8], bytes: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes)
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests;
