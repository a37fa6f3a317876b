use super::*;
use crate::resource::{CacheMode, CacheScope};

#[test]
fn what_is_kept_of_answers() {
    let set = clean(
        "models:
  - { name: e, targets: [{ provider: openai, model: x }] }
  - name: m
    targets: [{ provider: openai, model: x }]
    cache: { mode: semantic, embedding_model: e, threshold: 0.9, scope: team, ttl: 10m, max_entry: 64KiB, headers: [x-tenant] }
  - name: n
    targets: [{ provider: openai, model: x }]
    cache: {}
",
    );
    let cache = set.models[1].cache.as_ref().unwrap();
    assert_eq!((cache.mode, cache.scope, cache.threshold), (CacheMode::Semantic, CacheScope::Team, Some(0.9)));
    let usual = set.models[2].cache.as_ref().unwrap();
    assert_eq!((usual.mode, usual.scope, usual.ttl), (CacheMode::Exact, CacheScope::Application, None));
    expect(
        "models:
  - name: m
    targets: [{ provider: openai, model: x }]
    cache: { ttl: 31d, max_entry: 1B, headers: [x-a, 'a b', X-A], threshold: 0.9, embedding_model: m }
  - name: n
    targets: [{ provider: openai, model: x }]
    cache: { mode: semantic, threshold: 0.2 }
  - name: o
    targets: [{ provider: openai, model: x }]
    cache: { mode: semantic, embedding_model: gone, scope: world, turbo: true }
  - name: p
    targets: [{ provider: openai, model: x }]
    cache: { mode: semantic, embedding_model: p }
",
        &[
            "4:19 out_of_bounds models[0].cache.ttl",
            "4:35 out_of_bounds models[0].cache.max_entry",
            "4:54 invalid_value models[0].cache.headers[1]",
            "4:61 duplicate models[0].cache.headers[2]",
            "4:78 invalid_value models[0].cache.threshold",
            "4:100 invalid_value models[0].cache.embedding_model",
            "7:12 missing_field models[1].cache",
            "7:41 out_of_bounds models[1].cache.threshold",
            "10:47 unknown_name models[2].cache.embedding_model",
            "10:60 unknown_word models[2].cache.scope",
            "10:67 unknown_field models[2].cache.turbo",
            "13:47 contradiction models[3].cache.embedding_model",
        ],
    );
}
