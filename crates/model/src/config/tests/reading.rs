//! Texts that cannot be read, wholly or in part.

use super::*;
use crate::resource::*;

#[test]
fn every_problem_of_an_item_is_found_at_once() {
    expect(
        "routes:
  - name: Orders
    upstream: missing
    match: { path: /a, methdos: [GET] }
    limit: { requests: many, per: 60, by: planet }
    websocket: maybe
    colour: red
",
        &[
            "2:5 missing_field routes[0].authenticate",
            "2:11 invalid_value routes[0].name",
            "3:15 unknown_name routes[0].upstream",
            "4:24 unknown_field routes[0].match.methdos",
            "5:24 wrong_type routes[0].limit.requests",
            "5:35 invalid_value routes[0].limit.per",
            "5:43 unknown_word routes[0].limit.by",
            "6:16 wrong_type routes[0].websocket",
            "7:5 unknown_field routes[0].colour",
        ],
    );
    expect(
        "routes: [{}]\nmodels: [5, { name: m }]\n",
        &[
            "1:10 missing_field routes[0].authenticate",
            "1:10 missing_field routes[0].match",
            "1:10 missing_field routes[0].name",
            "1:10 missing_field routes[0].upstream",
            "2:10 wrong_type models[0]",
            "2:13 missing_field models[1].targets",
        ],
    );
}

#[test]
fn hints_say_what_was_meant() {
    let hint = |text: &str| problems(text).0[0].hint.clone().unwrap();
    assert!(hint("rotues: []").contains("did you mean `routes`"));
    assert!(hint(&route("    match: { paht: /a, path: /b }\n    authenticate: [api_key]")).contains("`path`"));
    assert!(hint(&route("    match: { path: /b }\n    authenticate: [api-key]")).contains("`api_key`"));
    assert!(hint("teams: [{ name: pay }]\napplications: [{ name: a, team: bay }]").contains("did you mean `pay`"));
    assert!(hint("teams: [{ name: 404 }]").contains("quotes"));
    let per =
        problems(&route("    match: { path: /b }\n    authenticate: [none]\n    limit: { requests: 1, per: 60 }"));
    assert!(per.0[0].detail.contains("unit"), "{per}");
}

#[test]
fn numbers_and_texts_are_kept_apart() {
    expect("teams: [{ name: 5 }]", &["1:17 wrong_type teams[0].name"]);
    expect("teams: [{ name: true }]", &["1:17 wrong_type teams[0].name"]);
    expect("teams: [{ name: '5' }]", &[]);
    expect("teams: [{ name: t, description: }]", &[]);
    expect("teams: [{ name: t, description: [x] }]", &["1:33 wrong_type teams[0].description"]);
    expect(
        "keys: [{ name: k, application: a, metadata: { n: 7, ok: '7' } }]\napplications: [{ name: a }]",
        &["1:50 wrong_type keys[0].metadata.n"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none]\n    retry: { attempts: '2' }"),
        &["7:24 wrong_type routes[0].retry.attempts"],
    );
    expect(
        &route("    match: { path: /a }\n    authenticate: [none]\n    retry: { attempts: 300 }"),
        &["7:24 invalid_value routes[0].retry.attempts"],
    );
    expect(
        "models: [{ name: m, targets: [{ provider: openai, model: m, prices: [{ from: 2026-01-01T00:00:00Z, input: 0.25, output: '1' }] }] }]",
        &["1:107 wrong_type models[0].targets[0].prices[0].input"],
    );
}

#[test]
fn yaml_that_configuration_does_not_need_is_refused() {
    expect("teams: &t [{ name: a }]", &["1:8 anchor "]);
    expect("teams: [*t]", &["1:9 syntax "]);
    expect("teams: !!set {}", &["1:8 tag "]);
    expect("teams: [{ name: a, <<: { name: b } }]", &["1:20 merge_key "]);
    expect("teams: []\nteams: []", &["2:1 duplicate_key "]);
    expect("teams: [{ name: a, name: b }]", &["1:20 duplicate_key "]);
    expect("teams: []\n---\nteams: []", &["2:1 several_documents "]);
    expect("? [a]\n: b", &["1:3 key "]);
    expect("teams: [", &["2:1 syntax "]);
    expect("- a", &["1:1 wrong_type "]);
    expect("teams: { name: a }", &["1:8 wrong_type teams"]);
    expect("", &[]);
    expect("# nothing\n", &[]);
    expect("routes:\n", &[]);
    expect("{\"teams\": [{\"name\": \"a\"}]}", &[]);
}

#[test]
fn bombs_are_refused_quickly() {
    let begin = std::time::Instant::now();
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &('b'..='i')
            .map(|c| {
                let p = (c as u8 - 1) as char;
                format!("{c}: &{c} [*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p},*{p}]\n")
            })
            .collect::<String>();
    assert!(problems(&bomb).0.iter().all(|p| p.code == "anchor"));
    for deep in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000), "? ".repeat(100_000)] {
        let problems = problems(&deep);
        assert!(matches!(problems.0[0].code.as_str(), "too_deep" | "key" | "syntax"), "{problems}");
    }
    let many = format!("teams: [{}]", "1,".repeat(MAX_NODES + 10));
    assert_eq!(problems(&many).0[0].code, "too_many_values");
    // No text at all, which nobody looks at who has seen its size.
    let huge = vec![0xff; 100_000_000];
    let (set, _, found) = read_bytes("c.yaml", &huge);
    assert_eq!((set, found.0[0].code.as_str()), (ResourceSet::default(), "too_large"));
    assert_eq!(read_many(&[("a", &"#".repeat(MAX_TEXT)), ("b", "#")]).2.0[0].file.as_deref(), Some("b"));
    assert!(begin.elapsed().as_secs() < 300, "{:?}", begin.elapsed());
}

#[test]
fn the_list_of_problems_is_bounded() {
    let text = format!("teams: [{}]", "{},".repeat(5000));
    let problems = read("c", &text).2;
    assert_eq!(problems.0.len(), MAX_PROBLEMS + 1);
    assert_eq!(problems.0[MAX_PROBLEMS].code, "too_many_problems");
}

#[test]
fn bytes_that_are_no_text() {
    let (_, _, problems) = read_bytes("c.yaml", b"teams: []\n# \xc3\xa4 \xff");
    assert_eq!((problems.0[0].at.line, problems.0[0].at.column, problems.0[0].code.as_str()), (2, 5, "not_utf8"));
}

#[test]
fn one_resource_from_json() {
    let route: Route =
        read_resource(r#"{"name":"r","match":{"path":"\/a\ud83d\ude00"},"upstream":"u","authenticate":["none"]}"#)
            .unwrap();
    assert_eq!(route.matches.path, "/a😀");
    let paths = |text| {
        read_resource::<Route>(text).unwrap_err().0.into_iter().map(|p| p.code + " " + &p.path).collect::<Vec<_>>()
    };
    assert_eq!(paths("{"), ["syntax "]);
    assert_eq!(paths(r#"{"name":"r","name":"s"} x"#), ["duplicate_key ", "syntax "]);
    assert_eq!(
        paths(r#"{"name":"R","match":{"path":5},"upstream":"u","authenticate":["none"],"x":1}"#),
        ["wrong_type match.path", "invalid_value name", "unknown_field x"]
    );
}

#[test]
fn one_resource_from_yaml() {
    let text = "name: r\nmatch: { path: /x }\nupstream: u\nauthenticate: [api_key]\nlimit:\n  requests: 5\n  per: 1m\n";
    let (route, source) = read_resource_yaml::<Route>(text).unwrap();
    assert_eq!(read_resource_yaml::<Route>(&export_resource(&route)).unwrap().0, route);
    let at = |path| source.locate(Kind::Routes, 0, path).map(|(_, at)| (at.line, at.column)).unwrap();
    assert_eq!((at("upstream"), at("limit.per"), at("authenticate[0]")), ((3, 11), (7, 8), (4, 16)));
    let expect = |text: &str, expected: &[(u32, &str)]| {
        let problems = read_resource_yaml::<Route>(text).unwrap_err();
        let found: Vec<_> = problems.0.iter().map(|p| (p.at.line, p.code.as_str())).collect();
        assert_eq!(found, expected, "{problems}");
        assert!(problems.0.iter().all(|p| p.file.is_none()));
    };
    expect(&text.replace("limit", "limmit"), &[(5, "unknown_field")]);
    expect("name: [", &[(2, "syntax")]);
    for nothing in ["", "[]", "5"] {
        assert!(read_resource_yaml::<Route>(nothing).is_err(), "{nothing}");
    }
}

#[test]
fn settings_of_any_shape_are_read_strictly() {
    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Settings {
        workers: Option<u32>,
        drain: Option<crate::Period>,
    }
    let read = |text| super::read_settings::<Settings>("s.yaml", text);
    assert_eq!(read("workers: 2").unwrap(), Settings { workers: Some(2), drain: None });
    assert_eq!(read("# nothing\n").unwrap(), Settings::default());
    let told: Vec<_> =
        read("drain: 30\nworker: 2\n").unwrap_err().0.into_iter().map(|p| (p.at.line, p.code, p.path)).collect();
    assert_eq!(told, [(1, "invalid_value".into(), "drain".into()), (2, "unknown_field".into(), "worker".into())]);
    assert!(read("[a]").is_err() && read("a: [").is_err());
}
