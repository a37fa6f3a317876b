//! The hosts that may be at private addresses because somebody who runs the server named them.

use crate::address::is_private;
use ipnet::IpNet;
use std::{net::IpAddr, str::FromStr};

/// Hosts that may be at private addresses: names, everything below a name, addresses and networks. A
/// host that is not among them is asked only at public addresses. Never-asked addresses stay so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrivateHosts(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    /// Exactly this name.
    Name(String),
    /// Every name that ends so; with the leading dot.
    Below(String),
    Network(IpNet),
}

/// What is none of these.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no host name, *.DOMAIN, address or private network")]
pub struct BadHost(String);

impl PrivateHosts {
    /// With this host as well, as it stands in an address: a name, or an IP address with or without brackets.
    #[must_use]
    pub fn and(mut self, host: &str) -> Self {
        let host = normal(host);
        self.0.push(match host.parse::<IpAddr>() {
            Ok(address) => Pattern::Network(address.to_canonical().into()),
            Err(_) => Pattern::Name(host),
        });
        self
    }

    /// With every name below this one as well.
    #[must_use]
    pub fn and_below(mut self, domain: &str) -> Self {
        self.0.push(Pattern::Below(format!(".{}", normal(domain))));
        self
    }

    /// Whether a host is among them by its name.
    pub(crate) fn names(&self, host: &str) -> bool {
        let host = normal(host);
        self.0.iter().any(|pattern| match pattern {
            Pattern::Name(name) => *name == host,
            Pattern::Below(domain) => host.len() > domain.len() && host.ends_with(domain.as_str()),
            Pattern::Network(_) => false,
        })
    }

    /// Whether an address is among them.
    pub(crate) fn covers(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|pattern| matches!(pattern, Pattern::Network(net) if net.contains(&address)))
    }
}

/// Separated by commas: `idp.internal,*.svc.cluster.local,10.20.0.0/16,127.0.0.1`.
impl FromStr for PrivateHosts {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let mut hosts = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let bad = || BadHost(word.to_owned());
            if let Some(domain) = word.strip_prefix("*.") {
                is_name(domain).then_some(()).ok_or_else(bad)?;
                hosts = hosts.and_below(domain);
            } else if let Some(network) = network(word) {
                // A public network among them, or one that is never asked, is a mistake.
                is_private(network).then_some(()).ok_or_else(bad)?;
                hosts.0.push(Pattern::Network(network));
            } else if is_name(word) {
                hosts = hosts.and(word);
            } else {
                return Err(bad());
            }
        }
        Ok(hosts)
    }
}

/// A network, or an address as one.
fn network(word: &str) -> Option<IpNet> {
    let address = word.parse::<IpAddr>().map(|address| address.to_canonical().into());
    address.or_else(|_| word.parse::<IpNet>()).ok()
}

/// A host as it is compared: without brackets, final dot and capitals.
fn normal(host: &str) -> String {
    bare(host).trim_end_matches('.').to_ascii_lowercase()
}

/// A host without the brackets that addresses put around IPv6.
pub(crate) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_name(word: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    word.len() <= 253 && word.trim_end_matches('.').split('.').all(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn hosts_are_found_by_name_domain_and_network() {
        let hosts: PrivateHosts = "Idp.internal., *.svc.cluster.local,10.20.0.0/16,::1,127.0.0.1".parse().unwrap();
        for named in ["idp.internal", "IDP.INTERNAL.", "a.svc.cluster.local", "a.b.svc.cluster.local"] {
            assert!(hosts.names(named), "{named}");
        }
        for other in ["internal", "x.idp.internal", "svc.cluster.local", "evilsvc.cluster.local", "10.20.0.1"] {
            assert!(!hosts.names(other), "{other}");
        }
        for (address, covered) in
            [("10.20.3.4", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.21.0.1", false), ("127.0.0.2", false)]
        {
            assert_eq!(hosts.covers(address.parse().unwrap()), covered, "{address}");
        }
        assert_eq!("".parse::<PrivateHosts>().unwrap(), PrivateHosts::default());
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in [
            "*",
            "*.",
            "http://a",
            "a b",
            "0.0.0.0/0",
            "1.0.0.0/8",
            "10.0.0.0/33",
            "a:80",
            "::/0",
            "a..b",
            "1.1.1.1",
            "169.254.0.0/16",
            "0.0.0.0",
        ] {
            assert!(bad.parse::<PrivateHosts>().is_err(), "{bad}");
        }
    }
}
