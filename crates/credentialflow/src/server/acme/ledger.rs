//! What orders remember, in the database: each thing one row, sealed for its place, each change with its audit event.

use super::Acme;
use credentialflow_acme::{Answer, Kept, Ledger, NotKept};
use credentialflow_model::{Actor, SecretValue};
use credentialflow_store::{AcmeRow, StoreError, WriteTx};
use credentialflow_vault::{Sealed, Vault, VaultError};
use serde_json::json;
use std::time::Duration;

pub(super) const ACCOUNT: &str = "account";
pub(super) const ORDER: &str = "order";
pub(super) const ANSWERS: &str = "answers";
pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const TROUBLE: &str = "trouble";
/// What audit events of orders are about.
pub(super) const SUBJECT: &str = "listeners/certificate";
/// Every node has looked within this time.
const ALL_LOOKED: Duration = Duration::from_millis(2750);

/// What the sealed bytes of a row are bound to.
pub(in crate::server) fn place(name: &str) -> String {
    format!("acme/{name}")
}

/// A row with a secret.
pub(super) fn sealed(vault: &Vault, name: &str, value: &SecretValue, note: String) -> Result<AcmeRow, VaultError> {
    let bytes = vault.seal_blob(&place(name), value.expose())?.into_bytes();
    Ok(AcmeRow { name: name.to_owned(), sealed: Some(bytes), note })
}

/// A row without one.
pub(super) fn open(name: &str, note: String) -> AcmeRow {
    AcmeRow { name: name.to_owned(), sealed: None, note }
}

const fn row_of(what: Kept) -> &'static str {
    match what {
        Kept::Account => ACCOUNT,
        Kept::Order => ORDER,
    }
}

fn not_stored(error: &StoreError) -> NotKept {
    NotKept(format!("what is ordered cannot be remembered: {error}"))
}

fn not_sealed(error: &VaultError) -> NotKept {
    NotKept(format!("what is ordered cannot be sealed: {error}"))
}

impl Acme {
    pub(super) async fn begin(&self) -> Result<WriteTx, NotKept> {
        self.store.begin(&Actor::system("acme")).await.map_err(|error| not_stored(&error))
    }

    pub(super) async fn commit(&self, tx: WriteTx) -> Result<(), NotKept> {
        tx.commit().await.map_err(|error| not_stored(&error))?;
        self.look().await;
        Ok(())
    }

    pub(super) fn opened(&self) -> Result<&Vault, NotKept> {
        self.vault.get().ok_or_else(|| NotKept("there is no vault yet".into()))
    }

    /// Remembers that the order came to its certificate, and forgets the order.
    pub(super) async fn finish(&self, row: &AcmeRow, told: serde_json::Value) -> Result<(), NotKept> {
        let mut tx = self.begin().await?;
        let done = async {
            tx.put_acme(row).await?;
            for name in [ORDER, ANSWERS, TROUBLE] {
                tx.forget_acme(name).await?;
            }
            Ok(())
        };
        done.await.map_err(|error: StoreError| not_stored(&error))?;
        tx.audit("acme.certificate", SUBJECT, told);
        self.commit(tx).await
    }

    /// Remembers a row that is no secret, for everybody's eyes.
    pub(super) async fn note(&self, row: &AcmeRow, event: &str, told: serde_json::Value) -> Result<(), NotKept> {
        let mut tx = self.begin().await?;
        tx.put_acme(row).await.map_err(|error| not_stored(&error))?;
        tx.audit(event, SUBJECT, told);
        self.commit(tx).await
    }
}

impl Ledger for Acme {
    async fn read(&self, what: Kept) -> Result<Option<SecretValue>, NotKept> {
        let rows = self.store.acme().await.map_err(|error| not_stored(&error))?;
        let Some(bytes) = rows.into_iter().find(|row| row.name == row_of(what)).and_then(|row| row.sealed) else {
            return Ok(None);
        };
        let vault = self.opened()?;
        let opened = Sealed::from_bytes(bytes).and_then(|sealed| vault.open_blob(&place(row_of(what)), &sealed));
        match opened {
            Ok(value) => Ok(Some(value)),
            Err(error @ VaultError::Sealed) => Err(not_sealed(&error)),
            // What does not open is of no use any more: it is made anew.
            Err(error) => {
                tracing::warn!(%error, what = row_of(what), "what an order remembered does not open; it is made anew");
                Ok(None)
            }
        }
    }

    async fn keep(&self, what: Kept, value: SecretValue) -> Result<(), NotKept> {
        let row = sealed(self.opened()?, row_of(what), &value, String::new()).map_err(|error| not_sealed(&error))?;
        let event = match what {
            Kept::Account => "acme.account",
            Kept::Order => "acme.order",
        };
        self.note(&row, event, json!({ "directory": self.rule.directory, "names": self.rule.names })).await
    }

    async fn forget(&self, what: Kept) -> Result<(), NotKept> {
        let mut tx = self.begin().await?;
        let names: &[&str] = match what {
            Kept::Account => &[ACCOUNT],
            Kept::Order => &[ORDER, ANSWERS],
        };
        for name in names {
            tx.forget_acme(name).await.map_err(|error| not_stored(&error))?;
        }
        tx.audit("acme.forget", SUBJECT, json!({ "forgotten": row_of(what) }));
        self.commit(tx).await
    }

    async fn publish(&self, answers: Vec<Answer>) -> Result<(), NotKept> {
        let note = serde_json::to_string(&answers).map_err(|error| NotKept(error.to_string()))?;
        self.note(&open(ANSWERS, note), "acme.challenge", json!({ "challenges": answers.len() })).await?;
        if self.store.is_shared() {
            // The server may ask any node.
            tokio::time::sleep(ALL_LOOKED).await;
        }
        Ok(())
    }
}
