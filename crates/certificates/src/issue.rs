//! Makes roots and leaves: a key, and a certificate for it. ECDSA on P-256, signed over SHA-256, as every TLS library
//! takes it.
//!
//! A root says what it may sign (name constraints, RFC 5280, 4.2.1.10) and signs leaves only. A leaf's names are
//! compared with that before it is signed, so that no certificate leaves here that its own authority forbids.

use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{CertificateRule, CertificateUsage},
};
use ipnet::IpNet;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose as Purpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose as Usage, NameConstraints, SanType,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, SystemTime},
};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};
use zeroize::{Zeroize, Zeroizing};

use crate::Bundle;

/// Why no certificate was made. Says nothing secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NotIssued {
    /// The authority's value is no certificate that may sign, with its key.
    #[error("its authority has no certificate and key that can sign")]
    NoAuthority,
    /// The authority is over, or not valid yet.
    #[error("its authority is not valid at this time")]
    AuthorityExpired,
    /// The authority may not sign for this name.
    #[error("its authority does not permit the name {0}")]
    NotPermitted(String),
    /// This is no name.
    #[error("{0} is no host name, address or URI")]
    NoName(String),
    /// The library refused.
    #[error("the certificate could not be made: {0}")]
    Failed(String),
}

impl From<rcgen::Error> for NotIssued {
    fn from(error: rcgen::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Clocks of others may be late by this much.
const SKEW: i64 = 300;

/// Makes a root that may sign what the rule permits. The value: its certificate and its private key.
pub fn root(rule: &CertificateRule, name: &str, now: Timestamp) -> Result<SecretValue, NotIssued> {
    let mut params = params(rule, name, now, now.plus(rule.root_lifetime()))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![Usage::KeyCertSign, Usage::CrlSign, Usage::DigitalSignature];
    params.name_constraints = constraints(&rule.permitted)?;
    let mut key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(value(&[&certificate.pem()], &mut key))
}

/// Makes a leaf, signed by the authority of this value. The leaf is over no later than its authority. The value: its
/// certificate, its authority's, and its private key.
pub fn leaf(
    authority: &SecretValue,
    rule: &CertificateRule,
    name: &str,
    now: Timestamp,
) -> Result<SecretValue, NotIssued> {
    let signer = Bundle::read(authority).ok_or(NotIssued::NoAuthority)?;
    let (_, parsed) = X509Certificate::from_der(signer.leaf()).map_err(|_| NotIssued::NoAuthority)?;
    if !parsed.is_ca() {
        return Err(NotIssued::NoAuthority);
    }
    let ends = Timestamp::from_secs(parsed.validity().not_after.timestamp());
    if now >= ends || now < Timestamp::from_secs(parsed.validity().not_before.timestamp()) {
        return Err(NotIssued::AuthorityExpired);
    }
    let mut params = params(rule, name, now, now.plus(rule.leaf_lifetime()).min(ends))?;
    for name in &rule.names {
        params.subject_alt_names.push(alternative(name)?);
        if !permits(&parsed, name) {
            return Err(NotIssued::NotPermitted(name.clone()));
        }
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![Usage::DigitalSignature];
    params.extended_key_usages = match rule.usage {
        CertificateUsage::Client => vec![Purpose::ClientAuth],
        CertificateUsage::Server => vec![Purpose::ServerAuth],
        CertificateUsage::Both => vec![Purpose::ServerAuth, Purpose::ClientAuth],
    };
    params.use_authority_key_identifier_extension = true;
    let mut key = KeyPair::generate()?;
    let mut signing = signing_key(authority)?;
    let signed = params.signed_by(&key, &Issuer::new(named(&parsed)?, &signing));
    signing.zeroize();
    Ok(value(&[&signed?.pem(), signer.pem()], &mut key))
}

/// An authority's name, as it stands in its certificate.
fn named(parsed: &X509Certificate<'_>) -> Result<CertificateParams, NotIssued> {
    let common = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common.ok_or(NotIssued::NoAuthority)?);
    Ok(params)
}

fn signing_key(authority: &SecretValue) -> Result<KeyPair, NotIssued> {
    let text = authority.expose_str().ok_or(NotIssued::NoAuthority)?;
    let start = text.find("-----BEGIN PRIVATE KEY-----").ok_or(NotIssued::NoAuthority)?;
    KeyPair::from_pem(&text[start..]).map_err(|_| NotIssued::NoAuthority)
}

fn params(
    rule: &CertificateRule,
    name: &str,
    now: Timestamp,
    until: Timestamp,
) -> Result<CertificateParams, NotIssued> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, rule.common_name.as_deref().unwrap_or(name));
    params.not_before = at(now.secs() - SKEW);
    params.not_after = at(until.secs());
    Ok(params)
}

/// A moment by its seconds since 1970.
pub(crate) fn at<T>(seconds: i64) -> T
where
    T: From<SystemTime>,
{
    T::from(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs()))
}

/// The PEM blocks as a value; the key's other copies are wiped.
fn value(certificates: &[&str], key: &mut KeyPair) -> SecretValue {
    let private = Zeroizing::new(key.serialize_pem());
    key.zeroize();
    let length = certificates.iter().map(|pem| pem.len()).sum::<usize>() + private.len();
    // Exactly large enough: a buffer that grows would leave the key behind.
    let mut text = String::with_capacity(length);
    for pem in certificates {
        text.push_str(pem);
    }
    text.push_str(&private);
    SecretValue::from(text)
}

fn alternative(name: &str) -> Result<SanType, NotIssued> {
    let no_name = || NotIssued::NoName(name.to_owned());
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let text = name.try_into().map_err(|_| no_name())?;
    Ok(if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) })
}

/// What a root may sign: only these domains and networks. Where only one sort is named, the other is excluded whole,
/// as a sort that is not named would be free.
fn constraints(permitted: &[String]) -> Result<Option<NameConstraints>, NotIssued> {
    if permitted.is_empty() {
        return Ok(None);
    }
    let (mut permitted_subtrees, mut excluded_subtrees) = (Vec::new(), Vec::new());
    let (mut domains, mut networks) = (false, false);
    for name in permitted {
        if let Some(network) = network(name) {
            networks = true;
            permitted_subtrees.push(subtree(network));
        } else {
            domains = true;
            permitted_subtrees.push(GeneralSubtree::DnsName(name.trim_start_matches('.').to_owned()));
        }
    }
    if !networks {
        for all in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
            excluded_subtrees.push(GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(all, 0)));
        }
    }
    if !domains {
        excluded_subtrees.push(GeneralSubtree::DnsName(String::new()));
    }
    Ok(Some(NameConstraints { permitted_subtrees, excluded_subtrees }))
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn subtree(network: IpNet) -> GeneralSubtree {
    GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(network.network(), network.prefix_len()))
}

/// Whether an authority's own certificate lets it sign for a name. URIs are not constrained.
fn permits(authority: &X509Certificate<'_>, name: &str) -> bool {
    let Ok(Some(extension)) = authority.name_constraints() else { return true };
    let address = name.parse::<IpAddr>().ok();
    if address.is_none() && name.contains("://") {
        return true;
    }
    let of_sort = |base: &GeneralName<'_>| matches!(base, GeneralName::IPAddress(_)) == address.is_some();
    let within = |base: &GeneralName<'_>| match (base, address) {
        (GeneralName::DNSName(domain), None) => is_below(name, domain),
        (GeneralName::IPAddress(bytes), Some(address)) => contains(bytes, address),
        _ => false,
    };
    let constraints = extension.value;
    let excluded = constraints.excluded_subtrees.iter().flatten().any(|tree| within(&tree.base));
    let mut permitted = constraints.permitted_subtrees.iter().flatten().filter(|tree| of_sort(&tree.base)).peekable();
    !excluded && (permitted.peek().is_none() || permitted.any(|tree| within(&tree.base)))
}

/// Whether a host is a domain or below it; the empty domain has every host below it.
fn is_below(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.to_ascii_lowercase(), domain.trim_start_matches('.').to_ascii_lowercase());
    domain.is_empty() || host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
}

/// Whether an address lies in a network written as address and mask (RFC 5280).
fn contains(network: &[u8], address: IpAddr) -> bool {
    let bytes = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let Some((base, mask)) = network.split_at_checked(bytes.len()) else { return false };
    mask.len() == bytes.len() && bytes.iter().zip(base).zip(mask).all(|((a, b), m)| a & m == b & m)
}

#[cfg(test)]
#[path = "issue_tests.rs"]
mod tests;
