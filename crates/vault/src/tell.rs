//! Tells the owner of a credential what happens to it: stored in the transaction that makes it happen.

use crate::{Result, Vault, credentials::subject};
use credentialflow_model::{
    Actor, Name, Timestamp,
    resource::{Credential, Kind},
};
use credentialflow_store::{Notification, NotificationState, WriteTx};
use serde_json::{Value, json};

/// Stores what is to be told to a credential's owner. Without an owner nobody is told. Of several with the
/// same `same` only the first is kept.
pub(crate) async fn owner_in(
    tx: &mut WriteTx,
    credential: &Name,
    event: &str,
    same: Option<String>,
    mut data: Value,
) -> Result<()> {
    let stored = tx.resource(Kind::Credentials, credential.as_str()).await?;
    let declared = stored.and_then(|row| serde_json::from_str::<Credential>(&row.body).ok());
    let Some(owner) = declared.and_then(|c| c.owner) else { return Ok(()) };
    data["credential"] = json!(credential);
    team_in(tx, &owner, event, same, data).await
}

/// Stores what is to be told to a team. Of several with the same `same` only the first is kept.
pub(crate) async fn team_in(
    tx: &mut WriteTx,
    owner: &Name,
    event: &str,
    same: Option<String>,
    mut data: Value,
) -> Result<()> {
    data["owner"] = json!(owner);
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bits)?;
    tx.add_notification(&Notification {
        id: format!("msg_{:032x}", u128::from_be_bytes(bits)),
        same,
        created: tx.now(),
        owner: owner.to_string(),
        body: json!({ "type": event, "timestamp": tx.now(), "data": data }).to_string(),
        channel: None,
        state: NotificationState::Waiting,
        attempts: 0,
        next_attempt: tx.now(),
        error: None,
    })
    .await
    .map_err(Into::into)
}

impl Vault {
    /// Writes what happens to the access tokens of a credential, on one node, to the audit log, and tells its owner. The
    /// owner is told the same of several nodes once an hour.
    pub async fn tell_token(&self, credential: &Name, event: &str, detail: Value) -> Result<()> {
        let mut tx = self.store()?.begin(&Actor::system("tokens")).await?;
        let same = format!("{event}:{credential}:{}", tx.now().secs() / 3600);
        owner_in(&mut tx, credential, event, Some(same), detail.clone()).await?;
        tx.audit(event, &subject(credential), detail);
        tx.commit().await?;
        Ok(())
    }

    /// Tells the owner once that a credential expires soon.
    pub async fn tell_expiring(&self, credential: &Credential, expires: Timestamp) -> Result<()> {
        let same = format!("expiring:{}:{}", credential.name, expires.micros());
        let store = self.store()?;
        if credential.owner.is_none() || store.is_notified(&same).await? {
            return Ok(());
        }
        let mut tx = store.begin(&Actor::system("expiry")).await?;
        let data = json!({ "expires": expires });
        owner_in(&mut tx, &credential.name, "credential.expiring", Some(same), data).await?;
        tx.audit("credential.expiring", &subject(&credential.name), json!({ "expires": expires }));
        tx.commit().await?;
        Ok(())
    }
}
