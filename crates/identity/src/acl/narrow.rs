//! Policies without what was not used: granted minus exercised, written as one policy document.
//!
//! A rule that was not used cannot simply be left out where a wider one is kept: the wider one would then decide about
//! its paths, and what was narrowed would be wider. Such a rule stays, and forbids.

use super::{Capabilities, Capability, Policy, Rule, compile::lower};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is left of policies without what was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Narrowed {
    /// How many rules there are that allow something.
    pub rules: usize,
    /// What was not used, pattern by pattern: `kv/data/* (create, delete)`; the pattern alone where none of it was used.
    pub unused: Vec<String>,
    /// One policy (HCL) with what was used; it takes the place of all those that were looked at.
    pub policy: String,
}

impl Rule {
    /// Its pattern as policies write it.
    fn pattern(&self) -> String {
        if self.prefix { format!("{}*", self.path) } else { self.path.clone() }
    }

    /// What is before its first wildcard.
    fn fixed(&self) -> &str {
        let mut place = 0;
        for segment in self.path.split('/') {
            if segment == "+" {
                return &self.path[..place];
            }
            place += segment.len() + 1;
        }
        &self.path
    }

    fn is_exact(&self) -> bool {
        !self.prefix && self.fixed().len() == self.path.len()
    }

    /// Whether it may decide about a path that the other one decides about now, were that one gone. One whose first
    /// wildcard comes later than the other's is the more specific of the two already.
    fn may_cover(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.fixed(), other.fixed());
        // A pattern also fits the path of a list that has one more `/`.
        match self.is_exact() {
            true => theirs.strip_suffix('/') == Some(mine),
            false => theirs.starts_with(mine) || mine.strip_suffix('/') == Some(theirs),
        }
    }
}

/// What is left of `policies`, given what was used of each pattern. `beside` are those that go on to be given beside the
/// new one (`default`): what they say is left alone. `None` where nothing was used at all, or everything.
pub fn narrowed(policies: &[Policy], beside: &[Policy], used: &BTreeMap<&str, Capabilities>) -> Option<Narrowed> {
    let merged = merge(policies);
    let beside = merge(beside);
    let allows = |rule: &Rule| rule.capabilities != Capabilities::NONE && !rule.capabilities.has(Capability::Deny);
    let rules = merged.values().filter(|rule| allows(rule)).count();
    let (mut kept, mut idle, mut unused) = (Vec::new(), Vec::new(), Vec::new());
    let mut something = false;
    for (pattern, rule) in merged {
        if !allows(&rule) || beside.contains_key(&pattern) {
            kept.push(rule);
            continue;
        }
        let used = used.get(pattern.as_str()).copied().unwrap_or_default();
        let (done, left) = (rule.capabilities.common(used), rule.capabilities.without(used));
        if done == Capabilities::NONE {
            unused.push(pattern);
            idle.push(rule);
            continue;
        }
        something = true;
        if left != Capabilities::NONE {
            unused.push(format!("{pattern} ({})", left.words().join(", ")));
        }
        kept.push(Rule { capabilities: done, ..rule });
    }
    if !something || unused.is_empty() {
        return None;
    }
    let wide: Vec<_> = kept.iter().chain(beside.values()).filter(|rule| allows(rule)).cloned().collect();
    for rule in idle.into_iter().filter(|rule| wide.iter().any(|other| other.may_cover(rule))) {
        let capabilities = [Capability::Deny].into_iter().collect();
        kept.push(Rule {
            capabilities,
            parameters: Default::default(),
            min_wrapping_ttl: 0,
            max_wrapping_ttl: 0,
            ..rule
        });
    }
    kept.sort_by_key(Rule::pattern);
    Some(Narrowed { rules, unused, policy: text(&kept) })
}

/// What several policies say about one pattern is one rule, as in an access list.
fn merge(policies: &[Policy]) -> BTreeMap<String, Rule> {
    let mut all: BTreeMap<String, Rule> = BTreeMap::new();
    for rule in policies.iter().flat_map(|policy| &policy.rules) {
        let Some(known) = all.get_mut(&rule.pattern()) else {
            all.insert(rule.pattern(), rule.clone());
            continue;
        };
        known.capabilities = known.capabilities.merged(rule.capabilities);
        if !rule.parameters.is_empty() {
            known.parameters.merge(&rule.parameters);
        }
        known.min_wrapping_ttl = lower(known.min_wrapping_ttl, rule.min_wrapping_ttl);
        known.max_wrapping_ttl = lower(known.max_wrapping_ttl, rule.max_wrapping_ttl);
    }
    all
}

/// Rules as a policy document (HCL), which [`Policy::parse`] reads.
fn text(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        // Writing into a text does not fail.
        let _ = writeln!(text, "path {} {{", quoted(&rule.pattern()));
        let _ = writeln!(text, "  capabilities = {}", words(&rule.capabilities.words()));
        for (name, fields) in [("allowed", &rule.parameters.allowed), ("denied", &rule.parameters.denied)] {
            if !fields.is_empty() {
                let _ = writeln!(text, "  {name}_parameters = {}", object(fields));
            }
        }
        if !rule.parameters.required.is_empty() {
            let _ = writeln!(text, "  required_parameters = {}", words(&rule.parameters.required));
        }
        for (name, seconds) in [("min", rule.min_wrapping_ttl), ("max", rule.max_wrapping_ttl)] {
            if seconds != 0 {
                let _ = writeln!(text, "  {name}_wrapping_ttl = \"{seconds}s\"");
            }
        }
        text.push_str("}\n");
    }
    text
}

fn object(fields: &BTreeMap<String, Vec<Value>>) -> String {
    let all: Vec<_> = fields.iter().map(|(name, values)| format!("{} = {}", quoted(name), list(values))).collect();
    format!("{{ {} }}", all.join(", "))
}

fn list(values: &[Value]) -> String {
    let one = |value: &Value| match value {
        Value::String(text) => quoted(text),
        Value::Array(all) => list(all),
        other => other.to_string(),
    };
    format!("[{}]", values.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn words<T: AsRef<str>>(all: &[T]) -> String {
    format!("[{}]", all.iter().map(|word| quoted(word.as_ref())).collect::<Vec<_>>().join(", "))
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Operation::{self, Create, Delete, List, Patch, Read, Update},
        acl::Acl,
    };
    use proptest::prelude::*;
    use serde_json::Map;

    fn policy(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    fn used<'a>(all: &[(&'a str, &[Capability])]) -> BTreeMap<&'a str, Capabilities> {
        all.iter().map(|(pattern, words)| (*pattern, words.iter().copied().collect())).collect()
    }

    #[test]
    fn what_was_not_used_is_left_out_and_the_rest_stays_as_it_was() {
        let granted = [
            policy(
                r#"path "kv/data/app/*" { capabilities = ["create", "read", "update", "delete"]
                     allowed_parameters = { "data" = [], "o\"p" = ["a\tb", 1, true, ["x"]] } required_parameters = ["data"]
                     denied_parameters = { "*" = [] } min_wrapping_ttl = "1s" max_wrapping_ttl = "1h" }
                   path "kv/metadata/*" { capabilities = ["list"] }"#,
            ),
            policy(
                r#"path "kv/data/app/*" { capabilities = ["list"] } path "kv/data/app/root" { capabilities = ["deny"] }"#,
            ),
        ];
        let found =
            narrowed(&granted, &[], &used(&[("kv/data/app/*", &[Capability::Read, Capability::Update])])).unwrap();
        assert_eq!(found.rules, 2);
        assert_eq!(found.unused, ["kv/data/app/* (create, delete, list)", "kv/metadata/*"]);
        let rules = policy(&found.policy).rules;
        assert_eq!(rules.len(), 2, "{}", found.policy);
        let kept = Rule {
            capabilities: [Capability::Read, Capability::Update].into_iter().collect(),
            ..granted[0].rules[0].clone()
        };
        assert_eq!(rules[0], kept);
        assert_eq!(rules[1], granted[1].rules[1]);
    }

    #[test]
    fn what_narrowed_a_wider_rule_goes_on_to_forbid() {
        let granted = [policy(
            r#"path "kv/*" { capabilities = ["read"] } path "kv/secret" { capabilities = ["update"] }
               path "db/creds/a" { capabilities = ["read"] }"#,
        )];
        let found = narrowed(&granted, &[], &used(&[("kv/*", &[Capability::Read])])).unwrap();
        assert_eq!(found.unused, ["db/creds/a", "kv/secret"]);
        assert!(found.policy.contains("path \"kv/secret\" {\n  capabilities = [\"deny\"]\n}"), "{}", found.policy);
        assert!(!found.policy.contains("db/creds"));
    }

    #[test]
    fn nothing_is_said_where_nothing_or_everything_was_used_and_what_is_given_beside_is_left_alone() {
        let granted =
            [policy(r#"path "a" { capabilities = ["read"] } path "own/*" { capabilities = ["read", "list"] }"#)];
        let beside = [policy(r#"path "own/*" { capabilities = ["read"] }"#)];
        assert_eq!(narrowed(&granted, &beside, &used(&[])), None);
        assert_eq!(narrowed(&granted, &beside, &used(&[("a", &[Capability::Read])])), None);
        let all = used(&[("a", &[Capability::Read]), ("own/*", &[Capability::Read, Capability::List])]);
        assert_eq!(narrowed(&granted, &[], &all), None);
        assert_eq!(narrowed(&[], &[], &all), None);
    }

    fn decided(acl: &Acl, operation: Operation, path: &str) -> (bool, bool) {
        let decision = acl.decide(operation, path, &Map::new());
        (decision.allowed, decision.allowed && decision.sudo)
    }

    proptest! {
        /// What was done stays allowed, and nothing is allowed that was not.
        #[test]
        fn the_narrower_grant_allows_what_was_done_and_nothing_new(
            granted in proptest::collection::vec(
                ("[ab+]{1}(/(a|b|\\+|ab)){0,3}(\\*|/\\*|/)?", proptest::collection::vec(0usize..8, 0..4)), 1..10),
            beside in proptest::collection::vec(("[ab]{1}(/(a|b|\\+)){0,2}(\\*|/\\*|/)?", proptest::collection::vec(0usize..8, 1..3)), 0..3),
            done in proptest::collection::vec(("(a|b|ab)(/(a|b|ab)){0,4}/?", 0usize..6), 0..6),
            asked in proptest::collection::vec(("(a|b|ab)(/(a|b|ab)){0,4}/?", 0usize..6), 1..40),
        ) {
            let operations = [Create, Read, Update, Patch, Delete, List];
            let read = |all: &[(String, Vec<usize>)]| -> Vec<Policy> {
                let rules = all.iter().filter(|(pattern, _)| !pattern.contains("+*"));
                rules.map(|(pattern, words)| {
                    let words: Vec<_> = words.iter().map(|at| Capability::ALL[*at].as_str()).collect();
                    policy(&format!("path {} {{ capabilities = {} }}", quoted(pattern), super::words(&words)))
                }).collect()
            };
            let (granted, beside) = (read(&granted), read(&beside));
            let before = Acl::new(granted.iter().chain(&beside));
            let mut used: BTreeMap<String, Capabilities> = BTreeMap::new();
            for (path, at) in &done {
                let (decision, rule) = before.decide_by(operations[*at], path, &Map::new());
                if decision.allowed {
                    let used = used.entry(rule.unwrap().to_owned()).or_default();
                    used.add(Capability::needed_for(operations[*at]));
                }
            }
            let used = used.iter().map(|(pattern, used)| (pattern.as_str(), *used)).collect();
            if let Some(found) = narrowed(&granted, &beside, &used) {
                let narrow = policy(&found.policy);
                let after = Acl::new(std::iter::once(&narrow).chain(&beside));
                for (path, at) in &asked {
                    let (was, is) = (decided(&before, operations[*at], path), decided(&after, operations[*at], path));
                    prop_assert!(was.0 >= is.0 && was.1 >= is.1, "{:?} {path}\n{}", operations[*at], found.policy);
                }
                for (path, at) in &done {
                    let (was, is) = (decided(&before, operations[*at], path), decided(&after, operations[*at], path));
                    prop_assert!(was.0 == is.0, "{:?} {path}\n{}", operations[*at], found.policy);
                }
            }
        }
    }
}
