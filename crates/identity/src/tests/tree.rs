//! The tree of tokens against a plain model of it: making, revoking with and without the branch,
//! renewing, time passing and being set back, in any order.

use super::world::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Step {
    Create { maker: usize, ttl: i64, orphan: bool },
    Revoke(usize),
    RevokeOrphan(usize),
    Renew(usize, i64),
    Pass(i64),
    JumpBack(i64),
    Expire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let any = 0usize..12;
    let step = prop_oneof![
        6 => (any.clone(), 1i64..500, proptest::bool::weighted(0.2)).prop_map(|(maker, ttl, orphan)| Step::Create { maker, ttl, orphan }),
        1 => any.clone().prop_map(Step::Revoke),
        1 => any.clone().prop_map(Step::RevokeOrphan),
        2 => (any, 1i64..500).prop_map(|(t, i)| Step::Renew(t, i)),
        2 => (1i64..200).prop_map(Step::Pass),
        1 => (1i64..10_000).prop_map(Step::JumpBack),
        1 => Just(Step::Expire),
    ];
    proptest::collection::vec(step, 1..40)
}

struct Known {
    token: String,
    maker: Option<usize>,
    issued: i64,
    ends: i64,
    gone: bool,
}

/// Whether a token and all its makers live.
fn alive(all: &HashMap<usize, Known>, mut at: usize, now: i64) -> bool {
    loop {
        let known = &all[&at];
        if known.gone || known.ends <= now {
            return false;
        }
        match known.maker {
            Some(maker) => at = maker,
            None => return true,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_tree_is_as_the_plain_model_says(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut now = START;
            let mut all: HashMap<usize, Known> = HashMap::new();
            let root = Known { token: world.root.clone(), maker: None, issued: now, ends: i64::MAX, gone: false };
            all.insert(0, root);
            for step in steps {
                match step {
                    Step::Create { maker, ttl, orphan } => {
                        let maker = maker % all.len();
                        let path = if orphan { "create-orphan" } else { "create" };
                        let body = json!({"ttl": ttl, "explicit_max_ttl": 1000});
                        let made = world.token(&all[&maker].token, path, body).await;
                        prop_assert_eq!(made.is_ok(), alive(&all, maker, now));
                        if let Ok(made) = made {
                            let known = Known {
                                token: client_token(&made),
                                maker: (!orphan).then_some(maker),
                                issued: now,
                                ends: now + ttl,
                                gone: false,
                            };
                            all.insert(all.len(), known);
                        }
                    }
                    Step::Revoke(at) if at % all.len() != 0 => {
                        let at = at % all.len();
                        world.token(&world.root, "revoke", json!({"token": all[&at].token})).await.unwrap();
                        all.get_mut(&at).unwrap().gone = true;
                    }
                    Step::RevokeOrphan(at) if at % all.len() != 0 => {
                        let at = at % all.len();
                        // One that has ended, or whose maker has, is gone with all that it made.
                        let lives = alive(&all, at, now);
                        let found = world.token(&world.root, "revoke-orphan", json!({"token": all[&at].token})).await;
                        prop_assert_eq!(found.is_ok(), lives);
                        if lives {
                            all.get_mut(&at).unwrap().gone = true;
                            all.values_mut().filter(|k| k.maker == Some(at)).for_each(|k| k.maker = None);
                        }
                    }
                    Step::Renew(at, increment) => {
                        let at = at % all.len();
                        let before = alive(&all, at, now);
                        let done = world.token(&world.root, "renew", json!({"token": all[&at].token, "increment": increment})).await;
                        let left = all[&at].issued + 1000 - now;
                        prop_assert_eq!(done.is_ok(), before && at != 0 && left > 0);
                        if done.is_ok() {
                            all.get_mut(&at).unwrap().ends = now + increment.min(left);
                        }
                    }
                    Step::Pass(seconds) => {
                        world.pass(seconds);
                        now += seconds;
                    }
                    Step::JumpBack(seconds) => world.jump(-seconds),
                    Step::Expire => {
                        world.identity.expire(100).await.unwrap();
                    }
                    Step::Revoke(_) | Step::RevokeOrphan(_) => {}
                }
                for at in 0..all.len() {
                    prop_assert_eq!(world.accepts(&all[&at].token).await, alive(&all, at, now), "token {}", at);
                }
            }
            Ok(())
        })?;
    }
}
