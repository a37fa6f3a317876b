//! Secret engines: what makes a credential's values, one file per engine.
//!
//! An engine sees neither the store nor another engine. Each one says how a value is revoked:
//! `revoke` has no default implementation, so that nobody can forget it.

mod certificate;
mod database;
mod generated;
mod google_service_account;
mod key;
mod oauth_token;
mod provider;
mod static_value;

pub use certificate::{Authority, Certificate};
pub use database::{Database, DatabaseLogin};
pub use generated::Generated;
pub use google_service_account::GoogleServiceAccount;
pub use key::Key;
pub use oauth_token::OauthToken;
pub use provider::Provider;
pub use static_value::{Lookup, MAX_FILE_BYTES, ProcessLookup, Static, resolve};

use crate::access_token::TokenRequest;
use credentialflow_certificates::issue::NotIssued;
use credentialflow_model::{
    Name, SecretValue, Timestamp,
    resource::{Credential, Engine as Kind},
};
use std::{future::Future, pin::Pin};

/// A future that may be sent to another thread, boxed so that the trait stays object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Makes and revokes the values of one kind of credential.
pub trait Engine: Send + Sync {
    /// Which credentials it is for.
    fn kind(&self) -> Kind;

    /// Makes a new value. `received` is a value handed in or resolved by the caller; for a certificate its authority's, for a key its visible beginning.
    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError>;

    /// Makes the value that replaces `current`, the value in use. Most engines do not look at that.
    fn generate_after(
        &self,
        credential: &Credential,
        received: Option<SecretValue>,
        _current: Option<&SecretValue>,
    ) -> Result<SecretValue, EngineError> {
        self.generate(credential, received)
    }

    /// How an access token is asked for with a value. `None`: its values are themselves what upstreams take.
    fn ask_token(
        &self,
        _credential: &Credential,
        _value: &SecretValue,
        _now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        None
    }

    /// How a token that was fetched with a value is given back (RFC 7009). `None`: nobody takes it back.
    fn return_token(
        &self,
        _credential: &Credential,
        _value: &SecretValue,
        _token: &SecretValue,
        _now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        None
    }

    /// Revokes a value where it is accepted, and says what could be done there. The vault has
    /// already stopped using it.
    fn revoke<'a>(
        &'a self,
        credential: &'a Credential,
        value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Revocation, EngineError>>;
}

/// What revoking did at the place where the value is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// The value is no longer accepted there.
    AtTarget,
    /// Credentialflow no longer uses it, but only its issuer can withdraw it there.
    LocalOnly,
}

/// Why an engine made no value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    /// A `static` credential without a value.
    #[error("credential {0} is static, so a value must be given")]
    ValueMissing(Name),
    /// A credential whose values are made, with a value.
    #[error("the values of credential {0} are made, so none can be given")]
    ValueUnexpected(Name),
    /// A `database` credential that does not say which login it is.
    #[error("credential {0} does not say which login of which target it is")]
    RuleMissing(Name),
    /// A value that only its provider makes.
    #[error("the value of credential {0} is made by its provider")]
    MadeElsewhere(Name),
    /// A certificate whose authority is not known.
    #[error("certificate {0} does not say which authority signs it")]
    AuthorityMissing(Name),
    /// A credential that is to hold the secret of a key, without such a key.
    #[error("credential {0} holds the secret of the key of the same name, and there is none")]
    KeyMissing(Name),
    /// A credential that fetches tokens and does not say where.
    #[error("credential {0} does not say where and as whom its tokens are fetched")]
    TokenRuleMissing(Name),
    /// A value that is not what its engine works with.
    #[error("the value of credential {0} is no {1}")]
    NotAKey(Name, &'static str),
    /// A certificate could not be made.
    #[error("certificate {0}: {1}")]
    NotIssued(Name, NotIssued),
    /// An empty value can never be proof of anything.
    #[error("the value is empty")]
    Empty,
    /// Larger than anything that fits into a request.
    #[error("the value is larger than {0} bytes")]
    TooLarge(usize),
    /// A reference that leads nowhere; it never becomes a literal.
    #[error("the reference {0} could not be resolved: {1}")]
    Unresolved(String, String),
    /// A rule outside its bounds.
    #[error("a generated value has 8 to 1024 characters, not {0}")]
    Length(u32),
    /// A rule that contradicts itself.
    #[error("{length} characters of this alphabet give {reached} bits, less than the {wanted} asked for")]
    Entropy {
        /// Characters asked for.
        length: u32,
        /// Bits they give, rounded down.
        reached: u32,
        /// Bits asked for.
        wanted: u32,
    },
    /// The system has no randomness.
    #[error("the system gave no random bytes")]
    Randomness,
}

/// Every engine, readable top to bottom.
pub const ENGINES: &[&dyn Engine] =
    &[&Static, &Generated, &Database, &Provider, &Certificate, &Authority, &Key, &OauthToken, &GoogleServiceAccount];

/// The engine of a kind.
pub fn engine(kind: Kind) -> &'static dyn Engine {
    match kind {
        Kind::Static => &Static,
        Kind::Generated => &Generated,
        Kind::Database => &Database,
        Kind::Provider => &Provider,
        Kind::Certificate => &Certificate,
        Kind::CertificateAuthority => &Authority,
        Kind::Key => &Key,
        Kind::OauthToken => &OauthToken,
        Kind::GoogleServiceAccount => &GoogleServiceAccount,
    }
}

#[cfg(test)]
pub(crate) fn credential(engine: Kind) -> Credential {
    Credential {
        name: "orders-token".parse().unwrap_or_else(|_| unreachable!()),
        description: None,
        owner: None,
        tags: Vec::new(),
        engine,
        value: None,
        generate: None,
        database: None,
        provider: None,
        certificate: None,
        token: None,
        expires: None,
        rotate: None,
        sync: Vec::new(),
        verify: None,
        find_in_requests: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_and_the_lookup_agree() {
        for listed in ENGINES {
            assert_eq!(engine(listed.kind()).kind(), listed.kind());
        }
        assert_eq!(ENGINES.len(), 9);
    }
}
