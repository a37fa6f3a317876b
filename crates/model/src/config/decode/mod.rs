//! One item of a tree to one resource, through serde, finding every problem of the item and not only
//! the first.
//!
//! serde stops at the first error. So an item is decoded again and again: each round records one
//! problem, marks the value it stands at, and the next round puts a stand-in there: nothing for
//! optional fields, and for required ones a text that happens to be accepted. Unknown fields are
//! recorded and skipped without stopping. An item that needed a stand-in is never handed on as sound.

mod access;
mod at;
mod error;
mod stand_in;

use super::{
    node::Node,
    report::{Report, shown},
};
use at::At;
use error::DecodeError;
use serde::de::DeserializeOwned;
use stand_in::STAND_INS;
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

/// What came out of one item.
pub(super) struct Decoded<T> {
    /// The resource; `None` when not even stand-ins could complete it.
    pub value: Option<T>,
    /// Paths (within the item) whose values are stand-ins.
    pub replaced: Vec<String>,
}

/// No item has more problems than this listed.
const MAX_ROUNDS: usize = 500;

/// Decodes one item. `prefix` is what the item is called in problems, as in `routes[3]`.
pub(super) fn decode<T: DeserializeOwned>(
    file: Option<&str>,
    prefix: &dyn Fn() -> String,
    node: &Node<'_>,
    report: &mut Report,
) -> Decoded<T> {
    let work = Work { file, prefix, state: RefCell::default() };
    let at = At { node, path: &Path::Root, work: &work };
    let mut value = None;
    for _ in 0..MAX_ROUNDS {
        match at.settle(T::deserialize(at)) {
            Ok(decoded) => {
                value = Some(decoded);
                break;
            }
            Err(_) if work.state.borrow().given_up => break,
            Err(_) => {}
        }
    }
    let State { found, replaced, .. } = work.state.into_inner();
    report.merge(found);
    Decoded { value, replaced }
}

/// What all values of one item share.
struct Work<'w> {
    file: Option<&'w str>,
    prefix: &'w dyn Fn() -> String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    found: Report,
    /// Nodes (by address) that are wrong, with the stand-in to try.
    marked: HashMap<usize, usize>,
    /// Missing fields by the address of their mapping, with the stand-in to try.
    missing: HashMap<usize, Vec<(&'static str, usize)>>,
    /// Unknown fields already recorded, by the address of their value.
    unknown: HashSet<usize>,
    /// A number or truth value was taken as text; it is recorded once its type has agreed.
    unquoted: Option<usize>,
    replaced: Vec<String>,
    given_up: bool,
}

impl State {
    /// The next stand-in, or the end of trying.
    fn next(stand_in: &mut usize, given_up: &mut bool) {
        *stand_in += 1;
        *given_up |= *stand_in >= STAND_INS.len();
    }
}

/// Where a value is within its item: a list that lives on the stack.
enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Root => {}
            Self::Key(parent, key) => {
                parent.write(out);
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(if shown(key).starts_with('`') { key } else { "?" });
            }
            Self::Index(parent, index) => {
                parent.write(out);
                let _ = write!(out, "[{index}]");
            }
        }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// `routes[3]` and `limit.per` to `routes[3].limit.per`.
pub(super) fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) if path.starts_with('[') => format!("{prefix}{path}"),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}

fn address(node: &Node<'_>) -> usize {
    std::ptr::from_ref(node).addr()
}
