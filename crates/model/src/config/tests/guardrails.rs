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
