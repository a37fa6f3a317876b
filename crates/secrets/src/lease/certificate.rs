//! Leases of certificates of ours: they end when the certificate does, and withdraw it when they end before. Nobody else
//! is asked, so many are ended in one transaction with one signature.

use super::{Body, Holder, Leased, Leases, RACES, work::word};
use crate::engine::pki;
use crate::{Mount, Result, SecretsError, Txn, identifier};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op};
use credentialflow_targets::{Login, Statements};
use serde_json::json;

impl Leases {
    /// Writes a lease of a certificate, which ends when that does. Answers its id.
    pub(crate) fn lease_of_certificate(
        &self,
        txn: &mut Txn,
        holder: &Holder,
        mount: &Mount,
        role: &str,
        serial: &str,
        not_after: Timestamp,
    ) -> Result<String> {
        let id = format!("{}issue/{role}/{}", mount.path, identifier(24)?);
        let body = Body {
            made: true,
            problem: None,
            space: mount.uuid.clone(),
            database: String::new(),
            role: role.to_owned(),
            place: String::new(),
            login: Login::named(serial),
            leased: Leased::Certificate,
            statements: Statements::default(),
            ttl: not_after.secs() - txn.now().secs(),
            last_moment: not_after,
            renewed: None,
        };
        let row = LeaseRow {
            id: id.clone(),
            mount: mount.path.clone(),
            token: Some(holder.accessor.clone()),
            entity: holder.entity(),
            application: holder.application(),
            place: word(&body.at()),
            issued: txn.now(),
            expires_at: Some(not_after),
            state: LeaseState::Active,
            attempts: 0,
            next_attempt: Some(not_after),
            sealed: self.sealed(&id, &body)?,
            revision: 0,
        };
        let told = json!({ "role": role, "login": serial, "ttl": body.ttl });
        txn.audit("lease.issue", &format!("leases/{id}"), told);
        txn.op(Op::PutLease(row, Expect::Absent));
        Ok(id)
    }

    /// Withdraws the certificates of leases of one mount, and ends the leases, in one transaction: nobody else is asked.
    pub(super) async fn end_certificates(&self, actor: &Actor, rows: &[LeaseRow]) -> Result<()> {
        for _ in 0..RACES {
            let mut txn = self.txn(actor.clone());
            let (mut space, mut serials) = (String::new(), Vec::new());
            for row in rows {
                // Somebody else may have ended it.
                let Some(row) = self.store.lease(&row.id).await? else { continue };
                let body = self.body(&row)?;
                let told = json!({ "role": body.role, "serial_number": body.login.name });
                txn.audit("lease.end", &format!("leases/{}", row.id), told);
                txn.op(Op::DeleteLease(row.id, Expect::Revision(row.revision)));
                space = body.space;
                serials.push(body.login.name);
            }
            if serials.is_empty() {
                return Ok(());
            }
            let (serials, now): (Vec<&str>, _) = (serials.iter().map(String::as_str).collect(), txn.now());
            pki::withdraw(&mut txn, &space, &serials, now).await?;
            match txn.commit().await {
                Ok(_) => return Ok(()),
                Err(SecretsError::Raced) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SecretsError::Busy("others were first again and again; try again".into()))
    }
}
