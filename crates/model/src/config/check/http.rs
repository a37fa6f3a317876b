//! The grammar of the pieces of HTTP that resources name: tokens, header names and values, hosts, URLs.

/// `token` of RFC 9110, 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    let special = b"!#$%&'*+-.^_`|~";
    !text.is_empty() && text.len() <= 256 && text.bytes().all(|b| b.is_ascii_alphanumeric() || special.contains(&b))
}

/// Whether a header belongs to one connection or frames the message, and so is not for rules to touch.
pub(super) fn is_framing(name: &str) -> bool {
    const FRAMING: [&str; 12] = [
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
pub(super) fn is_header_value(text: &str) -> bool {
    text.len() <= 8192
        && text.bytes().all(|b| b == b'\t' || (b' '..=b'~').contains(&b))
        && text.trim_matches([' ', '\t']).len() == text.len()
}

/// A host name of labels, no port; `*.` in front where a wildcard is allowed.
pub(super) fn is_host(text: &str, wildcard: bool) -> bool {
    let name = if wildcard { text.strip_prefix("*.").unwrap_or(text) } else { text };
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// What is wrong with an endpoint's base URL, if anything.
pub(super) fn endpoint_problem(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Some("an endpoint begins with http://, https:// or sandbox://");
    };
    match scheme {
        "sandbox" if matches!(rest, "rest" | "models") => return None,
        "sandbox" => return Some("the sandbox has sandbox://rest and sandbox://models only"),
        "http" | "https" => {}
        _ => return Some("an endpoint begins with http://, https:// or sandbox://"),
    }
    if url.len() > 2048 {
        return Some("the URL is longer than 2048 characters");
    }
    if url.contains('@') {
        return Some("an endpoint has no user name or password; declare a credential and `inject` it");
    }
    if url.contains(['?', '#']) {
        return Some("an endpoint has no query and no fragment");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !path
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'))
    {
        return Some("the path has characters that a URL must escape");
    }
    if path.split('/').any(|s| matches!(s, "." | "..")) {
        return Some("the path has a dot segment");
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|a| a.split_once(']')) {
        Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => {
            ("v6", port.strip_prefix(':').or_else(|| port.is_empty().then_some("1")))
        }
        Some(_) => return Some("the address in brackets is no IPv6 address"),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("1")),
        },
    };
    if !is_host(host, false) {
        return Some("the host is no host name");
    }
    let valid = |p: &str| p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok_and(|p| p > 0);
    (!port.is_some_and(valid)).then_some("the port is not 1 to 65535")
}
