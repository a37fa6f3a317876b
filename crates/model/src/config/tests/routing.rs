use super::*;

#[test]
fn how_calls_are_shared_out() {
    let set = clean(
        "models:
  - name: m
    targets:
      - { provider: openai, model: x, internal: true, capabilities: [vision, tools], context: 32000 }
      - { provider: openai, model: y, capabilities: [] }
    route_by: cost
    sticky: { by: header, header: x-session-id }
    hedge: { after: 800ms }
    guardrails: [{ detect: personal_data, action: route }]
",
    );
    let model = &set.models[0];
    assert_eq!((model.route_by.as_str(), model.targets[0].context), ("cost", Some(32_000)));
    assert!(model.targets[0].internal && !model.targets[1].internal);
    assert_eq!(model.targets[1].capabilities.as_deref(), Some(&[][..]), "nothing is not the same as not known");
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x, capabilities: [tools, tools, flying], context: 0 }]
    route_by: latency
    sticky: { by: header }
    hedge: { after: 50ms }
    guardrails: [{ detect: secrets, action: flag }, { detect: secrets, action: route }]
  - name: n
    targets: [{ provider: openai, model: x }, { provider: openai, model: y }]
    route_by: luck
    sticky: { by: key, header: x-user }
  - name: o
    targets: [{ provider: openai, model: x }, { provider: openai, model: y }]
    sticky: { by: header, header: 'a b' }
",
        &[
            "3:67 duplicate models[0].targets[0].capabilities[1]",
            "3:74 unknown_word models[0].targets[0].capabilities[2]",
            "3:92 out_of_bounds models[0].targets[0].context",
            "5:13 contradiction models[0].sticky",
            "5:13 missing_field models[0].sticky",
            "6:12 contradiction models[0].hedge",
            "6:21 out_of_bounds models[0].hedge.after",
            "7:80 missing models[0].guardrails[1].action",
            "10:15 unknown_word models[1].route_by",
            "11:32 invalid_value models[1].sticky.header",
            "14:35 invalid_value models[2].sticky.header",
        ],
    );
}
