//! One signature over one compact token.

use super::KeySet;
use aws_lc_rs::signature::{self, VerificationAlgorithm};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// Without padding, and with nothing left in the last bits: one text for one value.
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(false),
);

/// No longer token is looked at.
const MAX_BYTES: usize = 64 * 1024;
const MAX_HEADER: usize = 8 * 1024;

/// The algorithms that count (RFC 7518, RFC 8037). There are no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::upper_case_acronyms, missing_docs)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
}

impl Algorithm {
    /// All, in the order they are listed.
    pub const ALL: [Self; 10] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }

    /// The algorithm of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.as_str() == name)
    }

    pub(super) fn verifier(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
            Self::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
            Self::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
            Self::EdDSA => &signature::ED25519,
        }
    }
}

/// Why a token is not accepted. Says nothing about which key or byte it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// Not a compact token in the strict form.
    #[error("this is no signed token")]
    Malformed,
    /// Signed by an algorithm that is not configured.
    #[error("the token is signed by an algorithm that is not allowed here")]
    Algorithm,
    /// No configured key fits the header.
    #[error("no known key fits the token")]
    UnknownKey,
    /// Signed by none of the keys.
    #[error("the signature is not valid")]
    Signature,
    /// It is not, not yet or not any more the time for it, or it does not say.
    #[error("{0}")]
    Time(&'static str),
}

/// The payload of a token that one of the keys signed with one of the algorithms.
pub fn verify(token: &str, keys: &KeySet, allowed: &[Algorithm]) -> Result<Vec<u8>, JoseError> {
    if token.len() > MAX_BYTES {
        return Err(JoseError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(JoseError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(JoseError::Malformed)?;
    if payload.contains('.') || header.len() > MAX_HEADER {
        return Err(JoseError::Malformed);
    }
    let decode = |part: &str| BASE64URL.decode(part).map_err(|_| JoseError::Malformed);
    let (header, payload, signature) = (decode(header)?, decode(payload)?, decode(signature)?);
    let (algorithm, kid) = read_header(&header)?;
    if !allowed.contains(&algorithm) {
        return Err(JoseError::Algorithm);
    }
    let mut tried = false;
    for key in keys.candidates(algorithm, kid.as_deref()) {
        tried = true;
        if key.verify(algorithm, message.as_bytes(), &signature) {
            return Ok(payload);
        }
    }
    Err(if tried { JoseError::Signature } else { JoseError::UnknownKey })
}

fn read_header(bytes: &[u8]) -> Result<(Algorithm, Option<String>), JoseError> {
    let header: UniqueMap = serde_json::from_slice(bytes).map_err(|_| JoseError::Malformed)?;
    // Extensions that must be understood: none is.
    if header.0.contains_key("crit") || header.0.contains_key("b64") {
        return Err(JoseError::Malformed);
    }
    let text = |name: &str| match header.0.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(JoseError::Malformed),
    };
    let algorithm = text("alg")?.ok_or(JoseError::Malformed)?;
    let kid = text("kid")?.map(str::to_owned);
    Ok((Algorithm::parse(algorithm).ok_or(JoseError::Algorithm)?, kid))
}

/// An object in which no name comes twice: two readers must not see two different ones.
pub(super) struct UniqueMap(pub(super) Map<String, Value>);

impl<'de> serde::Deserialize<'de> for UniqueMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = UniqueMap;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object without repeated names")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut access: A) -> Result<UniqueMap, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = access.next_entry::<String, Value>()? {
                    if map.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a name is repeated"));
                    }
                }
                Ok(UniqueMap(map))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}
