//! The keys that sign identity tokens. Each is published one rotation before it signs, so that whoever keeps a
//! copy of the published keys has it by then, and after it has signed for as long as tokens under it may be
//! checked. Private halves that no longer sign are not kept.

use super::{Duty, SigningKey, SigningKeyVersion, version::Version};
use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf, fields::Fields, jose::Algorithm, shelf::Kept,
};
use credentialflow_model::{Actor, Timestamp};
use credentialflow_store::{Expect, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A named key with its versions, the newest last.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Key {
    algorithm: String,
    rotation_period: i64,
    pub(super) verification_ttl: i64,
    allowed_client_ids: Vec<String>,
    next_rotation: i64,
    versions: Vec<Version>,
    /// Published, and signs from the next rotation on. Absent in keys that were stored without one.
    #[serde(default)]
    next: Option<Version>,
}

const DAY: i64 = 24 * 3600;

pub(super) fn place(name: &str) -> Result<String> {
    Ok(format!("oidc/key/{}", crate::method::name(name)?))
}

pub(super) async fn get(shelf: &Shelf, name: &str) -> Result<Option<Kept<Key>>> {
    shelf.get(&place(name)?).await
}

impl Key {
    fn algorithm(&self) -> Result<Algorithm> {
        Algorithm::parse(&self.algorithm).ok_or_else(|| IdentityError::internal("a stored key names no algorithm"))
    }

    /// Whether a client may be the audience of tokens under it.
    pub(super) fn allows(&self, client_id: &str) -> bool {
        self.allowed_client_ids.iter().any(|id| id == "*" || id == client_id)
    }

    pub(super) const fn is_due(&self, now: i64) -> bool {
        now >= self.next_rotation
    }

    /// The next version signs from now on, and one after it is published; the old ones are published for
    /// `keep` more seconds.
    pub(super) async fn renew(&mut self, now: i64, keep: i64) -> Result<()> {
        let mut newest = self.newest();
        let signer = match self.next.take().filter(|next| next.public["alg"] == self.algorithm.as_str()) {
            Some(next) => next,
            None => {
                newest += 1;
                Version::generate(self.algorithm()?, newest, now).await?
            }
        };
        self.next = Some(Version::generate(self.algorithm()?, newest + 1, now).await?);
        self.versions.retain(|v| v.retire.is_none_or(|end| end > now));
        for version in &mut self.versions {
            version.retire.get_or_insert(now.saturating_add(keep));
            version.forget();
        }
        self.versions.push(signer);
        self.next_rotation = now.saturating_add(self.rotation_period);
        Ok(())
    }

    /// Does what is due, and tells what it was; `None`: nothing.
    async fn keep_up(&mut self, now: i64) -> Result<Option<&'static str>> {
        if self.is_due(now) {
            self.renew(now, self.verification_ttl).await?;
            return Ok(Some("oidc.key.rotate"));
        }
        if self.next.is_none() {
            self.next = Some(Version::generate(self.algorithm()?, self.newest() + 1, now).await?);
            return Ok(Some("oidc.key.publish"));
        }
        Ok(None)
    }

    /// The highest number of a version.
    fn newest(&self) -> u32 {
        let known = self.versions.iter().chain(&self.next);
        let counted = known.clone().count();
        known.map(|v| v.number).max().unwrap_or(0).max(u32::try_from(counted).unwrap_or(u32::MAX))
    }

    /// The number of a version at its place among all; those from before they were counted are counted now.
    fn number(&self, at: usize, version: &Version) -> u32 {
        if version.number > 0 { version.number } else { u32::try_from(at + 1).unwrap_or(u32::MAX) }
    }

    /// The number of the version that signs.
    pub(super) fn signs_as(&self) -> u32 {
        self.versions.last().map_or(0, |v| self.number(self.versions.len() - 1, v))
    }

    /// What may be told of it. Roles and last uses are not known here.
    pub(super) fn told(&self, name: &str, now: i64) -> SigningKey {
        let signs_since = self.next_rotation.saturating_sub(self.rotation_period);
        let told = |version: &Version, at: usize, next: bool| {
            let (duty, latest) = match version.retire {
                Some(end) if end <= now => return None,
                Some(end) => (Duty::Checks, end.saturating_sub(self.verification_ttl)),
                None if next => (Duty::Next, signs_since),
                None => (Duty::Signs, signs_since),
            };
            let number = self.number(at, version);
            let created = Timestamp::from_secs(version.created.unwrap_or(latest));
            Some(SigningKeyVersion { number, duty, created, last_used: None })
        };
        let count = self.versions.len();
        let versions = self.versions.iter().enumerate().filter_map(|(at, v)| told(v, at, false));
        SigningKey {
            name: name.to_owned(),
            algorithm: self.algorithm.clone(),
            rotation_period: u64::try_from(self.rotation_period).unwrap_or(0),
            next_rotation: Timestamp::from_secs(self.next_rotation),
            roles: Vec::new(),
            versions: versions.chain(self.next.iter().filter_map(|v| told(v, count, true))).collect(),
        }
    }

    /// Signs a message with the newest version: the algorithm's name, the key's, and the signature.
    pub(super) fn sign(&self, message: impl FnOnce(&str, &str) -> String) -> Result<(String, Vec<u8>)> {
        let version = self.versions.last().ok_or_else(|| IdentityError::internal("a stored key has no version"))?;
        let message = message(&self.algorithm, &version.kid);
        let signature = version.sign(self.algorithm()?, message.as_bytes())?;
        Ok((message, signature))
    }

    fn describe(&self) -> Value {
        json!({
            "algorithm": self.algorithm,
            "allowed_client_ids": self.allowed_client_ids,
            "rotation_period": self.rotation_period,
            "verification_ttl": self.verification_ttl,
        })
    }
}

/// Writes a key under its name.
pub(super) fn put(shelf: &Shelf, unit: &mut Unit, name: &str, key: &Key, expect: Expect) -> Result<()> {
    shelf.put(unit, &place(name)?, key, expect)
}

/// Rotates the keys whose time has come, whether or not somebody signs; answers how many. One that fails, or
/// that somebody else was first with, holds up no other.
pub(super) async fn rotate_due(core: &Core, shelf: &Shelf) -> Result<usize> {
    let mut done = 0;
    for name in shelf.list("oidc/key/").await? {
        match keep_up(core, shelf, &name).await {
            Ok(changed) => done += usize::from(changed),
            Err(IdentityError::Conflict) => {}
            Err(error) => tracing::warn!(key = name, %error, "a signing key could not be rotated; it is tried again"),
        }
    }
    Ok(done)
}

async fn keep_up(core: &Core, shelf: &Shelf, name: &str) -> Result<bool> {
    let Some(known) = get(shelf, name).await? else { return Ok(false) };
    let mut key = known.value.clone();
    let Some(action) = key.keep_up(core.secs()).await? else { return Ok(false) };
    let mut unit = Unit::new(Actor::system("identity"));
    unit.audit(action, format!("identity/{}", place(name)?), json!({ "verification_ttl": key.verification_ttl }));
    put(shelf, &mut unit, name, &key, known.unchanged())?;
    core.submit(unit).await?;
    Ok(true)
}

/// `key/NAME`.
pub(super) async fn handle(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    let subject = format!("identity/{}", place(name)?);
    match call.operation {
        Operation::Read => known.map(|k| Response::data(k.value.describe())).ok_or_else(IdentityError::missing),
        Operation::Create | Operation::Update | Operation::Patch => {
            let expect = known.as_ref().map_or(Expect::Absent, Kept::unchanged);
            let key = changed(core, call, known.map(|k| k.value)).await?;
            let mut unit = call.unit();
            unit.audit("oidc.key.set", subject, key.describe());
            put(&shelf, &mut unit, name, &key, expect)?;
            core.submit(unit).await?;
            Ok(Response::empty())
        }
        Operation::Delete => {
            let users = super::role::using(&shelf, name).await?;
            if !users.is_empty() {
                let users = users.join(", ");
                return Err(IdentityError::invalid(format!(
                    "unable to delete key {name:?} because it is currently referenced by these roles: {users}"
                )));
            }
            if known.is_some() {
                let mut unit = call.unit();
                unit.audit("oidc.key.delete", subject, json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                core.submit(unit).await?;
                return Ok(Response::empty());
            }
            Ok(Response::unchanged())
        }
        Operation::List => Err(IdentityError::Unsupported),
    }
}

async fn changed(core: &Core, call: &Call<'_>, known: Option<Key>) -> Result<Key> {
    let fields = Fields(call.data);
    let fresh = known.is_none();
    let mut key = known.unwrap_or_else(|| Key {
        algorithm: Algorithm::RS256.as_str().to_owned(),
        rotation_period: DAY,
        verification_ttl: DAY,
        allowed_client_ids: Vec::new(),
        next_rotation: 0,
        versions: Vec::new(),
        next: None,
    });
    key.rotation_period = fields.seconds("rotation_period")?.unwrap_or(key.rotation_period);
    key.verification_ttl = fields.seconds("verification_ttl")?.unwrap_or(key.verification_ttl);
    if let Some(ids) = fields.list("allowed_client_ids")? {
        key.allowed_client_ids = ids;
    }
    let old = key.algorithm.clone();
    if let Some(name) = fields.text("algorithm")? {
        if Algorithm::parse(&name).is_none() || name.starts_with("PS") {
            return Err(IdentityError::invalid(format!("unknown signing algorithm {name:?}")));
        }
        key.algorithm = name;
    }
    if key.rotation_period < 60 {
        return Err(IdentityError::invalid("rotation_period must be at least one minute"));
    }
    if key.verification_ttl > 10 * key.rotation_period {
        return Err(IdentityError::invalid("verification_ttl cannot be longer than 10x rotation_period"));
    }
    if fresh || old != key.algorithm {
        let keep = key.verification_ttl;
        key.renew(core.secs(), keep).await?;
    }
    Ok(key)
}

/// `key/NAME/rotate`.
pub(super) async fn rotate(core: &Core, call: &Call<'_>, name: &str) -> Result<Response> {
    let shelf = core.shelf(call.mount);
    let known = get(&shelf, name).await?;
    let known = known.ok_or_else(|| IdentityError::invalid(format!("no named key found at {name:?}")))?;
    let mut key = known.value.clone();
    let keep = Fields(call.data).seconds("verification_ttl")?.unwrap_or(key.verification_ttl);
    key.renew(core.secs(), keep).await?;
    let mut unit = call.unit();
    unit.audit("oidc.key.rotate", format!("identity/{}", place(name)?), json!({ "verification_ttl": keep }));
    put(&shelf, &mut unit, name, &key, known.unchanged())?;
    core.submit(unit).await?;
    Ok(Response::empty())
}

/// All public keys that tokens may still be checked with, as JWKs.
pub(super) async fn public(core: &Core, call: &Call<'_>) -> Result<Vec<Value>> {
    let shelf = core.shelf(call.mount);
    let now = core.secs();
    let mut all = Vec::new();
    for name in shelf.list("oidc/key/").await? {
        if let Some(key) = get(&shelf, &name).await? {
            let live = key.value.versions.into_iter().filter(|v| v.retire.is_none_or(|end| end > now));
            all.extend(live.chain(key.value.next).map(|v| v.public));
        }
    }
    Ok(all)
}
