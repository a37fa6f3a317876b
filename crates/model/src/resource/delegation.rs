//! Keys that act for others: whom a key comes from, who uses it for whom, and whether it may hand its rights on.

use super::{Allow, Key};
use crate::{Name, Period};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Whether a key may issue keys of its own at the token endpoint (RFC 8693), and which.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Delegate {
    /// The longest that such a key lives, and how long it does where nobody asks for less; 1m to 30d, 1h unless set.
    pub lifetime: Period,
    /// How many of them may be in force at once, over all generations; 1 to 1000, 100 unless set.
    pub keys: u32,
    /// How many generations: 1 when the keys it issues may issue none themselves, which is so unless set; at most 3.
    pub depth: u8,
}

impl Default for Delegate {
    fn default() -> Self {
        Self { lifetime: Period::from_secs(3600), keys: 100, depth: 1 }
    }
}

impl Delegate {
    /// The shortest life that can be asked for.
    pub const SHORTEST: Period = Period::from_secs(60);
    /// The longest one.
    pub const LONGEST: Period = Period::from_secs(30 * 86_400);
    /// Most keys in force at once.
    pub const MOST_KEYS: u32 = 1000;
    /// Most generations.
    pub const MOST_DEPTH: u8 = 3;
}

/// Who uses a key, and what for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyActor {
    /// Its name, as in `researcher`: 1 to 128 characters.
    pub name: String,
    /// What it is to do, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// Who acts, as RFC 8693, 4.1 writes it: the one who acts now, and within it who acted before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Act {
    /// The actor's name; that of the key where it has none.
    pub sub: String,
    /// For whom it acts in turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub act: Option<Box<Act>>,
}

impl Act {
    /// Of a chain of keys, the youngest first: each that came from another one, or that names its actor. `None` where
    /// nobody but the application acts.
    pub fn of<'k>(chain: impl DoubleEndedIterator<Item = &'k Key>) -> Option<Self> {
        let acting = chain.rev().filter(|key| key.parent.is_some() || key.actor.is_some());
        acting.fold(None, |before, key| {
            let sub = key.actor.as_ref().map_or_else(|| key.name.to_string(), |actor| actor.name.clone());
            Some(Self { sub, act: before.map(Box::new) })
        })
    }
}

/// Something that a key may not be, because of those that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wider {
    /// Which field.
    pub path: String,
    /// Why, for people.
    pub detail: String,
}

impl Key {
    /// The most keys that one comes from: a chain has one more.
    pub const MOST_ANCESTORS: usize = 4;

    /// Whom the calls of a chain of keys are for, the youngest first: the nearest that says so.
    pub fn subject_of<'k>(mut chain: impl Iterator<Item = &'k Self>) -> Option<&'k str> {
        chain.find_map(|key| key.subject.as_deref())
    }

    /// What this key would have beyond those that it comes from, the nearest first.
    pub fn beyond(&self, ancestors: &[&Self]) -> Vec<Wider> {
        let mut found = Vec::new();
        let mut wider = |path: &str, detail: String| found.push(Wider { path: path.to_owned(), detail });
        if ancestors.len() > Self::MOST_ANCESTORS {
            wider("parent", format!("a chain has at most {} keys", Self::MOST_ANCESTORS + 1));
        }
        for parent in ancestors {
            let name = &parent.name;
            if self.application != parent.application {
                wider("application", format!("key {name} speaks for application {}", parent.application));
            }
            if let (Some(mine), Some(end)) = (self.expires, parent.expires)
                && mine > end
            {
                wider("expires", format!("key {name}, which it comes from, ends at {end}"));
            }
            if let (Some(mine), Some(allowed)) = (&self.allow, &parent.allow) {
                for (list, mine, allowed) in [
                    ("routes", &mine.routes, &allowed.routes),
                    ("models", &mine.models, &allowed.models),
                    ("prompts", &mine.prompts, &allowed.prompts),
                ] {
                    for (index, one) in mine.iter().enumerate().filter(|(_, one)| !allowed.contains(one)) {
                        wider(&format!("allow.{list}[{index}]"), format!("key {name} may not use {one}"));
                    }
                }
            }
            let within = |network: &IpNet| parent.networks.iter().any(|outer| outer.contains(network));
            if !parent.networks.is_empty() {
                for (index, network) in self.networks.iter().enumerate().filter(|(_, network)| !within(network)) {
                    wider(&format!("networks[{index}]"), format!("key {name} is not used from {network}"));
                }
            }
            if let (Some(mine), Some(theirs)) = (&self.subject, &parent.subject)
                && mine != theirs
            {
                wider("subject", format!("key {name} acts for somebody else"));
            }
        }
        // Where several say the same of one field, the nearest is enough.
        let mut told = BTreeSet::new();
        found.retain(|wider| told.insert(wider.path.clone()));
        found
    }
}

impl Allow {
    /// What is left of this for a chain of keys: the routes, models and prompts that each of them allows. Of tools each list counts
    /// on its own where they are used.
    #[must_use]
    pub fn narrowed<'k>(&self, chain: impl Iterator<Item = &'k Key>) -> Self {
        let mut left = self.clone();
        for allow in chain.filter_map(|key| key.allow.as_ref()) {
            let keep = |list: &mut Vec<Name>, allowed: &[Name]| {
                let allowed: BTreeSet<&Name> = allowed.iter().collect();
                list.retain(|name| allowed.contains(name));
            };
            keep(&mut left.routes, &allow.routes);
            keep(&mut left.models, &allow.models);
            keep(&mut left.prompts, &allow.prompts);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn key(text: &str) -> Key {
        serde_json::from_str(text).unwrap()
    }

    fn paths(child: &Key, ancestors: &[&Key]) -> Vec<String> {
        child.beyond(ancestors).into_iter().map(|wider| wider.path).collect()
    }

    #[test]
    fn a_key_has_nothing_beyond_those_it_comes_from() {
        let root = key(
            r#"{"name":"root","application":"a","expires":"2027-01-01T00:00:00Z","allow":{"routes":["r","s"],"models":["m"],"prompts":["p"]},
                "networks":["10.0.0.0/8"],"subject":"alice"}"#,
        );
        let parent = key(r#"{"name":"parent","application":"a","parent":"root","allow":{"routes":["r"]}}"#);
        let chain = [&parent, &root];
        let within = key(
            r#"{"name":"k","application":"a","parent":"parent","expires":"2026-12-31T00:00:00Z","allow":{"routes":["r"]},
                "networks":["10.1.0.0/16"],"subject":"alice"}"#,
        );
        assert_eq!(paths(&within, &chain), [] as [&str; 0]);
        assert_eq!(paths(&key(r#"{"name":"k","application":"a","parent":"parent"}"#), &chain), [] as [&str; 0]);
        let beyond = key(r#"{"name":"k","application":"b","parent":"parent","expires":"2027-01-02T00:00:00Z",
                "allow":{"routes":["r","s","t"],"models":["m"],"prompts":["p","q"]},"networks":["10.1.0.0/16","0.0.0.0/0"],"subject":"bob"}"#);
        let expected = [
            "application",
            "allow.routes[1]",
            "allow.routes[2]",
            "allow.models[0]",
            "allow.prompts[0]",
            "allow.prompts[1]",
            "expires",
            "networks[1]",
            "subject",
        ];
        assert_eq!(paths(&beyond, &chain), expected);
        assert_eq!(paths(&within, &[&root; 5]), ["parent"]);
    }

    #[test]
    fn who_acts_is_told_from_the_one_who_acts_now() {
        let root = key(r#"{"name":"root","application":"a"}"#);
        let first =
            key(r#"{"name":"one","application":"a","parent":"root","actor":{"name":"planner"},"subject":"alice"}"#);
        let second = key(r#"{"name":"two","application":"a","parent":"one"}"#);
        let told = serde_json::to_string(&Act::of([&second, &first, &root].into_iter())).unwrap();
        assert_eq!(told, r#"{"sub":"two","act":{"sub":"planner"}}"#);
        assert_eq!(Act::of([&root].into_iter()), None);
        assert_eq!(Key::subject_of([&second, &first, &root].into_iter()), Some("alice"));
    }

    proptest! {
        #[test]
        fn what_is_left_is_what_each_allows(lists in proptest::collection::vec(proptest::option::of(0u8..16), 0..5)) {
            let names = |bits: u8| -> Vec<Name> {
                (0..4).filter(|n| bits >> n & 1 == 1).map(|n| format!("r{n}").parse().unwrap()).collect()
            };
            let chain: Vec<Key> = lists.iter().map(|bits| {
                let mut key = key(r#"{"name":"k","application":"a"}"#);
                key.allow = bits.map(|bits| Allow { routes: names(bits), models: names(bits), prompts: names(bits), ..Allow::default() });
                key
            }).collect();
            let whole = Allow { routes: names(15), models: names(7), prompts: names(14), ..Allow::default() };
            let left = whole.narrowed(chain.iter());
            let bits = lists.iter().flatten().fold(15, |left, bits| left & bits);
            let prompts = names(bits & 14);
            prop_assert_eq!(left, Allow { routes: names(bits), models: names(bits & 7), prompts, ..Allow::default() });
        }
    }
}
