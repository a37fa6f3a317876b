use super::*;

const CREDENTIALS: &str = "credentials: [{ name: a, engine: static }, { name: b, engine: static }, { name: p, engine: certificate_authority }]\n";

#[test]
fn credentials_of_an_upstream_are_those_of_its_targets() {
    let set = clean(&format!(
        "{CREDENTIALS}upstreams:
  - name: openai
    provider: openai
    endpoints: ['https://api.openai.com/v1']
    credentials:
      - {{ name: a, weight: 3, limit: {{ tokens: 100, per: 1m }}, models: [gpt-5*, o3] }}
      - {{ name: b }}
models:
  - name: m
    targets:
      - {{ provider: openai, model: gpt-5-mini }}
      - {{ provider: openai, model: o3-mini }}
      - {{ provider: openai, model: o3, credential: b }}
      - {{ provider: openai, model: o3, credentials: [{{ name: b, weight: 7 }}] }}
      - {{ provider: anthropic, model: o3 }}
"
    ));
    let upstream = &set.upstreams[0];
    let pools = set.models[0].targets.iter().map(|target| {
        let upstream = Some(upstream).filter(|upstream| upstream.name == target.provider);
        target.pool(upstream).map(|one| (one.name.as_str(), one.weight, one.limit.is_some())).collect::<Vec<_>>()
    });
    let expected: [&[_]; 5] =
        [&[("a", 3, true), ("b", 1, false)], &[("b", 1, false)], &[("b", 1, false)], &[("b", 7, false)], &[]];
    assert_eq!(pools.collect::<Vec<_>>(), expected);
    assert_eq!(clean(&export(&set)), set);
}

#[test]
fn credentials_of_an_upstream_that_cannot_be() {
    expect(
        &format!(
            "{CREDENTIALS}upstreams:
  - {{ name: plain, endpoints: ['http://h'], credentials: [{{ name: a }}] }}
  - name: own
    provider: openai
    endpoints: ['http://h']
    credentials:
      - {{ name: a, models: [] }}
      - {{ name: a, weight: 0, models: ['gpt-*-mini', 'm', '', 'm'] }}
      - {{ name: p, limit: {{ tokens: 0, per: 1m, by: source }} }}
      - {{ name: nobody, model: x }}
"
        ),
        &[
            "3:58 contradiction upstreams[0].credentials",
            "8:28 empty upstreams[1].credentials[0].models",
            "9:17 duplicate upstreams[1].credentials[1].name",
            "9:28 out_of_bounds upstreams[1].credentials[1].weight",
            "9:40 invalid_value upstreams[1].credentials[1].models[0]",
            "9:59 invalid_value upstreams[1].credentials[1].models[2]",
            "9:63 duplicate upstreams[1].credentials[1].models[3]",
            "10:17 wrong_engine upstreams[1].credentials[2].name",
            "10:37 out_of_bounds upstreams[1].credentials[2].limit.tokens",
            "10:53 not_here upstreams[1].credentials[2].limit.by",
            "11:17 unknown_name upstreams[1].credentials[3].name",
            "11:25 unknown_field upstreams[1].credentials[3].model",
        ],
    );
    let many = |n: usize, of: &dyn Fn(usize) -> String| (0..n).map(of).collect::<Vec<_>>().join(", ");
    let upstream = |credentials: &str| {
        format!(
            "{CREDENTIALS}upstreams:\n  - {{ name: own, provider: openai, endpoints: ['http://h'], credentials: [{credentials}] }}\n"
        )
    };
    let models = |n| format!("{{ name: a, models: [{}] }}", many(n, &|i| format!("m{i}")));
    clean(&upstream(&models(256)));
    expect(&upstream(&models(257)), &["3:94 out_of_bounds upstreams[0].credentials[0].models"]);
    let names = |n| many(n, &|i| format!("c{i}"));
    let declared = |n: usize| {
        let engines = many(n, &|i| format!("{{ name: c{i}, engine: static }}"));
        let list = names(n).split(", ").map(|name| format!("{{ name: {name} }}")).collect::<Vec<_>>().join(", ");
        upstream(&list).replace(CREDENTIALS, &format!("credentials: [{engines}]\n"))
    };
    clean(&declared(64));
    expect(&declared(65), &["3:74 out_of_bounds upstreams[0].credentials"]);
}

#[test]
fn a_model_that_no_credential_may_be_used_for() {
    let of = |pool: &str, target: &str| {
        format!(
            "{CREDENTIALS}upstreams: [{{ name: own, provider: openai, endpoints: ['http://h'], credentials: {pool} }}]
models:
  - {{ name: m, targets: [{{ provider: own, {target} }}] }}
"
        )
    };
    let gpt = "[{ name: a, models: [gpt-5*] }, { name: b, models: [o3] }]";
    for model in ["gpt-5", "gpt-5-mini", "o3"] {
        clean(&of(gpt, &format!("model: {model}")));
    }
    for model in ["gpt-4", "o3-mini", "GPT-5"] {
        expect(&of(gpt, &format!("model: {model}")), &["4:50 contradiction models[0].targets[0].model"]);
    }
    let told = problems(&of(gpt, "model: gpt-4")).to_string();
    assert!(told.contains("no credential of the upstream `own` may be used for the model `gpt-4`"), "{told}");
    clean(&of(gpt, "model: gpt-4, credential: a"));
    clean(&of(gpt, "model: gpt-4, credentials: [{ name: a }]"));
    clean(&of("[]", "model: gpt-4"));
    // What could not be read may be used for it.
    let unread = of("[{ name: a, models: gpt-5 }]", "model: gpt-4");
    let codes: Vec<_> = problems(&unread).0.iter().map(|problem| problem.code.to_string()).collect();
    assert_eq!(codes.len(), 1, "{codes:?}");
    assert!(!codes.contains(&"contradiction".to_owned()), "{codes:?}");
}

#[test]
fn what_an_upstream_s_models_share_is_not_deleted_below_them() {
    let set = clean(&format!(
        "{CREDENTIALS}upstreams: [{{ name: own, provider: openai, endpoints: ['http://h'], credentials: [{{ name: b }}] }}]"
    ));
    let (dependents, others) = without(&set, crate::resource::Kind::Credentials, "b", &CONTEXT);
    let found: Vec<_> = dependents.iter().map(|d| (d.kind.as_str(), d.name.as_str(), d.path.as_str())).collect();
    assert_eq!((found, others.0.len()), (vec![("upstreams", "own", "credentials[0].name")], 0));
}
