//! Everything that an application or an entity holds here, taken away with one word: its tokens, with all they made, and
//! the logins and certificates leased to them. For who administers the installation.

use crate::{VaultApi, error::ApiError, state::Ready, sys::leases::below};
use credentialflow_model::Actor;
use credentialflow_secrets::lease::Held;
use serde_json::json;
use std::{fmt, time::Duration};

/// How long logins are waited for; what takes longer goes on by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Tokens that ended, with those they had made.
    pub tokens: usize,
    /// Leases that ended after them: those of tokens that ended before included.
    pub leases: usize,
    /// Of these leases, those whose login is not withdrawn yet. It is tried again until it is.
    pub left: usize,
    /// Why, where it is known.
    pub problem: Option<String>,
}

/// Why nothing, or not everything, was written down as ended. Asking again does the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotRevoked {
    /// There is no vault yet, or it is sealed.
    Sealed,
    /// The database is away, or others were first again and again.
    Unavailable,
    /// It cannot be done as asked.
    Invalid(String),
    /// By a fault of ours, which is in the log.
    Failed,
}

impl fmt::Display for NotRevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sealed => "the vault is sealed",
            Self::Unavailable => "the database is not available; ask again",
            Self::Invalid(why) => why,
            Self::Failed => "it failed; the log tells why",
        })
    }
}

impl std::error::Error for NotRevoked {}

impl From<ApiError> for NotRevoked {
    fn from(error: ApiError) -> Self {
        match error.status {
            503 => Self::Unavailable,
            500 => Self::Failed,
            _ => Self::Invalid(error.text),
        }
    }
}

impl VaultApi {
    /// Takes away everything that somebody holds. That it was asked for is recorded first; then tokens and leases are
    /// written down as ended; then the logins are withdrawn. A prefix that begins with `auth/` means tokens.
    ///
    /// # Errors
    /// Where not everything could be written down as ended. A login that could not be withdrawn is no error: it is
    /// told in [`Revoked::left`].
    pub async fn revoke_held(&self, actor: &Actor, held: &Held) -> Result<Revoked, NotRevoked> {
        let ready = self.0.ready().filter(|ready| !ready.vault.is_sealed()).ok_or(NotRevoked::Sealed)?;
        Ok(revoke(&ready, actor, held).await?)
    }
}

async fn revoke(ready: &Ready, actor: &Actor, held: &Held) -> Result<Revoked, ApiError> {
    let held = match held {
        Held::Entity(name) | Held::Application(name) | Held::Prefix(name) if name.is_empty() => {
            return Err(ApiError::invalid("whose is to be said"));
        }
        Held::Prefix(prefix) => Held::Prefix(below(ready, prefix).await?),
        held => held.clone(),
    };
    let (action, subject) = match &held {
        Held::Entity(entity) => ("lease.revoke_entity", format!("entities/{entity}")),
        Held::Application(application) => ("lease.revoke_application", format!("applications/{application}")),
        Held::Prefix(prefix) => ("lease.revoke_prefix", format!("leases/{prefix}")),
    };
    let mut txn = ready.txn(actor.clone());
    txn.audit(action, &subject, json!({}));
    txn.commit().await?;
    // Tokens first: what is gone makes no more leases.
    let tokens = match &held {
        Held::Entity(entity) => ready.identity.revoke_entity(actor, entity).await?,
        Held::Application(application) => ready.identity.revoke_application(actor, application).await?,
        Held::Prefix(prefix) if prefix.starts_with("auth/") => {
            let tokens = ready.identity.revoke_prefix(actor, prefix).await?;
            return Ok(Revoked { tokens, ..Revoked::default() });
        }
        Held::Prefix(_) => 0,
    };
    let ended = ready.leases.revoke_held(actor, &held, PATIENCE).await?;
    Ok(Revoked { tokens, leases: ended.leases, left: ended.left, problem: ended.problem })
}
