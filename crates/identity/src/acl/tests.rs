//! What policies promise, and a slow but obvious second way to decide, against which the tree is held.

use super::*;
use crate::Operation::{self, Create, List, Read, Update};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn acl(texts: &[&str]) -> Acl {
    let all: Vec<Policy> = texts.iter().map(|t| Policy::parse(t).unwrap()).collect();
    Acl::new(&all)
}

fn allowed(acl: &Acl, operation: Operation, path: &str) -> bool {
    acl.decide(operation, path, &Map::new()).allowed
}

fn with(acl: &Acl, operation: Operation, path: &str, data: Value) -> bool {
    acl.decide(operation, path, data.as_object().unwrap()).allowed
}

#[test]
fn nothing_is_allowed_that_no_rule_allows() {
    let list = acl(&[r#"path "secret/*" { capabilities = ["read", "list"] } path "sys" { policy = "write" }"#]);
    for (operation, path, expected) in [
        (Read, "secret/a", true),
        (Read, "secret/", true),
        (Read, "secret", false),
        (Update, "secret/a", false),
        (Read, "secretx", false),
        (Create, "sys", true),
        (Create, "sys/", false),
        (List, "sys/", true),
        (Read, "", false),
        (Read, "sys/mounts", false),
    ] {
        assert_eq!(allowed(&list, operation, path), expected, "{operation:?} {path}");
    }
    assert!(!allowed(&Acl::default(), Read, "a"));
    assert!(allowed(&Acl::root(), Read, "a"));
}

#[test]
fn the_documented_order_decides_between_patterns() {
    // Each pattern allows one thing only, so that the answer shows which one decided.
    let list = acl(&[r#"
        path "a/*" { capabilities = ["create"] }
        path "a/+/c" { capabilities = ["read"] }
        path "a/b/*" { capabilities = ["update"] }
        path "a/+/*" { capabilities = ["delete"] }
        path "a/b/c" { capabilities = ["list"] }
        path "a/+/+/d" { capabilities = ["patch"] }
        path "a/x*" { capabilities = ["sudo"] }
    "#]);
    for (path, expected) in [
        ("a/b/c", "list"),
        ("a/z/c", "read"),
        ("a/b/z", "update"),
        ("a/z/z", "create"),
        ("a/z/z/d", "patch"),
        ("a/z", "create"),
        ("a/xy", "sudo"),
        ("a/xy/c", "sudo"),
        ("z", "deny"),
    ] {
        assert_eq!(list.capabilities(path), [expected], "{path}");
    }
}

#[test]
fn policies_add_up_and_deny_wins() {
    let list = acl(&[
        r#"path "a" { capabilities = ["read"] } path "b" { capabilities = ["read"] }"#,
        r#"path "a" { capabilities = ["update"] } path "b" { capabilities = ["deny"] }"#,
        r#"path "b" { capabilities = ["sudo", "read"] }"#,
    ]);
    assert_eq!(list.capabilities("a"), ["read", "update"]);
    assert_eq!(list.capabilities("b"), ["deny"]);
    assert!(!list.decide(Read, "b", &Map::new()).sudo);
    assert_eq!(Acl::root().capabilities("x"), ["root"]);
}

#[test]
fn fields_are_allowed_denied_and_required() {
    let list = acl(&[r#"
        path "allowed" { capabilities = ["create"] allowed_parameters = { "zone" = ["eu-*", 1] "name" = [] } }
        path "denied" { capabilities = ["create"] denied_parameters = { "zone" = ["us"] "name" = [] } }
        path "required" { capabilities = ["create"] required_parameters = ["Name"] }
        path "rest" { capabilities = ["create"] allowed_parameters = { "*" = [] "zone" = ["eu"] } }
        path "none" { capabilities = ["create"] denied_parameters = { "*" = [] } }
    "#]);
    for (path, data, expected) in [
        ("allowed", json!({"zone": "eu-west", "name": "x"}), true),
        ("allowed", json!({"ZONE": 1}), true),
        ("allowed", json!({"zone": "us"}), false),
        ("allowed", json!({"other": 1}), false),
        ("allowed", json!({}), true),
        ("denied", json!({"zone": "us"}), false),
        ("denied", json!({"zone": "eu", "other": 1}), true),
        ("denied", json!({"NAME": "x"}), false),
        ("required", json!({}), false),
        ("required", json!({"name": null}), true),
        ("rest", json!({"zone": "us"}), false),
        ("rest", json!({"other": 1, "zone": "eu"}), true),
        ("none", json!({"a": 1}), false),
        ("none", json!({}), true),
    ] {
        assert_eq!(with(&list, Create, path, data.clone()), expected, "{path} {data}");
    }
}

#[test]
fn documents_that_could_be_misread_are_refused() {
    for (text, part) in [
        (r#"path "a" { capabilities = ["raed"] }"#, "invalid capability"),
        (r#"path "a" { capabilitees = ["read"] }"#, "invalid key"),
        (r#"pth "a" { }"#, "invalid key"),
        (r#"path "a/{{identity.entity.id}}" { policy = "read" }"#, "not supported yet"),
        (r#"path "a/+*" { policy = "read" }"#, "forbidden"),
        (r#"path "a" { min_wrapping_ttl = "2h" max_wrapping_ttl = "1h" }"#, "max_wrapping_ttl"),
        (r#"path "a" "b" { }"#, "written as"),
        (r#"{"path": {"a": {"capabilities": "read"}}}"#, "list of words"),
    ] {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn wrapping_lifetimes_come_from_the_rule() {
    let list = acl(&[r#"path "a" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = 3600 }"#]);
    let decision = list.decide(Read, "a", &Map::new());
    assert_eq!((decision.min_wrapping_ttl, decision.max_wrapping_ttl), (60, 3600));
    assert!(decision.permits_wrapping(Some(60)) && decision.permits_wrapping(Some(3600)));
    assert!(![None, Some(59), Some(3601)].into_iter().any(|ttl| decision.permits_wrapping(ttl)));
    // Either limit makes wrapping mandatory, and of two policies the lower ones count.
    let only = |hcl: &str| acl(&[hcl]).decide(Operation::Read, "a", &Map::new());
    assert!(!only(r#"path "a" { capabilities = ["read"] max_wrapping_ttl = "1h" }"#).permits_wrapping(None));
    assert!(only(r#"path "a" { capabilities = ["read"] }"#).permits_wrapping(None));
    let two = acl(&[
        r#"path "a" { capabilities = ["read"] min_wrapping_ttl = "5m" max_wrapping_ttl = "1h" }"#,
        r#"path "a" { capabilities = ["read"] min_wrapping_ttl = "1m" max_wrapping_ttl = "2h" }"#,
    ]);
    let decision = two.decide(Operation::Read, "a", &Map::new());
    assert_eq!((decision.min_wrapping_ttl, decision.max_wrapping_ttl), (60, 3600));
}

#[test]
fn json_and_hcl_say_the_same() {
    let hcl = r#"path "a/*" { capabilities = ["read"] allowed_parameters = { x = ["1", 2] } max_wrapping_ttl = "1h" }"#;
    let json = r#"{"path": {"a/*": {"capabilities": ["read"], "allowed_parameters": {"x": ["1", 2]}, "max_wrapping_ttl": "1h"}}}"#;
    assert_eq!(Policy::parse(hcl).unwrap(), Policy::parse(json).unwrap());
}

#[test]
fn what_can_be_reached_is_known_by_prefix() {
    let list = acl(&[r#"path "kv/app/+/x" { capabilities = ["read"] } path "no/*" { capabilities = ["deny"] }"#]);
    assert!(list.reaches("kv/") && !list.reaches("no/") && !list.reaches("other/"));
    assert!(acl(&[r#"path "k*" { capabilities = ["read"] }"#]).reaches("kv/"));
}

/// Whether a pattern matches, the plain way.
fn fits(rule: &Rule, path: &str, list: bool) -> bool {
    let pattern: Vec<&str> = rule.path.split('/').collect();
    [Some(path), if list { path.strip_suffix('/') } else { None }].into_iter().flatten().any(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        if rule.prefix {
            let (start, whole) = pattern.split_last().unwrap();
            parts.len() >= pattern.len()
                && whole.iter().zip(&parts).all(|(p, s)| *p == "+" || p == s)
                && parts[whole.len()].starts_with(start)
        } else {
            parts.len() == pattern.len() && pattern.iter().zip(&parts).all(|(p, s)| *p == "+" || p == s)
        }
    })
}

/// The documented order, as a key to sort by.
fn order(rule: &Rule) -> (bool, usize, bool, i64, usize, String) {
    let written = format!("{}{}", rule.path, if rule.prefix { "*" } else { "" });
    let plus = written.split('/').filter(|s| *s == "+").count();
    let first = written.find(['+', '*']).unwrap_or(written.len());
    (plus == 0 && !rule.prefix, first, !rule.prefix, -(plus as i64), written.len(), written)
}

proptest! {
    #[test]
    fn the_tree_decides_as_the_plain_way_does(
        patterns in proptest::collection::vec("[ab+]{1}(/(a|b|\\+|ab)){0,3}(\\*|/\\*|/)?", 1..12),
        paths in proptest::collection::vec("(a|b|ab)(/(a|b|ab)){0,4}/?", 1..12),
    ) {
        let words = ["read", "create", "update", "delete", "list", "patch", "sudo"];
        let texts: Vec<String> = patterns
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.contains("+*"))
            .map(|(i, p)| format!("path \"{p}\" {{ capabilities = [\"{}\"] }}", words[i % words.len()]))
            .collect();
        let policies: Vec<Policy> = texts.iter().map(|t| Policy::parse(t).unwrap()).collect();
        let list = Acl::new(&policies);
        for path in &paths {
            let best = policies.iter().flat_map(|p| &p.rules).filter(|r| fits(r, path, true)).max_by_key(|r| order(r));
            let expected = best.map_or(Capabilities::NONE, |best| {
                let same = policies.iter().flat_map(|p| &p.rules).filter(|r| (&r.path, r.prefix) == (&best.path, best.prefix));
                same.fold(Capabilities::NONE, |sum, r| sum.merged(r.capabilities))
            });
            prop_assert_eq!(list.capabilities(path), expected.words(), "{} in {:?}", path, texts);
        }
    }
}
