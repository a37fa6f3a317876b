//! Engine `provider`: a key that a provider makes through its own API.
//!
//! When to use it: for providers whose API can make and delete keys, and for OAuth client secrets of
//! servers that keep several of them. Settings: `provider: { target }`, a target of the system `http`
//! that describes the calls. Posture: nobody sees the key but the provider and the gateway; the target's
//! own credential can make keys and is to be guarded as such.
//!
//! The value is made, tried and deleted by a rotation's `Target` port, never here.

use super::{BoxFuture, Engine, EngineError, Revocation};
use credentialflow_model::{
    SecretValue,
    resource::{Credential, Engine as Kind},
};

/// Has values made by a provider.
pub struct Provider;

impl Engine for Provider {
    fn kind(&self) -> Kind {
        Kind::Provider
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let name = credential.name.clone();
        Err(if received.is_some() { EngineError::ValueUnexpected(name) } else { EngineError::MadeElsewhere(name) })
    }

    fn revoke<'a>(
        &'a self,
        _credential: &'a Credential,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // Only a rotation reaches the provider, and deletes the key there.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};

    #[test]
    fn it_makes_nothing_itself() {
        let credential = credential(Kind::Provider);
        let refused = |value| Provider.generate(&credential, value).map(|_| ());
        assert_eq!(refused(None), Err(EngineError::MadeElsewhere(credential.name.clone())));
        let handed_in = refused(Some(SecretValue::from("x")));
        assert_eq!(handed_in, Err(EngineError::ValueUnexpected(credential.name.clone())));
    }
}
