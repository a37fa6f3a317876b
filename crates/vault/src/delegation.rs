//! Keys that come from other keys: issued at the token endpoint (RFC 8693) by a key itself, and ended with it.

use crate::keys::{is_accepted, key_row, subject};
use crate::{IssuedKey, Result, Vault, VaultError};
use credentialflow_model::{
    Actor, KeyId, Name, Period, Timestamp,
    leak::Quarantine,
    resource::{Act, Allow, Application, Budget, BudgetPeriod, Budgets, Key, KeyActor, Kind, budget::Usd},
};
use credentialflow_store::{DelegationRow, Expect, KeyRow, WriteTx};
use serde_json::json;
use std::net::IpAddr;

/// The key that a new one is to come from, as it was shown.
#[derive(Clone, Copy, Debug)]
pub struct ShownKey {
    /// The key.
    pub key: KeyId,
    /// Which of its secrets.
    pub version: u32,
    /// From where.
    pub source: IpAddr,
}

/// A key as its parent wants it.
#[derive(Clone, Debug, Default)]
pub struct WantedKey {
    /// Who is to use it, and what for.
    pub actor: Option<KeyActor>,
    /// Whom its calls are for.
    pub subject: Option<String>,
    /// The only routes and models that it may use; all that its parent may, unless set.
    pub allow: Option<Allow>,
    /// How long it is to live at most.
    pub lifetime: Option<Period>,
    /// A key that it ends with at the latest, and with those that that one comes from.
    pub until: Option<KeyId>,
    /// What its calls may cost, as long as it lives.
    pub usd: Option<Usd>,
}

/// A key that was issued by another one.
#[derive(Debug)]
pub struct DelegatedKey {
    /// Its secret, to be shown once.
    pub issued: IssuedKey,
    /// As if it had been declared.
    pub key: Key,
    /// What it may use now: what it, every key that it comes from and their application allow.
    pub granted: Allow,
    /// Who acts.
    pub act: Option<Act>,
    /// Whom it acts for.
    pub subject: Option<String>,
    /// How long it lives from now on.
    pub lives: Period,
}

/// Why a key issued none.
#[derive(Debug, thiserror::Error)]
pub enum NotDelegated {
    /// The key that was shown is not in force any more.
    #[error("the key is not valid")]
    NotValid,
    /// It may issue no keys, or not this far down.
    #[error("{0}")]
    NotAllowed(String),
    /// It issued as many as it may.
    #[error("{0} keys that came from this one are in force, which is as many as there may be")]
    TooMany(u64),
    /// It may not use itself what it wants to hand on.
    #[error("{0} is not among what this key may use")]
    Wider(String),
    /// What is wanted makes no sense.
    #[error("{0}")]
    Wrong(String),
    /// Something failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl From<credentialflow_store::StoreError> for NotDelegated {
    fn from(error: credentialflow_store::StoreError) -> Self {
        Self::Vault(error.into())
    }
}

impl Vault {
    /// Issues a key that comes from another one, which was shown. The new key has at most what its parent has; the
    /// declared key above it says how many there may be, how far down, and for how long.
    ///
    /// The shown secret was checked by what this node knows. Whether it is accepted is looked up once more, as the
    /// answer to its leak ends what was issued with it until then, and nothing ends what would be issued later.
    pub async fn delegate_key(
        &self,
        actor: &Actor,
        shown: ShownKey,
        wanted: WantedKey,
        prefix: &str,
    ) -> Result<DelegatedKey, NotDelegated> {
        let mut tx = self.store()?.begin(actor).await?;
        let now = tx.now();
        let row = tx.key(shown.key).await?.ok_or(NotDelegated::NotValid)?;
        let secrets = tx.key_secrets(row.id).await?;
        let chain = chain_in(&mut tx, &row, shown.version).await?;
        let accepted = secrets.iter().any(|secret| secret.version == shown.version && is_accepted(secret, now));
        if !accepted || chain.iter().any(|of| !of.in_force(now) || of.is_held_back(shown.source)) {
            return Err(NotDelegated::NotValid);
        }
        let until = match wanted.until {
            Some(key) => {
                let row = tx.key(key).await?.ok_or(NotDelegated::NotValid)?;
                let chain = chain_in(&mut tx, &row, 0).await?;
                if chain.iter().any(|of| !of.in_force(now)) {
                    return Err(NotDelegated::NotValid);
                }
                chain.iter().filter_map(|of| of.key.expires).min()
            }
            None => None,
        };
        let generation = chain.iter().take_while(|of| of.exchanged).count();
        let rule =
            chain.get(generation).and_then(|anchor| anchor.key.delegate.as_ref().map(|rule| (anchor.row.id, rule)));
        let Some((anchor, rule)) = rule else {
            return Err(NotDelegated::NotAllowed("this key may issue no keys".to_owned()));
        };
        if generation >= usize::from(rule.depth) || chain.len() > Key::MOST_ANCESTORS {
            return Err(NotDelegated::NotAllowed("a key that came from another one may issue none here".to_owned()));
        }
        let there = tx.count_exchanged(anchor).await?;
        if there >= u64::from(rule.keys) {
            return Err(NotDelegated::TooMany(there));
        }
        let keys: Vec<&Key> = chain.iter().map(|of| &of.key).collect();
        let application = tx.resource(Kind::Applications, row.application.as_str()).await?;
        let application: Application = application
            .and_then(|stored| serde_json::from_str(&stored.body).ok())
            .ok_or(VaultError::Corrupt("application"))?;
        let granted = application.allow.narrowed(keys.iter().copied());
        let lifetime = wanted.lifetime.map_or(rule.lifetime, |asked| asked.min(rule.lifetime));
        let ends = keys.iter().filter_map(|key| key.expires).chain(until).chain([now.plus(lifetime)]).min();
        let expires = ends.filter(|end| *end > now).ok_or(NotDelegated::NotValid)?;
        let id = self.free_id(&mut tx).await?;
        let asked = wanted.allow.is_some();
        let inherited = || keys.iter().find_map(|key| key.allow.as_ref()).map(|own| own.narrowed(keys.iter().copied()));
        let key = Key {
            name: format!("agent-{id}").parse().map_err(|_| VaultError::Corrupt("name"))?,
            application: row.application.clone(),
            description: None,
            environment: keys[0].environment.clone(),
            expires: Some(expires),
            not_before: None,
            allow: wanted.allow.or_else(inherited),
            networks: Vec::new(),
            limit: None,
            budget: wanted.usd.map(|usd| Budgets::One(whole_life(usd, expires, now))),
            metadata: Default::default(),
            parent: Some(row.name.clone()),
            actor: wanted.actor,
            subject: wanted.subject,
            delegate: None,
        };
        let mut left = granted.clone();
        if let Some(allow) = &key.allow {
            let outside = |mine: &[Name], theirs: &[Name]| mine.iter().find(|name| !theirs.contains(name)).cloned();
            let routes = outside(&allow.routes, &granted.routes).map(|name| format!("route:{name}"));
            let wide = routes.or_else(|| outside(&allow.models, &granted.models).map(|name| format!("model:{name}")));
            let prompt = || outside(&allow.prompts, &granted.prompts).map(|name| format!("prompt:{name}"));
            let wide = wide.or_else(prompt);
            // What the parent was narrowed to and its application does not allow any more is no wish of anybody.
            if let Some(wide) = wide.filter(|_| asked) {
                return Err(NotDelegated::Wider(wide));
            }
            left = granted.narrowed(std::iter::once(&key));
        }
        if let Some(wide) = key.beyond(&keys).into_iter().next() {
            return Err(NotDelegated::Wrong(wide.detail));
        }
        let body = serde_json::to_string(&key).map_err(|_| VaultError::Corrupt("key"))?;
        tx.put_resource(Kind::Keys, &key.name, &body, Expect::Absent).await?;
        let above = Above { row: &row, version: shown.version, exchanged: true };
        let issued = self.issue_as_in(&mut tx, &key, (id, Some(above)), prefix).await?;
        let detail = json!({ "key_id": issued.id, "key": key.name, "actor": key.actor, "expires": key.expires });
        tx.audit("key.delegate", &subject(&row.name), detail);
        tx.commit().await?;
        let family = || std::iter::once(&key).chain(keys.iter().copied());
        let act = Act::of(family().collect::<Vec<_>>().into_iter());
        let whom = Key::subject_of(family()).map(str::to_owned);
        Ok(DelegatedKey { issued, granted: left, act, subject: whom, lives: between(now, expires), key })
    }

    /// Deletes all keys that were issued at the token endpoint and ended before a moment, at most so many in one
    /// transaction: what is left of them is where they came from, and the audit log. Answers how many.
    pub async fn forget_delegated_keys(&self, actor: &Actor, before: Timestamp, most: u32) -> Result<usize> {
        let mut all = 0;
        loop {
            let over = self.store()?.exchanged_keys_over(before, most).await?;
            let gone = if over.is_empty() { 0 } else { self.forget_these(actor, &over).await? };
            all += gone;
            // With none gone another node is at it.
            if gone == 0 || over.len() < most as usize {
                return Ok(all);
            }
        }
    }

    async fn forget_these(&self, actor: &Actor, over: &[Name]) -> Result<usize> {
        let (mut tx, mut gone) = (self.store()?.begin(actor).await?, 0);
        for name in over {
            let Some(row) = tx.key_by_name(name.as_str()).await? else { continue };
            tx.end_delegation(row.id).await?;
            tx.delete_key(row.id).await?;
            tx.delete_resources(&[(Kind::Keys, name.to_string())]).await?;
            tx.audit("key.delete", &subject(name), json!({ "key_id": row.id }));
            gone += 1;
        }
        // Where another node was faster there is nothing to commit.
        if gone > 0 {
            tx.commit().await?;
        }
        Ok(gone)
    }

    /// Ends the keys below a key, which is ended itself by whoever calls. Answers how many those were.
    pub(crate) async fn end_below_in(&self, tx: &mut WriteTx, key: &KeyRow) -> Result<u64> {
        let all = tx.keys_below(key.id).await?;
        for below in &all {
            self.end_delegated_in(tx, below, &key.name).await?;
        }
        Ok(all.len() as u64)
    }

    /// Ends the keys that a key issued at the token endpoint with its secrets up to this version, as that one leaked:
    /// whoever found it may have issued them. Answers whether there were any.
    pub(crate) async fn end_issued_with_in(
        &self,
        tx: &mut WriteTx,
        key: &KeyRow,
        through_version: u32,
    ) -> Result<bool> {
        let mut any = false;
        let below = tx.keys_below(key.id).await?;
        let leaked = |d: &&DelegationRow| d.parent == key.id && d.exchanged && d.parent_version <= through_version;
        for first in below.iter().filter(leaked) {
            any = true;
            self.end_delegated_in(tx, first, &key.name).await?;
            for further in tx.keys_below(first.key).await? {
                self.end_delegated_in(tx, &further, &key.name).await?;
            }
        }
        Ok(any)
    }

    async fn end_delegated_in(&self, tx: &mut WriteTx, ended: &DelegationRow, with: &Name) -> Result<()> {
        match tx.key(ended.key).await? {
            Some(row) => self.end_key_in(tx, row, Some(with)).await,
            None => Ok(tx.end_delegation(ended.key).await?),
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> Period {
    Period::from_millis(u64::try_from(to.micros().saturating_sub(from.micros()) / 1000).unwrap_or(0))
}

/// A hard budget whose only window is as long as the key lives.
fn whole_life(usd: Usd, expires: Timestamp, now: Timestamp) -> Budget {
    let minutes = between(now, expires).as_millis().div_ceil(60_000).max(1);
    let per = BudgetPeriod::Rolling(Period::from_secs(minutes * 60));
    Budget { usd, per, time_zone: None, hard: true, warn_at: None, when_used_up: None }
}

/// The key that a new one comes from.
pub(crate) struct Above<'a> {
    pub row: &'a KeyRow,
    /// The secret of it that is in use, or was shown.
    pub version: u32,
    /// Whether it issues the new one itself.
    pub exchanged: bool,
}

impl Above<'_> {
    /// Notes where a key comes from.
    pub async fn note_in(&self, tx: &mut WriteTx, key: &Key, id: KeyId) -> Result<()> {
        let above = tx.delegation(self.row.id).await?;
        let parent = self.row.id;
        tx.insert_delegation(&DelegationRow {
            key: id,
            name: key.name.clone(),
            parent,
            root: above.as_ref().map_or(parent, |of| of.root),
            anchor: above.as_ref().filter(|of| of.exchanged).map_or(parent, |of| of.anchor),
            depth: above.as_ref().map_or(0, |of| of.depth) + 1,
            parent_version: self.version,
            exchanged: self.exchanged,
            actor: key.actor.as_ref().map_or_else(String::new, |actor| actor.name.clone()),
            created: tx.now(),
            expires: key.expires,
            ended: None,
        })
        .await?;
        Ok(())
    }
}

/// The parent of a key that is being declared, which must be in force and declared itself.
pub(crate) async fn parent_in(tx: &mut WriteTx, key: &Key) -> Result<Option<(KeyRow, u32)>> {
    let Some(parent) = &key.parent else { return Ok(None) };
    let row = key_row(tx, parent).await?;
    if row.revoked_at.is_some() {
        return Err(VaultError::KeyRevoked(parent.clone()));
    }
    if tx.delegation(row.id).await?.is_some_and(|of| of.exchanged) {
        return Err(VaultError::NotFound { kind: "declared key", name: parent.to_string() });
    }
    let version = tx.key_secrets(row.id).await?.iter().map(|secret| secret.version).max().unwrap_or(0);
    Ok(Some((row, version)))
}

/// A key of a chain.
struct Link {
    row: KeyRow,
    key: Key,
    exchanged: bool,
    /// Its secret that was shown, or with which the key below it was issued.
    version: u32,
}

impl Link {
    fn in_force(&self, now: Timestamp) -> bool {
        self.row.revoked_at.is_none() && self.key.expires.is_none_or(|end| end > now)
    }

    fn is_held_back(&self, source: IpAddr) -> bool {
        let quarantine = self.row.quarantine.as_deref();
        let quarantine = quarantine.map(|text| serde_json::from_str(text).unwrap_or_else(|_| Quarantine::closed()));
        quarantine.is_some_and(|quarantine| !quarantine.allows(self.version, source))
    }
}

/// A key, of which a secret of this version was shown, and those that it comes from, the youngest first. A parent that
/// is gone is a key that is not valid any more.
async fn chain_in(tx: &mut WriteTx, row: &KeyRow, version: u32) -> Result<Vec<Link>, NotDelegated> {
    let (mut chain, mut next) = (Vec::new(), Some((row.clone(), version)));
    while let Some((row, version)) = next.take() {
        if chain.len() > Key::MOST_ANCESTORS {
            return Err(VaultError::Corrupt("chain of keys").into());
        }
        let stored = tx.resource(Kind::Keys, row.name.as_str()).await?.ok_or(NotDelegated::NotValid)?;
        let key: Key = serde_json::from_str(&stored.body).map_err(|_| VaultError::Corrupt("key"))?;
        let of = tx.delegation(row.id).await?;
        if let Some(of) = &of {
            next = Some((tx.key(of.parent).await?.ok_or(NotDelegated::NotValid)?, of.parent_version));
        }
        chain.push(Link { row, key, exchanged: of.is_some_and(|of| of.exchanged), version });
    }
    Ok(chain)
}

#[cfg(test)]
mod tests;
