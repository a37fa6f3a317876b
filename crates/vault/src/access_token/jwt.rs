//! Statements signed with a private key: JWTs (RFC 7519) for the one use that token endpoints have for them.

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_certificates::Bundle;
use credentialflow_model::SecretValue;
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};

/// A private key that signs.
pub(crate) struct Signer {
    key: Key,
    /// The hash of the certificate beside it.
    certificate: Option<String>,
}

enum Key {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

impl Signer {
    /// Reads a private key in PEM: RSA of 2048 to 8192 bits, or ECDSA on P-256, with or without its certificate. `None`:
    /// it is none of these.
    pub fn read(value: &SecretValue) -> Option<Self> {
        let der = PrivateKeyDer::from_pem_slice(value.expose()).ok()?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(pkcs8) => {
                let der = pkcs8.secret_pkcs8_der();
                let ec = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Key::Ec);
                RsaKeyPair::from_pkcs8(der).map(Key::Rsa).or_else(|_| ec()).ok()?
            }
            PrivateKeyDer::Pkcs1(pkcs1) => RsaKeyPair::from_der(pkcs1.secret_pkcs1_der()).map(Key::Rsa).ok()?,
            PrivateKeyDer::Sec1(sec1) => {
                let der = sec1.secret_sec1_der();
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map(Key::Ec).ok()?
            }
            _ => return None,
        };
        let hash = |bundle: Bundle| URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, bundle.leaf()));
        Some(Self { key, certificate: Bundle::read(value).map(hash) })
    }

    /// A signed statement. `None`: the key does not sign.
    pub fn sign(&self, key_id: Option<&str>, claims: &Value) -> Option<SecretValue> {
        let algorithm = if matches!(self.key, Key::Rsa(_)) { "RS256" } else { "ES256" };
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(key_id) = key_id {
            header["kid"] = key_id.into();
        }
        if let Some(certificate) = &self.certificate {
            header["x5t#S256"] = certificate.as_str().into();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).ok()?;
                signature
            }
            Key::Ec(key) => key.sign(&random, signed.as_bytes()).ok()?.as_ref().to_vec(),
        };
        Some(SecretValue::from(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use aws_lc_rs::{
        encoding::AsDer,
        signature::{ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey},
    };
    use base64::engine::general_purpose::STANDARD;

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn keys_of_both_kinds_sign_and_say_how() {
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (rsa_pem, ec_pem) =
            (pem("PRIVATE KEY", rsa.as_der().unwrap().as_ref()), pem("PRIVATE KEY", ec.to_pkcs8v1().unwrap().as_ref()));
        let signed = |text: &str| {
            let jwt = Signer::read(&SecretValue::from(text)).unwrap().sign(Some("k1"), &json!({ "iss": "a" })).unwrap();
            let jwt = jwt.expose_str().unwrap().to_owned();
            let (message, signature) = jwt.rsplit_once('.').unwrap();
            let header = URL_SAFE_NO_PAD.decode(message.split('.').next().unwrap()).unwrap();
            let header: Value = serde_json::from_slice(&header).unwrap();
            (message.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap(), header)
        };
        let (message, signature, header) = signed(&rsa_pem);
        assert_eq!((header["alg"].as_str(), header["kid"].as_str()), (Some("RS256"), Some("k1")));
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, rsa.public_key().as_ref());
        public.verify(message.as_bytes(), &signature).unwrap();
        let (message, signature, header) = signed(&ec_pem);
        assert_eq!(header["alg"], "ES256");
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, ec.public_key().as_ref());
        public.verify(message.as_bytes(), &signature).unwrap();

        let certificate = pem("CERTIFICATE", b"abc");
        let (.., header) = signed(&format!("{certificate}{ec_pem}"));
        let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, b"abc"));
        assert_eq!(header["x5t#S256"], hash);
    }

    #[test]
    fn what_is_no_private_key_signs_nothing() {
        let other = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
        let other = pem("PRIVATE KEY", other.to_pkcs8v1().unwrap().as_ref());
        for text in ["", "a secret", &pem("PRIVATE KEY", b"abc"), &pem("CERTIFICATE", b"abc"), &other] {
            assert!(Signer::read(&SecretValue::from(text)).is_none(), "{text:.40}");
        }
    }
}
