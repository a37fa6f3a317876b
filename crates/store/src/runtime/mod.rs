//! What applications fetch at run time: sealed entries, tokens and leases, written many callers at a time.
//!
//! A [`Unit`] is what one caller wants done: operations, what must still be true of the rows it read,
//! and its audit events. [`Store::submit`] merges the units that wait at the same moment into one
//! transaction, so that a flood of small writes (and of reads that must be audited) costs a commit
//! for many. Each unit is done whole or not at all: one that lost a race is answered
//! [`StoreError::Conflict`](crate::StoreError::Conflict) and disturbs no other.
//!
//! Reads come from a bounded cache of sealed bytes. Every commit that writes here names the touched
//! rows in `entry_changes`; the next unit a node submits sees them under the writers' lock and is
//! refused when it had read one of them, so no caller is answered with what another node had already
//! replaced. Nothing here is ever unsealed.

mod apply;
mod cache;
mod company;
mod counts;
mod entries;
mod group;
mod leases;
mod tokens;

pub(crate) use apply::{Touched, chunks, commit_touched};
pub(crate) use cache::Cache;
pub use counts::LeaseCount;
pub use entries::EntryRow;
pub(crate) use group::Group;
pub use leases::{FailingLeases, LeaseRow, LeaseState};
pub use tokens::TokenRow;

use crate::Expect;
use credentialflow_model::{Actor, Timestamp};
use serde_json::Value;

/// One operation on a row. What `expect` says must be true when it is done, else nothing of its unit is.
#[derive(Clone, Debug)]
pub enum Op {
    /// Writes an entry.
    PutEntry {
        /// The mount's own part of the table.
        space: String,
        /// The entry's path within it.
        path: String,
        /// Its sealed bytes.
        sealed: Vec<u8>,
        /// What must be true before.
        expect: Expect,
    },
    /// Removes an entry, if it is there.
    DeleteEntry {
        /// The mount's own part of the table.
        space: String,
        /// The entry's path within it.
        path: String,
        /// What must be true before.
        expect: Expect,
    },
    /// Removes every entry whose path begins so; an empty prefix empties the space.
    DeleteEntries {
        /// The mount's own part of the table.
        space: String,
        /// What the paths begin with.
        prefix: String,
    },
    /// Changes nothing: refuses the unit unless the entry is as expected.
    CheckEntry {
        /// The mount's own part of the table.
        space: String,
        /// The entry's path within it.
        path: String,
        /// What must be true.
        expect: Expect,
    },
    /// Changes nothing: refuses the unit unless the token of this keyed hash is as expected.
    CheckToken(Vec<u8>, Expect),
    /// Writes a token, found again by its keyed hash. Its `revision` is not read.
    PutToken(TokenRow, Expect),
    /// Removes the token of this keyed hash, if it is there.
    DeleteToken(Vec<u8>, Expect),
    /// Writes a lease. Its `revision` is not read.
    PutLease(LeaseRow, Expect),
    /// Removes the lease of this id, if it is there.
    DeleteLease(String, Expect),
    /// Lets every lease of a token be revoked from a moment on, whatever was written before: none is missed.
    EndLeases {
        /// The token's accessor.
        token: String,
        /// When they are due.
        at: Timestamp,
    },
}

/// One row, named the way cache and `entry_changes` know it.
pub(crate) fn entry_key(space: &str, path: &str) -> String {
    // Made for every row of every request: without the machinery of `format!`.
    ["e\0", space, "\0", path].concat()
}

pub(crate) fn token_key(id_hash: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    let mut out = String::with_capacity(2 + 2 * id_hash.len());
    out.push_str("t\0");
    for byte in id_hash {
        out.push(digit(byte >> 4));
        out.push(digit(*byte));
    }
    out
}

pub(crate) fn lease_key(id: &str) -> String {
    format!("l\0{id}")
}

/// An audit event to be recorded with a unit: what happened, on what, facts about it.
#[derive(Clone, Debug)]
pub struct Event {
    /// `noun.verb`.
    pub action: String,
    /// `kind/name`.
    pub subject: String,
    /// Facts; never a secret.
    pub detail: Value,
}

/// What one caller wants done: whole or not at all.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Who does it.
    pub actor: Actor,
    /// The audit events that tell of it; at least one.
    pub events: Vec<Event>,
    /// What is to be done.
    pub ops: Vec<Op>,
    /// The rows its answer rests on, as given by [`Unit::read_entry`] and [`Unit::read_token`].
    pub(crate) reads: Vec<String>,
}

impl Unit {
    /// Nothing to do yet, and nothing to tell.
    pub const fn new(actor: Actor) -> Self {
        Self { actor, events: Vec::new(), ops: Vec::new(), reads: Vec::new() }
    }

    /// Adds an audit event.
    pub fn audit(&mut self, action: impl Into<String>, subject: impl Into<String>, detail: Value) {
        self.events.push(Event { action: action.into(), subject: subject.into(), detail });
    }

    /// Says that the answer rests on this entry: when another node changed it since this node last
    /// looked, the unit is refused with `Conflict`, and the caller reads again.
    pub fn read_entry(&mut self, space: &str, path: &str) {
        self.reads.push(entry_key(space, path));
    }

    /// As [`Unit::read_entry`], for a token.
    pub fn read_token(&mut self, id_hash: &[u8]) {
        self.reads.push(token_key(id_hash));
    }
}
