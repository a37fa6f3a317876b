//! An authority that signs what it is asked for: keys of several kinds, any names, and the list of certificates it has
//! withdrawn (RFC 5280, 5). Which names somebody may ask for is not decided here.

use crate::{
    Certificate,
    issue::{NotIssued, at},
    key_form,
};
use credentialflow_model::{SecretValue, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, CustomExtension,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose as Purpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose as Usage, RevokedCertParams, RsaKeySize, SanType, SerialNumber, SignatureAlgorithm,
};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use zeroize::{Zeroize, Zeroizing};

/// The kind of a key, and of the signatures made with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

/// Whom a certificate names. Every text may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `C`, two letters.
    pub country: String,
    /// `O`.
    pub organization: String,
    /// `OU`.
    pub unit: String,
    /// `L`.
    pub locality: String,
    /// `ST`.
    pub province: String,
    /// `CN`.
    pub common_name: String,
}

/// Something a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AltName {
    /// A host name; its first label may be `*`.
    Host(String),
    /// An address of a mailbox.
    Email(String),
    /// An IP address.
    Address(IpAddr),
    /// A URI.
    Uri(String),
}

/// Where others find what they need to check a certificate; URLs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Addresses {
    /// The authority's certificate.
    pub issuing_certificates: Vec<String>,
    /// The list of withdrawn certificates.
    pub crl_distribution_points: Vec<String>,
    /// A responder (RFC 6960).
    pub ocsp_servers: Vec<String>,
}

/// What a certificate is to say.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Whom it names.
    pub subject: Subject,
    /// What it is for.
    pub names: Vec<AltName>,
    /// Valid from then on, in whole seconds.
    pub not_before: Timestamp,
    /// Valid until then, in whole seconds.
    pub not_after: Timestamp,
    /// What its key may be used for, by the names of [`usage`]; an authority's is fixed.
    pub usages: Vec<String>,
    /// What for in an application, by the names of [`extended_usage`].
    pub extended_usages: Vec<String>,
    /// Where others find what they need to check it.
    pub addresses: Addresses,
}

/// A certificate with its private key.
#[derive(Debug)]
pub struct Made {
    /// PEM, without an end of line at the end.
    pub pem: String,
    /// The same in DER.
    pub der: Vec<u8>,
    /// Its serial number: pairs of lower-case hexadecimal digits with colons between.
    pub serial: String,
    /// The private key, PKCS #8 in DER.
    pub key: SecretValue,
}

/// A certificate on the list of withdrawn ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Withdrawn {
    /// As in [`Made::serial`].
    pub serial: String,
    /// Since when.
    pub at: Timestamp,
    /// When it is over by itself, and need not be listed any more.
    pub not_after: Timestamp,
}

impl KeyKind {
    /// The kind by its name (`rsa`, `ec`, `ed25519`) and bits, 0 for the usual number. `None`: there is no such kind,
    /// or it is not offered.
    pub fn find(name: &str, bits: i64) -> Option<Self> {
        Some(match (name, bits) {
            ("rsa", 0 | 2048) => Self::Rsa2048,
            ("rsa", 3072) => Self::Rsa3072,
            ("rsa", 4096) => Self::Rsa4096,
            ("ec", 0 | 256) => Self::P256,
            ("ec", 384) => Self::P384,
            ("ec", 521) => Self::P521,
            ("ed25519", _) => Self::Ed25519,
            _ => return None,
        })
    }

    /// Its name, as for [`KeyKind::find`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => "rsa",
            Self::P256 | Self::P384 | Self::P521 => "ec",
            Self::Ed25519 => "ed25519",
        }
    }

    /// Its bits; 0 where there is no choice.
    pub const fn bits(self) -> i64 {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
            Self::Ed25519 => 0,
        }
    }

    fn algorithm(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &rcgen::PKCS_RSA_SHA256,
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::P521 => &rcgen::PKCS_ECDSA_P521_SHA512,
            Self::Ed25519 => &rcgen::PKCS_ED25519,
        }
    }

    fn generate(self) -> Result<KeyPair, NotIssued> {
        let size = match self {
            Self::Rsa2048 => RsaKeySize::_2048,
            Self::Rsa3072 => RsaKeySize::_3072,
            Self::Rsa4096 => RsaKeySize::_4096,
            _ => return Ok(KeyPair::generate_for(self.algorithm())?),
        };
        Ok(KeyPair::generate_rsa_for(self.algorithm(), size)?)
    }
}

/// Makes an authority: a key, and a certificate signed with it. It may sign authorities of its own in a chain of at
/// most `path_length`; as many as anybody likes where that is `None`. Takes seconds for long RSA keys.
pub fn root(kind: KeyKind, terms: &Terms, path_length: Option<u8>) -> Result<Made, NotIssued> {
    let mut params = params(terms)?;
    params.is_ca = IsCa::Ca(path_length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let mut key = kind.generate()?;
    let made = params.self_signed(&key).map_err(NotIssued::from).and_then(|signed| made(&signed, &key));
    key.zeroize();
    made
}

/// An authority, ready to sign. Its key is wiped when it is dropped.
pub struct Signer {
    subject: DistinguishedName,
    key: KeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(redacted)")
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Signer {
    /// From what [`root`] made, and for the subject it was made with.
    pub fn new(kind: KeyKind, subject: &Subject, key: &SecretValue) -> Result<Self, NotIssued> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.expose().into(), kind.algorithm());
        Ok(Self { subject: named(subject)?, key: key.map_err(|_| NotIssued::NoAuthority)? })
    }

    fn issuer(&self) -> Issuer<'static, &KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = self.subject.clone();
        Issuer::new(params, &self.key)
    }

    /// Makes a key and a certificate for it. Whether the authority itself lives as long is for the caller to see to.
    /// Takes seconds for long RSA keys.
    pub fn sign(&self, kind: KeyKind, terms: &Terms) -> Result<Made, NotIssued> {
        let mut params = params(terms)?;
        params.is_ca = IsCa::ExplicitNoCa;
        let unknown = |name: &String| NotIssued::Failed(format!("{name:?} is no usage of a key"));
        for name in &terms.usages {
            params.key_usages.push(usage(name).ok_or_else(|| unknown(name))?);
        }
        for name in &terms.extended_usages {
            params.extended_key_usages.push(extended_usage(name).ok_or_else(|| unknown(name))?);
        }
        params.use_authority_key_identifier_extension = true;
        let mut key = kind.generate()?;
        let signed = params.signed_by(&key, &self.issuer());
        let made = signed.map_err(NotIssued::from).and_then(|signed| made(&signed, &key));
        key.zeroize();
        made
    }

    /// Signs the list of withdrawn certificates (CRL), in DER. `number` grows from list to list.
    pub fn list(
        &self,
        withdrawn: &[Withdrawn],
        number: u64,
        now: Timestamp,
        next: Timestamp,
    ) -> Result<Vec<u8>, NotIssued> {
        let revoked = |one: &Withdrawn| {
            let serial = from_hex(&one.serial).ok_or_else(|| NotIssued::Failed("a serial number".to_owned()))?;
            let (serial_number, revocation_time) = (SerialNumber::from(serial), at(one.at.secs()));
            Ok(RevokedCertParams { serial_number, revocation_time, reason_code: None, invalidity_date: None })
        };
        let list = CertificateRevocationListParams {
            this_update: at(now.secs()),
            next_update: at(next.secs()),
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: withdrawn.iter().map(revoked).collect::<Result<_, NotIssued>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer())?.der().to_vec())
    }
}

impl Made {
    /// The private key as PEM: of its own kind (`RSA PRIVATE KEY`, `EC PRIVATE KEY`) where there is one, as older
    /// programs want it.
    pub fn key_pem(&self) -> SecretValue {
        key_form::traditional(self.key.expose())
            .map_or_else(|| self.pkcs8_pem(), |(label, der)| key_form::pem(label, &der))
    }

    /// The same in DER.
    pub fn key_der(&self) -> SecretValue {
        key_form::traditional(self.key.expose())
            .map_or_else(|| self.key.duplicate(), |(_, der)| SecretValue::new(der.to_vec()))
    }

    /// The private key as PEM, PKCS #8: `PRIVATE KEY`.
    pub fn pkcs8_pem(&self) -> SecretValue {
        key_form::pem("PRIVATE KEY", self.key.expose())
    }
}

/// A usage of a key (RFC 5280, 4.2.1.3) by its name, as in `DigitalSignature`; case and a leading `KeyUsage` do not count.
pub fn usage(name: &str) -> Option<Usage> {
    Some(match name.to_ascii_lowercase().trim_start_matches("keyusage") {
        "digitalsignature" => Usage::DigitalSignature,
        "contentcommitment" => Usage::ContentCommitment,
        "keyencipherment" => Usage::KeyEncipherment,
        "dataencipherment" => Usage::DataEncipherment,
        "keyagreement" => Usage::KeyAgreement,
        "encipheronly" => Usage::EncipherOnly,
        "decipheronly" => Usage::DecipherOnly,
        _ => return None,
    })
}

/// An extended usage (RFC 5280, 4.2.1.12) by its name, as in `ServerAuth`; as for [`usage`].
pub fn extended_usage(name: &str) -> Option<Purpose> {
    Some(match name.to_ascii_lowercase().trim_start_matches("extkeyusage") {
        "any" => Purpose::Any,
        "serverauth" => Purpose::ServerAuth,
        "clientauth" => Purpose::ClientAuth,
        "codesigning" => Purpose::CodeSigning,
        "emailprotection" => Purpose::EmailProtection,
        "timestamping" => Purpose::TimeStamping,
        "ocspsigning" => Purpose::OcspSigning,
        _ => return None,
    })
}

fn made(signed: &rcgen::Certificate, key: &KeyPair) -> Result<Made, NotIssued> {
    let der = signed.der().to_vec();
    let read = Certificate::parse(&der).map_err(|_| NotIssued::Failed("it does not read".to_owned()))?;
    let pairs: Vec<&str> = read.serial.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    let serial = pairs.join(":");
    let pem = signed.pem().trim_end().to_owned();
    let pkcs8 = Zeroizing::new(key.serialize_der());
    let mut pkcs8 = key_form::first_version(&pkcs8).ok_or_else(|| NotIssued::Failed("its key".to_owned()))?;
    Ok(Made { pem, der, serial, key: SecretValue::new(std::mem::take(&mut *pkcs8)) })
}

fn params(terms: &Terms) -> Result<CertificateParams, NotIssued> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(&terms.subject)?;
    params.not_before = at(terms.not_before.secs());
    params.not_after = at(terms.not_after.secs());
    for name in &terms.names {
        let no_name = |text: &String| NotIssued::NoName(text.clone());
        params.subject_alt_names.push(match name {
            AltName::Host(text) => SanType::DnsName(text.as_str().try_into().map_err(|_| no_name(text))?),
            AltName::Email(text) => SanType::Rfc822Name(text.as_str().try_into().map_err(|_| no_name(text))?),
            AltName::Uri(text) => SanType::URI(text.as_str().try_into().map_err(|_| no_name(text))?),
            AltName::Address(address) => SanType::IpAddress(*address),
        });
    }
    let point = |url: &String| CrlDistributionPoint { uris: vec![url.clone()] };
    params.crl_distribution_points = terms.addresses.crl_distribution_points.iter().map(point).collect();
    params.custom_extensions.extend(access(&terms.addresses));
    Ok(params)
}

/// A name as it stands in a certificate; always the same for the same subject.
fn named(subject: &Subject) -> Result<DistinguishedName, NotIssued> {
    let mut name = DistinguishedName::new();
    if !subject.country.is_empty() {
        let country = subject.country.as_str().try_into();
        let country = country.map_err(|_| NotIssued::NoName(subject.country.clone()))?;
        name.push(DnType::CountryName, DnValue::PrintableString(country));
    }
    for (kind, text) in [
        (DnType::OrganizationName, &subject.organization),
        (DnType::OrganizationalUnitName, &subject.unit),
        (DnType::LocalityName, &subject.locality),
        (DnType::StateOrProvinceName, &subject.province),
        (DnType::CommonName, &subject.common_name),
    ] {
        if !text.is_empty() {
            name.push(kind, text.as_str());
        }
    }
    Ok(name)
}

/// Authority information access (RFC 5280, 4.2.2.1), where there is anything to tell.
fn access(addresses: &Addresses) -> Option<CustomExtension> {
    const OCSP: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 1];
    const ISSUERS: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 0x30, 2];
    let ocsp = addresses.ocsp_servers.iter().map(|url| (OCSP, url));
    let issuers = addresses.issuing_certificates.iter().map(|url| (ISSUERS, url));
    let mut all = Vec::new();
    for (method, url) in ocsp.chain(issuers) {
        // An object identifier, then a URI as a name.
        let mut one = key_form::tagged(0x06, method);
        one.extend_from_slice(&key_form::tagged(0x86, url.as_bytes()));
        all.extend_from_slice(&key_form::tagged(0x30, &one));
    }
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    (!all.is_empty()).then(|| CustomExtension::from_oid_content(&oid, key_form::tagged(0x30, &all).to_vec()))
}

fn from_hex(serial: &str) -> Option<Vec<u8>> {
    serial.split(':').map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

#[cfg(test)]
#[path = "authority_tests.rs"]
mod tests;
