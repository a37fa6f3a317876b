//! What calls cost, on its way from the recorder of calls to the next turn.

use credentialflow_telemetry::{ChargeListener, Charges};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What calls cost, on its way from the recorder.
#[derive(Default)]
pub(in crate::server) struct Charged {
    waiting: Mutex<Waiting>,
}

#[derive(Clone, Default)]
pub(super) struct Waiting {
    /// By window; with what the call log does not tell of.
    pub sums: HashMap<Arc<str>, Sum>,
    /// Where the call log stands when all of it is charged.
    pub place: Option<String>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Sum {
    pub charge: i64,
    pub unlogged: i64,
}

impl Charged {
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, charges: Charges, logged: bool, place: Option<String>) {
        let mut waiting = self.lock();
        for (windows, cost) in charges {
            for window in windows.split_whitespace() {
                let sum = waiting.sums.entry(window.into()).or_default();
                sum.charge = sum.charge.saturating_add(cost);
                if !logged {
                    sum.unlogged = sum.unlogged.saturating_add(cost);
                }
            }
        }
        if place.is_some() {
            waiting.place = place;
        }
    }
}

impl ChargeListener for Charged {
    fn logged(&self, charges: Charges, place: String) {
        self.add(charges, true, Some(place));
    }

    fn unlogged(&self, charges: Charges) {
        self.add(charges, false, None);
    }
}
