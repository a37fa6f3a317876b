//! From whom certificates are ordered, for which names, and as whom.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use credentialflow_egress::PrivateHosts;
use credentialflow_model::SecretValue;
use std::net::IpAddr;
use zeroize::Zeroizing;

/// Names in one certificate at most.
const MOST_NAMES: usize = 32;

/// What is ordered. The terms of the server are agreed to by whoever makes one.
#[derive(Debug)]
pub struct Rule {
    /// The server's directory.
    pub directory: String,
    /// Whom the server may write to, as in `mailto:ops@example.com`.
    pub contact: Vec<String>,
    /// The host names of the certificate.
    pub names: Vec<String>,
    /// An account elsewhere that the one here is bound to (RFC 8555, 7.3.4).
    pub external: Option<ExternalAccount>,
    /// Authorities (PEM) believed for the server's own TLS, in place of Mozilla's.
    pub authorities: Option<String>,
    /// Hosts at private addresses that may be asked besides the directory's own.
    pub private_hosts: PrivateHosts,
}

/// Why a rule cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub(crate) String);

fn bad<T>(why: impl Into<String>) -> Result<T, BadRule> {
    Err(BadRule(why.into()))
}

impl Rule {
    /// Whether everything is there and may be asked for.
    pub fn check(&self) -> Result<(), BadRule> {
        let (secure, host) = split(&self.directory)
            .ok_or_else(|| BadRule("the directory is no address like https://acme.example.com/directory".to_owned()))?;
        if !secure && !is_here(host) {
            return bad("the directory begins with https://; http:// is asked on this machine only");
        }
        if self.names.is_empty() {
            return bad("a certificate needs at least one name");
        }
        if self.names.len() > MOST_NAMES {
            return bad(format!("a certificate has at most {MOST_NAMES} names"));
        }
        for (at, name) in self.names.iter().enumerate() {
            if name.starts_with("*.") {
                return bad(format!("{name}: names with a wildcard cannot be proved over HTTP"));
            }
            if !is_host(name) {
                return bad(format!("{name:?} is no host name in lower case"));
            }
            if self.names[..at].contains(name) {
                return bad(format!("{name} is named twice"));
            }
        }
        for contact in &self.contact {
            let address = contact.strip_prefix("mailto:").unwrap_or_default();
            let fits = address.split_once('@').is_some_and(|(who, at)| !who.is_empty() && !at.is_empty());
            if !fits || address.contains(|c: char| c.is_whitespace() || c.is_control() || "?,".contains(c)) {
                return bad(format!("{contact:?} is no contact like mailto:ops@example.com"));
            }
        }
        Ok(())
    }

    /// Whether the server is asked without TLS, on this machine.
    pub(crate) fn is_plain(&self) -> bool {
        split(&self.directory).is_some_and(|(secure, _)| !secure)
    }

    /// The directory's host.
    pub(crate) fn host(&self) -> &str {
        split(&self.directory).map_or("", |(_, host)| host)
    }

    /// What makes a certificate another one than before: from whom it comes, and its names.
    pub fn mark(&self) -> String {
        let mut names = self.names.clone();
        names.sort_unstable();
        format!("{} {}", self.directory, names.join(","))
    }
}

/// An account elsewhere.
#[derive(Debug)]
pub struct ExternalAccount {
    /// Its key's name.
    pub id: String,
    /// The key for the HMAC, decoded.
    pub key: SecretValue,
}

impl ExternalAccount {
    /// Reads the name and the key (base64, for URLs or not, padded or not), with white space between.
    pub fn read(text: &SecretValue) -> Result<Self, BadRule> {
        let words = "the external account is two words: the key's name and the key in base64";
        let mut parts = text.expose_str().unwrap_or_default().split_whitespace();
        let (Some(id), Some(key), None) = (parts.next(), parts.next(), parts.next()) else { return bad(words) };
        let key = Zeroizing::new(key.trim_end_matches('=').replace('+', "-").replace('/', "_"));
        match BASE64_URL_SAFE_NO_PAD.decode(key.as_bytes()) {
            Ok(key) if key.len() >= 16 => Ok(Self { id: id.to_owned(), key: SecretValue::new(key) }),
            Ok(_) => bad("the key of the external account is shorter than 16 bytes"),
            Err(_) => bad(words),
        }
    }
}

/// Whether an address is asked with TLS, and its host.
fn split(url: &str) -> Option<(bool, &str)> {
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?.as_str();
    let host = uri.host().filter(|host| !host.is_empty() && !authority.contains('@'))?;
    let secure = match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return None,
    };
    let at = url.find(host)?;
    Some((secure, &url[at..at + host.len()]))
}

fn is_here(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A host name as certificates have it: lower case, no address.
fn is_host(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && name.split('.').all(label) && !number
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule(directory: &str, names: &[&str], contact: &[&str]) -> Rule {
        let texts = |all: &[&str]| all.iter().map(|&text| text.to_owned()).collect();
        Rule {
            directory: directory.to_owned(),
            contact: texts(contact),
            names: texts(names),
            external: None,
            authorities: None,
            private_hosts: PrivateHosts::default(),
        }
    }

    #[test]
    fn what_is_incomplete_is_told() {
        let check = |directory: &str, names: &[&str], contact: &[&str]| {
            rule(directory, names, contact).check().map_err(|BadRule(why)| why)
        };
        let (good, names) = ("https://acme.example.com/directory", ["api.example.com"]);
        assert_eq!(check(good, &names, &["mailto:ops@example.com"]), Ok(()));
        assert_eq!(check("http://127.0.0.1:4000/directory", &names, &[]), Ok(()));
        assert_eq!(check("http://[::1]:4000/directory", &names, &[]), Ok(()));
        for directory in ["", "acme", "http://acme.example.com/", "https://u:p@h/d", "ftp://localhost/", "https:///d"] {
            assert!(check(directory, &names, &[]).is_err(), "{directory}");
        }
        for names in
            [&[][..], &["*.example.com"], &["10.0.0.1"], &["Api.example.com"], &["a..b"], &["a", "a"], &["-a.b"]]
        {
            assert!(check(good, names, &[]).is_err(), "{names:?}");
        }
        for contact in ["ops@example.com", "mailto:", "mailto:@", "mailto:a@b,c@d", "tel:1"] {
            assert!(check(good, &names, &[contact]).is_err(), "{contact}");
        }
    }

    #[test]
    fn an_external_account_is_two_words() {
        let read = |text: &str| ExternalAccount::read(&SecretValue::from(text));
        let key = "c2l4dGVlbi1ieXRlcy1vci1tb3Jl";
        for text in [format!("kid-1 {key}"), format!("kid-1\n{key}==\n")] {
            let account = read(&text).unwrap();
            assert_eq!((account.id.as_str(), account.key.expose()), ("kid-1", &b"sixteen-bytes-or-more"[..]));
        }
        for text in ["", "kid-1", "kid-1 c2hvcnQ", "kid-1 !!!", "a b c"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(!format!("{:?}", read(&format!("kid-1 {key}")).unwrap()).contains("sixteen"));
    }

    #[test]
    fn the_order_of_names_makes_no_other_certificate() {
        assert_eq!(rule("d", &["b", "a"], &[]).mark(), rule("d", &["a", "b"], &["mailto:x@y"]).mark());
        assert_ne!(rule("d", &["a"], &[]).mark(), rule("e", &["a"], &[]).mark());
    }
}
