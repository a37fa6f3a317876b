//! The sessions of several servers as one: written into the one id that a caller gets, as nothing is kept here.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

/// The longest id of one server.
const LONGEST: usize = 512;

/// What one server agreed on with a caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSession {
    /// The server, by its name at the route.
    #[serde(rename = "n")]
    pub server: String,
    /// The version of the protocol that it chose.
    #[serde(rename = "v")]
    pub version: String,
    /// Its own id of the session, if it has one.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

impl ServerSession {
    /// With what a server said; `None` where nobody could say it to the server again.
    pub fn new(server: &str, version: &str, id: Option<&[u8]>) -> Option<Self> {
        let is_plain = |text: &[u8], most| (1..=most).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic);
        let id = match id {
            None => None,
            Some(id) => Some(std::str::from_utf8(id).ok().filter(|id| is_plain(id.as_bytes(), LONGEST))?.to_owned()),
        };
        is_plain(version.as_bytes(), 32).then(|| Self { server: server.into(), version: version.into(), id })
    }
}

/// The sessions as one id of visible ASCII.
pub fn write(sessions: &[ServerSession]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(sessions).unwrap_or_default())
}

/// The sessions of an id that [`write`] made.
pub fn read(id: &[u8]) -> Option<Vec<ServerSession>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(id).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_it_was_written() {
        let one = ServerSession::new("a", "2025-11-25", Some(b"x.y")).unwrap();
        let two = ServerSession::new("b", "2025-06-18", None).unwrap();
        let all = vec![one, two];
        let id = write(&all);
        assert!(id.bytes().all(|b| b.is_ascii_graphic()));
        assert_eq!(read(id.as_bytes()), Some(all));
        assert_eq!(read(write(&[]).as_bytes()), Some(vec![]));
        for bad in [&b""[..], b"!", b"e30", b"f2c1-server.session"] {
            assert_eq!(read(bad), None);
        }
        for (version, id) in
            [("", None), ("a b", None), ("1", Some(&b""[..])), ("1", Some(b"a b")), ("1", Some(&[b'a'; 600]))]
        {
            assert_eq!(ServerSession::new("a", version, id), None);
        }
    }
}
