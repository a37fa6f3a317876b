//! A few kept connections of one target: at most [`AT_ONCE`] in use, at most [`IDLE`] kept, none of
//! them unused for longer than [`REST`]. Generic over the protocol; it knows nothing of addresses.

use crate::{Result, TargetError};
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Operations of one target at the same time; more wait within their time limit.
pub(crate) const AT_ONCE: usize = 4;
/// Connections kept for the next operation.
const IDLE: usize = 2;
/// How long an unused connection is kept.
const REST: Duration = Duration::from_secs(30);

pub(crate) struct Kept<C>(Arc<Inner<C>>);

struct Inner<C> {
    idle: Mutex<Vec<(C, Instant)>>,
    slots: Semaphore,
    rest: Duration,
}

impl<C: Send + 'static> Kept<C> {
    pub(crate) fn new() -> Self {
        Self::resting(REST)
    }

    fn resting(rest: Duration) -> Self {
        Self(Arc::new(Inner { idle: Mutex::new(Vec::new()), slots: Semaphore::new(AT_ONCE), rest }))
    }

    /// Leave to use one connection.
    pub(crate) async fn slot(&self) -> Result<SemaphorePermit<'_>> {
        self.0.slots.acquire().await.map_err(|_| TargetError::Unreachable("the target is closed".to_owned()))
    }

    /// A kept connection, the latest used first. It may have died meanwhile.
    pub(crate) fn take(&self) -> Option<C> {
        let mut idle = self.0.lock();
        idle.retain(|(_, since)| since.elapsed() < self.0.rest);
        idle.pop().map(|(connection, _)| connection)
    }

    /// Keeps a connection that is fit for the next operation; closed when nobody takes it.
    pub(crate) fn give_back(&self, connection: C) {
        let mut idle = self.0.lock();
        if idle.len() >= IDLE {
            return;
        }
        idle.push((connection, Instant::now()));
        let inner: Weak<Inner<C>> = Arc::downgrade(&self.0);
        let rest = self.0.rest;
        tokio::spawn(async move {
            tokio::time::sleep(rest).await;
            if let Some(inner) = inner.upgrade() {
                inner.lock().retain(|(_, since)| since.elapsed() < rest);
            }
        });
    }

    /// Closes what is kept, as when the administrator's password changed.
    pub(crate) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl<C> Inner<C> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(C, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test]
    async fn keeps_few_and_closes_what_rests() {
        let closed = Arc::new(AtomicUsize::new(0));
        let kept = Kept::resting(Duration::from_secs(2));
        for _ in 0..5 {
            kept.give_back(Counted(closed.clone()));
        }
        assert_eq!(closed.load(Ordering::SeqCst), 5 - IDLE);
        drop(kept.take().unwrap());
        assert_eq!(closed.load(Ordering::SeqCst), 5 - IDLE + 1);
        // Closed by time, without anybody asking.
        while closed.load(Ordering::SeqCst) < 5 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(kept.take().is_none());
    }
}
