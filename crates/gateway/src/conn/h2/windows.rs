//! What the callers of one HTTP/2 connection may have sent of their requests' bodies before anybody reads it.
//!
//! HTTP/2 bounds it twice (RFC 9113, 5.2): for each stream, and for all streams together. Both windows
//! open again as bodies are read, so a body that nobody reads keeps its stream's window. The connection
//! has several of those: streams whose upstreams stall take from it, but do not stop the others before
//! there are many. Charged is what can really be held: the stream's window or what the body is long,
//! and for all streams of a connection never more than the connection's window.

use crate::budget::{Budget, Charge, OverBudget};
use hyper::body::{Body, Incoming};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// What one stream may send before it is read.
pub(super) const STREAM: u32 = 128 * 1024;
/// What all streams of a connection may: as much as sixteen of which nothing is read.
pub(super) const CONNECTION: u32 = 16 * STREAM;

/// The windows of one connection.
pub(super) struct Windows {
    /// What the bodies that are not at their end could hold if there were no window for the connection.
    open: Cell<u64>,
    charge: RefCell<Charge>,
}

/// A body that is not at its end. Dropped when nothing of it can be waiting any more.
pub(super) struct Unread {
    windows: Rc<Windows>,
    bytes: u64,
}

impl Windows {
    /// Of a connection on which nothing was sent yet.
    pub fn new(budget: &Rc<Budget>) -> Rc<Self> {
        Rc::new(Self { open: Cell::new(0), charge: RefCell::new(budget.nothing()) })
    }

    /// For the body of a request that begins.
    pub fn begin(self: &Rc<Self>, body: &Incoming) -> Result<Unread, OverBudget> {
        self.hold(body.size_hint().exact())
    }

    /// For a body of this length, if it is known.
    fn hold(self: &Rc<Self>, length: Option<u64>) -> Result<Unread, OverBudget> {
        let bytes = length.unwrap_or(u64::MAX).min(u64::from(STREAM));
        self.set(self.open.get() + bytes)?;
        Ok(Unread { windows: self.clone(), bytes })
    }

    fn set(&self, open: u64) -> Result<(), OverBudget> {
        self.charge.borrow_mut().set(open.min(u64::from(CONNECTION)))?;
        self.open.set(open);
        Ok(())
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        // Less always fits.
        let _ = self.windows.set(self.windows.open.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Gauges;
    use std::sync::{Arc, atomic::Ordering::Relaxed};

    #[test]
    fn a_connection_is_charged_for_what_it_can_hold() {
        let gauges = Arc::new(Gauges::default());
        let budget = Budget::new(gauges.clone(), u64::from(CONNECTION + STREAM));
        let held = || gauges.held_bytes.load(Relaxed);
        let windows = Windows::new(&budget);
        let small = windows.hold(Some(10)).unwrap();
        let large = windows.hold(Some(1 << 40)).unwrap();
        assert_eq!(held(), 10 + u64::from(STREAM));
        drop((small, large));
        assert_eq!(held(), 0);
        // However many there are, they share the connection's window.
        let mut many: Vec<Unread> = (0..100).map(|_| windows.hold(None).unwrap()).collect();
        assert_eq!(held(), u64::from(CONNECTION));
        many.truncate(17);
        assert_eq!(held(), u64::from(CONNECTION));
        many.truncate(15);
        assert_eq!(held(), u64::from(CONNECTION - STREAM));
        // Another connection has a window of its own; what does not fit changes nothing.
        let other = Windows::new(&budget);
        let one = other.hold(None).unwrap();
        let two = other.hold(None).unwrap();
        assert!(other.hold(Some(1)).is_err());
        assert_eq!(held(), u64::from(CONNECTION + STREAM));
        drop((one, two, many));
        assert_eq!(held(), 0);
    }
}
