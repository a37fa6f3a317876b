//! The memory callers can make one worker hold: a budget over what grows with them.
//!
//! Counted are the requests running over HTTP/2, what their connections may have received of their
//! bodies and not read, the pieces of their answers that wait for a caller to read them, and the bodies of model calls and of
//! their answers, which are kept whole until the last piece of them has gone, of streams one event. HTTP/1.1 connections
//! are not counted: each holds a few buffers of fixed size, and their number has its own limit.
//!
//! What does not fit is refused with `overloaded`, never waited for; whoever holds a [`Charge`] gives
//! it back by dropping it, however a request ends.

use crate::worker::Gauges;
use std::{
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
};

/// The budget of one worker.
pub(crate) struct Budget {
    /// Where the bytes held are counted; only this worker writes there.
    gauges: Arc<Gauges>,
    most: u64,
}

/// Bytes held of a budget until this is dropped.
pub(crate) struct Charge {
    budget: Rc<Budget>,
    bytes: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverBudget;

impl Budget {
    /// Of so many bytes.
    pub fn new(gauges: Arc<Gauges>, most: u64) -> Rc<Self> {
        Rc::new(Self { gauges, most })
    }

    /// Takes bytes from it.
    pub fn take(self: &Rc<Self>, bytes: u64) -> Result<Charge, OverBudget> {
        let mut charge = self.nothing();
        charge.set(bytes).map(|()| charge)
    }

    /// Takes nothing for now.
    pub fn nothing(self: &Rc<Self>) -> Charge {
        Charge { budget: self.clone(), bytes: 0 }
    }

    fn held(&self) -> u64 {
        self.gauges.held_bytes.load(Relaxed)
    }
}

impl Charge {
    /// Makes it so many bytes. It stays what it was when that is more than is left.
    pub fn set(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let held = self.budget.held() - self.bytes + bytes;
        if held > self.budget.most && bytes > self.bytes {
            self.budget.gauges.over_budget.fetch_add(1, Relaxed);
            return Err(OverBudget);
        }
        self.bytes = bytes;
        self.budget.gauges.held_bytes.store(held, Relaxed);
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.gauges.held_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again_and_the_budget_is_never_exceeded() {
        let gauges = Arc::new(Gauges::default());
        let budget = Budget::new(gauges.clone(), 100);
        let held = || gauges.held_bytes.load(Relaxed);
        let mut a = budget.take(60).unwrap();
        assert!(budget.take(41).is_err());
        let b = budget.take(40).unwrap();
        assert!(a.set(61).is_err());
        assert_eq!((held(), gauges.over_budget.load(Relaxed)), (100, 2));
        drop(b);
        a.set(100).unwrap();
        a.set(10).unwrap();
        assert_eq!(held(), 10);
        drop(a);
        assert_eq!(held(), 0);
    }
}
