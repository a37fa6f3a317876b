//! The texts of a request, from bytes to words: path, query, verb, token, namespace, the body's fields.
//!
//! Pure functions, with nothing of HTTP's types: the fuzz target `vault_request` takes in this very file.

use credentialflow_identity::wiped::{Tree, wipe};
use credentialflow_model::SecretValue;
use serde_json::{Map, Value};

/// Objects and lists within one another.
const DEEPEST: usize = 64;

/// What is done to a path, before it is known whether something is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    List,
    Write,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::Write => "write",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }
}

/// Why a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// Status 400, with what is wrong.
    Invalid(&'static str),
    /// Status 405.
    Method,
}

type Result<T> = std::result::Result<T, Unreadable>;

const MALFORMED: Unreadable = Unreadable::Invalid("the address is malformed");

pub(crate) fn verb(method: &str, query: &Map<String, Value>) -> Result<Verb> {
    Ok(match method {
        "GET" if asks_for_list(query)? => Verb::List,
        "GET" | "HEAD" => Verb::Read,
        "LIST" => Verb::List,
        "POST" | "PUT" => Verb::Write,
        "PATCH" => Verb::Patch,
        "DELETE" => Verb::Delete,
        _ => return Err(Unreadable::Method),
    })
}

/// Whether `list` in the query says that a GET stands for LIST: in every spelling that Vault reads, since
/// clients write it as their language does (`True` in Python).
fn asks_for_list(query: &Map<String, Value>) -> Result<bool> {
    match query.get("list").and_then(Value::as_str) {
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
        None | Some("" | "0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
        Some(_) => Err(Unreadable::Invalid("list is true or false")),
    }
}

/// The presented token: `X-Vault-Token`, or `Authorization: Bearer`.
pub(crate) fn token(own: Option<&[u8]>, authorization: Option<&[u8]>) -> Option<SecretValue> {
    // What a header may hold as text.
    let text = |bytes: &[u8]| bytes.iter().all(|b| matches!(b, b'\t' | 32..=126)).then_some(());
    let read = |bytes| text(bytes).and_then(|()| std::str::from_utf8(bytes).ok());
    let given = own.and_then(read).or_else(|| {
        let (scheme, token) = authorization.and_then(read)?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    given.map(str::trim).filter(|t| !t.is_empty()).map(SecretValue::from)
}

pub(crate) fn namespace(given: Option<&[u8]>) -> Result<()> {
    match given.map(<[u8]>::trim_ascii) {
        None | Some(b"" | b"/" | b"root" | b"root/" | b"/root" | b"/root/") => Ok(()),
        Some(_) => Err(Unreadable::Invalid("namespaces are not offered: leave X-Vault-Namespace away")),
    }
}

/// A path, decoded: nothing in it that nothing is named with.
pub(crate) fn path(text: &str) -> Result<String> {
    let path = decode(text, false)?;
    if path.chars().any(char::is_control) {
        return Err(Unreadable::Invalid("the path has characters that nothing is named with"));
    }
    Ok(path)
}

/// A path as it may be written down and told: what is or may be a token is left out of it.
pub(crate) fn shown(path: &str) -> String {
    const LEFT_OUT: &str = "<left out>";
    let mut parts = path.split('/');
    let in_path = ["lookup", "renew", "revoke", "revoke-orphan"];
    if let (Some("auth"), Some("token"), Some(what), Some(token)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && in_path.contains(&what)
        && !token.is_empty()
    {
        return format!("auth/token/{what}/{LEFT_OUT}");
    }
    // Whoever puts a token somewhere else does so by mistake.
    let begins = ["cfs_", "cfb_", "cfk_", "cfadmin_", "hvs.", "hvb.", "hvr."];
    let odd = |part: &str| begins.iter().any(|b| part.find(b).is_some_and(|at| part.len() - at >= b.len() + 16));
    let shown: Vec<&str> = path.split('/').map(|part| if odd(part) { LEFT_OUT } else { part }).collect();
    shown.join("/")
}

pub(crate) fn query(text: &str) -> Result<Map<String, Value>> {
    let mut all = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let read = decode(name, true).and_then(|name| Ok((name, Value::String(decode(value, true)?))));
        match read {
            Ok((name, value)) => {
                if let Some(mut before) = all.insert(name, value) {
                    wipe(&mut before);
                }
            }
            Err(error) => {
                all.values_mut().for_each(wipe);
                return Err(error);
            }
        }
    }
    Ok(all)
}

/// `%XX` and, in a query, `+`.
fn decode(text: &str, plus: bool) -> Result<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'%' => {
                let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
                let (high, low) = digit(at + 1).zip(digit(at + 2)).ok_or(MALFORMED)?;
                out.push(u8::try_from(high * 16 + low).map_err(|_| MALFORMED)?);
                at += 2;
            }
            b'+' if plus => out.push(b' '),
            byte => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| MALFORMED)
}

/// The fields of a body; none where it is empty or `null`. `measured` is told how many elements it has
/// before any is built, and may refuse them.
pub(crate) fn fields<E: From<Unreadable>>(
    bytes: &[u8],
    most: usize,
    measured: impl FnOnce(usize) -> std::result::Result<(), E>,
) -> std::result::Result<Map<String, Value>, E> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Map::new());
    }
    measured(measure(bytes, most)?)?;
    let refused = Unreadable::Invalid("error parsing JSON: the body must be one JSON object");
    let tree: Tree = serde_json::from_slice(bytes).map_err(|_| refused)?;
    if tree.expose().is_null() {
        return Ok(Map::new());
    }
    Ok(tree.into_fields().ok_or(refused)?)
}

/// Counts the elements of JSON without building them; refuses what has too many, or is too deep. Text that
/// is no JSON is counted as it comes: the parser refuses it.
fn measure(json: &[u8], most: usize) -> Result<usize> {
    let (mut elements, mut depth, mut in_text, mut escaped) = (1_usize, 0_usize, false, false);
    for byte in json {
        if in_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_text = true,
            b'[' | b'{' => {
                depth += 1;
                elements += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' | b':' => elements += 1,
            _ => {}
        }
        if depth > DEEPEST || elements > most {
            let refused = "error parsing JSON: the body has too many elements, or too many levels";
            return Err(Unreadable::Invalid(refused));
        }
    }
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_left_out_of_paths_that_are_written_down() {
        for (path, expected) in [
            ("kv/data/app", "kv/data/app"),
            ("auth/token/lookup/chosen-id", "auth/token/lookup/<left out>"),
            ("auth/token/revoke/a/b", "auth/token/revoke/<left out>"),
            ("auth/token/lookup", "auth/token/lookup"),
            ("auth/token/lookup/", "auth/token/lookup/"),
            ("auth/token/create/role", "auth/token/create/role"),
            ("kv/cfs_0123456789abcdef0123/x", "kv/<left out>/x"),
            ("xcfs_0123456789abcdef0123", "<left out>"),
            ("kv/hvs.0123456789abcdef", "kv/<left out>"),
            ("kv/cfs_notes", "kv/cfs_notes"),
        ] {
            assert_eq!(shown(path), expected);
        }
    }

    #[test]
    fn headers_and_queries_are_read_as_vault_reads_them() {
        let token = |own, bearer| token(own, bearer).and_then(|t| t.expose_str().map(str::to_owned));
        assert_eq!(token(Some(b" t "), Some(b"Bearer other")).as_deref(), Some("t"));
        assert_eq!(token(None, Some(b"bearer t")).as_deref(), Some("t"));
        for (own, bearer) in
            [(None, None), (Some(&b""[..]), None), (None, Some(&b"Basic t"[..])), (Some(b"\xff"), None)]
        {
            assert_eq!(token(own, bearer), None);
        }
        assert!(namespace(Some(b"root/")).is_ok() && namespace(Some(b"")).is_ok() && namespace(Some(b"team")).is_err());
        let all = query("a=1&a=2&b=%20+&c").unwrap_or_default();
        assert_eq!((&all["a"], &all["b"], &all["c"]), (&"2".into(), &"  ".into(), &"".into()));
        assert_eq!(verb("GET", &all), Ok(Verb::Read));
        assert_eq!(verb("TRACE", &all), Err(Unreadable::Method));
        for (given, expected) in [
            ("list=true", Ok(Verb::List)),
            ("list=True", Ok(Verb::List)),
            ("list=1", Ok(Verb::List)),
            ("list=t", Ok(Verb::List)),
            ("list=False", Ok(Verb::Read)),
            ("list=", Ok(Verb::Read)),
            ("list=yes", Err(Unreadable::Invalid("list is true or false"))),
        ] {
            assert_eq!(verb("GET", &query(given).unwrap_or_default()), expected, "{given}");
        }
    }
}
