//! The settings about ordering the listeners' certificate: complete and without contradiction, or refused.

use super::{Role, ServerSettings, Settings, TlsFiles};
use credentialflow_acme::Rule;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

/// One of our listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Where callers reach APIs and models.
    Gateway,
    /// Console, admin API and metrics.
    Control,
    /// The Vault-compatible API alone.
    Vault,
}

impl Listener {
    /// As it is written in settings, metrics and lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Control => "control",
            Self::Vault => "vault",
        }
    }
}

/// From where the listeners' certificate is ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmeSettings {
    /// The server's directory.
    pub directory: String,
    /// The certificate's host names.
    pub names: Vec<String>,
    /// Whom the server may write to, as in `mailto:ops@example.com`.
    pub contact: Vec<String>,
    /// Who presents the certificate.
    pub listeners: Vec<Listener>,
    /// Where challenges are answered, besides a gateway listener without TLS.
    pub challenge: Option<SocketAddr>,
    /// File with an account elsewhere.
    pub external_account: Option<PathBuf>,
    /// Authorities believed for the server itself.
    pub ca_file: Option<PathBuf>,
}

impl AcmeSettings {
    /// What is ordered, as far as no file says more.
    pub fn rule(&self) -> Rule {
        Rule {
            directory: self.directory.clone(),
            contact: self.contact.clone(),
            names: self.names.clone(),
            external: None,
            authorities: None,
            private_hosts: Default::default(),
        }
    }
}

impl ServerSettings {
    /// The certificate's files of a listener, if it has some.
    pub fn tls_files(&self, listener: Listener) -> Option<&TlsFiles> {
        match listener {
            Listener::Gateway => self.gateway_tls.as_ref(),
            Listener::Control => self.control_tls.as_ref(),
            Listener::Vault => self.vault_tls.as_ref(),
        }
    }

    /// Whether a listener speaks TLS.
    pub fn has_tls(&self, listener: Listener) -> bool {
        self.tls_files(listener).is_some() || self.acme.as_ref().is_some_and(|acme| acme.listeners.contains(&listener))
    }
}

fn list(text: Option<&String>) -> impl Iterator<Item = &str> {
    text.map_or("", String::as_str).split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// What is set, if anything; or why it cannot be followed.
pub(super) fn resolve(given: &Settings) -> Result<Option<AcmeSettings>, String> {
    let Some(directory) = given.acme_directory.clone().filter(|url| !url.is_empty()) else {
        let more = [
            ("acme_names", given.acme_names.is_some()),
            ("acme_agree", given.acme_agree.is_some()),
            ("acme_contact", given.acme_contact.is_some()),
            ("acme_listeners", given.acme_listeners.is_some()),
            ("acme_challenge", given.acme_challenge.is_some()),
            ("acme_external_account", given.acme_external_account.is_some()),
            ("acme_ca_file", given.acme_ca_file.is_some()),
        ];
        return match more.iter().find(|(_, given)| *given) {
            None => Ok(None),
            Some((name, _)) => Err(format!("{name} means nothing without acme_directory")),
        };
    };
    if given.acme_agree != Some(true) {
        return Err("acme_directory needs acme_agree: read the ACME server's terms of service and agree to them".into());
    }
    let mail = |address: &str| match address.starts_with("mailto:") {
        true => address.to_owned(),
        false => format!("mailto:{address}"),
    };
    let acme = AcmeSettings {
        directory,
        names: list(given.acme_names.as_ref()).map(str::to_ascii_lowercase).collect(),
        contact: list(given.acme_contact.as_ref()).map(mail).collect(),
        listeners: listeners(given)?,
        challenge: given.acme_challenge,
        external_account: given.acme_external_account.as_deref().map(absolute).transpose()?,
        ca_file: given.acme_ca_file.as_deref().map(absolute).transpose()?,
    };
    acme.rule().check().map_err(|why| format!("acme: {why}"))?;
    let gateway = given.gateway.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080)));
    let control = given.control.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8081)));
    if let Some(challenge) = acme.challenge
        && [Some(gateway), Some(control), given.vault].into_iter().flatten().any(|other| clash(challenge, other))
    {
        return Err(format!("acme_challenge: another listener is on {challenge} already"));
    }
    let answered = given.gateway_tls_certificate.is_none() && !acme.listeners.contains(&Listener::Gateway);
    if acme.challenge.is_none() && !answered && given.role != Some(Role::Control) {
        return Err("the gateway listener has TLS, so acme_challenge has to say where challenges are answered, \
                    as in 0.0.0.0:80"
            .into());
    }
    Ok(Some(acme))
}

fn listeners(given: &Settings) -> Result<Vec<Listener>, String> {
    let mut listeners = Vec::new();
    for word in list(given.acme_listeners.as_ref()) {
        let all = [Listener::Gateway, Listener::Control, Listener::Vault];
        let known = all.into_iter().find(|listener| listener.as_str() == word);
        let listener =
            known.ok_or_else(|| format!("acme_listeners: {word:?} is none of gateway, control and vault"))?;
        if !listeners.contains(&listener) {
            listeners.push(listener);
        }
    }
    if listeners.is_empty() {
        listeners.push(Listener::Gateway);
    }
    for listener in &listeners {
        let from_files = match listener {
            Listener::Gateway => given.gateway_tls_certificate.is_some(),
            Listener::Control => given.control_tls_certificate.is_some(),
            Listener::Vault => given.vault_tls_certificate.is_some(),
        };
        let name = listener.as_str();
        if from_files {
            return Err(format!(
                "the {name} listener has its certificate from {name}_tls_certificate or from \
                                acme_listeners, not from both"
            ));
        }
        if *listener == Listener::Vault && given.vault.is_none() {
            return Err("acme_listeners names vault, and there is no vault listener".into());
        }
    }
    Ok(listeners)
}

/// Whether two listeners would take connections from each other: the system lets several share an address.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let same = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && same
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn given() -> Settings {
        Settings {
            acme_directory: Some("https://acme.example.com/directory".into()),
            acme_names: Some("api.example.com, WWW.example.com".into()),
            acme_agree: Some(true),
            acme_contact: Some("ops@example.com,mailto:sec@example.com".into()),
            acme_challenge: Some(([0, 0, 0, 0], 80).into()),
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_complete_is_taken() {
        assert_eq!(resolve(&Settings::default()), Ok(None));
        let acme = resolve(&given()).unwrap().unwrap();
        assert_eq!(acme.names, ["api.example.com", "www.example.com"]);
        assert_eq!(acme.contact, ["mailto:ops@example.com", "mailto:sec@example.com"]);
        assert_eq!(acme.listeners, [Listener::Gateway]);
        let control = Settings { acme_listeners: Some("control".into()), acme_challenge: None, ..given() };
        assert_eq!(resolve(&control).unwrap().unwrap().listeners, [Listener::Control]);
        let settings = given().resolve(None).unwrap();
        assert!(settings.has_tls(Listener::Gateway) && !settings.has_tls(Listener::Control));
    }

    #[test]
    fn what_is_incomplete_or_contradicts_itself_is_refused() {
        type Change = fn(&mut Settings);
        let changes: [(Change, &str); 10] = [
            (|s| s.acme_directory = None, "acme_names means nothing"),
            (|s| s.acme_directory = Some("http://acme.example.com/".into()), "begins with https://"),
            (|s| s.acme_agree = None, "agree"),
            (|s| s.acme_names = None, "at least one name"),
            (|s| s.acme_names = Some("*.example.com".into()), "wildcard"),
            (|s| s.acme_contact = Some("nobody".into()), "no contact"),
            (|s| s.acme_challenge = None, "acme_challenge"),
            (|s| s.gateway = s.acme_challenge, "another listener"),
            (|s| s.acme_listeners = Some("gateway,vault".into()), "no vault listener"),
            (|s| s.gateway_tls_certificate = Some("a".into()), "not from both"),
        ];
        for (change, expected) in changes {
            let mut settings = given();
            change(&mut settings);
            let told = resolve(&settings).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
