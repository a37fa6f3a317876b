//! Where each value of a set stood in its text: paths to places, without the values themselves.

use super::node::{Node, Value};
use crate::{Location, Name, ResourceSet, resource::Kind};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Where the resources of a [`ResourceSet`] stood. Empty for sets that did not come from a text; then
/// problems have paths only.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    /// Where the items of the set stood, list by list in the order of the set.
    items: HashMap<Kind, Vec<Item>>,
    /// Items that were read only with stand-ins. They are checked with the rest, so that their other
    /// problems are found, and never handed out.
    pub(super) partial: ResourceSet,
    partial_items: HashMap<Kind, Vec<Item>>,
    /// Names of items that could not be read at all; referring to them is no second problem.
    pub(super) unreadable: HashSet<(Kind, Name)>,
    /// A whole list or document is missing, so a name that is not found may be in it.
    pub(super) incomplete: bool,
}

/// One item: its file, its place in the list there, and the places of its values.
#[derive(Clone, Debug)]
struct Item {
    file: Arc<str>,
    index: usize,
    places: Places,
    /// Paths whose values are stand-ins: what is said about them is no news.
    replaced: Vec<String>,
}

/// The places of an item's values, depth first.
#[derive(Clone, Debug, Default)]
struct Places {
    names: String,
    entries: Vec<Place>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    at: Location,
    /// The entry after the last one inside this one.
    end: u32,
    /// Its key in `names`; list items have none.
    name: (u32, u32),
}

/// An item of a set under check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ItemId {
    pub kind: Kind,
    pub index: usize,
    pub partial: bool,
}

/// What is known about a path of an item.
pub(super) struct Found<'s> {
    pub file: Option<&'s str>,
    pub at: Location,
    /// What the item is called, as in `routes[3]`.
    pub item: String,
}

impl SourceMap {
    /// The place of a value of the set: the resource `index` of the list of `kind`, and the path in it,
    /// as in `limit.per`. Answers with the nearest value around it where the path itself is not written.
    pub fn locate(&self, kind: Kind, index: usize, path: &str) -> Option<(&str, Location)> {
        let item = self.items.get(&kind)?.get(index)?;
        Some((&item.file, item.places.find(path)))
    }

    pub(super) fn add(
        &mut self,
        kind: Kind,
        file: &Arc<str>,
        index: usize,
        node: &Node<'_>,
        replaced: Vec<String>,
        partial: bool,
    ) {
        let list = if partial { &mut self.partial_items } else { &mut self.items };
        list.entry(kind).or_default().push(Item { file: file.clone(), index, places: Places::of(node), replaced });
    }

    /// What to say about a path of an item; `None` where its value is a stand-in, whose problem is known.
    pub(super) fn find(&self, id: ItemId, path: &str) -> Option<Found<'_>> {
        let lists = if id.partial { &self.partial_items } else { &self.items };
        let Some(item) = lists.get(&id.kind).and_then(|list| list.get(id.index)) else {
            let item = format!("{}[{}]", id.kind.as_str(), id.index);
            return Some(Found { file: None, at: Location::default(), item });
        };
        if item.replaced.iter().any(|r| within(r, path) || within(path, r)) {
            return None;
        }
        Some(Found {
            file: Some(&item.file),
            at: item.places.find(path),
            item: format!("{}[{}]", id.kind.as_str(), item.index),
        })
    }
}

/// Whether `path` is `around` or inside it.
fn within(around: &str, path: &str) -> bool {
    path.strip_prefix(around).is_some_and(|rest| rest.is_empty() || around.is_empty() || rest.starts_with(['.', '[']))
}

impl Places {
    fn of(node: &Node<'_>) -> Self {
        let mut places = Self::default();
        places.visit(node, "");
        places
    }

    fn visit(&mut self, node: &Node<'_>, name: &str) {
        let start = self.names.len();
        self.names.push_str(name);
        let this = self.entries.len();
        let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.entries.push(Place { at: node.at, end: 0, name: (bounded(start), bounded(self.names.len())) });
        match &node.value {
            Value::Scalar(_) => {}
            Value::Sequence(items) => items.iter().for_each(|item| self.visit(item, "")),
            Value::Mapping(entries) => entries.iter().for_each(|entry| self.visit(&entry.value, &entry.key)),
        }
        self.entries[this].end = bounded(self.entries.len());
    }

    /// The place of a path, or of the nearest value around it.
    fn find(&self, path: &str) -> Location {
        let mut here = 0;
        let mut rest = path;
        while !rest.is_empty() {
            let Some((next, after)) = self.step(here, rest) else { break };
            here = next;
            rest = after.strip_prefix('.').unwrap_or(after);
        }
        self.entries.get(here).map(|place| place.at).unwrap_or_default()
    }

    /// One step down a path. Keys may contain dots, so the longest key that fits is taken.
    fn step<'p>(&self, here: usize, path: &'p str) -> Option<(usize, &'p str)> {
        let end = self.entries.get(here)?.end as usize;
        let children = std::iter::successors(Some(here + 1), |at| Some(self.entries.get(*at)?.end as usize))
            .take_while(|at| *at < end);
        if let Some((index, after)) = path.strip_prefix('[').and_then(|p| p.split_once(']')) {
            let index: usize = index.parse().ok()?;
            return Some((children.into_iter().nth(index)?, after));
        }
        children
            .filter_map(|at| {
                let (from, to) = self.entries[at].name;
                let name = self.names.get(from as usize..to as usize)?;
                let after = path.strip_prefix(name)?;
                let whole = !name.is_empty() && (after.is_empty() || after.starts_with(['.', '[']));
                whole.then_some((name.len(), at, after))
            })
            .max_by_key(|(length, ..)| *length)
            .map(|(_, at, after)| (at, after))
    }
}
