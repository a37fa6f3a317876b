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
