//! The authority behind the server.

use anyhow::{Context, ensure};
use aws_lc_rs::signature;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SignatureAlgorithm,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
};

/// A root of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// The public key of a request.
struct Asked(Vec<u8>);

impl PublicKeyData for Asked {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl Authority {
    pub(super) fn new() -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, "Test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn params(&self, names: &[String], lifetime: i64) -> anyhow::Result<CertificateParams> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.use_authority_key_identifier_extension = true;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now.as_secs());
        params.not_after = params.not_before + Duration::from_secs(lifetime.try_into()?);
        Ok(params)
    }

    /// Signs a request (PKCS #10, DER) whose names are these and whose own signature holds. The answer: certificate
    /// and root as PEM.
    pub(super) fn sign(&self, request: &[u8], names: &[String], lifetime: i64, wrong: bool) -> anyhow::Result<String> {
        let key = key_of(request, names)?;
        let params = self.params(names, lifetime)?;
        let signed = match wrong {
            true => params.signed_by(&KeyPair::generate()?, &self.issuer)?,
            false => params.signed_by(&Asked(key), &self.issuer)?,
        };
        Ok(signed.pem() + &self.pem)
    }

    /// TLS for the server itself.
    pub(super) fn acceptor(&self) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
        let key = KeyPair::generate()?;
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let own = self.params(&names, 86_400)?.signed_by(&key, &self.issuer)?;
        let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], private)?;
        Ok(Arc::new(config).into())
    }
}

/// The public key of a request, if the request is signed with it and asks for these names and no others.
pub(super) fn key_of(request: &[u8], names: &[String]) -> anyhow::Result<Vec<u8>> {
    let (rest, read) = X509CertificationRequest::from_der(request).context("this is no request")?;
    ensure!(rest.is_empty(), "something follows the request");
    let info = &read.certification_request_info;
    let key = info.subject_pki.subject_public_key.data.to_vec();
    let public = signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_ASN1, &key);
    ensure!(public.verify(info.raw, &read.signature_value.data).is_ok(), "the request is not signed with its key");
    let mut asked = Vec::new();
    for extension in read.requested_extensions().into_iter().flatten() {
        if let ParsedExtension::SubjectAlternativeName(alternative) = extension {
            for name in &alternative.general_names {
                match name {
                    GeneralName::DNSName(name) => asked.push((*name).to_owned()),
                    other => anyhow::bail!("{other} was not ordered"),
                }
            }
        }
    }
    let mut ordered = names.to_vec();
    ordered.sort_unstable();
    asked.sort_unstable();
    ensure!(asked == ordered, "the request names {asked:?}, the order {ordered:?}");
    Ok(key)
}
