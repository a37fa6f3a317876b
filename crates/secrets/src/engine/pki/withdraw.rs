//! Certificates that are stored, and how one is withdrawn: written down, and onto the signed list, in one transaction.

use super::authority::{Authority, base64, der, failed};
use crate::{Call, File, Reply, Result, SecretsError, Txn, fields, lease::after};
use ::base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_certificates::authority::Withdrawn;
use credentialflow_model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Where the list lies.
pub(super) const LIST: &str = "crl";
/// How long a signed list is good for, seconds; Vault's.
const LIFETIME: i64 = 72 * 3600;
/// It is signed anew when less than this is left of it.
const RENEWED: i64 = LIFETIME / 2;
/// Certificates forgotten by one request at most.
const FORGOTTEN: usize = 5000;
/// Certificates looked at by one request at most.
const LOOKED_AT: usize = 50_000;
/// Certificates looked at in one go.
const PAGE: usize = 500;

/// A certificate as stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    /// PEM, without an end of line at the end.
    pem: String,
    issuer_id: String,
    not_after: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withdrawn: Option<Timestamp>,
}

/// The list of withdrawn certificates, as signed, and what it was made from.
#[derive(Serialize, Deserialize)]
struct List {
    /// DER in Base64.
    signed: String,
    number: u64,
    until: Timestamp,
    withdrawn: Vec<Withdrawn>,
}

/// Keeps a certificate that was signed.
pub(super) fn keep(
    txn: &mut Txn,
    space: &str,
    authority: &Authority,
    serial: &str,
    pem: &str,
    not_after: Timestamp,
) -> Result<()> {
    let (pem, issuer_id) = (pem.to_owned(), authority.issuer_id.clone());
    txn.entries(space).put_json(&format!("certs/{serial}"), &Stored { pem, issuer_id, not_after, withdrawn: None })
}

/// Signs the first list of an authority: an empty one.
pub(super) async fn begin(txn: &mut Txn, space: &str, authority: &Authority, now: Timestamp) -> Result<()> {
    let list = List { signed: String::new(), number: 0, until: now, withdrawn: Vec::new() };
    signed(txn, space, authority, list, now).await.map(drop)
}

/// Signs a list anew, without those that are over by themselves, and keeps it.
async fn signed(txn: &mut Txn, space: &str, authority: &Authority, mut list: List, now: Timestamp) -> Result<List> {
    let signer = authority.signer(txn, space).await?;
    list.withdrawn.retain(|one| one.not_after > now);
    list.number += 1;
    list.until = after(Timestamp::from_secs(now.secs()), LIFETIME);
    let made = tokio::task::spawn_blocking(move || {
        let der = signer.list(&list.withdrawn, list.number, now, list.until)?;
        Ok(List { signed: base64(&der), ..list })
    });
    let list = made.await.map_err(|e| SecretsError::Internal(Box::new(e)))?.map_err(failed)?;
    txn.entries(space).put_json(LIST, &list)?;
    Ok(list)
}

/// What became of a certificate that was to be withdrawn.
pub(crate) enum Outcome {
    /// It is withdrawn, since then.
    Withdrawn(Timestamp),
    /// It is over by itself.
    Over,
    /// It is not stored here.
    Unknown,
}

/// Withdraws certificates of a mount's storage, by their serial numbers.
pub(crate) async fn withdraw(txn: &mut Txn, space: &str, serials: &[&str], now: Timestamp) -> Result<Vec<Outcome>> {
    let authority = Authority::find(txn, space).await?;
    let (mut outcomes, mut added) = (Vec::with_capacity(serials.len()), Vec::new());
    for serial in serials {
        let path = format!("certs/{serial}");
        let stored: Option<Stored> = txn.entries(space).get_json(&path).await?;
        outcomes.push(match stored {
            None => Outcome::Unknown,
            Some(Stored { withdrawn: Some(at), .. }) => Outcome::Withdrawn(at),
            Some(Stored { not_after, .. }) if not_after <= now => Outcome::Over,
            Some(mut stored) => {
                stored.withdrawn = Some(now);
                txn.entries(space).put_json(&path, &stored)?;
                // What an authority signed that is gone is on nobody's list.
                if authority.as_ref().is_some_and(|a| a.issuer_id == stored.issuer_id) {
                    let serial = (*serial).to_owned();
                    added.push(Withdrawn { serial, at: now, not_after: stored.not_after });
                }
                Outcome::Withdrawn(now)
            }
        });
    }
    if let Some(authority) = authority.filter(|_| !added.is_empty()) {
        let list: Option<List> = txn.entries(space).get_json(LIST).await?;
        let mut list = list.ok_or_else(|| SecretsError::corrupt("list of withdrawn certificates"))?;
        list.withdrawn.extend(added);
        signed(txn, space, &authority, list, now).await?;
    }
    Ok(outcomes)
}

/// A serial number in the one spelling. `None`: it is none.
fn normal(serial: &str) -> Option<String> {
    let serial = serial.trim().to_ascii_lowercase().replace('-', ":");
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    (serial.len() <= 64 && serial.split(':').all(pair)).then_some(serial)
}

pub(super) async fn revoke(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    super::authority::refuse(call.data, &["certificate", "private_key"])?;
    let given = fields::text(call.data, "serial_number")?.filter(|serial| !serial.is_empty());
    let given = given.ok_or_else(|| SecretsError::invalid("The serial number must be provided"))?;
    let unknown = || SecretsError::invalid(format!("certificate with serial {given} not found."));
    let serial = normal(&given).ok_or_else(unknown)?;
    if let Some(authority) = Authority::find(txn, call.space()).await?.filter(|a| a.serial == serial) {
        return Err(SecretsError::invalid(format!(
            "adding issuer (id: {}) to its own CRL is not allowed",
            authority.issuer_id
        )));
    }
    match withdraw(txn, call.space(), &[&serial], call.now).await?.pop() {
        Some(Outcome::Withdrawn(at)) => Ok(Reply::open(json!({
            "revocation_time": at.secs(),
            "revocation_time_rfc3339": at.to_string(),
            "state": "revoked",
        }))),
        Some(Outcome::Over) => Ok(Reply::empty()
            .with_warning(format!("certificate with serial {serial} already expired; refusing to add to CRL"))),
        _ => Err(unknown()),
    }
}

/// A certificate by its serial number, the authority's (`ca`), its chain, or the list: as JSON, or as it is.
pub(super) async fn certificate(call: &Call<'_>, txn: &mut Txn, which: &str) -> Result<Reply> {
    let (which, raw) = match which.split_once('/') {
        None => (which, None),
        Some((which, "raw")) => (which, Some(false)),
        Some((which, "raw/pem")) => (which, Some(true)),
        Some(_) => return Err(SecretsError::UnknownPath),
    };
    let space = call.space();
    let none = || SecretsError::invalid("no default issuer currently configured");
    let mut told = json!({ "revocation_time": 0, "revocation_time_rfc3339": "" });
    let pem = match which {
        "crl" if raw.is_some() => return Err(SecretsError::UnknownPath),
        "crl" => {
            let list = current(call, txn).await?.ok_or_else(none)?;
            told["certificate"] = list_pem(&list)?.into();
            return Ok(Reply::open(told));
        }
        "ca" | "ca_chain" => {
            let authority = Authority::find(txn, space).await?.ok_or_else(none)?;
            if which == "ca_chain" {
                told["ca_chain"] = authority.pem.as_str().into();
            }
            authority.pem
        }
        serial => {
            let serial = normal(serial).ok_or(SecretsError::UnknownPath)?;
            let stored: Option<Stored> = txn.entries(space).get_json(&format!("certs/{serial}")).await?;
            let stored = stored.ok_or(SecretsError::NotFound)?;
            if let Some(at) = stored.withdrawn {
                told["issuer_id"] = stored.issuer_id.into();
                told["revocation_time"] = at.secs().into();
                told["revocation_time_rfc3339"] = at.to_string().into();
            }
            stored.pem
        }
    };
    Ok(match raw {
        None => {
            told["certificate"] = pem.into();
            Reply::open(told)
        }
        Some(false) => Reply::file(File { content_type: "application/pkix-cert", bytes: der(&pem)? }),
        Some(true) => Reply::file(File { content_type: "application/pem-certificate-chain", bytes: pem.into_bytes() }),
    })
}

/// The list of now. One that is about to be over is signed anew; whoever asked commits that.
async fn current(call: &Call<'_>, txn: &mut Txn) -> Result<Option<List>> {
    let Some(authority) = Authority::find(txn, call.space()).await? else { return Ok(None) };
    let list: Option<List> = txn.entries(call.space()).get_json(LIST).await?;
    let list = list.ok_or_else(|| SecretsError::corrupt("list of withdrawn certificates"))?;
    if list.until > after(call.now, RENEWED) {
        return Ok(Some(list));
    }
    signed(txn, call.space(), &authority, list, call.now).await.map(Some)
}

fn list_der(list: &List) -> Result<Vec<u8>> {
    STANDARD.decode(&list.signed).map_err(|_| SecretsError::corrupt("list of withdrawn certificates"))
}

fn list_pem(list: &List) -> Result<String> {
    let lines: Vec<&str> =
        list.signed.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    Ok(format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----", lines.join("\n")))
}

/// The list, in DER at `crl` and in PEM at `crl/pem`.
pub(super) async fn told_list(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let Some(list) = current(call, txn).await? else { return Ok(Reply::empty()) };
    Ok(Reply::file(if call.path == "crl" {
        File { content_type: "application/pkix-crl", bytes: list_der(&list)? }
    } else {
        File { content_type: "application/x-pem-file", bytes: list_pem(&list)?.into_bytes() }
    }))
}

/// Signs the list anew.
pub(super) async fn renew(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let space = call.space();
    let authority = Authority::find(txn, space).await?;
    let authority = authority.ok_or_else(|| SecretsError::invalid("no default issuer currently configured"))?;
    let list: Option<List> = txn.entries(space).get_json(LIST).await?;
    let list = list.ok_or_else(|| SecretsError::corrupt("list of withdrawn certificates"))?;
    signed(txn, space, &authority, list, call.now).await?;
    Ok(Reply::open(json!({ "success": true })))
}

/// Forgets stored certificates that have been over for longer than `safety_buffer`; all of it in this request, within
/// bounds. A list never holds what is over, so there is nothing to tidy there.
pub(super) async fn tidy(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let set = |name: &str| fields::boolean(call.data, name).map(|given| given.unwrap_or(false));
    let (unused, used) = (set("tidy_cert_store")?, set("tidy_revoked_certs")?);
    if !unused && !used {
        let warning = "Manual tidy requested but no tidy operations were set: tidy_cert_store, tidy_revoked_certs.";
        return Ok(Reply::empty().with_warning(warning).with_status(202));
    }
    let buffer = fields::seconds(call.data, "safety_buffer")?.unwrap_or(LIFETIME);
    let before = after(call.now, -buffer.max(0));
    let (mut last, mut gone, mut seen) = (String::new(), 0, 0);
    let space = call.space();
    while gone < FORGOTTEN && seen < LOOKED_AT {
        let page = txn.entries(space).paths("certs/", &last, PAGE).await?;
        let Some(end) = page.last() else { break };
        last.clone_from(end);
        seen += page.len();
        for path in &page {
            let stored: Option<Stored> = txn.entries(space).get_json(path).await?;
            let over = |stored: &Stored| {
                let asked = if stored.withdrawn.is_some() { used } else { unused };
                asked && stored.not_after < before
            };
            if stored.as_ref().is_some_and(over) {
                txn.entries(space).delete(path);
                gone += 1;
            }
        }
    }
    let told: Value = json!({ "cert_store_deleted_count": gone });
    Ok(Reply::open(told).with_status(202))
}
