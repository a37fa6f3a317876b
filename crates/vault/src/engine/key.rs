//! Engine `key`: the secret of a key that we issue ourselves.
//!
//! When to use it: so that the key of an application of ours is rotated by a plan as every other credential. Settings:
//! none; the credential has the name of the key, and `sync` says where the application finds the secret. Posture: the
//! secret is held sealed, unlike that of other keys, of which only a keyed hash is kept; it is written to the stores under
//! `sync` and never injected. What makes workers accept it, and no longer accept the one before, is stored together with
//! the version (`held_key`), so that neither can be there without the other.

use super::{BoxFuture, Engine, EngineError, Revocation};
use credentialflow_model::{
    KeyToken, SecretValue,
    resource::{Credential, Engine as Kind},
};

/// Makes secrets of keys; the visible beginning of the key is what it receives.
pub struct Key;

impl Engine for Key {
    fn kind(&self) -> Kind {
        Kind::Key
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let missing = || EngineError::KeyMissing(credential.name.clone());
        let head = received.ok_or_else(missing)?;
        let mut parts = head.expose_str().ok_or_else(missing)?.split('_');
        let (Some(prefix), Some(environment), Some(Ok(id)), None) =
            (parts.next(), parts.next(), parts.next().map(str::parse), parts.next())
        else {
            return Err(missing());
        };
        let mut randomness = Ok(());
        let secret = KeyToken::generate(prefix, environment, id, |bytes| {
            // On failure every byte fits, so that the loop ends; the key is thrown away below.
            if aws_lc_rs::rand::fill(bytes).is_err() {
                bytes.fill(0);
                randomness = Err(EngineError::Randomness);
            }
        });
        randomness?;
        secret.map_err(|_| missing())
    }

    fn revoke<'a>(&'a self, _: &'a Credential, _: &'a SecretValue) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // Our own workers are the only ones that accept it, and the vault has told them.
        Box::pin(async { Ok(Revocation::AtTarget) })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};

    #[test]
    fn it_makes_keys_that_begin_as_they_are_told() {
        let credential = credential(Kind::Key);
        let head = || SecretValue::from("cfk_live_7m2k9q4x1c8v");
        let (one, two) = (Key.generate(&credential, Some(head())), Key.generate(&credential, Some(head())));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(KeyToken::parse(one.expose()).unwrap().id.to_string(), "7m2k9q4x1c8v");
        assert!(one.expose_str().unwrap().starts_with("cfk_live_7m2k9q4x1c8v_"));
    }

    #[test]
    fn without_a_key_it_makes_none() {
        let credential = credential(Kind::Key);
        for head in
            [None, Some("x"), Some("cfk_live_short"), Some("cfk_live_7m2k9q4x1c8v_more"), Some("C_l_7m2k9q4x1c8v")]
        {
            let refused = Key.generate(&credential, head.map(SecretValue::from)).map(drop);
            assert_eq!(refused, Err(EngineError::KeyMissing(credential.name.clone())), "{head:?}");
        }
    }
}
