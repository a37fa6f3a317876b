//! Sessions of MCP servers belong to the caller that began them.
//!
//! What a caller gets as the id of its session is the server's own id and a mark, which binds it to the route and the
//! application. The mark is made with a pepper, which all nodes have, so any of them knows it again and nothing is kept.

use crate::{ApiKey, Principal};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// Bytes of a mark, behind the number of its pepper.
const MARK: usize = 16;
/// The same in base64url.
const WRITTEN: usize = 23;
/// The longest id: that of a server, or those of several together.
const LONGEST: usize = 8192;

/// Whose a session is.
#[derive(Clone, Copy, Debug)]
pub struct SessionOwner<'a> {
    /// The route, by name.
    pub route: &'a str,
    /// Who began it.
    pub principal: &'a Principal,
}

impl SessionOwner<'_> {
    fn mark(&self, api_key: &ApiKey, pepper: u8, id: &[u8]) -> Option<[u8; MARK]> {
        let application = self.principal.key().map(|key| key.application_name().as_bytes());
        let mut text = Vec::with_capacity(64 + self.route.len() + id.len());
        text.extend_from_slice(b"session of an MCP server\0");
        for part in [Some(self.route.as_bytes()), application, Some(id)] {
            // No two lists of parts are written alike; nobody is another one than an application without a name.
            text.extend_from_slice(&part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.unwrap_or_default());
        }
        let hash = api_key.peppers().hash(pepper, &text).ok()?;
        hash.first_chunk().copied()
    }

    /// The id that the owner gets of a session that has this id at the server. `None` where there is no pepper, or the id
    /// is none.
    pub fn bind(&self, api_key: &ApiKey, id: &[u8]) -> Option<Vec<u8>> {
        let pepper = api_key.peppers().newest()?;
        let mark = self.mark(api_key, pepper, id).filter(|_| is_id(id))?;
        let mut written = [0; MARK + 1];
        written[0] = pepper;
        written[1..].copy_from_slice(&mark);
        let mut bound = Vec::with_capacity(id.len() + 1 + WRITTEN);
        bound.extend_from_slice(id);
        bound.push(b'.');
        bound.extend_from_slice(BASE64_URL_SAFE_NO_PAD.encode(written).as_bytes());
        Some(bound)
    }

    /// The server's own id of a session, if it is the owner's.
    pub fn open<'i>(&self, api_key: &ApiKey, bound: &'i [u8]) -> Option<&'i [u8]> {
        let (id, rest) = bound.split_at_checked(bound.len().checked_sub(WRITTEN + 1)?)?;
        let written = BASE64_URL_SAFE_NO_PAD.decode(rest.strip_prefix(b".")?).ok()?;
        let (pepper, mark) = written.split_first()?;
        let expect = self.mark(api_key, *pepper, id).filter(|_| is_id(id))?;
        verify_slices_are_equal(&expect, mark).is_ok().then_some(id)
    }
}

/// An id holds visible ASCII only.
fn is_id(id: &[u8]) -> bool {
    (1..=LONGEST).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Peppers, policy_tests::World};
    use credentialflow_model::SecretValue;
    use std::sync::Arc;

    fn api_key(peppers: &[(u8, &str)]) -> ApiKey {
        let values: Vec<_> = peppers.iter().map(|(id, value)| (*id, SecretValue::from(*value))).collect();
        ApiKey::new(Arc::new(Peppers::new(values.iter().map(|(id, value)| (*id, value)))))
    }

    #[test]
    fn a_session_is_opened_for_its_owner_alone() {
        let world = World::new("checkout: routes orders");
        let (checkout, again, reporting) = (world.key(|_| {}), world.key(|_| {}), world.key_of("reporting"));
        let api_key = api_key(&[(1, "a"), (2, "b")]);
        let owner = |route, principal| SessionOwner { route, principal };
        let mine = owner("tools", &checkout);
        let bound = mine.bind(&api_key, b"abc.def").unwrap();
        assert!(bound.starts_with(b"abc.def.") && bound.iter().all(u8::is_ascii_graphic));
        assert_eq!(mine.open(&api_key, &bound), Some(&b"abc.def"[..]));
        assert_eq!(
            owner("tools", &again).open(&api_key, &bound),
            Some(&b"abc.def"[..]),
            "another key of the application"
        );
        let others = [owner("tools", &reporting), owner("other", &checkout), owner("tools", &Principal::Anonymous)];
        for other in others {
            assert_eq!(other.open(&api_key, &bound), None);
        }
        let nobody = owner("tools", &Principal::Anonymous);
        assert_eq!(nobody.open(&api_key, &nobody.bind(&api_key, b"x").unwrap()), Some(&b"x"[..]));
        for at in 0..bound.len() {
            let mut changed = bound.clone();
            changed[at] ^= 1;
            assert_eq!(mine.open(&api_key, &changed), None, "at {at}");
        }
        for none in [&b"abc.def"[..], b"", b".", &bound[..bound.len() - 1], &bound[8..]] {
            assert_eq!(mine.open(&api_key, none), None);
        }
        assert_eq!(mine.bind(&api_key, b"a b"), None);
        assert_eq!(mine.bind(&api_key, b""), None);
    }

    #[test]
    fn it_outlives_a_new_pepper_and_ends_with_its_own() {
        let world = World::new("checkout: routes orders");
        let checkout = world.key(|_| {});
        let mine = SessionOwner { route: "tools", principal: &checkout };
        let bound = mine.bind(&api_key(&[(1, "a")]), b"id").unwrap();
        assert_eq!(mine.open(&api_key(&[(1, "a"), (2, "b")]), &bound), Some(&b"id"[..]));
        assert_eq!(mine.open(&api_key(&[(2, "b")]), &bound), None);
        assert_eq!(mine.open(&api_key(&[(1, "other")]), &bound), None);
    }
}
