//! One version of a key that signs identity tokens: its two halves, how it is made and how it signs.

use crate::{
    IdentityError, Result,
    jose::{Algorithm, rsa_components},
    tokens::random_text,
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Version {
    /// Counts from 1 within the key; 0 in keys that were stored before versions were counted.
    #[serde(default)]
    pub(super) number: u32,
    /// When it was made; absent where that was not noted yet.
    #[serde(default)]
    pub(super) created: Option<i64>,
    pub(super) kid: String,
    private: Private,
    pub(super) public: Value,
    /// From when on it is published no more; `None`: it signs.
    pub(super) retire: Option<i64>,
}

/// PKCS #8, empty once it signs no more; sealed with the entry it lies in, wiped when dropped, never printed.
#[derive(Clone)]
struct Private(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private(redacted)")
    }
}

impl Serialize for Private {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(&*text).map(|b| Self(Zeroizing::new(b))).map_err(serde::de::Error::custom)
    }
}

fn ecdsa(algorithm: Algorithm) -> Option<(&'static EcdsaSigningAlgorithm, &'static str)> {
    match algorithm {
        Algorithm::ES256 => Some((&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        Algorithm::ES384 => Some((&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        Algorithm::ES512 => Some((&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")),
        _ => None,
    }
}

fn rejected(_: aws_lc_rs::error::KeyRejected) -> IdentityError {
    IdentityError::internal("a stored key cannot be used")
}

impl Version {
    /// Drops the private half: it signs no more.
    pub(super) fn forget(&mut self) {
        self.private = Private(Zeroizing::default());
    }

    /// RSA keys take a while to find: not on the runtime's threads.
    pub(super) async fn generate(algorithm: Algorithm, number: u32, now: i64) -> Result<Self> {
        let made = tokio::task::spawn_blocking(move || Self::generate_now(algorithm, number, now)).await;
        made.map_err(|_| IdentityError::internal("a key could not be made"))?
    }

    fn generate_now(algorithm: Algorithm, number: u32, now: i64) -> Result<Self> {
        let rng = SystemRandom::new();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (private, mut public) = if algorithm == Algorithm::EdDSA {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&rng)?;
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(rejected)?;
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
            (pkcs8.as_ref().to_vec(), jwk)
        } else if let Some((signing, curve)) = ecdsa(algorithm) {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &rng)?;
            let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).map_err(rejected)?;
            // An uncompressed point: 4, x, y.
            let point = pair.public_key().as_ref();
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            (pkcs8.as_ref().to_vec(), json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) }))
        } else {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der()?;
            let (n, e) = rsa_components(pair.public_key().as_ref())
                .ok_or_else(|| IdentityError::internal("a key could not be made"))?;
            (pkcs8.as_ref().to_vec(), json!({ "kty": "RSA", "n": encode(&n), "e": encode(&e) }))
        };
        let kid = random_text(24)?.as_str().to_owned();
        if let Value::Object(map) = &mut public {
            for (name, value) in [("kid", kid.as_str()), ("use", "sig"), ("alg", algorithm.as_str())] {
                map.insert(name.to_owned(), value.into());
            }
        }
        let private = Private(Zeroizing::new(private));
        Ok(Self { number, created: Some(now), kid, private, public, retire: None })
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        let rng = SystemRandom::new();
        let pkcs8 = self.private.0.as_slice();
        if algorithm == Algorithm::EdDSA {
            return Ok(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?.sign(message).as_ref().to_vec());
        }
        if let Some((signing, _)) = ecdsa(algorithm) {
            let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8).map_err(rejected)?;
            return Ok(pair.sign(&rng, message)?.as_ref().to_vec());
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
        let encoding: &dyn signature::RsaEncoding = match algorithm {
            Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
            _ => &signature::RSA_PKCS1_SHA256,
        };
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &rng, message, &mut out)?;
        Ok(out)
    }
}
