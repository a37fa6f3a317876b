//! Who signs GitHub's reports: the secret scanning partner programme's ECDSA P-256 keys.
//!
//! The keys are fetched from the configured address, kept for an hour and, while that address does not answer, for a
//! day. A key nobody knows makes them be fetched anew at most once a minute, so that strangers cannot make this server
//! ask again and again.

use crate::{
    AdminState,
    error::{ApiError, Code},
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use serde::Deserialize;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

const FRESH: Duration = Duration::from_secs(3600);
const KEPT: Duration = Duration::from_secs(86_400);
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Largest document of keys, in bytes, and most keys taken from it.
const LARGEST: usize = 256 * 1024;
const MOST: usize = 100;
/// What stands before the 65 bytes of an uncompressed P-256 point in a SubjectPublicKeyInfo (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The keys fetched last.
#[derive(Default)]
pub(super) struct Signers(Mutex<Known>);

#[derive(Default)]
struct Known {
    url: String,
    fetched: Option<Instant>,
    tried: Option<Instant>,
    keys: HashMap<String, Vec<u8>>,
}

#[derive(Deserialize)]
struct Document {
    public_keys: Vec<PublicKey>,
}

#[derive(Deserialize)]
struct PublicKey {
    key_identifier: String,
    key: String,
}

impl Signers {
    /// Checks that a body was signed as its headers say, by one of the keys found at `url`.
    pub(super) async fn check(
        &self,
        state: &AdminState,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), ApiError> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let (Some(id), Some(signature)) = (text("github-public-key-identifier"), text("github-public-key-signature"))
        else {
            return Err(refused());
        };
        let signature = STANDARD.decode(signature).map_err(|_| refused())?;
        if id.len() > 256 || signature.len() > 256 {
            return Err(refused());
        }
        let point = self.key(state, url, id).await?.ok_or_else(refused)?;
        if signed(&point, body, &signature) { Ok(()) } else { Err(refused()) }
    }

    async fn key(&self, state: &AdminState, url: &str, id: &str) -> Result<Option<Vec<u8>>, ApiError> {
        let mut known = self.0.lock().await;
        if known.url != url {
            *known = Known { url: url.to_owned(), ..Known::default() };
        }
        let age = known.fetched.map(|at| at.elapsed());
        let may_ask = known.tried.is_none_or(|at| at.elapsed() >= ASK_AGAIN);
        let stale = age.is_none_or(|age| age >= FRESH);
        if may_ask && (stale || !known.keys.contains_key(id)) {
            known.tried = Some(Instant::now());
            match fetch(state, url).await {
                Ok(keys) => (known.keys, known.fetched) = (keys, Some(Instant::now())),
                Err(why) => tracing::warn!(url, why, "the keys under which GitHub signs could not be fetched"),
            }
        }
        if known.fetched.is_none_or(|at| at.elapsed() >= KEPT) {
            return Err(ApiError::new(
                Code::SignerUnavailable,
                "the keys under which reports are signed are not known",
            )
            .hint("nothing was looked at; send it again")
            .retry_after(ASK_AGAIN.as_secs()));
        }
        Ok(known.keys.get(id).cloned())
    }
}

/// Whether the key of this point has signed these bytes (ECDSA with SHA-256, the signature in ASN.1).
fn signed(point: &[u8], body: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify(body, signature).is_ok()
}

fn refused() -> ApiError {
    ApiError::new(Code::SignatureRefused, "the report is not signed by a key that counts here")
}

async fn fetch(state: &AdminState, url: &str) -> Result<HashMap<String, Vec<u8>>, String> {
    let fetcher = state.settings.fetch.as_ref().ok_or("this server fetches nothing")?;
    let text = fetcher.get(url, LARGEST).await?;
    read(&text).ok_or_else(|| "the answer holds no ECDSA P-256 key".to_owned())
}

/// The keys of a document; `None` when there is none.
fn read(text: &[u8]) -> Option<HashMap<String, Vec<u8>>> {
    let document: Document = serde_json::from_slice(text).ok()?;
    let keys = document.public_keys.into_iter().take(MOST);
    let keys: HashMap<_, _> = keys.filter_map(|key| Some((key.key_identifier, point(&key.key)?))).collect();
    (!keys.is_empty()).then_some(keys)
}

/// The point of a P-256 key in PEM.
fn point(pem: &str) -> Option<Vec<u8>> {
    let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
    let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).ok()?;
    let point = der.strip_prefix(&P256)?;
    (point.len() == 65 && point[0] == 4).then(|| point.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_with_p256_keys_are_taken() {
        let mut der = P256.to_vec();
        der.push(4);
        der.extend([7; 64]);
        let pem =
            |der: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        let document = |key: &str| {
            let keys = serde_json::json!([{ "key_identifier": "a", "key": key, "is_current": true }]);
            serde_json::json!({ "public_keys": keys }).to_string()
        };
        assert_eq!(read(document(&pem(&der)).as_bytes()).unwrap()["a"], der[26..]);
        let mut other = der.clone();
        other[22] = 0x08;
        for wrong in [pem(&der[1..]), pem(&der[..90]), pem(&other), "x".to_owned(), String::new()] {
            assert!(read(document(&wrong).as_bytes()).is_none(), "{wrong}");
        }
        assert!(read(b"[]").is_none() && read(b"").is_none());
    }

    /// The vectors of the Wycheproof project, by keys read from the PEM texts that come with them.
    #[test]
    fn signatures_are_ecdsa_with_sha_256() {
        use wycheproof::{TestResult, ecdsa};
        let set = ecdsa::TestSet::load(ecdsa::TestName::EcdsaSecp256r1Sha256).unwrap();
        let mut seen = 0;
        for group in set.test_groups {
            let point = point(&group.pem).unwrap();
            for test in group.tests {
                seen += 1;
                let accepted = signed(&point, &test.msg, &test.sig);
                let right = test.result == TestResult::Acceptable || accepted == (test.result == TestResult::Valid);
                assert!(right, "{} {}: accepted {accepted}", test.tc_id, test.comment);
            }
        }
        assert!(seen > 300, "only {seen} vectors were there");
    }
}
