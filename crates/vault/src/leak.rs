//! Answers the leak of a key or of a credential's value by its rule, in the transaction that records it.
//!
//! Nothing here decides whether a text is a secret of ours, and nothing keeps one. Answering a leak a second
//! time finds nothing left to do: what is no longer accepted is not revoked again, and what was replaced is not
//! replaced again.

use crate::{Idempotency, IssuedKey, Result, Vault, VaultError, held_key, keys, rotation, tell};
use credentialflow_model::{
    Actor, Name, Period, Timestamp,
    leak::{LeakAction, LeakRule, LeakStep, Quarantine},
    lifecycle::{VersionEvent, VersionState},
    resource::{Credential, Engine},
};
use credentialflow_store::{IDEMPOTENCY_LIFETIME, KeyRow, WriteTx};
use ipnet::IpNet;
use serde_json::{Value, json};

/// Who answers leaks, in the audit log.
pub const ACTOR: &str = "leak-response";

/// What was done about a leak, and what could not be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answered {
    /// What was done, in this order.
    pub steps: Vec<LeakStep>,
    /// Sentences about what was left for people.
    pub left: Vec<String>,
    /// The rotation that began.
    pub rotation: Option<String>,
    /// Until when the key's new secret can be fetched.
    pub secret_until: Option<Timestamp>,
}

/// What is to be done about the leak of one key's secret.
#[derive(Debug)]
pub struct KeyLeak<'a> {
    /// The leak's id.
    pub leak: &'a str,
    /// The version of the secret that leaked.
    pub version: u32,
    /// What the rule says.
    pub rule: LeakRule,
    /// From where the key was used lately.
    pub seen: Vec<IpNet>,
    /// Begins the new secret, as in `cfk`.
    pub prefix: &'a str,
}

impl Vault {
    /// Answers the leak of a key's secret: of itself, and of the keys that were issued with it, which outlive it
    /// where it was rotated.
    pub async fn answer_key_leak_in(&self, tx: &mut WriteTx, key: &KeyRow, leak: KeyLeak<'_>) -> Result<Answered> {
        let ends = leak.rule.action != LeakAction::NotifyOnly && key.revoked_at.is_none();
        let ended = ends && self.end_issued_with_in(tx, key, leak.version).await?;
        let mut done = self.answer_own_leak_in(tx, key, leak).await?;
        if ended && done.steps.is_empty() {
            done.steps.push(LeakStep::Revoked);
            done.left.push("the keys that had been issued with it were revoked".to_owned());
        }
        Ok(done)
    }

    async fn answer_own_leak_in(&self, tx: &mut WriteTx, key: &KeyRow, leak: KeyLeak<'_>) -> Result<Answered> {
        let mut done = Answered::default();
        let secrets = tx.key_secrets(key.id).await?;
        let leaked = secrets.into_iter().find(|secret| secret.version == leak.version);
        let now = tx.now();
        let accepted = leaked.filter(|leaked| key.revoked_at.is_none() && keys::is_accepted(leaked, now));
        let Some(leaked) = accepted else {
            done.left.push("the leaked secret was not accepted any more".to_owned());
            return Ok(done);
        };
        if let Some(holder) = held_key::holder_in(tx, &key.name).await?
            && tx.credential_version(key.name.as_str(), leak.version).await?.is_some()
        {
            let mut done = self.answer_credential_leak_in(tx, &holder, leak.version, leak.rule).await?;
            if leak.rule.action == LeakAction::Quarantine {
                quarantine_in(tx, key, &leak).await?;
                done.steps.insert(0, LeakStep::Quarantined);
            }
            return Ok(done);
        }
        let in_use = leaked.state == VersionState::Current;
        let LeakRule { action, rotate, .. } = leak.rule;
        if action == LeakAction::Quarantine {
            quarantine_in(tx, key, &leak).await?;
            done.steps.push(LeakStep::Quarantined);
        }
        if rotate && in_use {
            let issued = self.rotate_key_in(tx, &key.name, leak.prefix, None).await?;
            self.keep(tx, Some(&self.wish(leak.leak)?), &issued).await?;
            let kept = u64::try_from(IDEMPOTENCY_LIFETIME.as_millis()).unwrap_or(u64::MAX);
            done.secret_until = Some(now.plus(Period::from_millis(kept)));
            done.steps.push(LeakStep::Rotated);
        }
        match action {
            LeakAction::Revoke if in_use && !rotate => {
                self.revoke_key_in(tx, &key.name).await?;
                done.steps.push(LeakStep::Revoked);
            }
            LeakAction::Revoke => {
                end_secret_in(tx, key, &leak).await?;
                done.steps.push(LeakStep::Revoked);
            }
            LeakAction::Quarantine | LeakAction::NotifyOnly => {}
        }
        if rotate && !in_use {
            done.left.push("the key has a newer secret already".to_owned());
        }
        Ok(done)
    }

    /// Answers the leak of a credential's value.
    pub async fn answer_credential_leak_in(
        &self,
        tx: &mut WriteTx,
        credential: &Credential,
        version: u32,
        rule: LeakRule,
    ) -> Result<Answered> {
        let mut done = Answered::default();
        let name = &credential.name;
        let leaked = tx.credential_version(name.as_str(), version).await?;
        let Some(leaked) = leaked.filter(|leaked| leaked.state.is_live()) else {
            done.left.push("the leaked version was not used any more".to_owned());
            return Ok(done);
        };
        let before = tx.unfinished_rotation(name.as_str()).await?.map(|row| row.id);
        match rule.action {
            LeakAction::Revoke => {
                self.revoke_credential_in(tx, name, Some(version)).await?;
                done.steps.push(LeakStep::Revoked);
            }
            LeakAction::Quarantine | LeakAction::NotifyOnly => {}
        }
        match tx.unfinished_rotation(name.as_str()).await? {
            // Revoking a login's password begins one by itself.
            Some(row) if before.as_ref() != Some(&row.id) => done.rotation = Some(row.id),
            Some(_) if rule.rotate => done.left.push("a rotation is running already".to_owned()),
            None if rule.rotate && leaked.state != VersionState::Current => {
                done.left.push("a newer version is in use already".to_owned());
            }
            None if rule.rotate => match by_hand(credential) {
                Some(why) => done.left.push(why.to_owned()),
                None => done.rotation = Some(rotation::start_in(self, tx, credential, None, None).await?.id),
            },
            _ => {}
        }
        if done.rotation.is_some() {
            done.steps.push(LeakStep::RotationBegun);
        }
        Ok(done)
    }

    /// Stores what the team that answers for a leaked secret is told: once for each leak.
    pub async fn tell_leak_in(&self, tx: &mut WriteTx, team: &Name, leak: &str, data: Value) -> Result<()> {
        tell::team_in(tx, team, "secret.leaked", Some(format!("leak:{leak}")), data).await
    }

    /// The new secret that the answer to a leak gave a key; `None` when it gave none or more than a day has passed.
    /// Each time it is shown is written to the audit log.
    pub async fn fetch_leaked_keys_secret(&self, actor: &Actor, key: &Name, leak: &str) -> Result<Option<IssuedKey>> {
        let wish = self.wish(leak)?;
        let mut tx = self.store()?.begin(actor).await?;
        let Some(kept) = self.replay_of(&mut tx, ACTOR, &wish).await? else { return Ok(None) };
        let detail = json!({ "key_id": kept.id, "version": kept.version, "leak": leak });
        tx.audit("key.repeat", &format!("keys/{key}"), detail);
        tx.commit().await?;
        Ok(Some(kept))
    }

    /// Lifts a key's quarantine, or with `more` lets these networks in as well. [`VaultError::NotFound`] when the key
    /// is in none.
    pub async fn release_key(&self, actor: &Actor, name: &Name, more: &[IpNet]) -> Result<()> {
        let missing = || VaultError::NotFound { kind: "key in quarantine", name: name.to_string() };
        let mut tx = self.store()?.begin(actor).await?;
        let key = tx.key_by_name(name.as_str()).await?.ok_or_else(missing)?;
        let text = key.quarantine.as_deref().ok_or_else(missing)?;
        let subject = format!("keys/{name}");
        if more.is_empty() {
            tx.quarantine_key(&key, None).await?;
            tx.audit("key.release", &subject, json!({ "key_id": key.id }));
        } else {
            let mut held: Quarantine = serde_json::from_str(text).map_err(|_| VaultError::Corrupt("quarantine"))?;
            held.networks.extend_from_slice(more);
            held.networks.sort_unstable();
            held.networks.dedup();
            tx.quarantine_key(&key, Some(&to_text(&held)?)).await?;
            tx.audit("key.widen", &subject, json!({ "key_id": key.id, "networks": more, "leak": held.leak }));
        }
        tx.commit().await?;
        Ok(())
    }

    /// By this a key's new secret is found again.
    fn wish(&self, leak: &str) -> Result<Idempotency> {
        let key = format!("leak/{leak}");
        self.idempotency(&key, key.as_bytes())
    }
}

async fn quarantine_in(tx: &mut WriteTx, key: &KeyRow, leak: &KeyLeak<'_>) -> Result<()> {
    let held = Quarantine {
        through_version: leak.version,
        networks: leak.seen.clone(),
        since: tx.now(),
        leak: leak.leak.to_owned(),
    };
    tx.quarantine_key(key, Some(&to_text(&held)?)).await?;
    let detail = json!({
        "key_id": key.id, "through_version": held.through_version, "networks": held.networks, "leak": held.leak,
    });
    tx.audit("key.quarantine", &format!("keys/{}", key.name), detail);
    Ok(())
}

/// Ends one secret of a key; the others go on.
async fn end_secret_in(tx: &mut WriteTx, key: &KeyRow, leak: &KeyLeak<'_>) -> Result<()> {
    let secrets = tx.key_secrets(key.id).await?;
    for mut secret in secrets.into_iter().filter(|s| s.version == leak.version && s.state.is_live()) {
        secret.state = secret.state.after(VersionEvent::Revoke)?;
        secret.retire_at = Some(tx.now());
        tx.update_key_secret(&secret).await?;
    }
    let detail = json!({ "key_id": key.id, "version": leak.version, "leak": leak.leak });
    tx.audit("key.end", &format!("keys/{}", key.name), detail);
    Ok(())
}

/// Why a credential is not rotated without somebody, if so.
fn by_hand(credential: &Credential) -> Option<&'static str> {
    if credential.source().is_some() {
        return Some("its value comes from a store: change it there");
    }
    match credential.engine {
        engine if engine.is_received() => Some("its next value has to be delivered by somebody"),
        Engine::CertificateAuthority => Some("an authority is replaced by hand: what it signed is trusted elsewhere"),
        _ if credential.rotation().is_some_and(|rule| rule.approval) => {
            Some("its rule wants an approval: begin the rotation by hand")
        }
        _ => None,
    }
}

fn to_text(held: &Quarantine) -> Result<String> {
    serde_json::to_string(held).map_err(|_| VaultError::Corrupt("quarantine"))
}

#[cfg(test)]
mod tests;
