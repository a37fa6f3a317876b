//! An authority for certificates, as Vault has it: applications ask for a key with a certificate, by roles that say which
//! names they may have.
//!
//! | Path | Operations |
//! | --- | --- |
//! | `root/generate/internal`, `…/exported` | write: makes the authority; `exported` tells its key, once |
//! | `root` | delete: forgets it, for operators |
//! | `config/urls` | read, write: where others find its certificate and its list, written into certificates |
//! | `roles/NAME` | list, read, write, delete: which names, lifetimes and kinds of keys; see `role.rs` |
//! | `issue/NAME` | write: a fresh key with its certificate, with a lease where the role says so |
//! | `revoke` | write: withdraws a certificate by its serial number |
//! | `certs` | list: serial numbers of what is stored |
//! | `tidy` | write: forgets certificates that are over |
//! | `crl/rotate` | read: signs the list anew |
//! | `ca`, `ca/pem`, `ca_chain`, `crl`, `crl/pem`, `cert/SERIAL` | read, for everybody: what relying parties need |
//!
//! One authority for a mount, a root. Not offered, and told so: intermediate authorities, signing of requests (CSR),
//! several issuers, ACME, OCSP, keys at other systems. A field of a role that would change what is issued and is not
//! honoured is refused.
//!
//! The authority's key is an entry of its own, sealed as all are, and opened only to sign. What withdraws a certificate
//! writes the signed list in the same transaction, so the list is never behind.

mod authority;
mod issue;
mod names;
mod role;
mod withdraw;

pub(crate) use withdraw::withdraw;

use super::{
    database::{Deed, plain},
    list,
};
use crate::{Call, Operation, Reply, Result, SecretsError, Txn};

/// Whether a question is answered in a task of its own, as for [`database::deed`](super::database::deed).
pub(super) fn deed(operation: Operation, path: &str) -> Option<Deed> {
    match (path.split_once('/')?, operation) {
        (("issue", name), Operation::Write) if !name.is_empty() => Some(Deed::Certificate(name.to_owned())),
        _ => None,
    }
}

/// What relying parties may read without being anybody.
pub(super) fn is_public(operation: Operation, path: &str) -> bool {
    let certificate = path.strip_prefix("cert/").is_some_and(|which| !which.is_empty() && !which.ends_with('/'));
    operation == Operation::Read && (certificate || matches!(path, "ca" | "ca/pem" | "ca_chain" | "crl" | "crl/pem"))
}

/// What takes the capability `sudo`, too.
pub(super) fn is_for_operators(path: &str) -> bool {
    path.trim_end_matches('/') == "root"
}

pub(super) async fn handle(call: &Call<'_>, txn: &mut Txn) -> Result<Reply> {
    let (kind, rest) = call.path.split_once('/').unwrap_or((call.path, ""));
    // One thing has one path; lists are asked for either way.
    if kind != "roles" && call.operation != Operation::List && call.path.ends_with('/') {
        return Err(SecretsError::UnknownPath);
    }
    match (kind, rest, call.operation) {
        ("roles", name, Operation::List) => list(call, txn, call.space(), "roles/", name).await,
        ("roles", "", Operation::Read) => list(call, txn, call.space(), "roles/", "").await,
        ("roles", name, Operation::Read) => role::read(call, txn, plain(name)?).await,
        ("roles", name, Operation::Write) => role::write(call, txn, plain(name)?),
        ("roles", name, Operation::Delete) => {
            txn.entries(call.space()).delete(&format!("roles/{}", plain(name)?));
            Ok(Reply::empty())
        }
        ("root", "generate/internal", Operation::Write) => authority::generate(call, txn, false).await,
        ("root", "generate/exported", Operation::Write) => authority::generate(call, txn, true).await,
        ("root", "", Operation::Delete) => authority::forget(call, txn).await,
        ("config", "urls", Operation::Read) => authority::addresses(call, txn).await,
        ("config", "urls", Operation::Write) => authority::write_addresses(call, txn).await,
        ("ca", "" | "pem", Operation::Read) | ("ca_chain", "", Operation::Read) => {
            authority::certificate(call, txn).await
        }
        ("cert", which, Operation::Read) if !which.is_empty() => withdraw::certificate(call, txn, which).await,
        ("certs", "", Operation::List) => list(call, txn, call.space(), "certs/", "").await,
        ("crl", "" | "pem", Operation::Read) => withdraw::told_list(call, txn).await,
        ("crl", "rotate", Operation::Read) => withdraw::renew(call, txn).await,
        ("revoke", "", Operation::Write) => withdraw::revoke(call, txn).await,
        ("tidy", "", Operation::Write) => withdraw::tidy(call, txn).await,
        ("ca" | "ca_chain" | "certs" | "revoke" | "tidy" | "root" | "roles", "", _)
        | ("ca" | "crl", "pem", _)
        | ("crl", "" | "rotate", _)
        | ("config", "urls", _)
        | ("root", "generate/internal" | "generate/exported", _) => Err(SecretsError::Unsupported),
        ("roles" | "issue", name, _) if !name.is_empty() => Err(SecretsError::Unsupported),
        _ => Err(SecretsError::UnknownPath),
    }
}

pub(super) async fn exists(call: &Call<'_>, txn: &mut Txn) -> Result<bool> {
    match call.path.split_once('/') {
        Some(("roles", name)) if !name.is_empty() => txn.entries(call.space()).exists(call.path).await,
        _ => Ok(true),
    }
}
