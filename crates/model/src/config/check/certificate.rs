//! Checks of certificates: who signs them, what they say, and where they are used.

use super::Checker;
use crate::{
    Name,
    config::{report::shown, source::ItemId},
    http,
    resource::{CertificateRule, Credential, Engine, Kind, Upstream},
};
use std::net::IpAddr;

const MINUTE: u64 = 60_000;
const DAY: u64 = 86_400_000;

impl Checker<'_> {
    /// What the engines of certificates need, and what only they may have.
    pub(super) fn certificate(&mut self, id: ItemId, credential: &Credential) {
        let plain = CertificateRule::default();
        let rule = match (&credential.certificate, credential.engine) {
            (Some(_), engine) if !engine.is_certificate() => {
                let hint = "write engine: certificate or certificate_authority, or remove it";
                return self.problem(id, "certificate", "not_here", "`certificate` is for certificates", hint);
            }
            (_, engine) if !engine.is_certificate() => return,
            (rule, _) => rule.as_ref().unwrap_or(&plain),
        };
        if credential.verify.is_some() {
            let detail = "a certificate is shown in a handshake, not in a request";
            self.problem(id, "verify", "not_here", detail, "remove it");
        }
        if let Some(name) = &rule.common_name
            && (name.is_empty() || name.len() > 64 || name.chars().any(char::is_control))
        {
            let detail = "a common name has 1 to 64 bytes and no control characters";
            self.problem(id, "certificate.common_name", "invalid_value", detail, "shorten it");
        }
        let (least, most, words) = match credential.engine {
            Engine::Certificate => (MINUTE, 398 * DAY, "398 days"),
            _ => (DAY, 30 * 365 * DAY, "30 years"),
        };
        if let Some(lifetime) = rule.lifetime {
            self.at_most(id, "certificate.lifetime", lifetime, most, words);
            if lifetime.as_millis() < least {
                let detail = "this is at least 1m, of an authority 1d";
                self.problem(id, "certificate.lifetime", "out_of_bounds", detail, "24h is usual");
            }
        }
        match credential.engine {
            Engine::Certificate => self.leaf(id, credential, rule),
            _ => self.root(id, credential, rule),
        }
    }

    fn leaf(&mut self, id: ItemId, credential: &Credential, rule: &CertificateRule) {
        match &rule.authority {
            None => {
                let detail = "a certificate needs the authority that signs it";
                self.problem(id, "certificate", "missing", detail, "as in certificate: { authority: house-ca }");
            }
            Some(authority) => {
                self.refers(id, "certificate.authority", Kind::Credentials, authority);
                self.engine_of(id, "certificate.authority", authority, &[Engine::CertificateAuthority]);
            }
        }
        for (index, name) in rule.names.iter().enumerate() {
            let uri = name.split_once("://").is_some_and(|(scheme, rest)| {
                !scheme.is_empty() && !rest.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
            });
            if name.len() > 253 || !(uri || name.parse::<IpAddr>().is_ok() || http::is_host(name, true)) {
                let hint = "as in api.example.internal, 10.0.0.7 or spiffe://example.internal/billing";
                let detail = "this is no host name, address or URI";
                self.problem(id, &format!("certificate.names[{index}]"), "invalid_value", detail, hint);
            }
        }
        if rule.names.len() > 32 {
            let detail = "a certificate is for at most 32 names";
            self.problem(id, "certificate.names", "too_large", detail, "make another one for the others");
        }
        if !rule.permitted.is_empty() {
            let detail = "`permitted` says what an authority may sign for";
            self.problem(id, "certificate.permitted", "not_here", detail, "write it at the authority");
        }
        let every = credential.rotate.as_ref().and_then(|rotate| rotate.every);
        if every.is_some_and(|every| every.as_millis() >= rule.leaf_lifetime().as_millis()) {
            let detail = "it would end before the next one is made";
            self.problem(id, "rotate.every", "out_of_bounds", detail, "two thirds of its lifetime, or leave it out");
        }
    }

    fn root(&mut self, id: ItemId, credential: &Credential, rule: &CertificateRule) {
        if !credential.sync.is_empty() {
            let detail = "an authority's private key leaves the vault nowhere";
            self.problem(id, "sync", "not_here", detail, "remove it; its certificate alone is shown to everybody");
        }
        let only = "this is for certificates that an authority signs";
        let given = [
            (rule.authority.is_some(), "certificate.authority"),
            (!rule.names.is_empty(), "certificate.names"),
            (rule.usage != Default::default(), "certificate.usage"),
        ];
        for (_, path) in given.into_iter().filter(|(given, _)| *given) {
            self.problem(id, path, "not_here", only, "remove it");
        }
        for (index, name) in rule.permitted.iter().enumerate() {
            let network = name.parse::<ipnet::IpNet>().is_ok() || name.parse::<IpAddr>().is_ok();
            if !network && !http::is_host(name.strip_prefix('.').unwrap_or(name), false) {
                let hint = "as in example.internal or 10.0.0.0/8";
                let detail = "this is no domain and no network";
                self.problem(id, &format!("certificate.permitted[{index}]"), "invalid_value", detail, hint);
            }
        }
    }

    /// Who is trusted at an upstream, and what is shown there.
    pub(super) fn upstream_certificates(&mut self, id: ItemId, upstream: &Upstream) {
        let Some(tls) = &upstream.tls else { return };
        if let Some(authority) = &tls.ca {
            self.refers(id, "tls.ca", Kind::Credentials, authority);
            self.engine_of(id, "tls.ca", authority, &[Engine::CertificateAuthority]);
            if tls.ca_file.is_some() {
                self.problem(id, "tls.ca", "not_one", "`ca` and `ca_file` exclude each other", "keep one of them");
            }
        }
        if let Some(certificate) = &tls.client_certificate {
            self.refers(id, "tls.client_certificate", Kind::Credentials, certificate);
            self.engine_of(id, "tls.client_certificate", certificate, &[Engine::Certificate, Engine::Static]);
        }
    }

    /// A credential whose value is used as a password or token: it is there, and no private key.
    pub(super) fn opens(&mut self, id: ItemId, path: &str, credential: &Name) {
        self.refers(id, path, Kind::Credentials, credential);
        self.engine_of(id, path, credential, PASSWORDS);
    }

    /// A credential that is put into requests: the same, and those with which access tokens are fetched.
    pub(super) fn injects(&mut self, id: ItemId, path: &str, credential: &Name) {
        self.refers(id, path, Kind::Credentials, credential);
        let wanted = [PASSWORDS, &[Engine::OauthToken, Engine::GoogleServiceAccount]].concat();
        self.engine_of(id, path, credential, &wanted);
    }

    /// A credential must be of one of these engines.
    fn engine_of(&mut self, id: ItemId, path: &str, credential: &Name, wanted: &[Engine]) {
        let Some(engine) = self.engines.get(credential.as_str()) else { return };
        if !wanted.contains(engine) {
            let detail = format!("{} is of the engine {}", shown(credential.as_str()), word(*engine));
            let words: Vec<_> = wanted.iter().map(|engine| word(*engine)).collect();
            self.problem(id, path, "wrong_engine", detail, &format!("name one of the engine {}", words.join(" or ")));
        }
    }
}

/// Engines whose values are passwords or tokens.
const PASSWORDS: &[Engine] = &[Engine::Static, Engine::Generated, Engine::Database, Engine::Provider];

const fn word(engine: Engine) -> &'static str {
    match engine {
        Engine::Static => "static",
        Engine::Generated => "generated",
        Engine::Database => "database",
        Engine::Certificate => "certificate",
        Engine::CertificateAuthority => "certificate_authority",
        Engine::Provider => "provider",
        Engine::Key => "key",
        Engine::OauthToken => "oauth_token",
        Engine::GoogleServiceAccount => "google_service_account",
    }
}
