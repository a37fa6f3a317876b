//! The mount's authority: made, told, forgotten; and the addresses that stand in what it signs.

use super::withdraw;
use crate::{Call, File, Reply, Result, SecretsError, Txn, fields, lease::after, lease::secret_json, uuid};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_certificates::{
    authority::{self, Addresses, AltName, KeyKind, Made, Signer, Subject, Terms},
    issue::NotIssued,
};
use credentialflow_model::{SecretValue, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

/// What everybody may know of it.
pub(super) const CERTIFICATE: &str = "ca";
/// Its private key, PKCS #8 in DER.
const KEY: &str = "ca-key";
const ADDRESSES: &str = "config/urls";
/// Clocks of others may be late by this much, seconds; Vault's.
pub(super) const SKEW: i64 = 30;
/// Keys made at the same time: one of RSA takes a core for a second.
static GENERATIONS: Semaphore = Semaphore::const_new(2);

/// As stored, without its key.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Authority {
    pub(super) issuer_id: String,
    key_id: String,
    pub(super) kind: KeyKind,
    pub(super) subject: Subject,
    /// PEM, without an end of line at the end.
    pub(super) pem: String,
    pub(super) serial: String,
    pub(super) not_after: Timestamp,
}

impl Authority {
    pub(super) async fn find(txn: &mut Txn, space: &str) -> Result<Option<Self>> {
        txn.entries(space).get_json(CERTIFICATE).await
    }

    pub(super) async fn signer(&self, txn: &mut Txn, space: &str) -> Result<Signer> {
        let key = txn.entries(space).get(KEY).await?.ok_or_else(|| SecretsError::corrupt("authority"))?;
        Signer::new(self.kind, &self.subject, &key).map_err(failed)
    }

    pub(super) fn der(&self) -> Result<Vec<u8>> {
        der(&self.pem)
    }
}

/// The bytes of a PEM text that we wrote.
pub(super) fn der(pem: &str) -> Result<Vec<u8>> {
    let text: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(text).map_err(|_| SecretsError::corrupt("certificate"))
}

pub(super) fn failed(error: NotIssued) -> SecretsError {
    SecretsError::invalid(error.to_string())
}

/// Makes a key and what is signed with or for it, beside the tasks that answer requests.
pub(super) async fn made(make: impl FnOnce() -> Result<Made, NotIssued> + Send + 'static) -> Result<Made> {
    let internal = |error: Box<dyn std::error::Error + Send + Sync>| SecretsError::Internal(error);
    let _permit = GENERATIONS.acquire().await.map_err(|e| internal(Box::new(e)))?;
    let made = tokio::task::spawn_blocking(make).await.map_err(|e| internal(Box::new(e)))?;
    made.map_err(failed)
}

/// The kind of key that is asked for; `usual` where nothing is.
pub(super) fn kind(data: &Map<String, Value>) -> Result<KeyKind> {
    let name = fields::text(data, "key_type")?.filter(|k| !k.is_empty()).unwrap_or_else(|| "rsa".to_owned());
    let bits = fields::integer(data, "key_bits")?.unwrap_or(0);
    KeyKind::find(&name, bits).ok_or_else(|| {
        SecretsError::invalid(match name.as_str() {
            "rsa" if bits < 2048 => format!("RSA keys < 2048 bits are unsafe and not supported: got {bits}"),
            "rsa" => format!("unsupported bit length for RSA key: {bits}; 2048, 3072 and 4096 are offered"),
            "ec" => format!("unsupported bit length for EC key: {bits}"),
            _ => format!("unknown key type {name}"),
        })
    })
}

/// Refuses fields whose meaning is not honoured, where they are given with one.
pub(super) fn refuse(data: &Map<String, Value>, names: &[&str]) -> Result<()> {
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.as_str(), "" | "0" | "false" | "default"),
        Value::Array(all) => all.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    };
    match names.iter().find(|name| data.get(**name).is_some_and(|value| !empty(value))) {
        Some(name) => Err(SecretsError::invalid(format!("{name} is not offered"))),
        None => Ok(()),
    }
}

/// Whom a certificate names, besides its common name: each of them once.
pub(super) fn subject(data: &Map<String, Value>) -> Result<Subject> {
    let one = |name: &str| -> Result<String> {
        let mut all = fields::list(data, name)?.unwrap_or_default();
        if all.len() > 1 {
            return Err(SecretsError::invalid(format!("{name} is one text")));
        }
        Ok(all.pop().unwrap_or_default())
    };
    refuse(data, &["street_address", "postal_code"])?;
    Ok(Subject {
        country: one("country")?,
        organization: one("organization")?,
        unit: one("ou")?,
        locality: one("locality")?,
        province: one("province")?,
        common_name: String::new(),
    })
}

/// No longer than allowed, with a warning where that is less than asked for.
pub(super) fn bounded(ttl: i64, most: i64, warnings: &mut Vec<String>) -> i64 {
    if ttl <= most {
        return ttl;
    }
    let (asked, most_text) = (fields::go_duration(ttl), fields::go_duration(most));
    warnings.push(format!("TTL \"{asked}\" is longer than permitted maxTTL \"{most_text}\", so maxTTL is being used"));
    most
}

/// A lifetime that is given in a request, if it is.
pub(super) fn given_ttl(data: &Map<String, Value>) -> Result<Option<i64>> {
    let ttl = fields::seconds(data, "ttl")?.filter(|seconds| *seconds != 0);
    if ttl.is_some_and(|seconds| seconds < 0) {
        return Err(SecretsError::invalid("error converting input for field \"ttl\": it is negative"));
    }
    Ok(ttl)
}

pub(super) async fn generate(call: &Call<'_>, txn: &mut Txn, exported: bool) -> Result<Reply> {
    let (data, space) = (call.data, call.space());
    refuse(data, &["issuer_name", "key_name", "key_ref", "not_after", "signature_bits", "use_pss", "serial_number"])?;
    refuse(data, &["other_sans", "permitted_dns_domains", "private_key_format", "format", "uri_sans"])?;
    let common_name = fields::text(data, "common_name")?.filter(|name| !name.is_empty());
    let common_name = common_name.ok_or_else(|| SecretsError::invalid("common_name is required"))?;
    let kind = kind(data)?;
    let length = fields::integer(data, "max_path_length")?.filter(|length| *length >= 0);
    let length = length.map(u8::try_from).transpose();
    let length = length.map_err(|_| SecretsError::invalid("max_path_length is a number up to 255"))?;
    if Authority::find(txn, space).await?.is_some() {
        return Err(SecretsError::invalid(
            "this mount has an authority; delete it first (DELETE root), or mount another engine",
        ));
    }
    let mut warnings = Vec::new();
    let ttl = given_ttl(data)?.unwrap_or_else(|| call.mount.default_ttl());
    let ttl = bounded(ttl, call.mount.max_ttl(), &mut warnings);
    let addresses = stored_addresses(txn, space).await?;
    if addresses == Addresses::default() {
        warnings.push(
            "this mount has no addresses for relying parties yet: write config/urls before certificates are issued"
                .to_owned(),
        );
    }
    let names = super::names::asked(data, &common_name)?;
    let no_host = |name: &&AltName| matches!(name, AltName::Host(host) if !super::names::is_host(host));
    if let Some(AltName::Host(name)) = names.iter().find(no_host) {
        return Err(SecretsError::invalid(format!("{name:?} is no host name")));
    }
    let now = Timestamp::from_secs(call.now.secs());
    let terms = Terms {
        subject: Subject { common_name, ..subject(data)? },
        names,
        not_before: after(now, -SKEW),
        not_after: after(now, ttl),
        usages: Vec::new(),
        extended_usages: Vec::new(),
        addresses,
    };
    let (subject, not_after) = (terms.subject.clone(), terms.not_after);
    let made = made(move || authority::root(kind, &terms, length)).await?;
    let authority = Authority {
        issuer_id: uuid()?,
        key_id: uuid()?,
        kind,
        subject,
        pem: made.pem.clone(),
        serial: made.serial.clone(),
        not_after,
    };
    txn.entries(space).put_json(CERTIFICATE, &authority)?;
    txn.entries(space).put(KEY, made.key.duplicate());
    withdraw::keep(txn, space, &authority, &made.serial, &made.pem, not_after)?;
    withdraw::begin(txn, space, &authority, call.now).await?;
    let mut told = json!({
        "certificate": authority.pem,
        "expiration": not_after.secs(),
        "issuer_id": authority.issuer_id,
        "issuer_name": "",
        "issuing_ca": authority.pem,
        "key_id": authority.key_id,
        "key_name": "",
        "serial_number": authority.serial,
    });
    let mut reply = if exported {
        told["private_key"] = made.key_pem().expose_str().into();
        told["private_key_type"] = kind.name().into();
        Reply::secret(secret_json(told))
    } else {
        Reply::open(told)
    };
    reply.warnings = warnings;
    Ok(reply)
}

/// Forgets the authority, its key and its list. What it signed stays stored, and is no longer told of as withdrawn.
pub(super) async fn forget(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let mut entries = txn.entries(call.space());
    if !entries.exists(CERTIFICATE).await? {
        return Ok(Reply::empty());
    }
    for path in [CERTIFICATE, KEY, withdraw::LIST] {
        entries.delete(path);
    }
    Ok(Reply::empty().with_warning("the authority, its key and its list of withdrawn certificates are gone"))
}

/// The authority's certificate, in DER at `ca` and in PEM elsewhere.
pub(super) async fn certificate(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let Some(authority) = Authority::find(txn, call.space()).await? else { return Ok(Reply::empty()) };
    Ok(Reply::file(match call.path {
        "ca" => File { content_type: "application/pkix-cert", bytes: authority.der()? },
        "ca_chain" => File { content_type: "application/pkix-cert", bytes: authority.pem.into_bytes() },
        _ => File { content_type: "application/pem-certificate-chain", bytes: authority.pem.into_bytes() },
    }))
}

pub(super) async fn stored_addresses(txn: &mut Txn, space: &str) -> Result<Addresses> {
    Ok(txn.entries(space).get_json(ADDRESSES).await?.unwrap_or_default())
}

pub(super) async fn addresses(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    Ok(Reply::open(shown(&stored_addresses(txn, call.space()).await?)))
}

fn shown(addresses: &Addresses) -> Value {
    json!({
        "crl_distribution_points": addresses.crl_distribution_points,
        "delta_crl_distribution_points": [],
        "enable_templating": false,
        "issuing_certificates": addresses.issuing_certificates,
        "ocsp_servers": addresses.ocsp_servers,
    })
}

pub(super) async fn write_addresses(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    refuse(call.data, &["enable_templating", "delta_crl_distribution_points"])?;
    let mut addresses = stored_addresses(txn, call.space()).await?;
    for (name, list) in [
        ("issuing_certificates", &mut addresses.issuing_certificates),
        ("crl_distribution_points", &mut addresses.crl_distribution_points),
        ("ocsp_servers", &mut addresses.ocsp_servers),
    ] {
        let Some(given) = fields::list(call.data, name)? else { continue };
        if let Some(bad) = given.iter().find(|url| !is_url(url)) {
            return Err(SecretsError::invalid(format!(
                "invalid URL found in Authority Information Access (AIA) parameter {name}: {bad}"
            )));
        }
        *list = given;
    }
    txn.entries(call.space()).put_json(ADDRESSES, &addresses)?;
    Ok(Reply::open(shown(&addresses)))
}

/// An address others can ask: a scheme and a host, in characters that a certificate can hold.
fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    matches!(scheme, "http" | "https" | "ldap")
        && !rest.split('/').next().unwrap_or_default().is_empty()
        && text.len() <= 1024
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// DER as the API tells it.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A secret's DER as the API tells it.
pub(super) fn secret_base64(secret: &SecretValue) -> SecretValue {
    SecretValue::from(STANDARD.encode(secret.expose()))
}
