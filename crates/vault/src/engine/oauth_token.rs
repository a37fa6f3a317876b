//! Engine `oauth_token`: the secret or private key of a client of an OAuth 2.0 server.
//!
//! When to use it: for upstreams that take no key but a short-lived access token, such as Azure OpenAI with Entra ID, or
//! an API of the house behind Keycloak. Settings: `token: { url, client_id, authentication, scope, parameters, revoke_url }`,
//! and the value as for `static`. Posture: the value is seen by whoever hands it in and goes to the token endpoint alone;
//! upstreams see tokens that end by themselves. Revoking ends the use of the value and of what was fetched with it at
//! once; tokens are given back where `revoke_url` says so, and the value itself can only be withdrawn where it was issued.

use super::{BoxFuture, Engine, EngineError, Revocation, Static};
use crate::access_token::{Signer, TokenRequest, escape, unique};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use credentialflow_model::{
    SecretValue, Timestamp,
    resource::{ClientAuthentication, Credential, Engine as Kind, TokenRule},
};
use serde_json::json;
use zeroize::Zeroizing;

/// Takes values as they are, and fetches tokens with them.
pub struct OauthToken;

/// How long a signed statement about ourselves is believed, in seconds.
const STATEMENT: i64 = 300;
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl Engine for OauthToken {
    fn kind(&self) -> Kind {
        Kind::OauthToken
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let value = Static.generate(credential, received)?;
        let rule = rule(credential)?;
        match rule.authentication {
            ClientAuthentication::PrivateKeyJwt => drop(signer(credential, &value)?),
            _ if value.expose().iter().any(u8::is_ascii_control) => {
                return Err(EngineError::NotAKey(credential.name.clone(), "client secret: it has control characters"));
            }
            _ => {}
        }
        Ok(value)
    }

    fn ask_token(
        &self,
        credential: &Credential,
        value: &SecretValue,
        now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        let ask = || {
            let rule = rule(credential)?;
            let mut pairs: Vec<(&str, &[u8])> = vec![("grant_type", b"client_credentials")];
            pairs.extend(rule.scope.as_ref().map(|scope| ("scope", scope.as_bytes())));
            pairs.extend(rule.parameters.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
            request(credential, rule, rule.url.as_deref().unwrap_or_default(), pairs, value, now)
        };
        Some(ask())
    }

    fn return_token(
        &self,
        credential: &Credential,
        value: &SecretValue,
        token: &SecretValue,
        now: Timestamp,
    ) -> Option<Result<TokenRequest, EngineError>> {
        let rule = credential.token.as_ref()?;
        let url = rule.revoke_url.as_deref()?;
        let pairs: Vec<(&str, &[u8])> = vec![("token", token.expose()), ("token_type_hint", b"access_token")];
        Some(request(credential, rule, url, pairs, value, now))
    }

    fn revoke<'a>(&'a self, _: &'a Credential, _: &'a SecretValue) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // Somebody else issued the value; only they can withdraw it. What was fetched with it is no longer used.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

fn rule(credential: &Credential) -> Result<&TokenRule, EngineError> {
    credential.token.as_ref().ok_or_else(|| EngineError::TokenRuleMissing(credential.name.clone()))
}

fn signer(credential: &Credential, value: &SecretValue) -> Result<Signer, EngineError> {
    let what = "private key in PEM: RSA of at least 2048 bits, or ECDSA on P-256";
    Signer::read(value).ok_or_else(|| EngineError::NotAKey(credential.name.clone(), what))
}

/// A request of this client, with what it proves itself by.
fn request(
    credential: &Credential,
    rule: &TokenRule,
    url: &str,
    pairs: Vec<(&str, &[u8])>,
    value: &SecretValue,
    now: Timestamp,
) -> Result<TokenRequest, EngineError> {
    let client = rule.client_id.as_deref().unwrap_or_default();
    match rule.authentication {
        ClientAuthentication::ClientSecretPost => {
            let of_the_client: [(&str, &[u8]); 2] =
                [("client_id", client.as_bytes()), ("client_secret", value.expose())];
            Ok(TokenRequest::new(url, &[pairs.as_slice(), &of_the_client].concat()))
        }
        ClientAuthentication::ClientSecretBasic => {
            Ok(TokenRequest::new(url, &pairs).authorized(basic(client, value), value))
        }
        ClientAuthentication::PrivateKeyJwt => {
            let (now, id) = (now.secs(), unique().ok_or(EngineError::Randomness)?);
            let claims = json!({
                "iss": client, "sub": client, "aud": rule.url, "jti": id,
                "iat": now, "nbf": now, "exp": now + STATEMENT
            });
            let statement = signer(credential, value)?.sign(rule.key_id.as_deref(), &claims);
            let statement = statement.ok_or(EngineError::Randomness)?;
            let of_the_client: [(&str, &[u8]); 3] = [
                ("client_id", client.as_bytes()),
                ("client_assertion_type", JWT_BEARER.as_bytes()),
                ("client_assertion", statement.expose()),
            ];
            Ok(TokenRequest::new(url, &[pairs.as_slice(), &of_the_client].concat()))
        }
    }
}

/// Id and secret are escaped before they are put together (RFC 6749, 2.3.1).
fn basic(client: &str, secret: &SecretValue) -> SecretValue {
    let mut plain = Zeroizing::new(Vec::with_capacity((client.len() + secret.len()) * 3 + 1));
    escape(client.as_bytes(), &mut plain);
    plain.push(b':');
    escape(secret.expose(), &mut plain);
    let mut text = String::with_capacity(6 + plain.len().div_ceil(3) * 4);
    text.push_str("Basic ");
    BASE64_STANDARD.encode_string(&*plain, &mut text);
    SecretValue::from(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{super::credential, *};

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn client(authentication: ClientAuthentication) -> Credential {
        let parameters = [("resource".to_owned(), "https://a/".to_owned())].into();
        let rule = TokenRule {
            url: Some("https://login.example/token".into()),
            client_id: Some("gate way".into()),
            scope: Some("a b".into()),
            revoke_url: Some("https://login.example/revoke".into()),
            authentication,
            parameters,
            ..TokenRule::default()
        };
        Credential { token: Some(rule), ..credential(Kind::OauthToken) }
    }

    fn asked(authentication: ClientAuthentication, value: &str) -> TokenRequest {
        OauthToken.ask_token(&client(authentication), &SecretValue::from(value), NOW).unwrap().unwrap()
    }

    #[test]
    fn a_secret_stands_in_the_body_or_in_the_head() {
        let post = asked(ClientAuthentication::ClientSecretPost, "s&cret");
        let common = "grant_type=client_credentials&scope=a%20b&resource=https%3A%2F%2Fa%2F";
        assert_eq!(post.form.expose_str().unwrap(), format!("{common}&client_id=gate%20way&client_secret=s%26cret"));
        assert!(post.url == "https://login.example/token" && post.authorization.is_none());
        let basic = asked(ClientAuthentication::ClientSecretBasic, "s&cret");
        assert_eq!(basic.form.expose_str().unwrap(), common);
        let expected = format!("Basic {}", BASE64_STANDARD.encode("gate%20way:s%26cret"));
        assert_eq!(basic.authorization.unwrap().expose_str().unwrap(), expected);
    }

    #[test]
    fn what_proves_something_is_not_to_be_repeated() {
        let holds = |request: &TokenRequest, text: &str| request.secrets.iter().any(|s| s.expose() == text.as_bytes());
        let post = asked(ClientAuthentication::ClientSecretPost, "s&cret");
        assert!(holds(&post, "s&cret") && holds(&post, "s%26cret"));
        let basic = asked(ClientAuthentication::ClientSecretBasic, "s&cret");
        assert!(holds(&basic, "s&cret") && holds(&basic, &BASE64_STANDARD.encode("gate%20way:s%26cret")));
        let credential = client(ClientAuthentication::ClientSecretBasic);
        let (value, token) = (SecretValue::from("s&cret"), SecretValue::from("tok"));
        let back = OauthToken.return_token(&credential, &value, &token, NOW).unwrap().unwrap();
        assert!(holds(&back, "tok") && holds(&back, "s&cret"));
        let statement = TokenRequest::new("https://a", &[("client_assertion", b"a.b.c"), ("scope", b"all")]);
        assert!(holds(&statement, "a.b.c") && !holds(&statement, "all"));
        assert!(holds(&TokenRequest::new("https://a", &[("assertion", b"d.e.f")]), "d.e.f"));
    }

    #[test]
    fn a_token_is_given_back_where_that_is_declared() {
        let mut credential = client(ClientAuthentication::ClientSecretPost);
        let back = |credential: &Credential| {
            let (value, token) = (SecretValue::from("secret"), SecretValue::from("tok"));
            OauthToken.return_token(credential, &value, &token, NOW).map(Result::unwrap)
        };
        let request = back(&credential).unwrap();
        assert_eq!(request.url, "https://login.example/revoke");
        let form = "token=tok&token_type_hint=access_token&client_id=gate%20way&client_secret=secret";
        assert_eq!(request.form.expose_str().unwrap(), form);
        credential.token.as_mut().unwrap().revoke_url = None;
        assert!(back(&credential).is_none());
    }

    #[test]
    fn values_that_cannot_prove_anything_are_refused_when_they_are_handed_in() {
        let give = |authentication, value: &str| {
            OauthToken.generate(&client(authentication), Some(SecretValue::from(value))).map(drop)
        };
        assert_eq!(give(ClientAuthentication::ClientSecretPost, "a secret"), Ok(()));
        assert!(matches!(
            give(ClientAuthentication::ClientSecretPost, "two\nlines"),
            Err(EngineError::NotAKey(_, what)) if what.starts_with("client secret")
        ));
        assert!(matches!(give(ClientAuthentication::PrivateKeyJwt, "a secret"), Err(EngineError::NotAKey(..))));
        assert_eq!(give(ClientAuthentication::ClientSecretBasic, ""), Err(EngineError::Empty));
        let without = credential(Kind::OauthToken);
        let refused = OauthToken.generate(&without, Some(SecretValue::from("x"))).map(drop);
        assert!(matches!(refused, Err(EngineError::TokenRuleMissing(_))));
    }
}
