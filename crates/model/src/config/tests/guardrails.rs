use super::*;

#[test]
fn guardrails() {
    let set = clean(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
      - { detect: personal_data, action: redact, kinds: [email, card] }
      - { detect: jailbreak, action: flag, sensitivity: high }
      - { detect: words, action: block, words: [falcon] }
      - { detect: pattern, action: redact, pattern: 'PRJ-\\d{4}' }
      - { detect: size, action: block, most_characters: 20000 }
",
    );
    assert_eq!(set.models[0].guardrails.len(), 5);
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
      - { detect: jailbreak, action: redact }
      - { detect: words, action: block }
      - { detect: secrets, action: block, words: [x] }
      - { detect: words, action: block, words: [' '] }
      - { detect: size, action: flag, most_characters: 0 }
      - { detect: fear, action: block }
      - { detect: secrets }
",
        &[
            "5:38 invalid_value models[0].guardrails[0].action",
            "6:9 missing_field models[0].guardrails[1]",
            "7:50 invalid_value models[0].guardrails[2].words",
            "8:48 out_of_bounds models[0].guardrails[3].words",
            "9:56 out_of_bounds models[0].guardrails[4].most_characters",
            "10:19 unknown_word models[0].guardrails[5].detect",
            "11:9 missing_field models[0].guardrails[6].action",
        ],
    );
}

#[test]
fn guardrails_on_answers() {
    let set = clean(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
      - { detect: personal_data, action: mask }
      - { detect: personal_data, action: redact, on: answer, hold: true }
      - { detect: size, action: block, on: both, most_characters: 20000 }
      - { detect: json_schema, action: flag, on: answer, schema: { type: object, required: [city] } }
",
    );
    let rules = &set.models[0].guardrails;
    assert_eq!(rules[3].schema, Some(serde_json::json!({"type": "object", "required": ["city"]})));
    let written = serde_json::to_value(rules).unwrap();
    assert_eq!(written[0], serde_json::json!({"detect": "personal_data", "action": "mask"}));
    assert_eq!(serde_json::from_value::<Vec<crate::resource::Guardrail>>(written).unwrap(), *rules);
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
      - { detect: personal_data, action: mask, on: both }
      - { detect: size, action: mask, most_characters: 9 }
      - { detect: jailbreak, action: flag, on: answer }
      - { detect: json_schema, action: block, schema: {} }
      - { detect: json_schema, action: block, on: answer }
      - { detect: secrets, action: flag, on: answer, hold: true }
      - { detect: secrets, action: block, hold: true }
      - { detect: secrets, action: block, on: answers }
      - { detect: secrets, action: block, on: answer, schema: true }
",
        &[
            "5:52 invalid_value models[0].guardrails[0].on",
            "6:33 invalid_value models[0].guardrails[1].action",
            "7:48 invalid_value models[0].guardrails[2].on",
            "8:9 invalid_value models[0].guardrails[3].on",
            "9:9 missing_field models[0].guardrails[4]",
            "10:60 invalid_value models[0].guardrails[5].hold",
            "11:49 invalid_value models[0].guardrails[6].hold",
            "12:47 unknown_word models[0].guardrails[7].on",
            "13:63 invalid_value models[0].guardrails[8].schema",
        ],
    );
}

#[test]
fn models_together_have_a_bounded_number_of_expressions() {
    let rule = |n: usize| match n % 2 {
        0 => format!("{{ detect: pattern, action: flag, pattern: a{n} }}"),
        _ => format!("{{ detect: words, action: flag, words: [a{n}] }}"),
    };
    let models = |count: usize| {
        let model = |index: usize| {
            // Of each its own and those that all have.
            let own = (index * 16..index * 16 + 16).chain(0..16).map(rule).collect::<Vec<_>>().join(", ");
            format!("  - {{ name: m{index}, targets: [{{ provider: openai, model: x }}], guardrails: [{own}] }}\n")
        };
        format!("models:\n{}", (0..count).map(model).collect::<String>())
    };
    clean(&models(16));
    let found = problems(&models(18)).0;
    let told: Vec<_> = found.iter().map(|problem| (&*problem.code, &*problem.path)).collect();
    assert_eq!(told, [("out_of_bounds", "models[16].guardrails[0]")]);
}

#[test]
fn shared_guardrails() {
    let text = "guardrails:
  - name: company
    rules:
      - { detect: personal_data, action: redact }
      - { detect: pattern, action: route, pattern: 'PRJ-\\d{4}' }
models:
  - name: m
    targets: [{ provider: openai, model: x, internal: true }]
    use_guardrails: [company]
    guardrails: [{ detect: secrets, action: block }]
";
    let set = clean(text);
    let rules = |name: &crate::Name| {
        let set = set.guardrails.iter().find(|set| set.name == *name)?;
        Some(set.rules.as_slice())
    };
    let all: Vec<_> =
        set.models[0].rules(rules).map(|(set, rule)| (set.map(crate::Name::as_str), rule.detect.as_str())).collect();
    assert_eq!(all, [(Some("company"), "personal_data"), (Some("company"), "pattern"), (None, "secrets")]);
    let (found, others) = crate::config::without(&set, crate::resource::Kind::Guardrails, "company", &CONTEXT);
    let found: Vec<_> = found.iter().map(|d| (d.kind, d.name.as_str(), d.path.as_str())).collect();
    assert_eq!((found, others.0.len()), (vec![(crate::resource::Kind::Models, "m", "use_guardrails[0]")], 0));
    expect(
        "guardrails:
  - { name: company, rules: [{ detect: secrets, action: route }] }
  - { name: none, rules: [] }
  - { name: wrong, rules: [{ detect: jailbreak, action: redact }] }
models:
  - name: m
    targets: [{ provider: openai, model: x }]
    use_guardrails: [other, company, company]
",
        &[
            "3:26 empty guardrails[1].rules",
            "4:57 invalid_value guardrails[2].rules[0].action",
            "8:22 unknown_name models[0].use_guardrails[0]",
            "8:29 missing models[0].use_guardrails[1]",
            "8:38 duplicate models[0].use_guardrails[2]",
        ],
    );
    let rule = "{ detect: size, action: flag, most_characters: 1 }";
    let many = vec![rule; 20].join(", ");
    expect(
        &format!(
            "guardrails: [{{ name: a, rules: [{many}] }}]\nmodels: [{{ name: m, targets: [{{ provider: openai, model: x }}], use_guardrails: [a], guardrails: [{many}] }}]\n"
        ),
        &["2:97 out_of_bounds models[0].guardrails"],
    );
}

#[test]
fn guardrails_that_others_judge() {
    let around = "upstreams: [{ name: judge, endpoints: [\"https://judge.example\"] }]
models:
  - { name: omni, targets: [{ provider: openai, model: omni-moderation-latest }] }
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
";
    let set = clean(&format!(
        "{around}      - {{ detect: moderation, action: block, model: omni, categories: {{ hate: 0.5, violence: 1 }} }}
      - {{ detect: webhook, action: redact, on: both, upstream: judge, path: /v1/judge, timeout: 2s, on_error: allow }}
"
    ));
    let rules = &set.models[1].guardrails;
    assert_eq!(rules[0].categories["violence"], 1.0);
    let written = serde_json::to_value(rules).unwrap();
    assert_eq!(serde_json::from_value::<Vec<crate::resource::Guardrail>>(written).unwrap(), *rules);
    expect(
        &format!(
            "{around}      - {{ detect: moderation, action: redact, model: omni }}
      - {{ detect: moderation, action: block, model: none }}
      - {{ detect: moderation, action: block, model: m, categories: {{ hate: 1.5 }} }}
      - {{ detect: moderation, action: mask, model: omni }}
      - {{ detect: webhook, action: block, upstream: jugde, path: v1 }}
      - {{ detect: webhook, action: block, on: answer, hold: true, upstream: judge, timeout: 61s }}
      - {{ detect: secrets, action: block, on_error: allow }}
      - {{ detect: webhook, action: block }}
"
        ),
        &[
            "7:39 invalid_value models[1].guardrails[0].action",
            "8:53 unknown_name models[1].guardrails[1].model",
            "9:53 contradiction models[1].guardrails[2].model",
            "9:76 out_of_bounds models[1].guardrails[2].categories.hate",
            "10:39 invalid_value models[1].guardrails[3].action",
            "11:53 unknown_name models[1].guardrails[4].upstream",
            "11:66 invalid_path models[1].guardrails[4].path",
            "12:47 contradiction models[1].guardrails[5].on",
            "12:61 invalid_value models[1].guardrails[5].hold",
            "12:93 out_of_bounds models[1].guardrails[5].timeout",
            "13:53 invalid_value models[1].guardrails[6].on_error",
            "14:9 missing_field models[1].guardrails[7]",
        ],
    );
    expect(
        &format!(
            "{around}      - {{ detect: webhook, action: block, on: answer, upstream: judge }}
      - {{ detect: personal_data, action: mask }}
"
        ),
        &["7:47 contradiction models[1].guardrails[0].on"],
    );
    clean(&format!("{around}      - {{ detect: webhook, action: mask, upstream: judge }}\n"));
    expect(
        &format!(
            "{around}      - {{ detect: webhook, action: mask, upstream: judge }}
      - {{ detect: webhook, action: block, on: answer, upstream: judge }}
"
        ),
        &["8:47 contradiction models[1].guardrails[1].on"],
    );
    expect(
        &format!("{around}      - {{ detect: webhook, action: mask, on: both, upstream: judge }}\n"),
        &["7:46 invalid_value models[1].guardrails[0].on", "7:46 contradiction models[1].guardrails[0].on"],
    );
}

#[test]
fn topics() {
    let around = "models:
  - { name: e, targets: [{ provider: openai, model: text-embedding-3-small }] }
  - name: m
    targets: [{ provider: openai, model: x }]
    guardrails:
";
    let politics = "topics: [{ name: politics, examples: [Whom should I vote for?] }]";
    let set = clean(&format!(
        "{around}      - {{ detect: topics, action: block, embedding_model: e, {politics} }}
      - {{ detect: topics, action: flag, on: both, embedding_model: e, threshold: 0.4, only: true, timeout: 2s, on_error: allow, {politics} }}
"
    ));
    let rules = &set.models[1].guardrails;
    assert_eq!(
        (rules[0].topics[0].name.as_str(), &*rules[0].topics[0].examples),
        ("politics", &["Whom should I vote for?".to_owned()][..])
    );
    assert_eq!((rules[1].threshold, rules[1].only), (Some(0.4), true));
    let written = serde_json::to_value(rules).unwrap();
    assert_eq!(serde_json::from_value::<Vec<crate::resource::Guardrail>>(written).unwrap(), *rules);
    let long = "word ".repeat(121);
    expect(
        &format!(
            "{around}      - {{ detect: topics, action: redact, embedding_model: e, {politics} }}
      - {{ detect: topics, action: block, {politics} }}
      - {{ detect: topics, action: block, embedding_model: e }}
      - {{ detect: topics, action: block, embedding_model: m, threshold: 1.5, {politics} }}
      - {{ detect: topics, action: block, embedding_model: gone, topics: [{{ name: a, examples: [] }}, {{ name: a, examples: [x, '12', {long}] }}] }}
      - {{ detect: words, action: block, words: [x], only: true, threshold: 0.5 }}
"
        ),
        &[
            "6:35 invalid_value models[1].guardrails[0].action",
            "7:9 missing_field models[1].guardrails[1]",
            "8:9 missing_field models[1].guardrails[2]",
            "9:59 contradiction models[1].guardrails[3].embedding_model",
            "9:73 out_of_bounds models[1].guardrails[3].threshold",
            "10:59 unknown_name models[1].guardrails[4].embedding_model",
            "10:95 empty models[1].guardrails[4].topics[0].examples",
            "10:109 duplicate models[1].guardrails[4].topics[1].name",
            "10:126 invalid_value models[1].guardrails[4].topics[1].examples[1]",
            "10:132 invalid_value models[1].guardrails[4].topics[1].examples[2]",
            "11:59 invalid_value models[1].guardrails[5].only",
            "11:76 invalid_value models[1].guardrails[5].threshold",
        ],
    );
    let topic = |n: usize| format!("{{ name: t{n}, examples: [{}] }}", ["x"; 4].join(", "));
    let many = (0..33).map(topic).collect::<Vec<_>>().join(", ");
    expect(
        &format!("{around}      - {{ detect: topics, action: block, embedding_model: e, topics: [{many}] }}\n"),
        &["6:70 out_of_bounds models[1].guardrails[0].topics"],
    );
}
