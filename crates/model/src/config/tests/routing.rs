use super::*;

#[test]
fn how_calls_are_shared_out() {
    let set = clean(
        "models:
  - name: m
    targets:
      - { provider: openai, model: x, internal: true, capabilities: [vision, tools], context: 32000, max_output: 4000 }
      - { provider: openai, model: y, capabilities: [] }
    route_by: cost
    sticky: { by: header, header: x-session-id }
    hedge: { after: 800ms }
    retry: { times: 2, on: [429, 503] }
    fall_back_on: [content_policy]
    guardrails: [{ detect: personal_data, action: route }]
",
    );
    let model = &set.models[0];
    assert_eq!((model.route_by.as_str(), model.targets[0].context), ("cost", Some(32_000)));
    assert_eq!((model.targets[0].max_output, model.targets[1].max_output), (Some(4_000), None));
    assert!(model.targets[0].internal && !model.targets[1].internal);
    assert_eq!(model.targets[1].capabilities.as_deref(), Some(&[][..]), "nothing is not the same as not known");
    let retry = model.retry.as_ref().unwrap();
    assert_eq!((retry.times, &retry.on[..], retry.wait.as_millis()), (2, &[429, 503][..], 200));
    assert_eq!(model.fall_back_on, [crate::resource::FallBackOn::ContentPolicy]);
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x, capabilities: [tools, tools, flying], context: 0, max_output: 100000001 }]
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
            "3:107 out_of_bounds models[0].targets[0].max_output",
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

#[test]
fn what_is_tried_again_and_what_falls_back() {
    let set = clean(
        "models:
  - { name: m, targets: [{ provider: openai, model: x }], retry: { times: 0 } }
  - { name: n, targets: [{ provider: openai, model: x }], fall_back_on: [] }
",
    );
    assert_eq!(set.models[0].retry.as_ref().unwrap().on, [429, 500, 502, 503, 504, 529]);
    assert_eq!(
        set.models[0].fall_back_on,
        [crate::resource::FallBackOn::Context],
        "as much as fits, unless it is said"
    );
    assert!(set.models[1].retry.is_none() && set.models[1].fall_back_on.is_empty());
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    retry: { times: 6, on: [400, 503, 600, 503], wait: 20ms, most: 3 }
    fall_back_on: [context, context, everything]
",
        &[
            "4:21 out_of_bounds models[0].retry.times",
            "4:29 out_of_bounds models[0].retry.on[0]",
            "4:39 out_of_bounds models[0].retry.on[2]",
            "4:44 duplicate models[0].retry.on[3]",
            "4:56 out_of_bounds models[0].retry.wait",
            "4:62 unknown_field models[0].retry.most",
            "5:29 duplicate models[0].fall_back_on[1]",
            "5:38 unknown_word models[0].fall_back_on[2]",
        ],
    );
}
