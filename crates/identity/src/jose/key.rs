//! Public keys: from a JWK set (RFC 7517), or from PEM.

use super::{Algorithm, der, verify::BASE64URL};
use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use rustls_pki_types::{SubjectPublicKeyInfoDer, pem::PemObject};
use serde_json::Value;

/// Keys of one set; more are nobody's honest set.
const MAX_KEYS: usize = 128;
/// RFC 8725: smaller ones do not count.
const MIN_RSA_BITS: usize = 2048;
const MAX_RSA_BYTES: usize = 1024;

/// A public key and what it may be used for.
#[derive(Clone, Debug)]
pub struct Key {
    kid: Option<String>,
    /// What `alg` says; `None`: everything its kind allows.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Clone, Debug)]
enum Material {
    /// Modulus and exponent, big endian.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point, for this algorithm alone.
    Ec(Algorithm, Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Keys to choose from.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a JWK set. Keys that are not for verifying, or of unknown kinds, are left out; `None` when it
    /// is no set at all.
    pub fn from_jwks(bytes: &[u8]) -> Option<Self> {
        let set: Value = serde_json::from_slice(bytes).ok()?;
        let keys = set.get("keys")?.as_array()?;
        if keys.len() > MAX_KEYS {
            return None;
        }
        Some(Self(keys.iter().filter_map(Key::from_jwk).collect()))
    }

    /// Keys from PEM texts (`PUBLIC KEY`, `RSA PUBLIC KEY`, `CERTIFICATE`); `None` when one does not read.
    pub fn from_pems<'a>(pems: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        pems.into_iter().map(Key::from_pem).collect::<Option<_>>().map(Self)
    }

    /// From single keys.
    pub fn from_keys(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For each key the one algorithm that is usual for its kind, or that its `alg` says: what counts where
    /// nobody configured more.
    pub fn usual_algorithms(&self) -> Vec<Algorithm> {
        let mut all: Vec<Algorithm> = Vec::new();
        for key in &self.0 {
            let usual = key.algorithm.unwrap_or(key.material.usual());
            if !all.contains(&usual) {
                all.push(usual);
            }
        }
        all
    }

    /// The keys that may have signed: those for the algorithm, and of the named ones those with that name.
    pub(super) fn candidates(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0
            .iter()
            .filter(move |key| key.fits(algorithm) && (kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid))
    }
}

impl Key {
    /// Reads one JWK; `None` when it is not for verifying signatures here.
    pub fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(|t| BASE64URL.decode(t).ok());
        if jwk.get("use").is_some_and(|u| u.as_str() != Some("sig")) {
            return None;
        }
        if let Some(operations) = jwk.get("key_ops")
            && !operations.as_array().is_some_and(|all| all.iter().any(|o| o.as_str() == Some("verify")))
        {
            return None;
        }
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(name) => Some(Algorithm::parse(name.as_str()?)?),
        };
        let material = match text("kty")? {
            "RSA" => rsa(bytes("n")?, bytes("e")?)?,
            "EC" => {
                let (algorithm, size) = match text("crv")? {
                    "P-256" => (Algorithm::ES256, 32),
                    "P-384" => (Algorithm::ES384, 48),
                    "P-521" => (Algorithm::ES512, 66),
                    _ => return None,
                };
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != size || y.len() != size {
                    return None;
                }
                Material::Ec(algorithm, [&[4u8][..], &x, &y].concat())
            }
            "OKP" if text("crv")? == "Ed25519" => Material::Ed25519(bytes("x").filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let key = Self { kid: text("kid").map(str::to_owned), algorithm, material };
        // A key whose `alg` does not belong to its kind verifies nothing.
        key.algorithm.is_none_or(|a| key.material.fits(a)).then_some(key)
    }

    /// Reads one PEM text.
    pub fn from_pem(pem: &str) -> Option<Self> {
        let pem = pem.trim();
        let spki = if pem.contains("-----BEGIN CERTIFICATE-----") {
            let certificate = rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
            der::spki_of_certificate(&certificate)?.to_vec()
        } else if pem.contains("-----BEGIN RSA PUBLIC KEY-----") {
            let body: String = pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
            let bytes = base64::engine::general_purpose::STANDARD.decode(body).ok()?;
            let (n, e) = der::rsa_public_key(&bytes)?;
            return Some(Self { kid: None, algorithm: None, material: rsa(n, e)? });
        } else {
            SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?.to_vec()
        };
        let material = match der::public_key(&spki)? {
            der::PublicKey::Rsa { n, e } => rsa(n, e)?,
            der::PublicKey::P256(point) => Material::Ec(Algorithm::ES256, point),
            der::PublicKey::P384(point) => Material::Ec(Algorithm::ES384, point),
            der::PublicKey::P521(point) => Material::Ec(Algorithm::ES512, point),
            der::PublicKey::Ed25519(point) => Material::Ed25519(point),
        };
        Some(Self { kid: None, algorithm: None, material })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }

    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match algorithm {
                    Algorithm::RS256 => &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA256,
                    Algorithm::RS384 => &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA384,
                    Algorithm::RS512 => &aws_lc_rs::signature::RSA_PKCS1_2048_8192_SHA512,
                    Algorithm::PS256 => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256,
                    Algorithm::PS384 => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA384,
                    Algorithm::PS512 => &aws_lc_rs::signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Material::Ec(_, point) | Material::Ed25519(point) => {
                self.material.fits(algorithm)
                    && UnparsedPublicKey::new(algorithm.verifier(), point).verify(message, signature).is_ok()
            }
        }
    }
}

impl Material {
    const fn usual(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::RS256,
            Self::Ec(own, _) => *own,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::{EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
        match self {
            Self::Rsa { .. } => matches!(algorithm, RS256 | RS384 | RS512 | PS256 | PS384 | PS512),
            Self::Ec(own, _) => *own == algorithm,
            Self::Ed25519(_) => algorithm == EdDSA,
        }
    }
}

fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Material> {
    let n: Vec<u8> = n.into_iter().skip_while(|b| *b == 0).collect();
    let e: Vec<u8> = e.into_iter().skip_while(|b| *b == 0).collect();
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let odd_exponent = e.last()? & 1 == 1 && e.as_slice() != [1];
    (bits >= MIN_RSA_BITS && n.len() <= MAX_RSA_BYTES && odd_exponent && e.len() <= 8).then_some(Material::Rsa { n, e })
}
