//! Keys we issue: made here, shown once, kept as a keyed hash.
//!
//! Functions that take a [`WriteTx`] become part of the caller's transaction; the others are one
//! transaction each. A lost answer can be fetched again for 24 hours with the same
//! `Idempotency-Key`: the answer is kept sealed, in the transaction that made the key.

use crate::{
    Result, Sealed, Vault, VaultError, credentials,
    delegation::{Above, parent_in},
    held_key,
};
use credentialflow_model::{
    Actor, KeyId, KeyToken, Name, Period, SecretValue, Timestamp,
    lifecycle::{VersionEvent, VersionState},
    resource::{Key, Kind},
};
use credentialflow_store::{Expect, IdempotencyRow, KeyRow, KeySecretRow, StoreError, WriteTx};
use serde_json::json;
use zeroize::Zeroizing;

/// How long an old secret stays valid after a rotation unless said otherwise.
pub const DEFAULT_OVERLAP: Period = Period::from_secs(24 * 60 * 60);
const ID_ATTEMPTS: usize = 8;

/// A key's new secret, to be shown once.
#[derive(Debug)]
pub struct IssuedKey {
    /// The public half.
    pub id: KeyId,
    /// Which of the key's secrets.
    pub version: u32,
    /// The whole key as the caller presents it.
    pub secret: SecretValue,
    /// Whether this is the kept answer to an earlier, equal request.
    pub replayed: bool,
}

/// The caller's wish to be answered once for one request, however often it is sent.
#[derive(Clone, Debug)]
pub struct Idempotency {
    key: String,
    /// Under every pepper, the newest last: the kept answer may be older than the newest.
    request_hashes: Vec<[u8; 32]>,
}

impl Vault {
    /// The `Idempotency-Key` of a request and everything that makes the request what it is: method,
    /// path and body. The request is remembered as a keyed hash only.
    pub fn idempotency(&self, key: &str, request: &[u8]) -> Result<Idempotency> {
        let request_hashes = self.peppers()?.iter().map(|pepper| pepper.hash_request(request)).collect();
        Ok(Idempotency { key: key.to_owned(), request_hashes })
    }

    /// Creates a key's resource and issues its first secret. [`VaultError::Exists`] when the name is
    /// taken, [`VaultError::IdempotencyConflict`] when the idempotency key was used for another request.
    pub async fn issue_key(
        &self,
        actor: &Actor,
        key: &Key,
        prefix: &str,
        idempotency: Option<&Idempotency>,
    ) -> Result<IssuedKey> {
        let body = serde_json::to_string(key).map_err(|_| VaultError::Corrupt("key"))?;
        let mut tx = self.store()?.begin(actor).await?;
        if let Some(answer) = self.replay(&mut tx, idempotency).await? {
            tx.audit("key.repeat", &subject(&key.name), json!({ "key_id": answer.id, "version": answer.version }));
            tx.commit().await?;
            return Ok(answer);
        }
        match tx.put_resource(Kind::Keys, &key.name, &body, Expect::Absent).await {
            Err(StoreError::Conflict(_)) => {
                return Err(VaultError::Exists { kind: "key", name: key.name.to_string() });
            }
            other => other?,
        };
        let issued = self.issue_key_in(&mut tx, key, prefix).await?;
        self.keep(&mut tx, idempotency, &issued).await?;
        tx.commit().await?;
        Ok(issued)
    }

    /// Issues a first secret for a key whose resource the caller writes in the same transaction.
    pub async fn issue_key_in(&self, tx: &mut WriteTx, key: &Key, prefix: &str) -> Result<IssuedKey> {
        if tx.key_by_name(key.name.as_str()).await?.is_some() {
            return Err(VaultError::Exists { kind: "key", name: key.name.to_string() });
        }
        let (id, parent) = (self.free_id(tx).await?, parent_in(tx, key).await?);
        let above = parent.as_ref().map(|(row, version)| Above { row, version: *version, exchanged: false });
        self.issue_as_in(tx, key, (id, above), prefix).await
    }

    /// Issues a first secret for a key of this id, which comes from another one or from none.
    pub(crate) async fn issue_as_in(
        &self,
        tx: &mut WriteTx,
        key: &Key,
        (id, above): (KeyId, Option<Above<'_>>),
        prefix: &str,
    ) -> Result<IssuedKey> {
        let (application, created) = (key.application.clone(), tx.now());
        tx.insert_key(&KeyRow { id, name: key.name.clone(), application, created, revoked_at: None, quarantine: None })
            .await?;
        let issued = self.add_secret(tx, id, 1, prefix, &key.environment).await?;
        let mut detail = json!({ "key_id": id, "application": key.application });
        if let Some(above) = above {
            above.note_in(tx, key, id).await?;
            detail["parent"] = json!(above.row.name);
        }
        tx.audit("key.create", &subject(&key.name), detail);
        Ok(issued)
    }

    /// Gives a key a new secret. The one in use stays valid for `overlap`; an older one still in its
    /// overlap ends now, so that never more than two are valid. [`VaultError::KeyHeld`] where a credential holds it.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        name: &Name,
        prefix: &str,
        overlap: Option<Period>,
        idempotency: Option<&Idempotency>,
    ) -> Result<IssuedKey> {
        let mut tx = self.store()?.begin(actor).await?;
        if let Some(answer) = self.replay(&mut tx, idempotency).await? {
            tx.audit("key.repeat", &subject(name), json!({ "key_id": answer.id, "version": answer.version }));
            tx.commit().await?;
            return Ok(answer);
        }
        let issued = self.rotate_key_in(&mut tx, name, prefix, overlap).await?;
        self.keep(&mut tx, idempotency, &issued).await?;
        tx.commit().await?;
        Ok(issued)
    }

    /// As [`Vault::rotate_key`], as part of the caller's transaction. Nothing is kept to be fetched again.
    pub async fn rotate_key_in(
        &self,
        tx: &mut WriteTx,
        name: &Name,
        prefix: &str,
        overlap: Option<Period>,
    ) -> Result<IssuedKey> {
        let row = key_row(tx, name).await?;
        if row.revoked_at.is_some() {
            return Err(VaultError::KeyRevoked(name.clone()));
        }
        if held_key::holder_in(tx, name).await?.is_some() {
            return Err(VaultError::KeyHeld(name.clone()));
        }
        let resource = tx.resource(Kind::Keys, name.as_str()).await?.ok_or_else(|| not_found(name))?;
        let key: Key = serde_json::from_str(&resource.body).map_err(|_| VaultError::Corrupt("key"))?;
        let secrets = tx.key_secrets(row.id).await?;
        let retire_at = tx.now().plus(overlap.unwrap_or(DEFAULT_OVERLAP));
        for mut secret in secrets.iter().filter(|s| s.state.is_live()).cloned() {
            if secret.state == VersionState::Current {
                secret.state = secret.state.after(VersionEvent::Supersede)?;
                secret.retire_at = Some(retire_at);
            } else {
                secret.state = secret.state.after(VersionEvent::Expire)?;
                secret.retire_at = Some(tx.now());
            }
            tx.update_key_secret(&secret).await?;
        }
        let version = secrets.iter().map(|s| s.version).max().unwrap_or(0) + 1;
        let issued = self.add_secret(tx, row.id, version, prefix, &key.environment).await?;
        let detail = json!({ "key_id": row.id, "version": version, "old_valid_until": retire_at });
        tx.audit("key.rotate", &subject(name), detail);
        Ok(issued)
    }

    /// Withdraws a key with all its secrets, for good, and the keys that come from it. Revoking it again changes nothing.
    /// Answers how many keys ended with it.
    pub async fn revoke_key(&self, actor: &Actor, name: &Name) -> Result<u64> {
        let mut tx = self.store()?.begin(actor).await?;
        let below = self.revoke_key_in(&mut tx, name).await?;
        tx.commit().await?;
        Ok(below)
    }

    /// As [`Vault::revoke_key`], as part of the caller's transaction.
    pub async fn revoke_key_in(&self, tx: &mut WriteTx, name: &Name) -> Result<u64> {
        let row = key_row(tx, name).await?;
        let below = self.end_below_in(tx, &row).await?;
        self.end_key_in(tx, row, None).await?;
        Ok(below)
    }

    /// Withdraws one key with all its secrets, with the key that it comes from where that is named.
    pub(crate) async fn end_key_in(&self, tx: &mut WriteTx, mut row: KeyRow, with: Option<&Name>) -> Result<()> {
        let name = row.name.clone();
        for mut secret in tx.key_secrets(row.id).await?.into_iter().filter(|s| s.state.is_live()) {
            secret.state = secret.state.after(VersionEvent::Revoke)?;
            tx.update_key_secret(&secret).await?;
        }
        if row.revoked_at.is_none() {
            row.revoked_at = Some(tx.now());
            tx.update_key(&row).await?;
        }
        tx.end_delegation(row.id).await?;
        if held_key::holder_in(tx, &name).await?.is_some() {
            credentials::withdraw_in(tx, &name).await?;
        }
        let detail = match with {
            Some(parent) => json!({ "key_id": row.id, "with": parent }),
            None => json!({ "key_id": row.id }),
        };
        tx.audit("key.revoke", &subject(&name), detail);
        Ok(())
    }

    pub(crate) async fn free_id(&self, tx: &mut WriteTx) -> Result<KeyId> {
        for _ in 0..ID_ATTEMPTS {
            let mut bits = [0u8; 8];
            aws_lc_rs::rand::fill(&mut bits)?;
            let id = KeyId::from_bits(u64::from_be_bytes(bits));
            if tx.key(id).await?.is_none() {
                return Ok(id);
            }
        }
        Err(VaultError::Crypto)
    }

    async fn add_secret(
        &self,
        tx: &mut WriteTx,
        id: KeyId,
        version: u32,
        prefix: &str,
        environment: &str,
    ) -> Result<IssuedKey> {
        let mut randomness = Ok(());
        let secret = KeyToken::generate(prefix, environment, id, |bytes| {
            // On failure every byte fits, so that the loop ends; the key is thrown away below.
            if aws_lc_rs::rand::fill(bytes).is_err() {
                bytes.fill(0);
                randomness = Err(VaultError::Crypto);
            }
        })?;
        randomness?;
        let pepper = self.pepper()?;
        let token = KeyToken::parse(secret.expose()).ok_or(VaultError::Corrupt("key"))?;
        tx.insert_key_secret(&KeySecretRow {
            key_id: id,
            version,
            state: VersionState::Pending.after(VersionEvent::Promote)?,
            hash: pepper.hash(token.expose_secret()),
            pepper_id: pepper.id,
            created: tx.now(),
            retire_at: None,
        })
        .await?;
        Ok(IssuedKey { id, version, secret, replayed: false })
    }

    /// The answer that was kept, if any. It shows a secret again: whoever hands it out records that.
    async fn replay(&self, tx: &mut WriteTx, idempotency: Option<&Idempotency>) -> Result<Option<IssuedKey>> {
        let Some(wanted) = idempotency else { return Ok(None) };
        let actor = tx.actor().name.clone();
        self.replay_of(tx, &actor, wanted).await
    }

    /// The answer that was kept for this actor.
    pub(crate) async fn replay_of(
        &self,
        tx: &mut WriteTx,
        actor: &str,
        wanted: &Idempotency,
    ) -> Result<Option<IssuedKey>> {
        let Some(kept) = tx.idempotency(&wanted.key, actor).await? else { return Ok(None) };
        if !wanted.request_hashes.iter().any(|hash| kept.request_hash == hash) {
            return Err(VaultError::IdempotencyConflict);
        }
        let answer = self.open_blob(&kept_context(actor, &wanted.key), &Sealed::from_bytes(kept.response)?)?;
        let corrupt = || VaultError::Corrupt("kept answer");
        let (id, rest) = answer.expose().split_first_chunk::<8>().ok_or_else(corrupt)?;
        let (version, secret) = rest.split_first_chunk::<4>().ok_or_else(corrupt)?;
        Ok(Some(IssuedKey {
            id: KeyId::from_bits(u64::from_be_bytes(*id)),
            version: u32::from_be_bytes(*version),
            secret: SecretValue::new(secret.to_vec()),
            replayed: true,
        }))
    }

    pub(crate) async fn keep(
        &self,
        tx: &mut WriteTx,
        idempotency: Option<&Idempotency>,
        issued: &IssuedKey,
    ) -> Result<()> {
        let Some(wanted) = idempotency else { return Ok(()) };
        let actor = tx.actor().name.clone();
        let mut answer = Zeroizing::new(Vec::with_capacity(12 + issued.secret.len()));
        answer.extend_from_slice(&issued.id.bits().to_be_bytes());
        answer.extend_from_slice(&issued.version.to_be_bytes());
        answer.extend_from_slice(issued.secret.expose());
        let response = self.seal_blob(&kept_context(&actor, &wanted.key), &answer)?.into_bytes();
        let newest = wanted.request_hashes.last().ok_or(VaultError::Corrupt("peppers"))?;
        let (key, request_hash, created) = (wanted.key.clone(), newest.to_vec(), tx.now());
        tx.put_idempotency(&IdempotencyRow { key, actor, request_hash, response, created }).await?;
        Ok(())
    }
}

fn kept_context(actor: &str, key: &str) -> String {
    // The length keeps two pairs of names from reading the same.
    format!("idempotency/{}/{actor}/{key}", actor.len())
}

pub(crate) async fn key_row(tx: &mut WriteTx, name: &Name) -> Result<KeyRow> {
    tx.key_by_name(name.as_str()).await?.ok_or_else(|| not_found(name))
}

/// Whether whoever shows this secret is let in.
pub(crate) fn is_accepted(secret: &KeySecretRow, now: Timestamp) -> bool {
    secret.state.is_live() && secret.retire_at.is_none_or(|end| end > now)
}

pub(crate) fn not_found(name: &Name) -> VaultError {
    VaultError::NotFound { kind: "key", name: name.to_string() }
}

pub(crate) fn subject(name: &Name) -> String {
    format!("keys/{name}")
}
