//! What a set becomes: references resolved, differences planned, text that reads back equal.

use super::*;
use crate::{SecretValue, resource::*};
use proptest::prelude::*;

#[test]
fn references_are_listed_and_resolved() {
    let text = "credentials:\n  - { name: a, engine: static, value: '${env:A}' }\n  - { name: b, engine: static, value: '${file:/b}' }\n  - { name: c, engine: static }\n  - { name: d, engine: static, value: '${env:EMPTY}' }";
    let (set, source, _) = read("c.yaml", text);
    assert_eq!(references(&set).len(), 3);
    let (values, problems) = resolve(&set, &source, |reference| match reference.to_string().as_str() {
        "${env:A}" => Ok(SecretValue::from("x")),
        "${env:EMPTY}" => Ok(SecretValue::from("")),
        _ => Err("the file does not exist".to_owned()),
    });
    assert_eq!(values.len(), 1);
    let told: Vec<_> = problems.0.iter().map(|p| (p.at.line, p.at.column, p.path.as_str())).collect();
    assert_eq!(told, [(3, 39, "credentials[1].value"), (5, 39, "credentials[3].value")]);
    assert!(problems.0[0].detail.contains("${file:/b} cannot be resolved: the file does not exist"));
}

#[test]
fn what_names_a_resource_is_told_before_it_goes() {
    let text = include_str!("../../../../../examples/credentialflow.yaml");
    let set = clean(text);
    let credential = set.credentials[0].name.clone();
    let check = |kind, name: &str, expected: usize| {
        let (found, others) = without(&set, kind, name, &CONTEXT);
        assert_eq!((found.len(), others.0.len()), (expected, 0), "{found:?} {others}");
        found
    };
    check(Kind::Credentials, "no-such", 0);
    check(Kind::Keys, set.keys[0].name.as_str(), 0);
    let (found, _) = without(&set, Kind::Credentials, credential.as_str(), &CONTEXT);
    assert!(!found.is_empty());
    for by in found {
        let list = serde_json::to_value(&set).unwrap()[by.kind.as_str()].clone();
        let one = list.as_array().unwrap().iter().find(|one| one["name"] == by.name.as_str()).unwrap().clone();
        let pointer = format!("/{}", by.path.replace(['.', '['], "/").replace(']', ""));
        assert_eq!(one.pointer(&pointer).unwrap(), credential.as_str(), "{by:?}");
    }
}

#[test]
fn plans_are_ordered_and_idempotent() {
    let before = clean("teams: [{ name: old }, { name: t }]\napplications: [{ name: a, team: old }]");
    let after = clean(
        "teams: [{ name: t, description: now }, { name: new }]\napplications: [{ name: b, team: new }]\nkeys: [{ name: k, application: b }]",
    );
    let planned = plan(&before, &after, true);
    assert_eq!(
        planned.to_string(),
        "~ teams/t\n    + description: \"now\"\n+ teams/new\n+ applications/b\n+ keys/k\n- applications/a\n- teams/old\n3 to create, 1 to update, 2 to delete, 0 unchanged\n"
    );
    let kept = plan(&before, &after, false);
    assert_eq!((kept.count(Action::Delete), kept.unchanged), (0, 2));
    assert!(plan(&after, &after, true).is_empty());
    assert_eq!(serde_json::from_str::<Plan>(&serde_json::to_string(&planned).unwrap()).unwrap(), planned);
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,20}",
        "(true|null|~|yes|1e3|0x1f|\\.5|30s|5|-|---|: |a: b|a #b|\\$\\{env:A\\}|1:30|=|<<|!a|&a|\\*a|%a|@a|`a)",
    ]
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let (set, source, _) = read_bytes("c", &bytes);
        check(&set, &source, &CONTEXT);
    }

    #[test]
    fn anything_like_yaml_never_panics(text in "([a-z]|teams|routes|name|: |- |\n|  |\\{|\\}|\\[|\\]|,|\"|'|#|&|\\*|!|\\||>|\\?|5|null|\t|%|---){0,60}") {
        let (set, source, _) = read("c", &text);
        check(&set, &source, &CONTEXT);
        read_resource::<Route>(&text).ok();
    }

    #[test]
    fn exports_read_back_equal(
        words in proptest::collection::vec(texts(), 12),
        metadata in proptest::collection::btree_map(texts(), texts(), 0..5),
        list in proptest::collection::vec(texts(), 0..5),
        number in any::<u32>(),
        millis in 1u64..1 << 49,
        micros in 0i64..4_000_000_000_000_000,
    ) {
        let mut set = clean(include_str!("../../../../../examples/credentialflow.yaml"));
        set.teams[0].description = Some(words[0].clone());
        set.credentials[0].tags = list.clone();
        set.credentials[0].expires = Some(crate::Timestamp::from_micros(micros));
        set.upstreams[0].endpoints = list.clone();
        set.upstreams[0].timeouts.idle = crate::Period::from_millis(millis);
        set.upstreams[0].tls = Some(UpstreamTls { ca_file: Some(words[1].clone()), ..UpstreamTls::default() });
        set.upstreams[1].inject.as_mut().unwrap().basic.as_mut().unwrap().username = words[2].clone();
        set.routes[0].matches = Match { hosts: list.clone(), path: words[3].clone(), methods: list, headers: metadata.clone() };
        set.routes[0].limit.as_mut().unwrap().requests = Some(number);
        set.routes[1].headers.as_mut().unwrap().request.set = metadata.clone();
        set.models[0].targets[0].model = words[4].clone();
        set.models[0].targets[0].weight = number;
        set.models[0].targets[0].priority = number % 101;
        set.models[0].deadline = Some(crate::Period::from_millis(millis.clamp(100, 3_600_000)));
        set.keys[0].metadata = metadata;
        set.keys[0].environment = words[5].clone();
        let text = export(&set);
        let (again, _, problems) = read("c", &text);
        prop_assert!(problems.0.is_empty(), "{problems}\n{text}");
        prop_assert_eq!(again, set, "{}", text);
    }
}
