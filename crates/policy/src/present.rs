//! Finds the credential a caller presents, and names every place that carries one.
//!
//! Reads one pass over the headers and, where the route names a parameter, the query. Two different
//! credentials, an empty or an oversized one, or undecodable basic authentication are handed on as an
//! unacceptable credential, so that refusing them costs and says the same as refusing a wrong one.

use base64::{Engine, prelude::BASE64_STANDARD};
use credentialflow_model::{KeyToken, SecretValue, key::MAX_TOKEN_LEN};

/// The headers that may carry a caller's credential. On `api_key` routes all of them are removed before
/// forwarding, whether or not they were the one that counted.
pub const CREDENTIAL_HEADERS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// No user name and password together are longer.
const MAX_BASIC: usize = 2 * MAX_TOKEN_LEN;

/// Whether a header may carry a caller's credential, in any case.
pub fn is_credential_header(name: &str) -> bool {
    header_bit(name).is_some()
}

/// Where credentials were found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carriers(u8);

impl Carriers {
    const QUERY: u8 = 1 << 4;

    /// The headers that carried one.
    pub fn headers(self) -> impl Iterator<Item = &'static str> {
        (0..4).filter(move |i| self.0 & 1 << i != 0).map(|i| CREDENTIAL_HEADERS[i])
    }
    /// Whether the query carried one.
    pub fn in_query(self) -> bool {
        self.0 & Self::QUERY != 0
    }
}

/// A credential as presented, not yet verified. Cannot be printed.
pub struct Presented<'a> {
    value: Value<'a>,
    carriers: Carriers,
}

enum Value<'a> {
    Borrowed(&'a [u8]),
    /// Decoded bytes from a position on.
    Decoded(SecretValue, usize),
    Unacceptable,
}

impl Value<'_> {
    fn expose(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Decoded(bytes, from) => bytes.expose().get(*from..).unwrap_or_default(),
            Self::Unacceptable => &[],
        }
    }
}

impl Presented<'_> {
    /// The bytes presented; empty when nothing presented is acceptable. For [`crate::ApiKey`] only.
    pub fn expose(&self) -> &[u8] {
        self.value.expose()
    }
    /// Where it was found.
    pub fn carriers(&self) -> Carriers {
        self.carriers
    }
}

impl std::fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Presented(redacted, {:?})", self.carriers)
    }
}

/// Finds the credential among headers (names in any case) and, where the route names a query parameter,
/// in `query` (the part after `?`, given with that parameter's name). `None` when none is presented.
pub fn present<'a>(
    headers: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    query: Option<(&'a str, &str)>,
) -> Option<Presented<'a>> {
    let mut found: Option<Presented<'a>> = None;
    for (name, value) in headers {
        let Some(bit) = header_bit(name) else { continue };
        let value = if bit == 0 { from_authorization(value) } else { Some(bounded(value.trim_ascii())) };
        if let Some(value) = value {
            add(&mut found, value, 1 << bit);
        }
    }
    if let Some((query, wanted)) = query {
        for (_, value) in parameters(query).filter(|(name, _)| is_same_parameter(name, wanted)) {
            add(&mut found, from_parameter(value), Carriers::QUERY);
        }
    }
    found
}

/// The query without every parameter of this name, however it is encoded; `None` when there is none.
pub fn query_without(query: &str, name: &str) -> Option<String> {
    if !parameters(query).any(|(n, _)| is_same_parameter(n, name)) {
        return None;
    }
    let kept: Vec<&str> = query
        .split('&')
        .filter(|part| !is_same_parameter(part.split_once('=').map_or(*part, |(n, _)| n), name))
        .collect();
    Some(kept.join("&"))
}

/// Whether a header of those that carry credentials holds a well-formed key of ours: bare, behind a
/// scheme, or as user name or password of basic authentication. Whether it is valid is not asked.
pub fn header_carries_key(name: &str, value: &[u8]) -> bool {
    if !is_credential_header(name) {
        return false;
    }
    let value = value.trim_ascii();
    let behind_scheme = value.iter().take(16).position(|b| *b == b' ').map(|at| value[at..].trim_ascii_start());
    if is_key(value) || behind_scheme.is_some_and(is_key) {
        return true;
    }
    let is_basic = value.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic "));
    let decoded = behind_scheme.filter(|_| is_basic).and_then(basic_pair);
    decoded.is_some_and(|pair| {
        let pair = pair.expose();
        let colon = pair.iter().position(|b| *b == b':').unwrap_or(pair.len());
        is_key(&pair[..colon]) || pair.get(colon + 1..).is_some_and(is_key)
    })
}

/// The query without every parameter whose value is a well-formed key of ours, however it is encoded;
/// `None` when there is none.
pub fn query_without_keys(query: &str) -> Option<String> {
    let carries = |part: &str| {
        let value = part.split_once('=').map_or(part, |(_, value)| value);
        value.len() >= SHORTEST_KEY && is_key(from_parameter(value).expose())
    };
    if query.len() < SHORTEST_KEY || !query.split('&').any(carries) {
        return None;
    }
    Some(query.split('&').filter(|part| !carries(part)).collect::<Vec<_>>().join("&"))
}

/// No key is shorter; a cheap look before the expensive one.
const SHORTEST_KEY: usize = 50;

fn is_key(presented: &[u8]) -> bool {
    presented.len() >= SHORTEST_KEY && KeyToken::parse(presented).is_some()
}

fn add<'a>(found: &mut Option<Presented<'a>>, value: Value<'a>, carrier: u8) {
    let new = Presented { value, carriers: Carriers(carrier) };
    match found {
        None => *found = Some(new),
        Some(first) => {
            first.carriers.0 |= carrier;
            if first.expose() != new.expose() {
                first.value = Value::Unacceptable;
            }
            // An unacceptable value reads as empty and differs from every acceptable one, so once
            // something was wrong it stays wrong.
        }
    }
}

fn header_bit(name: &str) -> Option<usize> {
    // The length decides nearly always.
    CREDENTIAL_HEADERS.iter().position(|header| header.len() == name.len() && header.eq_ignore_ascii_case(name))
}

/// Cut off before any work that grows with the length.
fn bounded(value: &[u8]) -> Value<'_> {
    if (1..=MAX_TOKEN_LEN).contains(&value.len()) { Value::Borrowed(value) } else { Value::Unacceptable }
}

/// `Bearer` (RFC 6750) and `Basic` (RFC 7617); other schemes carry nothing of ours.
fn from_authorization(value: &[u8]) -> Option<Value<'_>> {
    let value = value.trim_ascii();
    let at = value.iter().take(16).position(|b| *b == b' ').unwrap_or(value.len());
    let (scheme, rest) = value.split_at(at);
    if scheme.eq_ignore_ascii_case(b"bearer") {
        Some(bounded(rest.trim_ascii_start()))
    } else if scheme.eq_ignore_ascii_case(b"basic") {
        Some(basic_password(rest.trim_ascii_start()).unwrap_or(Value::Unacceptable))
    } else {
        None
    }
}

fn basic_password(encoded: &[u8]) -> Option<Value<'static>> {
    let decoded = basic_pair(encoded)?;
    let from = decoded.expose().iter().position(|b| *b == b':')? + 1;
    (1..=MAX_TOKEN_LEN).contains(&(decoded.len() - from)).then_some(Value::Decoded(decoded, from))
}

/// User name and password, with a colon between them.
fn basic_pair(encoded: &[u8]) -> Option<SecretValue> {
    if encoded.len() > MAX_BASIC.div_ceil(3) * 4 {
        return None;
    }
    let mut decoded = vec![0; encoded.len().div_ceil(4) * 3];
    let length = BASE64_STANDARD.decode_slice(encoded, &mut decoded);
    decoded.truncate(length.as_ref().map_or(decoded.len(), |n| *n));
    // Wiped from here on, also when decoding stopped half way.
    let decoded = SecretValue::new(decoded);
    length.ok().map(|_| decoded)
}

fn from_parameter(value: &str) -> Value<'_> {
    if value.len() > 3 * MAX_TOKEN_LEN {
        Value::Unacceptable
    } else if value.contains(['%', '+']) {
        let mut decoded = Vec::with_capacity(value.len());
        decoded.extend(percent_decoded(value, b' '));
        if decoded.len() > MAX_TOKEN_LEN { Value::Unacceptable } else { Value::Decoded(SecretValue::new(decoded), 0) }
    } else {
        bounded(value.as_bytes())
    }
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|part| part.split_once('=').unwrap_or((part, "")))
}

fn is_same_parameter(raw: &str, name: &str) -> bool {
    raw.len() >= name.len() && percent_decoded(raw, b' ').eq(name.bytes())
}

/// Decodes `%XX`, and `+` into this; a broken escape stays as it is.
pub(crate) fn percent_decoded(text: &str, plus: u8) -> impl Iterator<Item = u8> {
    let mut rest = text.as_bytes();
    let digit = |b: &u8| (*b as char).to_digit(16);
    std::iter::from_fn(move || {
        let (first, tail) = rest.split_first()?;
        if let (b'%', Some(high), Some(low)) = (first, tail.first().and_then(digit), tail.get(1).and_then(digit)) {
            rest = &tail[2..];
            return Some((high << 4 | low) as u8);
        }
        rest = tail;
        Some(if *first == b'+' { plus } else { *first })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(headers: &[(&str, &str)], query: Option<(&str, &str)>) -> Option<String> {
        let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        present(headers, query).map(|p| String::from_utf8(p.expose().to_vec()).unwrap())
    }

    #[test]
    fn every_place_is_read() {
        for (name, value) in [
            ("Authorization", "Bearer the-key"),
            ("authorization", "bearer   the-key"),
            ("authorization", "Basic dXNlcjp0aGUta2V5"),
            ("X-Api-Key", "the-key"),
            ("api-key", " the-key "),
            ("x-goog-api-key", "the-key"),
        ] {
            assert_eq!(found(&[("accept", "*/*"), (name, value)], None).as_deref(), Some("the-key"), "{name}: {value}");
        }
        assert_eq!(found(&[], Some(("a=b&key=the-key", "key"))).as_deref(), Some("the-key"));
        assert_eq!(found(&[], Some(("k%65y=the%2Dkey", "key"))).as_deref(), Some("the-key"));
        assert_eq!(found(&[("authorization", "Digest a=b"), ("cookie", "key=a")], Some(("keys=a", "key"))), None);
    }

    #[test]
    fn different_or_unusable_credentials_are_unacceptable() {
        let long = "a".repeat(MAX_TOKEN_LEN + 1);
        for headers in [
            &[("x-api-key", "a"), ("api-key", "b")][..],
            &[("authorization", "Bearer a"), ("authorization", "Bearer b"), ("x-api-key", "a")],
            &[("x-api-key", "")],
            &[("x-api-key", "a"), ("api-key", "")],
            &[("authorization", "Bearer")],
            &[("authorization", "Basic dXNlcjo=")],
            &[("authorization", "Basic !!!")],
            &[("authorization", "Basic dXNlcg==")],
            &[("x-api-key", &long), ("api-key", "a")],
            &[("x-api-key", "a"), ("api-key", "b"), ("x-goog-api-key", "b")],
        ] {
            assert_eq!(found(headers, None).as_deref(), Some(""), "{headers:?}");
        }
        assert_eq!(
            found(&[("x-api-key", "a"), ("authorization", "Bearer a")], Some(("key=a", "key"))).as_deref(),
            Some("a")
        );
    }

    #[test]
    fn carriers_are_named_and_nothing_is_printed() {
        let headers = [("x-api-key", b"canary".as_slice()), ("authorization", b"Bearer canary")];
        let presented = present(headers, Some(("key=canary", "key"))).unwrap();
        assert_eq!(presented.carriers().headers().collect::<Vec<_>>(), ["authorization", "x-api-key"]);
        assert!(presented.carriers().in_query());
        assert!(!format!("{presented:?}").contains("canary"));
        assert!(CREDENTIAL_HEADERS.iter().all(|name| is_credential_header(&name.to_uppercase())));
    }

    #[test]
    fn the_parameter_is_removed_however_it_is_written() {
        assert_eq!(query_without("a=1&k%65y=x&key=y&b=2&key", "key").as_deref(), Some("a=1&b=2"));
        assert_eq!(query_without("a=1&keys=2", "key"), None);
        assert_eq!(query_without("key=1", "key").as_deref(), Some(""));
    }

    fn a_key() -> String {
        let mut n = 0u8;
        let key = KeyToken::generate("cfk", "live", credentialflow_model::KeyId::from_bits(5), |b| {
            n = n.wrapping_add(7);
            b.fill(n);
        });
        key.unwrap().expose_str().unwrap().to_owned()
    }

    #[test]
    fn a_key_of_ours_is_known_wherever_it_stands() {
        let key = a_key();
        let basic = |pair: String| format!("Basic {}", BASE64_STANDARD.encode(pair));
        let mut mistyped = key.clone();
        mistyped.replace_range(20..21, if &key[20..21] == "0" { "1" } else { "0" });
        for (name, value, carries) in [
            ("authorization", format!("Bearer {key}"), true),
            ("Authorization", key.clone(), true),
            ("authorization", format!("token   {key}"), true),
            ("authorization", basic(format!("user:{key}")), true),
            ("authorization", basic(format!("{key}:")), true),
            ("authorization", basic(key.clone()), true),
            ("X-Api-Key", format!(" {key} "), true),
            ("api-key", key.clone(), true),
            ("x-goog-api-key", key.clone(), true),
            ("authorization", format!("Bearer {mistyped}"), false),
            ("authorization", "Bearer sk-somebody-else-0123456789abcdefghijklmnopqrstuvwxyz".into(), false),
            ("authorization", basic("user:password".into()), false),
            ("authorization", "Basic !!!".into(), false),
            ("x-other", key.clone(), false),
        ] {
            assert_eq!(header_carries_key(name, value.as_bytes()), carries, "{name}: {value}");
        }
        let escaped = key.replace('_', "%5f");
        assert_eq!(query_without_keys(&format!("a=1&k={key}&b=2")).as_deref(), Some("a=1&b=2"));
        assert_eq!(query_without_keys(&format!("{escaped}&b=2&c={escaped}")).as_deref(), Some("b=2"));
        assert_eq!(query_without_keys(&format!("k={key}")).as_deref(), Some(""));
        assert_eq!(query_without_keys(&format!("k={mistyped}&long={}", "x".repeat(200))), None);
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(value in proptest::collection::vec(any::<u8>(), 0..600), query in ".{0,80}") {
            for name in CREDENTIAL_HEADERS {
                let _ = present([(name, value.as_slice())], Some((&query, "key")));
            }
            for prefix in [b"Basic ".as_slice(), b"Bearer "] {
                let value = [prefix, &value].concat();
                prop_assert!(!header_carries_key("authorization", &value));
                let presented = present([("authorization", value.as_slice())], None).unwrap();
                prop_assert!(presented.expose().len() <= MAX_TOKEN_LEN);
            }
            let _ = query_without_keys(&query);
            if let Some(rest) = query_without(&query, "key") {
                prop_assert!(query_without(&rest, "key").is_none());
            }
        }
    }
}
