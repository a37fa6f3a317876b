//! Checks of credentials with which access tokens are fetched.

use super::Checker;
use crate::{
    config::source::ItemId,
    http,
    resource::{ClientAuthentication, Credential, Engine, TokenRule},
};

/// Parameters that a request for a token is made of.
const OURS: &[&str] =
    &["grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "assertion", "scope"];

impl Checker<'_> {
    /// What the engines that fetch tokens need, and what only they may have.
    pub(super) fn token(&mut self, id: ItemId, credential: &Credential) {
        let default = TokenRule::default();
        let rule = match (&credential.token, credential.engine) {
            (None, Engine::OauthToken) => {
                let hint = "as in token: { url: https://login.example.com/oauth2/token, client_id: gateway }";
                return self.problem(id, "token", "missing", "engine oauth_token needs `token`", hint);
            }
            (Some(_), engine) if !engine.fetches_tokens() => {
                let hint = "write engine: oauth_token or google_service_account, or remove it";
                return self.problem(id, "token", "not_here", "`token` is for credentials that fetch tokens", hint);
            }
            (None, Engine::GoogleServiceAccount) => &default,
            (None, _) => return,
            (Some(rule), _) => rule,
        };
        self.token_client(id, credential.engine, rule);
        let urls = [("token.url", &rule.url), ("token.revoke_url", &rule.revoke_url)];
        for (field, url) in urls.into_iter().filter_map(|(field, url)| Some((field, url.as_ref()?))) {
            self.token_url(id, field, url);
        }
        if let Some(scope) = &rule.scope {
            // RFC 6749, 3.3
            let of_scope = |b: u8| b == b' ' || (b.is_ascii_graphic() && b != b'"' && b != b'\\');
            if scope.trim().is_empty() || scope.len() > 2048 || !scope.bytes().all(of_scope) {
                let detail = "scopes are printable ASCII without quotes and backslashes, with a space between them";
                let hint = "as in https://cognitiveservices.azure.com/.default";
                self.problem(id, "token.scope", "invalid_value", detail, hint);
            }
        }
        if rule.parameters.len() > 16 {
            let hint = "send what the server asks for";
            self.problem(id, "token.parameters", "too_large", "these are more than 16 parameters", hint);
        }
        for (name, value) in &rule.parameters {
            let path = format!("token.parameters.{name}");
            if OURS.contains(&name.as_str()) {
                let hint = "remove it; `scope` and `client_id` stand beside `parameters`";
                self.problem(id, &path, "not_here", "the request itself says this", hint);
            } else if name.is_empty() || name.len() > 128 || !name.bytes().all(|b| b.is_ascii_graphic()) {
                self.problem(id, &path, "invalid_value", "this is no name of a parameter", "as in resource");
            } else if value.len() > 2048 || value.chars().any(char::is_control) {
                let detail = "a parameter has at most 2048 bytes and no control characters";
                self.problem(id, &path, "invalid_value", detail, "shorten it");
            }
        }
    }

    fn token_client(&mut self, id: ItemId, engine: Engine, rule: &TokenRule) {
        if engine == Engine::GoogleServiceAccount {
            let of_a_client = [
                (rule.client_id.is_some(), "token.client_id"),
                (rule.authentication != ClientAuthentication::default(), "token.authentication"),
                (rule.key_id.is_some(), "token.key_id"),
            ];
            for (_, field) in of_a_client.into_iter().filter(|(given, _)| *given) {
                self.problem(id, field, "not_here", "the service account's key says this itself", "remove it");
            }
            return;
        }
        if rule.url.is_none() {
            let hint = "as in https://login.microsoftonline.com/TENANT/oauth2/v2.0/token";
            self.problem(id, "token.url", "missing", "an oauth_token needs the address of its token endpoint", hint);
        }
        match &rule.client_id {
            None => self.problem(id, "token.client_id", "missing", "an oauth_token needs a client's id", "add it"),
            Some(client) if client.is_empty() || client.len() > 512 || client.chars().any(char::is_control) => {
                let hint = "write it as the server knows it";
                self.problem(id, "token.client_id", "invalid_value", "this has 1 to 512 printable characters", hint);
            }
            Some(_) => {}
        }
        if rule.key_id.is_some() && rule.authentication != ClientAuthentication::PrivateKeyJwt {
            let detail = "a secret has no key id";
            self.problem(id, "token.key_id", "not_here", detail, "write authentication: private_key_jwt, or remove it");
        }
    }

    /// A place that secrets are sent to.
    fn token_url(&mut self, id: ItemId, field: &str, url: &str) {
        let plain = url.len() <= 2048 && url.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        // Some servers have a query in the address of their token endpoint.
        match http::EndpointUrl::parse(url.split('?').next().unwrap_or_default()) {
            Err(http::UrlProblem { detail, hint }) => self.problem(id, field, "invalid_url", detail, hint),
            Ok(_) if !plain => {
                let hint = "as in https://login.example.com/oauth2/token";
                self.problem(id, field, "invalid_url", "this is no address", hint);
            }
            Ok(at) if !at.secure && !matches!(at.host, "localhost" | "127.0.0.1" | "::1") => {
                self.problem(id, field, "insecure", "secrets would be sent there in clear", "write https://");
            }
            Ok(_) => {}
        }
    }
}
