//! Engine `google_service_account`: the JSON key of a Google service account.
//!
//! When to use it: for Google Cloud's APIs, Vertex AI above all. Settings: none are needed; `token: { scope, url }` says
//! what tokens are good for (`cloud-platform`) and where they are asked for (where the key says). Posture: the key never
//! leaves: it signs statements that Google exchanges for tokens (RFC 7523), and upstreams see those. Revoking ends the use
//! of key and tokens here at once; the key itself is deleted in the console of Google Cloud.

use super::{BoxFuture, Engine, EngineError, Revocation, Static};
use crate::access_token::{ServiceAccount, TokenRequest};
use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{Credential, Engine as Kind, TokenRule},
};

/// Takes service accounts' keys, and fetches tokens with them.
pub struct GoogleServiceAccount;

const GRANT: &[u8] = b"urn:ietf:params:oauth:grant-type:jwt-bearer";

impl Engine for GoogleServiceAccount {
    fn kind(&self) -> Kind {
        Kind::GoogleServiceAccount
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let value = Static.generate(credential, received)?;
        account(credential, &value)?;
        Ok(value)
    }

    fn ask_token(
        &self,
        credential: &Credential,
        value: &SecretValue,
        now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        let ask = || {
            let account = account(credential, value)?;
            let default = TokenRule::default();
            let rule = credential.token.as_ref().unwrap_or(&default);
            let scope = rule.scope.as_deref().unwrap_or(ServiceAccount::SCOPE);
            let assertion = account.assertion(scope, now).ok_or(EngineError::Randomness)?;
            let url = match &rule.url {
                Some(url) => url,
                // What a value names is no declaration: nothing is sent there in clear.
                None if account.token_uri().starts_with("https://") => account.token_uri(),
                None => {
                    let what = "key whose token_uri is https://; declare `token.url`";
                    return Err(EngineError::NotAKey(credential.name.clone(), what));
                }
            };
            let mut pairs: Vec<(&str, &[u8])> = vec![("grant_type", GRANT), ("assertion", assertion.expose())];
            pairs.extend(rule.parameters.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
            Ok(TokenRequest::new(url, &pairs))
        };
        Some(ask())
    }

    fn return_token(
        &self,
        credential: &Credential,
        _value: &SecretValue,
        token: &SecretValue,
        _now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        let url = credential.token.as_ref()?.revoke_url.as_deref()?;
        Some(Ok(TokenRequest::new(url, &[("token", token.expose())])))
    }

    fn revoke<'a>(&'a self, _: &'a Credential, _: &'a SecretValue) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // The key is deleted at Google by whoever may do that.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

fn account(credential: &Credential, value: &SecretValue) -> Result<ServiceAccount, EngineError> {
    let what = "key file of a service account";
    ServiceAccount::read(value).ok_or_else(|| EngineError::NotAKey(credential.name.clone(), what))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::credential, *};
    use aws_lc_rs::{encoding::AsDer, rsa::KeySize, signature::RsaKeyPair};
    use base64::{
        Engine as _,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    use serde_json::{Value, json};

    fn file(change: impl FnOnce(&mut Value)) -> SecretValue {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = STANDARD.encode(key.as_der().unwrap().as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let mut file = json!({
            "type": "service_account", "client_email": "gw@p.iam.gserviceaccount.com", "private_key": pem,
            "private_key_id": "k1", "token_uri": "https://oauth2.googleapis.com/token", "universe_domain": "googleapis.com"
        });
        change(&mut file);
        SecretValue::from(file.to_string())
    }

    #[test]
    fn the_statement_says_who_asks_and_for_what() {
        let request = GoogleServiceAccount.ask_token(
            &credential(Kind::GoogleServiceAccount),
            &file(|_| {}),
            Timestamp::from_secs(1_700_000_000),
        );
        let request = request.unwrap().unwrap();
        assert_eq!(request.url, "https://oauth2.googleapis.com/token");
        let form = request.form.expose_str().unwrap().to_owned();
        let jwt = form.split_once("&assertion=").unwrap().1;
        assert!(form.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"), "{form}");
        let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let expected = json!({
            "iss": "gw@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.googleapis.com/token", "iat": 1_700_000_000, "exp": 1_700_003_600
        });
        assert_eq!(claims, expected);
    }

    #[test]
    fn what_is_no_key_file_is_refused_when_it_is_handed_in() {
        let credential = credential(Kind::GoogleServiceAccount);
        let give = |value: SecretValue| GoogleServiceAccount.generate(&credential, Some(value)).map(drop);
        assert_eq!(give(file(|_| {})), Ok(()));
        for bad in [
            SecretValue::from("AIza-an-api-key"),
            file(|f| f["type"] = "authorized_user".into()),
            file(|f| f["private_key"] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".into()),
            file(|f| drop(f.as_object_mut().unwrap().remove("client_email"))),
        ] {
            assert!(matches!(give(bad), Err(EngineError::NotAKey(..))));
        }
        let clear = file(|f| f["token_uri"] = "http://169.254.169.254/token".into());
        let refused = GoogleServiceAccount.ask_token(&credential, &clear, Timestamp::from_secs(1)).unwrap();
        assert!(matches!(refused, Err(EngineError::NotAKey(..))));
    }
}
