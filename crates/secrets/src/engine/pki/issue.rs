//! A fresh key with its certificate: made by a role, told once. The certificate is stored with its lease in the
//! transaction that records it; the key is not.

use super::{
    authority::{Authority, base64, bounded, der, given_ttl, made, refuse, secret_base64, stored_addresses},
    names,
    role::Role,
    withdraw,
};
use crate::{
    Mount, Reply, Result, SecretsError,
    engine::database::plain,
    fields,
    lease::{Done, Holder, Issued, Leases, RACES, after, secret_json},
    mounts,
};
use credentialflow_certificates::authority::{Made, Subject, Terms};
use credentialflow_model::{SecretValue, Timestamp};
use serde_json::{Map, Value, json};

/// How the answer tells certificates and keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Pem,
    Der,
    /// Key, certificate and chain in one text.
    Bundle,
}

impl Format {
    fn asked(data: &Map<String, Value>) -> Result<Self> {
        match fields::text(data, "format")?.as_deref() {
            None | Some("" | "pem") => Ok(Self::Pem),
            Some("der") => Ok(Self::Der),
            Some("pem_bundle") => Ok(Self::Bundle),
            Some(_) => {
                Err(SecretsError::invalid("the \"format\" path parameter must be \"pem\", \"der\", or \"pem_bundle\""))
            }
        }
    }
}

/// Whether the key is wanted as PKCS #8.
fn wants_pkcs8(data: &Map<String, Value>) -> Result<bool> {
    match fields::text(data, "private_key_format")?.as_deref() {
        None | Some("" | "der" | "pem") => Ok(false),
        Some("pkcs8") => Ok(true),
        Some(_) => Err(SecretsError::invalid("private_key_format is der, pem or pkcs8")),
    }
}

impl Leases {
    /// Issues a certificate by a role of a mount. Must not be dropped half-way: run it in a task of its own.
    pub(crate) async fn issue_certificate(
        &self,
        holder: &Holder,
        mount: &Mount,
        role_name: &str,
        data: &Map<String, Value>,
        told: &Value,
    ) -> Result<Done> {
        let role_name = plain(role_name)?;
        self.within_pace(&holder.caller())?;
        refuse(data, &["not_after", "not_before", "other_sans", "serial_number", "user_ids"])?;
        refuse(data, &["remove_roots_from_chain", "key_type", "key_bits"])?;
        let (format, pkcs8) = (Format::asked(data)?, wants_pkcs8(data)?);
        for _ in 0..RACES {
            let mut txn = self.txn(holder.actor.clone());
            let now = Timestamp::from_secs(txn.now().secs());
            let space = &mount.uuid;
            let role = Role::load(&mut txn, space, role_name).await?;
            if role.generate_lease && holder.accessor.is_empty() {
                return Err(SecretsError::invalid("a batch token cannot hold leases"));
            }
            let authority = Authority::find(&mut txn, space).await?;
            let authority =
                authority.ok_or_else(|| SecretsError::invalid("this mount has no authority: write root/generate"))?;
            let mut warnings = Vec::new();
            let (terms, ttl) = self.terms(&mut txn, mount, &role, data, now, &mut warnings).await?;
            if terms.not_after > authority.not_after {
                return Err(SecretsError::invalid(format!(
                    "cannot satisfy request, as TTL would result in notAfter of {} that is beyond the expiration of \
                     the CA certificate at {}",
                    terms.not_after, authority.not_after
                )));
            }
            let signer = authority.signer(&mut txn, space).await?;
            let (kind, signed) = (role.key, terms.clone());
            let made = made(move || signer.sign(kind, &signed)).await?;
            if !role.no_store {
                withdraw::keep(&mut txn, space, &authority, &made.serial, &made.pem, terms.not_after)?;
            }
            mounts::rests_on(&mut txn, mount).await?;
            self.rests_on_token(&mut txn, holder).await?;
            let lease = if role.generate_lease {
                Some(self.lease_of_certificate(&mut txn, holder, mount, role_name, &made.serial, terms.not_after)?)
            } else {
                None
            };
            let subject = format!("vault/{}issue/{role_name}", mount.path);
            let mut detail = told.clone();
            detail["serial_number"] = made.serial.as_str().into();
            detail["common_name"] = terms.subject.common_name.as_str().into();
            detail["until"] = terms.not_after.to_string().into();
            detail["lease"] = lease.as_deref().into();
            txn.audit("certificate.issue", &subject, detail);
            match txn.commit().await {
                Ok(_) => {}
                Err(SecretsError::Raced) => continue,
                Err(error) => return Err(error),
            }
            let data = answer(&authority, &made, &terms, kind.name(), format, pkcs8)?;
            return Ok(match lease {
                Some(id) => Done::Issued(Issued { id, ttl, renewable: false, data, warnings }),
                None => Done::Reply(Reply { warnings, ..Reply::secret(data) }),
            });
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }

    /// What the certificate is to say, and how many seconds it lives.
    async fn terms(
        &self,
        txn: &mut crate::Txn,
        mount: &Mount,
        role: &Role,
        data: &Map<String, Value>,
        now: Timestamp,
        warnings: &mut Vec<String>,
    ) -> Result<(Terms, i64)> {
        let common_name = fields::text(data, "common_name")?.unwrap_or_default();
        if common_name.is_empty() && role.require_cn {
            return Err(SecretsError::invalid(
                "the common_name field is required, or must be provided in a CSR with \"use_csr_common_name\" set to \
                 true, unless \"require_cn\" is set to false",
            ));
        }
        let names = names::asked(data, &common_name)?;
        names::check(role, &common_name, &names)?;
        if common_name.is_empty() && names.is_empty() {
            return Err(SecretsError::invalid("a certificate needs a name"));
        }
        let usual = if role.ttl > 0 { role.ttl } else { mount.default_ttl() };
        let most = [role.max_ttl, mount.max_ttl()].into_iter().filter(|t| *t > 0).min().unwrap_or(i64::MAX);
        let ttl = bounded(given_ttl(data)?.unwrap_or(usual), most, warnings);
        let terms = Terms {
            subject: Subject { common_name, ..role.subject.clone() },
            names,
            not_before: after(now, -role.not_before_duration),
            not_after: after(now, ttl),
            usages: role.key_usage.clone(),
            extended_usages: role.extended_usages(),
            addresses: stored_addresses(txn, &mount.uuid).await?,
        };
        Ok((terms, ttl))
    }
}

fn answer(
    authority: &Authority,
    made: &Made,
    terms: &Terms,
    kind: &str,
    format: Format,
    pkcs8: bool,
) -> Result<SecretValue> {
    let key = match (format, pkcs8) {
        (Format::Der, true) => secret_base64(&made.key),
        (Format::Der, false) => secret_base64(&made.key_der()),
        (_, true) => made.pkcs8_pem(),
        (_, false) => made.key_pem(),
    };
    let key_text = key.expose_str().unwrap_or_default();
    let (certificate, above) = match format {
        Format::Der => (Value::from(base64(&made.der)), base64(&der(&authority.pem)?)),
        Format::Pem => (made.pem.as_str().into(), authority.pem.clone()),
        // Wiped with the rest of the answer.
        Format::Bundle => (format!("{key_text}\n{}\n{}", made.pem, authority.pem).into(), authority.pem.clone()),
    };
    Ok(secret_json(json!({
        "ca_chain": [above],
        "certificate": certificate,
        "expiration": terms.not_after.secs(),
        "issuing_ca": above,
        "not_before": terms.not_before.secs(),
        "private_key": key_text,
        "private_key_type": kind,
        "serial_number": made.serial,
    })))
}
