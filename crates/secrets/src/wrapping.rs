//! Response wrapping: an answer is kept, and a token that opens it exactly once is given instead.
//!
//! Only a keyed hash of the token is stored, and the answer is sealed. Taking it out and removing it is
//! one transaction, so that of two who hold the same token one learns that the other was there.

use crate::{Result, SecretsError, Txn, identifier};
use credentialflow_model::{SecretValue, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

const SPACE: &str = "wrapping";
/// How many expired answers are removed in one go.
const SWEEP: usize = 500;

/// What is known about a kept answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrapped {
    /// Names the token without being it.
    pub accessor: String,
    /// The path whose answer it is.
    pub creation_path: String,
    /// When it was kept.
    pub created: Timestamp,
    /// Seconds it can be taken out.
    pub ttl: i64,
    /// The accessor of a token inside, if there is one.
    pub wrapped_accessor: Option<String>,
}

impl Wrapped {
    fn ends(&self) -> Timestamp {
        Timestamp::from_micros(self.created.micros().saturating_add(self.ttl.saturating_mul(1_000_000)))
    }
}

#[derive(Serialize, Deserialize)]
struct Kept {
    about: Wrapped,
    /// The answer's JSON text.
    answer: Box<serde_json::value::RawValue>,
}

/// Keeps an answer (its JSON text). Gives the token, once, and what is known about it.
pub fn wrap(txn: &mut Txn, answer: &SecretValue, about: Wrapped) -> Result<SecretValue> {
    let token = SecretValue::from(format!("hvs.{}", identifier(36)?));
    let key = key(txn, &token)?;
    let text = answer.expose_str().ok_or_else(|| SecretsError::corrupt("answer"))?;
    let answer =
        serde_json::value::RawValue::from_string(text.to_owned()).map_err(|_| SecretsError::corrupt("answer"))?;
    let ends = about.ends();
    let mut entries = txn.entries(SPACE);
    entries.put_json(&format!("t/{key}"), &Kept { about, answer })?;
    entries.put(&format!("x/{:020}/{key}", ends.micros()), SecretValue::from(""));
    Ok(token)
}

/// An accessor for a new wrapping token.
pub fn accessor() -> Result<String> {
    identifier(24)
}

/// What a token opens, without opening it. `None`: nothing, or no longer.
pub async fn lookup(txn: &mut Txn, token: &SecretValue) -> Result<Option<Wrapped>> {
    let key = key(txn, token)?;
    let now = txn.now();
    let kept: Option<Kept> = txn.entries(SPACE).get_json(&format!("t/{key}")).await?;
    Ok(kept.map(|k| k.about).filter(|about| about.ends() > now))
}

/// Takes an answer out; it is gone when the transaction is committed. `None`: nothing is there, or no longer.
pub async fn unwrap(txn: &mut Txn, token: &SecretValue) -> Result<Option<(Wrapped, SecretValue)>> {
    let key = key(txn, token)?;
    let now = txn.now();
    let mut entries = txn.entries(SPACE);
    let path = format!("t/{key}");
    let Some(kept) = entries.get_json::<Kept>(&path).await? else { return Ok(None) };
    if kept.about.ends() <= now {
        return Ok(None);
    }
    entries.delete(&path);
    entries.delete(&format!("x/{:020}/{key}", kept.about.ends().micros()));
    Ok(Some((kept.about, SecretValue::from(String::from(Box::<str>::from(kept.answer))))))
}

/// Removes answers whose time is over; tells how many. To be called now and then.
pub async fn sweep(txn: &mut Txn) -> Result<usize> {
    let now = txn.now();
    let due = txn.entries(SPACE).paths("x/", "", SWEEP).await?;
    let mut gone = 0;
    for path in due {
        let mut parts = path.splitn(3, '/').skip(1);
        let (Some(ends), Some(key)) = (parts.next().and_then(|t| t.parse().ok()), parts.next()) else { continue };
        if Timestamp::from_micros(ends) > now {
            break;
        }
        let mut entries = txn.entries(SPACE);
        entries.delete(&format!("t/{key}"));
        entries.delete(&path);
        gone += 1;
    }
    Ok(gone)
}

fn key(txn: &Txn, token: &SecretValue) -> Result<String> {
    // The first pepper stays for the life of an answer; newer ones make other keys' hashes.
    let peppers = txn.vault().peppers()?;
    let pepper = peppers.first().ok_or_else(|| SecretsError::corrupt("peppers"))?;
    Ok(pepper.hash(token.expose()).iter().fold(String::with_capacity(64), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    }))
}
