//! Many policies become one access list.
//!
//! Patterns lie in a tree of path segments, so that a question walks the asked path once. Where
//! several patterns match, the most specific one decides alone, in Vault's documented order: an exact
//! pattern first; else the one whose first wildcard comes later, that does not end in `*`, has fewer
//! `+`, is longer, and is greater as text.

use super::{Capabilities, Capability, Parameters, Policy, Rule};
use crate::Operation;
use hashbrown::HashMap;
use serde_json::{Map, Value};

/// The compiled form of a set of policies.
#[derive(Debug, Default)]
pub struct Acl {
    root: bool,
    rules: Vec<Compiled>,
    tree: Node,
}

#[derive(Debug)]
struct Compiled {
    rank: Rank,
    capabilities: Capabilities,
    /// Boxed: almost no rule has them.
    parameters: Option<Box<Parameters>>,
    min_wrapping_ttl: i64,
    max_wrapping_ttl: i64,
}

/// Greater is more specific; fields in the order they are compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    exact: bool,
    first_wildcard: usize,
    not_prefix: bool,
    few_plus: std::cmp::Reverse<usize>,
    length: usize,
    path: String,
}

#[derive(Debug, Default)]
struct Node {
    literal: HashMap<Box<str>, Node>,
    plus: Option<Box<Node>>,
    /// The pattern that ends with this segment.
    end: Option<usize>,
    /// Patterns that end in `*` within the next segment: its beginning to the rule.
    globs: HashMap<Box<str>, usize>,
    /// The lengths of those beginnings, longest first.
    lengths: Vec<usize>,
}

/// The answer to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the operation may happen.
    pub allowed: bool,
    /// Whether the caller also may use paths reserved for operators here.
    pub sudo: bool,
    /// The shortest response-wrapping lifetime allowed, seconds; 0: no limit.
    pub min_wrapping_ttl: i64,
    /// The longest response-wrapping lifetime allowed, seconds; 0: no limit.
    pub max_wrapping_ttl: i64,
}

impl Decision {
    /// Whether a request may have its answer wrapped for `ttl` seconds, or not wrapped. A limit of either kind makes
    /// wrapping mandatory, as in Vault.
    pub fn permits_wrapping(&self, ttl: Option<i64>) -> bool {
        match ttl {
            None => self.min_wrapping_ttl == 0 && self.max_wrapping_ttl == 0,
            Some(ttl) => ttl >= self.min_wrapping_ttl && (self.max_wrapping_ttl == 0 || ttl <= self.max_wrapping_ttl),
        }
    }
}

const REFUSED: Decision = Decision { allowed: false, sudo: false, min_wrapping_ttl: 0, max_wrapping_ttl: 0 };

impl Acl {
    /// Compiles policies. What several say about one pattern is added up; `deny` wins.
    pub fn new<'a>(policies: impl IntoIterator<Item = &'a Policy>) -> Self {
        let mut acl = Self::default();
        for rule in policies.into_iter().flat_map(|p| &p.rules) {
            acl.add(rule);
        }
        acl
    }

    /// The list of the policy `root`: everything is allowed.
    pub fn root() -> Self {
        Self { root: true, ..Self::default() }
    }

    /// Whether everything is allowed.
    pub const fn is_root(&self) -> bool {
        self.root
    }

    /// Whether a request may happen. `path` is the whole path without a leading slash; `data` are the
    /// fields of its body.
    pub fn decide(&self, operation: Operation, path: &str, data: &Map<String, Value>) -> Decision {
        self.decide_by(operation, path, data).0
    }

    /// As [`Acl::decide`], with the pattern of the rule that decided, as policies write it; `None`: there is none, or
    /// everything is allowed.
    pub fn decide_by(&self, operation: Operation, path: &str, data: &Map<String, Value>) -> (Decision, Option<&str>) {
        if self.root {
            return (Decision { allowed: true, sudo: true, ..REFUSED }, None);
        }
        let Some(rule) = self.rule_for(path, operation == Operation::List) else { return (REFUSED, None) };
        let has = |c| rule.capabilities.has(c);
        let allowed = !has(Capability::Deny)
            && has(Capability::needed_for(operation))
            && match operation {
                Operation::Create | Operation::Update | Operation::Patch => {
                    rule.parameters.as_ref().is_none_or(|p| p.permit(data))
                }
                Operation::Read | Operation::Delete | Operation::List => true,
            };
        let decision = Decision {
            allowed,
            sudo: has(Capability::Sudo),
            min_wrapping_ttl: rule.min_wrapping_ttl,
            max_wrapping_ttl: rule.max_wrapping_ttl,
        };
        (decision, Some(&rule.rank.path))
    }

    /// What is allowed on a path, as `sys/capabilities` tells it: `root`, `deny`, or the words.
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        if self.root {
            return vec!["root"];
        }
        self.rule_for(path, true).map_or(Capabilities::NONE, |r| r.capabilities).words()
    }

    /// Every pattern with its capabilities, for a client that wants to know what it may do:
    /// `(path, ends in *, words)`.
    pub fn grants(&self) -> impl Iterator<Item = (&str, bool, Vec<&'static str>)> {
        self.rules.iter().map(|r| (r.rank.path.as_str(), !r.rank.not_prefix, r.capabilities.words()))
    }

    /// Whether something below a prefix may be seen: used to show only the mounts somebody can use.
    pub fn reaches(&self, prefix: &str) -> bool {
        let grants = |r: &Compiled| !r.capabilities.has(Capability::Deny) && r.capabilities != Capabilities::NONE;
        self.root
            || self.rules.iter().any(|r| {
                let fixed = &r.rank.path[..r.rank.first_wildcard.min(r.rank.path.len())];
                let open = !r.rank.exact;
                grants(r) && (fixed.starts_with(prefix) || (open && prefix.starts_with(fixed)))
            })
    }

    fn add(&mut self, rule: &Rule) {
        let mut node = &mut self.tree;
        let mut segments = rule.path.split('/').peekable();
        let slot = loop {
            let segment = segments.next().unwrap_or_default();
            let last = segments.peek().is_none();
            if last && rule.prefix {
                if !node.lengths.contains(&segment.len()) {
                    node.lengths.push(segment.len());
                    node.lengths.sort_unstable_by_key(|l| std::cmp::Reverse(*l));
                }
                break node.globs.entry(segment.into()).or_insert(usize::MAX);
            }
            node = if segment == "+" {
                node.plus.get_or_insert_default()
            } else {
                node.literal.entry(segment.into()).or_default()
            };
            if last {
                break node.end.get_or_insert(usize::MAX);
            }
        };
        if *slot == usize::MAX {
            *slot = self.rules.len();
            self.rules.push(Compiled::new(rule));
        } else {
            self.rules[*slot].merge(rule);
        }
    }

    /// The most specific rule. With `list`, a pattern also fits a path that has one more `/` at its end.
    fn rule_for(&self, path: &str, list: bool) -> Option<&Compiled> {
        let trimmed = if list { path.strip_suffix('/') } else { None };
        if let Some(exact) = self.exact(path).or_else(|| trimmed.and_then(|p| self.exact(p))) {
            return Some(exact);
        }
        let mut best = None;
        self.walk(&self.tree, path, &mut best);
        if let Some(trimmed) = trimmed {
            self.walk(&self.tree, trimmed, &mut best);
        }
        best
    }

    fn exact(&self, path: &str) -> Option<&Compiled> {
        let mut node = &self.tree;
        for segment in path.split('/') {
            node = node.literal.get(segment)?;
        }
        node.end.map(|rule| &self.rules[rule])
    }

    fn walk<'a>(&'a self, node: &'a Node, rest: &str, best: &mut Option<&'a Compiled>) {
        let mut offer = |rule: usize| {
            let found = &self.rules[rule];
            if best.is_none_or(|b| found.rank > b.rank) {
                *best = Some(found);
            }
        };
        let (segment, next) = rest.split_once('/').map_or((rest, None), |(s, next)| (s, Some(next)));
        // Of two beginnings in one place the longer one is the more specific.
        let longest = node.lengths.iter().find_map(|&l| segment.get(..l).and_then(|start| node.globs.get(start)));
        if let Some(rule) = longest {
            offer(*rule);
        }
        for child in [node.literal.get(segment), node.plus.as_deref()].into_iter().flatten() {
            match next {
                Some(next) => self.walk(child, next, best),
                None => {
                    if let Some(rule) = child.end {
                        let found = &self.rules[rule];
                        if best.is_none_or(|b| found.rank > b.rank) {
                            *best = Some(found);
                        }
                    }
                }
            }
        }
    }
}

impl Compiled {
    fn new(rule: &Rule) -> Self {
        let path = if rule.prefix { format!("{}*", rule.path) } else { rule.path.clone() };
        let plus = rule.path.split('/').filter(|s| *s == "+").count();
        let mut place = 0;
        let first_plus = rule.path.split('/').find_map(|s| {
            let here = place;
            place += s.len() + 1;
            (s == "+").then_some(here)
        });
        let rank = Rank {
            exact: plus == 0 && !rule.prefix,
            first_wildcard: first_plus.unwrap_or(rule.path.len()),
            not_prefix: !rule.prefix,
            few_plus: std::cmp::Reverse(plus),
            length: path.len(),
            path,
        };
        Self {
            rank,
            capabilities: rule.capabilities,
            parameters: (!rule.parameters.is_empty()).then(|| Box::new(rule.parameters.clone())),
            min_wrapping_ttl: rule.min_wrapping_ttl,
            max_wrapping_ttl: rule.max_wrapping_ttl,
        }
    }

    /// Wrapping limits: of two, the lower one, as in Vault: what is wrapped lives as short as any policy wants.
    fn merge(&mut self, rule: &Rule) {
        self.capabilities = self.capabilities.merged(rule.capabilities);
        if !rule.parameters.is_empty() {
            self.parameters.get_or_insert_default().merge(&rule.parameters);
        }
        self.min_wrapping_ttl = lower(self.min_wrapping_ttl, rule.min_wrapping_ttl);
        self.max_wrapping_ttl = lower(self.max_wrapping_ttl, rule.max_wrapping_ttl);
    }
}

/// The lower of two limits in seconds, of which 0 is none.
pub(super) fn lower(a: i64, b: i64) -> i64 {
    [a, b].into_iter().filter(|ttl| *ttl != 0).min().unwrap_or(0)
}
