//! The keys that sign identity tokens. Each is published one rotation before it signs, so that whoever keeps a
//! copy of the published keys has it by then, and after it has signed for as long as tokens under it may be
//! checked. Private halves that no longer sign are not kept.

use crate::{
    Call, Core, IdentityError, Operation, Response, Result, Shelf,
    fields::Fields,
    jose::{Algorithm, rsa_components},
    shelf::Kept,
    tokens::random_text,
};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use credentialflow_model::Actor;
use credentialflow_store::{Expect, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

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

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Version {
    kid: String,
    private: Private,
    public: Value,
    /// From when on it is published no more; `None`: it signs.
    retire: Option<i64>,
}

/// PKCS #8, empty once it signs no more; sealed with the entry it lies in, wiped when dropped, never printed.
#[derive(Clone)]
struct Private(Zeroizing<Vec<u8>>);

impl std::fmt::Debug for Private {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Private(redacted)")
    }
}

impl Serialize for Private {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Private {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        STANDARD.decode(&*text).map(|b| Self(Zeroizing::new(b))).map_err(serde::de::Error::custom)
    }
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
        let signer = match self.next.take().filter(|next| next.public["alg"] == self.algorithm.as_str()) {
            Some(next) => next,
            None => Version::generate(self.algorithm()?).await?,
        };
        self.next = Some(Version::generate(self.algorithm()?).await?);
        self.versions.retain(|v| v.retire.is_none_or(|end| end > now));
        for version in &mut self.versions {
            version.retire.get_or_insert(now.saturating_add(keep));
            version.private = Private(Zeroizing::default());
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
            self.next = Some(Version::generate(self.algorithm()?).await?);
            return Ok(Some("oidc.key.publish"));
        }
        Ok(None)
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

fn ecdsa(algorithm: Algorithm) -> Option<(&'static EcdsaSigningAlgorithm, &'static str)> {
    match algorithm {
        Algorithm::ES256 => Some((&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")),
        Algorithm::ES384 => Some((&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")),
        Algorithm::ES512 => Some((&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521")),
        _ => None,
    }
}

fn rejected(_: aws_lc_rs::error::KeyRejected) -> IdentityError {
    IdentityError::internal("a stored key cannot be used")
}

impl Version {
    /// RSA keys take a while to find: not on the runtime's threads.
    async fn generate(algorithm: Algorithm) -> Result<Self> {
        let made = tokio::task::spawn_blocking(move || Self::generate_now(algorithm)).await;
        made.map_err(|_| IdentityError::internal("a key could not be made"))?
    }

    fn generate_now(algorithm: Algorithm) -> Result<Self> {
        let rng = SystemRandom::new();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (private, mut public) = if algorithm == Algorithm::EdDSA {
            let pkcs8 = Ed25519KeyPair::generate_pkcs8(&rng)?;
            let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(rejected)?;
            let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
            (pkcs8.as_ref().to_vec(), jwk)
        } else if let Some((signing, curve)) = ecdsa(algorithm) {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(signing, &rng)?;
            let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8.as_ref()).map_err(rejected)?;
            // An uncompressed point: 4, x, y.
            let point = pair.public_key().as_ref();
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            (pkcs8.as_ref().to_vec(), json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) }))
        } else {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der()?;
            let (n, e) = rsa_components(pair.public_key().as_ref())
                .ok_or_else(|| IdentityError::internal("a key could not be made"))?;
            (pkcs8.as_ref().to_vec(), json!({ "kty": "RSA", "n": encode(&n), "e": encode(&e) }))
        };
        let kid = random_text(24)?.as_str().to_owned();
        if let Value::Object(map) = &mut public {
            for (name, value) in [("kid", kid.as_str()), ("use", "sig"), ("alg", algorithm.as_str())] {
                map.insert(name.to_owned(), value.into());
            }
        }
        Ok(Self { kid, private: Private(Zeroizing::new(private)), public, retire: None })
    }

    fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>> {
        let rng = SystemRandom::new();
        let pkcs8 = self.private.0.as_slice();
        if algorithm == Algorithm::EdDSA {
            return Ok(Ed25519KeyPair::from_pkcs8(pkcs8).map_err(rejected)?.sign(message).as_ref().to_vec());
        }
        if let Some((signing, _)) = ecdsa(algorithm) {
            let pair = EcdsaKeyPair::from_pkcs8(signing, pkcs8).map_err(rejected)?;
            return Ok(pair.sign(&rng, message)?.as_ref().to_vec());
        }
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(rejected)?;
        let encoding: &dyn signature::RsaEncoding = match algorithm {
            Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
            Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
            _ => &signature::RSA_PKCS1_SHA256,
        };
        let mut out = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &rng, message, &mut out)?;
        Ok(out)
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
            let mut unit = Unit::new(call.actor());
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
                let mut unit = Unit::new(call.actor());
                unit.audit("oidc.key.delete", subject, json!({}));
                shelf.delete(&mut unit, &place(name)?, Expect::Anything);
                core.submit(unit).await?;
            }
            Ok(Response::empty())
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
    let mut unit = Unit::new(call.actor());
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
