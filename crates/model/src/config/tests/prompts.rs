//! Prompts and the routes that publish them, as they are declared.

use super::*;
use crate::resource::Kind;

const MODEL: &str = "models:\n  - name: m\n    targets: [{ provider: sandbox, model: x }]\n";

#[test]
fn a_prompt_reads_back_as_it_was_written() {
    let text = format!(
        "{MODEL}prompts:
  - name: sentiment
    model: m
    variables:
      text: {{ type: string, max_length: 4000 }}
      tone: {{ type: enum, values: [short, long], default: short }}
      count: {{ type: integer, required: false }}
    versions:
      - version: 1
        system: Judge.
        messages: [{{ role: user, content: '{{{{text}}}} {{{{ tone }}}}' }}]
        parameters: {{ temperature: 0.5, max_tokens: 10, stop: [END] }}
      - version: 7
        model: m
        messages: [{{ role: user, content: '{{{{count}}}}' }}]
        answer_schema: {{ type: object, required: [mood] }}
    labels: {{ production: 1, next: 7 }}
    tests:
      - name: good
        variables: {{ text: I like it, count: 3 }}
        checks: [{{ contains: good }}, {{ max_length: 20 }}]
routes:
  - {{ name: s, match: {{ path: /sentiment }}, prompt: {{ name: sentiment, label: next }}, authenticate: [api_key] }}
"
    );
    let text = text + "applications: [{ name: a, allow: { prompts: [sentiment] } }]\n";
    let set = clean(&text);
    let prompt = &set.prompts[0];
    assert_eq!((prompt.labelled("next"), prompt.labelled("gone")), (Some(7), None));
    assert_eq!(prompt.version(1).unwrap().parameters.temperature, Some(0.5));
    assert!(prompt.variables["text"].is_required() && !prompt.variables["tone"].is_required());
    assert_eq!(clean(&export(&set)), set);
    for (kind, name, of, path) in
        [(Kind::Models, "m", Kind::Prompts, "model"), (Kind::Prompts, "sentiment", Kind::Routes, "prompt.name")]
    {
        let (found, others) = without(&set, kind, name, &CONTEXT);
        let found = found.iter().find(|one| one.kind == of).unwrap();
        assert_eq!((found.path.as_str(), others.0.len()), (path, 0));
    }
    let (found, _) = without(&set, Kind::Prompts, "sentiment", &CONTEXT);
    assert!(found.iter().any(|one| (one.kind, one.path.as_str()) == (Kind::Applications, "allow.prompts[0]")));
    let found = problems(&text.replace("prompts: [sentiment] }", "prompts: [gone] }"));
    let found: Vec<_> = found.0.iter().map(|p| format!("{} {}", p.code, p.path)).collect();
    assert_eq!(found, ["unknown_name applications[0].allow.prompts[0]"]);
}

#[test]
fn what_cannot_be_a_prompt_is_told_at_its_line() {
    let text = format!(
        "{MODEL}prompts:
  - name: p
    model: gone
    variables:
      a-b: {{ type: string }}
      n: {{ type: integer, max_length: 3, default: x }}
      e: {{ type: enum }}
      f: {{ type: string, values: [x], default: y, required: true }}
    versions:
      - version: 2
        system: 'a {{{{b}}'
      - version: 2
        messages: [{{ role: user, content: '{{{{unknown}}}}' }}]
        parameters: {{ temperature: 3, top_p: 2, max_tokens: 0 }}
      - version: 3
    labels: {{ 1st: 2, production: 9 }}
    tests:
      - name: t
        variables: {{ x: 1, n: '1' }}
        checks: [{{ contains: a, equals: b }}, {{}}]
      - name: t
        variables: {{ n: 1, e: x }}
        checks: []
"
    );
    let found = problems(&text);
    let found: Vec<_> = found.0.iter().map(|p| format!("{} {}", p.code, p.path)).collect();
    for expected in [
        "unknown_name prompts[0].model",
        "invalid_value prompts[0].variables.a-b",
        "not_here prompts[0].variables.n.max_length",
        "invalid_value prompts[0].variables.n.default",
        "invalid_value prompts[0].variables.e.values",
        "invalid_value prompts[0].variables.f.values",
        "contradiction prompts[0].variables.f.required",
        "invalid_value prompts[0].versions[0].system",
        "duplicate prompts[0].versions[1].version",
        "unknown_variable prompts[0].versions[1].messages[0].content",
        "out_of_bounds prompts[0].versions[1].parameters.temperature",
        "out_of_bounds prompts[0].versions[1].parameters.top_p",
        "out_of_bounds prompts[0].versions[1].parameters.max_tokens",
        "missing_field prompts[0].versions[2]",
        "invalid_value prompts[0].labels.1st",
        "unknown_version prompts[0].labels.production",
        "unknown_variable prompts[0].tests[0].variables.x",
        "invalid_value prompts[0].tests[0].variables.n",
        "invalid_value prompts[0].tests[0].checks[0]",
        "invalid_value prompts[0].tests[0].checks[1]",
        "duplicate prompts[0].tests[1].name",
        "empty prompts[0].tests[1].checks",
    ] {
        assert!(found.iter().any(|one| one == expected), "{expected} is not in {found:#?}");
    }
}

#[test]
fn a_route_leads_to_an_upstream_or_publishes_a_prompt() {
    let around = format!(
        "{MODEL}prompts: [{{ name: p, model: m, versions: [{{ version: 1, system: x }}] }}]\nupstreams: [{{ name: u, endpoints: ['http://h'] }}]\n"
    );
    let of = |fields: &str| {
        let found = problems(&format!("{around}routes: [{{ name: r, authenticate: [none], {fields} }}]"));
        found.0.iter().map(|p| format!("{} {}", p.code, p.path)).collect::<Vec<_>>()
    };
    assert_eq!(of("match: { path: /p }, prompt: { name: p, version: 1 }"), [""; 0]);
    for (fields, expected) in [
        ("match: { path: /p }", "missing_field routes[0].upstream"),
        ("match: { path: /p }, upstream: u, prompt: { name: p }", "not_here routes[0].upstream"),
        ("match: { path: /p }, prompt: { name: q }", "unknown_name routes[0].prompt.name"),
        ("match: { path: /p }, prompt: { name: p, label: a, version: 1 }", "contradiction routes[0].prompt.version"),
        ("match: { path: /p }, prompt: { name: p, label: 1st }", "invalid_value routes[0].prompt.label"),
        ("match: { path: '/p/*' }, prompt: { name: p }", "invalid_path routes[0].match.path"),
        ("match: { path: /p, methods: [GET] }, prompt: { name: p }", "invalid_method routes[0].match.methods"),
        (
            "match: { path: /p }, prompt: { name: p }, secrets_in_requests: report",
            "not_here routes[0].secrets_in_requests",
        ),
        (
            "match: { path: /p }, prompt: { name: p }, secrets_in_answers: blank",
            "not_here routes[0].secrets_in_answers",
        ),
    ] {
        assert_eq!(of(fields), [expected], "{fields}");
    }
}

#[test]
fn a_version_of_a_prompt_with_tests_is_published_where_a_label_stands_for_it() {
    let of = |labels: &str, tests: &str, publishes: &str| {
        let found = problems(&format!(
            "{MODEL}prompts:
  - name: p
    model: m
    versions: [{{ version: 1, system: x }}, {{ version: 2, system: y }}]
{labels}{tests}routes: [{{ name: r, match: {{ path: /p }}, prompt: {{ name: p, {publishes} }}, authenticate: [none] }}]
"
        ));
        found.0.iter().map(|p| format!("{} {}", p.code, p.path)).collect::<Vec<_>>()
    };
    let (labels, tests) = ("    labels: { production: 1 }\n", "    tests: [{ name: t, checks: [{ contains: x }] }]\n");
    assert_eq!(of(labels, tests, "version: 2"), ["version_not_in_use routes[0].prompt.version"]);
    assert_eq!(of(labels, tests, "version: 1"), [""; 0]);
    assert_eq!(of(labels, tests, "label: production"), [""; 0]);
    assert_eq!(of("    labels: { production: 1, stable: 2 }\n", tests, "version: 2"), [""; 0]);
    // Without tests nothing is held back, and a file that says nothing of labels does not know them.
    assert_eq!(of(labels, "", "version: 2"), [""; 0]);
    assert_eq!(of("", tests, "version: 2"), [""; 0]);
}
