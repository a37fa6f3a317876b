//! Ends a deed at a chosen moment, as a crash would: nothing of this process goes on with it.

use super::Leases;
use crate::{Result, SecretsError};
use std::sync::{Mutex, PoisonError};

/// The moments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A lease is written, its login is not made.
    LeaseBegun,
    /// The login is made, its lease does not know.
    LoginMade,
    /// The administrator's next password is written, and not set.
    RootBegun,
    /// It is set, and not the one in use here.
    RootSet,
    /// The next password of a static role is written, and not set.
    StaticBegun,
    /// It is set, and not the one that is told.
    StaticSet,
}

/// What is to happen next.
#[derive(Default)]
pub(crate) struct Faults(Mutex<Option<Fault>>);

impl Leases {
    /// The next time this moment comes, everything ends there.
    pub(crate) fn crash_at(&self, fault: Fault) {
        *self.faults.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }

    pub(crate) fn fault(&self, here: Fault) -> Result<()> {
        let mut next = self.faults.0.lock().unwrap_or_else(PoisonError::into_inner);
        if *next == Some(here) {
            *next = None;
            return Err(SecretsError::Internal("a crash".into()));
        }
        Ok(())
    }
}
