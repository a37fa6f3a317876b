//! Signed requests (RFC 7515, as RFC 8555 has them) and keys (RFC 7517, 7638).

use aws_lc_rs::{digest, hmac, signature};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::Value;

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// A public key on P-256.
#[derive(Clone, PartialEq)]
pub(super) struct Jwk {
    x: String,
    y: String,
}

impl Jwk {
    pub fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        (text("kty")? == "EC" && text("crv")? == "P-256").then_some(())?;
        Some(Self { x: text("x")?, y: text("y")? })
    }

    pub fn thumbprint(&self) -> String {
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y);
        encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }

    fn verify(&self, message: &[u8], signed: &[u8]) -> bool {
        let (Some(x), Some(y)) = (decode(&self.x), decode(&self.y)) else { return false };
        let point = [&[4u8][..], &x, &y].concat();
        let key = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point);
        key.verify(message, signed).is_ok()
    }
}

/// A request, taken apart and not believed yet.
pub(super) struct Signed {
    pub header: Value,
    /// `None`: the empty payload of POST-as-GET.
    pub payload: Option<Value>,
    message: String,
    signature: Vec<u8>,
}

impl Signed {
    pub fn read(value: &Value) -> Option<Self> {
        let part = |name: &str| value.get(name)?.as_str();
        let (header, payload) = (part("protected")?, part("payload")?);
        Some(Self {
            header: serde_json::from_slice(&decode(header)?).ok()?,
            payload: match payload {
                "" => None,
                some => Some(serde_json::from_slice(&decode(some)?).ok()?),
            },
            message: format!("{header}.{payload}"),
            signature: decode(part("signature")?)?,
        })
    }

    pub fn text(&self, name: &str) -> &str {
        self.header.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether this key signed it, with the algorithm that it says.
    pub fn is_by(&self, key: &Jwk) -> bool {
        self.text("alg") == "ES256" && key.verify(self.message.as_bytes(), &self.signature)
    }

    /// Whether it binds this key to an account elsewhere (RFC 8555, 7.3.4).
    pub fn binds(&self, (id, secret): (&str, &str), key: &Jwk, url: &str) -> bool {
        let Some(secret) = decode(secret) else { return false };
        let secret = hmac::Key::new(hmac::HMAC_SHA256, &secret);
        self.text("alg") == "HS256"
            && self.text("kid") == id
            && self.text("url") == url
            && self.header.get("nonce").is_none()
            && self.payload.as_ref().and_then(Jwk::read).as_ref() == Some(key)
            && hmac::verify(&secret, self.message.as_bytes(), &self.signature).is_ok()
    }
}
