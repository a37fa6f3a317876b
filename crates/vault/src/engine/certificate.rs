//! Engines `certificate` and `certificate_authority`: certificates of our own authorities.
//!
//! When to use them: where upstreams tell callers by certificate (mutual TLS), or to give servers of the house their
//! certificates. Settings: `certificate: { authority, common_name, names, usage, lifetime }`, and for an authority
//! `certificate: { common_name, lifetime, permitted }`. A value is PEM: the certificate, its authority's, the private
//! key. Posture: keys are made here and leave only to be shown, or where `sync` writes them; an authority's key signs and
//! is never injected, copied or written anywhere. Certificates live shortly, so there is no revocation list: revoking
//! one ends its use here at once, and what got away is over with its lifetime.

use super::{BoxFuture, Engine, EngineError, Revocation};
use credentialflow_certificates::issue;
use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{Credential, Engine as Kind},
};
use std::time::SystemTime;

/// Makes certificates that an authority signs; the authority's value is what it receives.
pub struct Certificate;

/// Makes authorities.
pub struct Authority;

fn now() -> Timestamp {
    SystemTime::now().into()
}

impl Engine for Certificate {
    fn kind(&self) -> Kind {
        Kind::Certificate
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let missing = || EngineError::AuthorityMissing(credential.name.clone());
        let (rule, authority) = (credential.certificate.as_ref().ok_or_else(missing)?, received.ok_or_else(missing)?);
        issue::leaf(&authority, rule, credential.name.as_str(), now())
            .map_err(|why| EngineError::NotIssued(credential.name.clone(), why))
    }

    fn revoke<'a>(&'a self, _: &'a Credential, _: &'a SecretValue) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // Whoever holds it is believed until it is over; only its use here ends.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

impl Engine for Authority {
    fn kind(&self) -> Kind {
        Kind::CertificateAuthority
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        if received.is_some() {
            return Err(EngineError::ValueUnexpected(credential.name.clone()));
        }
        issue::root(&credential.certificate.clone().unwrap_or_default(), credential.name.as_str(), now())
            .map_err(|why| EngineError::NotIssued(credential.name.clone(), why))
    }

    fn revoke<'a>(&'a self, _: &'a Credential, _: &'a SecretValue) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // It signs nothing any more; who trusts it has to be told by whoever made them trust it.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};
    use credentialflow_certificates::{Bundle, Certificate as Said};
    use credentialflow_model::resource::CertificateRule;

    fn said(value: &SecretValue) -> Said {
        Said::parse(Bundle::read(value).unwrap().leaf()).unwrap()
    }

    #[test]
    fn an_authority_signs_and_says_so() {
        let authority = Authority.generate(&credential(Kind::CertificateAuthority), None).unwrap();
        assert!(said(&authority).authority);
        let mut leaf = credential(Kind::Certificate);
        let refused = |credential: &Credential, value| Certificate.generate(credential, value).map(drop).unwrap_err();
        assert!(matches!(refused(&leaf, Some(authority.duplicate())), EngineError::AuthorityMissing(_)));
        leaf.certificate = Some(CertificateRule::default());
        assert!(matches!(refused(&leaf, None), EngineError::AuthorityMissing(_)));
        assert!(matches!(refused(&leaf, Some(SecretValue::from("x"))), EngineError::NotIssued(..)));
        let (one, two) = (authority.duplicate(), authority);
        let (one, two) =
            (Certificate.generate(&leaf, Some(one)).unwrap(), Certificate.generate(&leaf, Some(two)).unwrap());
        assert_eq!((said(&one).subject.as_str(), said(&one).issuer.as_str()), ("CN=orders-token", "CN=orders-token"));
        assert_ne!(said(&one).serial, said(&two).serial);
    }

    #[test]
    fn an_authority_takes_no_value() {
        let refused = Authority.generate(&credential(Kind::CertificateAuthority), Some(SecretValue::from("x")));
        assert!(matches!(refused.map(drop), Err(EngineError::ValueUnexpected(_))));
    }
}
