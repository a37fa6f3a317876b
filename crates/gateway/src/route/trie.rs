//! A trie of path segments. A look-up visits one node per segment, plus those it has to come back to.

use super::{Candidate, Lookup, RouteIndex};
use hashbrown::HashMap;

/// Nodes in one list, the root first.
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    literal: HashMap<Box<str>, u32>,
    parameter: Option<u32>,
    exact: Vec<Candidate>,
    below: Vec<Candidate>,
}

impl Default for Trie {
    fn default() -> Self {
        Self { nodes: vec![Node::default()] }
    }
}

impl Trie {
    /// Adds a route whose path was checked before: `/a/{id}/b` or `/a/*`.
    pub(super) fn insert(&mut self, path: &str, candidate: Candidate) {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut at = 0;
        let mut segments = path.split('/').peekable();
        while let Some(segment) = segments.next() {
            if segment == "*" && segments.peek().is_none() {
                self.nodes[at].below.push(candidate);
                return;
            }
            let fresh = self.nodes.len() as u32;
            let node = &mut self.nodes[at];
            let next = if segment.starts_with('{') {
                *node.parameter.get_or_insert(fresh)
            } else {
                *node.literal.entry(segment.into()).or_insert(fresh)
            };
            if next == fresh {
                self.nodes.push(Node::default());
            }
            at = next as usize;
        }
        self.nodes[at].exact.push(candidate);
    }

    /// Puts each node's candidates in order of precedence; called once after the last insert.
    pub(super) fn sort(&mut self) {
        for node in &mut self.nodes {
            node.exact.sort_by_key(Candidate::rank);
            node.below.sort_by_key(Candidate::rank);
        }
    }

    pub(super) fn find(&self, lookup: &Lookup<'_>, other_method: &mut bool) -> Option<RouteIndex> {
        let rest = lookup.path.strip_prefix('/')?;
        self.descend(0, Some(rest), lookup, other_method)
    }

    /// `rest` is what is left of the path after this node; `None` when nothing is left.
    fn descend(&self, node: u32, rest: Option<&str>, lookup: &Lookup<'_>, other: &mut bool) -> Option<RouteIndex> {
        let node = &self.nodes[node as usize];
        let Some(rest) = rest else {
            return first(&node.exact, lookup, other).or_else(|| first(&node.below, lookup, other));
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(next) = node.literal.get(segment)
            && let Some(found) = self.descend(*next, rest, lookup, other)
        {
            return Some(found);
        }
        if let Some(next) = node.parameter
            && !segment.is_empty()
            && let Some(found) = self.descend(next, rest, lookup, other)
        {
            return Some(found);
        }
        first(&node.below, lookup, other)
    }
}

fn first(candidates: &[Candidate], lookup: &Lookup<'_>, other: &mut bool) -> Option<RouteIndex> {
    candidates.iter().find(|c| c.matches(lookup, other)).map(|c| c.route)
}
