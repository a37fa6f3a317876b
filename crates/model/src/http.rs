//! The grammar of the pieces of HTTP that resources name: tokens, header names and values, hosts, URLs.
//!
//! The check of a configuration and the gateway that runs it both ask here, so that what the one accepts the
//! other can use.

use std::net::{Ipv4Addr, Ipv6Addr};

/// `token` of RFC 9110, 5.6.2.
pub fn is_token(text: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || special.contains(&b))
}

/// Whether a header belongs to one connection or frames the message, and so is not for rules to touch. Case makes no
/// difference.
pub fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 13] = [
        "expect",
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "upgrade",
        "trailer",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "proxy-authorization",
        "http2-settings",
    ];
    FRAMING.iter().any(|framing| name.eq_ignore_ascii_case(framing))
}

/// `field-value` of RFC 9110, 5.5, without obsolete text: visible ASCII, spaces and tabs inside.
pub fn is_header_value(text: &str) -> bool {
    text.len() <= 8192
        && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
        && text.trim_matches([' ', '\t']).len() == text.len()
}

/// A host name of labels, no port; `*.` in front where a wildcard is allowed.
pub fn is_host(text: &str, wildcard: bool) -> bool {
    let name = if wildcard { text.strip_prefix("*.").unwrap_or(text) } else { text };
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// A host that can be reached and whose certificate can be verified: a name of labels or an IPv4 address. A name whose
/// last label is all digits is neither (URL Standard, 3.5; RFC 6125 has no certificate for it).
pub fn is_server_name(text: &str) -> bool {
    is_host(text, false) && (text.parse::<Ipv4Addr>().is_ok() || !ends_in_number(text))
}

fn ends_in_number(host: &str) -> bool {
    host.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()))
}

/// What is wrong with a base URL, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlProblem {
    /// What is wrong.
    pub detail: &'static str,
    /// What to write instead.
    pub hint: &'static str,
}

impl From<&'static str> for UrlProblem {
    fn from(detail: &'static str) -> Self {
        Self { detail, hint: "as in https://api.example.com/v1" }
    }
}

/// An endpoint's `http://` or `https://` base URL, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointUrl<'a> {
    /// Whether it is `https`.
    pub secure: bool,
    /// A host name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: &'a str,
    /// The port, or the default one of the scheme.
    pub port: u16,
    /// The path as written; empty or beginning with `/`.
    pub path: &'a str,
}

impl<'a> EndpointUrl<'a> {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// What keeps it from being an endpoint.
    pub fn parse(url: &'a str) -> Result<Self, UrlProblem> {
        const SCHEME: &str = "an endpoint begins with http://, https:// or sandbox://";
        let (secure, rest) = match url.split_once("://").ok_or(SCHEME)? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return Err(SCHEME.into()),
        };
        if url.len() > 2048 {
            return Err("the URL is longer than 2048 characters".into());
        }
        if url.contains('@') {
            return Err("an endpoint has no user name or password; declare a credential and `inject` it".into());
        }
        if url.contains(['?', '#']) {
            return Err("an endpoint has no query and no fragment".into());
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain =
            |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        if !path.bytes().all(plain) {
            return Err("the path has characters that a URL must escape".into());
        }
        if path.split('/').any(|s| matches!(s, "." | "..")) {
            return Err("the path has a dot segment".into());
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
            Some((v6, port)) if v6.parse::<Ipv6Addr>().is_ok() => match port.strip_prefix(':') {
                Some(port) => (v6, Some(port)),
                None if port.is_empty() => (v6, None),
                None => return Err(PORT.into()),
            },
            Some(_) => return Err("the address in brackets is no IPv6 address".into()),
            None => {
                let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
                if !is_host(host, false) {
                    return Err("the host is no host name".into());
                }
                if !is_server_name(host) {
                    return Err(UrlProblem {
                        detail: "the host ends in a number and is no IPv4 address",
                        hint: "mend the address, as in https://10.0.0.30, or write the host's name",
                    });
                }
                (host, port)
            }
        };
        let port = match port {
            None if secure => 443,
            None => 80,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(PORT.into()),
            },
            Some(_) => return Err(PORT.into()),
        };
        Ok(Self { secure, host, port, path })
    }
}

const PORT: &str = "the port is not 1 to 65535";

/// What is wrong with an endpoint, if anything: a base URL, or a part of the built-in sandbox.
pub fn endpoint_problem(url: &str) -> Option<UrlProblem> {
    match url.strip_prefix("sandbox://") {
        Some("rest" | "models") => None,
        Some(_) => Some("the sandbox has sandbox://rest and sandbox://models only".into()),
        None => EndpointUrl::parse(url).err(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn endpoints_are_taken_apart() {
        let parts = |url| EndpointUrl::parse(url).map(|e| (e.secure, e.host, e.port, e.path)).unwrap();
        assert_eq!(parts("http://a.example"), (false, "a.example", 80, ""));
        assert_eq!(parts("https://127.0.0.1:9001/v1/"), (true, "127.0.0.1", 9001, "/v1/"));
        assert_eq!(parts("https://[::1]"), (true, "::1", 443, ""));
        assert_eq!(parts("http://[::1]:9001/a"), (false, "::1", 9001, "/a"));
        for bad in
            ["http://[::1]9001", "http://[::1]:", "http://a:", "http://a:+1", "http://a:0", "HTTP://a", "http://"]
        {
            assert!(EndpointUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_that_ends_in_a_number_is_an_ipv4_address_or_nothing() {
        for good in ["10.0.0.30", "a.example", "a1", "1a", "1.2.3.4a", "1password.com", "a_b.internal"] {
            assert!(is_server_name(good), "{good}");
        }
        for bad in ["10.0.0.300", "10.0.0", "1", "a.example.1", "010.0.0.1", "1.2.3.4.5", "a.example.", ""] {
            assert!(!is_server_name(bad), "{bad}");
        }
        let problem = endpoint_problem("https://10.0.0.300").unwrap();
        assert!(problem.detail.contains("no IPv4 address") && problem.hint.contains("10.0.0.30"), "{problem:?}");
    }

    #[test]
    fn framing_headers_are_known_in_any_case() {
        assert!(is_framing("expect") && is_framing("Expect") && is_framing("TE") && !is_framing("accept"));
    }
}
