//! Whose turn it is: writers of one secret, one after the other where trying at the same time was lost.
//!
//! A write is first tried beside others, for most meet nobody. Who lost a race waits in line, and is then
//! alone with its secret on this node: nobody who came later can be first again. The check in the database
//! stays what makes a write right; writers on other nodes are met there. Readers never wait here.

use crate::request::{Request, Verb};
use std::hash::{BuildHasher, RandomState};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Places in which secrets stand by their name. Two that share one wait for each other only after a lost race.
const SECRETS: usize = 1024;
/// Places for everything else, apart: a login may wait for another server.
const OTHERS: usize = 64;

/// The lines of one process.
pub(crate) struct Turns {
    places: Box<[RwLock<()>]>,
    hasher: RandomState,
}

/// A request's place in its line, until it is dropped.
pub(crate) enum Turn<'a> {
    /// Nothing to wait for: the request only reads, or nobody holds its place before it lost a race.
    Free,
    /// Beside others.
    Beside(#[expect(dead_code, reason = "held, not looked at")] RwLockReadGuard<'a, ()>),
    /// Nobody else of this node writes the same meanwhile.
    Alone(#[expect(dead_code, reason = "held, not looked at")] RwLockWriteGuard<'a, ()>),
}

impl Default for Turns {
    fn default() -> Self {
        Self { places: (0..SECRETS + OTHERS).map(|_| RwLock::new(())).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    /// A secret's place, by the last part of its path: what is asked of `data/a/b` and of `metadata/a/b` meets.
    fn place(&self, request: &Request) -> (bool, &RwLock<()>) {
        let path = request.path.trim_end_matches('/');
        let secret = !["auth/", "identity/", "sys/"].iter().any(|own| path.starts_with(own));
        let name = path.rsplit('/').next().unwrap_or(path);
        let hash = self.hasher.hash_one(name) as usize;
        (secret, &self.places[if secret { hash % SECRETS } else { SECRETS + hash % OTHERS }])
    }

    /// For the first try.
    pub(crate) async fn first(&self, request: &Request) -> Turn<'_> {
        if matches!(request.verb, Verb::Read | Verb::List) {
            return Turn::Free;
        }
        match self.place(request) {
            (true, place) => Turn::Beside(place.read().await),
            (false, _) => Turn::Free,
        }
    }

    /// For a request that lost a race: who waited longest is next.
    pub(crate) async fn next(&self, request: &Request) -> Turn<'_> {
        Turn::Alone(self.place(request).1.write().await)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use axum::body::Body;
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    fn request(method: &str, path: &str) -> Request {
        let request = http::Request::builder().method(method).uri(format!("/v1/{path}"));
        Request::head(request.body(Body::empty()).unwrap()).unwrap().0
    }

    #[tokio::test]
    async fn who_lost_is_next_and_nobody_who_came_later_is_before() {
        let (turns, mut context) = (Turns::default(), Context::from_waker(Waker::noop()));
        let write = request("POST", "kv/data/app/a");
        let (winner, other) = (turns.first(&write).await, turns.first(&write).await);
        let about = request("POST", "kv/metadata/app/a");
        let mut lost = pin!(turns.next(&about));
        assert!(lost.as_mut().poll(&mut context).is_pending());
        let mut later = pin!(turns.first(&write));
        assert!(later.as_mut().poll(&mut context).is_pending());
        drop(winner);
        assert!(lost.as_mut().poll(&mut context).is_pending());
        drop(other);
        let Poll::Ready(alone) = lost.as_mut().poll(&mut context) else { panic!("nobody is before it") };
        assert!(later.as_mut().poll(&mut context).is_pending());
        drop(alone);
        assert!(later.as_mut().poll(&mut context).is_ready());
    }

    #[tokio::test]
    async fn readers_and_logins_wait_for_no_writer() {
        let (turns, mut context) = (Turns::default(), Context::from_waker(Waker::noop()));
        let _alone = turns.next(&request("POST", "kv/data/login")).await;
        for (method, path) in [("GET", "kv/data/login"), ("LIST", "kv/login"), ("POST", "auth/approle/login")] {
            let request = request(method, path);
            assert!(pin!(turns.first(&request)).poll(&mut context).is_ready(), "{path}");
            assert!(path.starts_with("kv/") || pin!(turns.next(&request)).poll(&mut context).is_ready());
        }
    }
}
