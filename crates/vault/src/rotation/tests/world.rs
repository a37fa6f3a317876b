//! The outside of a rotation in miniature: a target, workers and traffic that can fail or crash the
//! runner at any call, over a real SQLite store.

use crate::{
    Vault,
    engine::{BoxFuture, DatabaseLogin},
    rotation::{
        Held, MakeOutcome, Progress, Publisher, RefusalCounts, RotationRunner, RunnerRules, SupplyOutcome, Target,
        Traffic, VerifyOutcome, WatchRules,
    },
    tests::{credential, key, seal_input, store, vault},
};
use credentialflow_model::{
    Actor, Name, Period, SecretValue, Timestamp,
    lifecycle::{RotationStep, VersionState},
    resource::{Credential, DatabaseRule, Engine, Key, Kind, ProviderRule, RotateRule},
};
use credentialflow_store::{CredentialVersionRow, Expect, KeySecretUse, RotationRow, Store, Uses};
use std::{
    collections::BTreeMap,
    future::{Future, poll_fn},
    panic::resume_unwind,
    sync::{Arc, Mutex},
    task::Poll,
};
use tempfile::TempDir;

/// What the upstream does with the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    Serves,
    Refuses,
    Silent,
}

pub(super) struct Plan {
    pub(super) verify: VerifyOutcome,
    pub(super) upstream: Upstream,
    /// Publishes that fail before one succeeds.
    pub(super) failing_publishes: u32,
    /// Requests that still hold the old version; one ends each time they are counted.
    pub(super) held: u64,
    /// The number of the port call at which the process dies, before or after its effect.
    pub(super) die_at: Option<(u32, bool)>,
    /// Whether the webhook answers with a value, or is broken; `None`: somebody delivers it later.
    pub(super) supplies: Option<bool>,
    /// Hangs forever when asked to verify this credential.
    pub(super) stuck: Option<Name>,
    /// Places outside that lack the new version.
    pub(super) lacking: Vec<String>,
    /// Nodes that nobody hears.
    pub(super) unheard: Vec<String>,
    /// Nodes that nobody hears and that may serve with the old version.
    pub(super) lost: Vec<String>,
}

pub(super) struct Outside {
    pub(super) store: Store,
    pub(super) plan: Mutex<Plan>,
    pub(super) seen: Mutex<Seen>,
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) calls: u32,
    /// What the workers enforce: the current version of the credential, first and at each publish.
    pub(super) enforced: Vec<Option<u32>>,
    /// Whether a version was destroyed while the workers still enforced it.
    pub(super) destroyed_in_use: bool,
    /// Values the target was asked about.
    pub(super) verified: Vec<u32>,
    /// The keys at the provider, and which rotation each was made for.
    pub(super) keys: BTreeMap<String, String>,
    pub(super) made: u32,
    /// The passwords the target accepts, by login.
    pub(super) logins: BTreeMap<String, String>,
}

impl Outside {
    /// Counts a call and, if it is the chosen one, dies: before its effect, or after it.
    fn call(&self, after: bool) {
        let mut seen = self.seen.lock().unwrap();
        seen.calls += u32::from(!after);
        let now = (seen.calls, after);
        drop(seen);
        let mut plan = self.plan.lock().unwrap();
        if plan.die_at == Some(now) {
            plan.die_at = None;
            drop(plan);
            resume_unwind(Box::new("the process dies here"));
        }
    }
}

impl Target for Outside {
    fn make<'a>(&'a self, _: &'a Name, rotation: &'a str) -> BoxFuture<'a, MakeOutcome> {
        Box::pin(async move {
            self.call(false);
            let handle = {
                let mut seen = self.seen.lock().unwrap();
                // What an earlier try made and nobody took is deleted first.
                seen.keys.retain(|_, of| of != rotation);
                seen.made += 1;
                let handle = format!("key_{}", seen.made);
                seen.keys.insert(handle.clone(), rotation.to_owned());
                handle
            };
            self.call(true);
            let value = SecretValue::from(format!("sk-{handle}"));
            MakeOutcome::Made { value, handle }
        })
    }

    fn supply<'a>(&'a self, _: &'a Name, rotation: &'a str) -> BoxFuture<'a, SupplyOutcome> {
        Box::pin(async move {
            match &self.plan.lock().unwrap().supplies {
                Some(true) => SupplyOutcome::Value(SecretValue::from(format!("supplied-for-{rotation}"))),
                Some(false) => SupplyOutcome::Unreachable("502".to_owned()),
                None => SupplyOutcome::Later,
            }
        })
    }

    fn install<'a>(&'a self, _: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            let Some(login) = DatabaseLogin::read(held.value) else { return VerifyOutcome::NotConfigured };
            self.call(false);
            let password = login.password.expose_str().unwrap().to_owned();
            self.seen.lock().unwrap().logins.insert(login.username, password);
            self.call(true);
            VerifyOutcome::Accepted
        })
    }

    fn retire<'a>(&'a self, _: &'a Name, held: Held<'a>, kept: Option<Held<'a>>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            if let Some(handle) = held.handle {
                self.call(false);
                self.seen.lock().unwrap().keys.remove(handle);
                self.call(true);
                return VerifyOutcome::Accepted;
            }
            let Some(login) = DatabaseLogin::read(held.value) else { return VerifyOutcome::NotConfigured };
            self.call(false);
            if kept.and_then(|kept| DatabaseLogin::read(kept.value)).is_none_or(|kept| kept.username != login.username)
            {
                self.seen.lock().unwrap().logins.insert(login.username, "random".to_owned());
            }
            self.call(true);
            VerifyOutcome::Accepted
        })
    }

    fn verify<'a>(&'a self, credential: &'a Name, held: Held<'a>) -> BoxFuture<'a, VerifyOutcome> {
        Box::pin(async move {
            if self.plan.lock().unwrap().stuck.as_ref() == Some(credential) {
                std::future::pending::<()>().await;
            }
            self.call(false);
            assert!(!held.value.is_empty());
            self.seen.lock().unwrap().verified.push(held.version);
            self.call(true);
            self.plan.lock().unwrap().verify.clone()
        })
    }
}

impl Traffic for Outside {
    fn in_flight<'a>(&'a self, _credential: &'a Name, _version: u32) -> BoxFuture<'a, u64> {
        Box::pin(async move {
            self.call(false);
            let mut plan = self.plan.lock().unwrap();
            let held = plan.held;
            plan.held = held.saturating_sub(1);
            held
        })
    }

    fn lost_holders<'a>(&'a self, _: &'a Name, _: u32) -> BoxFuture<'a, Vec<String>> {
        Box::pin(async { self.plan.lock().unwrap().lost.clone() })
    }

    fn unheard(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { self.plan.lock().unwrap().unheard.clone() })
    }

    fn refused_since<'a>(&'a self, _credential: &'a Name, _version: u32) -> BoxFuture<'a, RefusalCounts> {
        Box::pin(async move {
            self.call(false);
            match self.plan.lock().unwrap().upstream {
                Upstream::Serves => RefusalCounts { refused: 0, served: 25 },
                Upstream::Refuses => RefusalCounts { refused: 30, served: 0 },
                Upstream::Silent => RefusalCounts::default(),
            }
        })
    }
}

impl Publisher for Outside {
    fn publish(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.call(false);
            {
                let mut plan = self.plan.lock().unwrap();
                if plan.failing_publishes > 0 {
                    plan.failing_publishes -= 1;
                    return Err("worker 3 does not answer".to_owned());
                }
            }
            let enforced = self.seen.lock().unwrap().enforced.last().copied().flatten();
            if let Some(version) = enforced {
                let row = self.store.credential_version("orders-token", version).await.unwrap();
                let gone = row.is_some_and(|v| v.state == VersionState::Destroyed);
                self.seen.lock().unwrap().destroyed_in_use |= gone;
            }
            let live = self.store.live_credential_versions().await.unwrap();
            let current = live.iter().find(|v| v.state == VersionState::Current).map(|v| v.version);
            self.seen.lock().unwrap().enforced.push(current);
            self.call(true);
            Ok(())
        })
    }

    fn lacking<'a>(&'a self, _: &'a Name, version: u32) -> BoxFuture<'a, Vec<String>> {
        assert!(version >= 2, "the new version is asked for");
        Box::pin(async { self.plan.lock().unwrap().lacking.clone() })
    }
}

/// A vault with one credential in version 1 and a rotation to version 2 that has begun.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) vault: Vault,
    pub(super) outside: Arc<Outside>,
    pub(super) credential: Credential,
    pub(super) rotation: String,
    pub(super) start: Timestamp,
    _dir: TempDir,
}

pub(super) fn plan() -> Plan {
    Plan {
        verify: VerifyOutcome::Accepted,
        upstream: Upstream::Serves,
        failing_publishes: 0,
        held: 2,
        die_at: None,
        supplies: None,
        stuck: None,
        lacking: Vec::new(),
        unheard: Vec::new(),
        lost: Vec::new(),
    }
}

pub(super) fn rules() -> RunnerRules {
    RunnerRules {
        watch: WatchRules::default(),
        schedule: Period::from_secs(60),
        call_timeout: Period::from_secs(20),
        verify_limit: Period::from_secs(120),
        tick: Period::from_millis(5),
    }
}

impl World {
    pub(super) async fn new(plan: Plan) -> Self {
        Self::with(plan, credential("orders-token", Engine::Static)).await
    }

    pub(super) async fn with(plan: Plan, credential: Credential) -> Self {
        Self::on(store().await, plan, credential).await
    }

    /// On a store without a vault yet.
    pub(super) async fn on((dir, store): (TempDir, Store), plan: Plan, credential: Credential) -> Self {
        let vault = Vault::init(&store, &Actor::operator(), seal_input()).await.unwrap().vault;
        let value = |text: &str| (credential.engine == Engine::Static).then(|| SecretValue::from(text));
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        vault.create_credential_in(&mut tx, &credential, value("old-value")).await.unwrap();
        tx.commit().await.unwrap();
        let begun = vault.start_rotation(&Actor::operator(), &credential, value("new-value"), None).await.unwrap();
        let outside = Arc::new(Outside {
            store: store.clone(),
            plan: Mutex::new(plan),
            seen: Mutex::new(Seen { enforced: vec![Some(1)], ..Seen::default() }),
        });
        let start = store.now();
        Self { store, vault, outside, credential, rotation: begun.id, start, _dir: dir }
    }

    /// A vault with the password of a login at a target in version 1, put there by a first rotation,
    /// and a rotation to version 2 that has begun.
    pub(super) async fn of_login(plan: Plan, alternate: bool) -> Self {
        let rule = DatabaseRule {
            target: "orders-pg".parse().unwrap(),
            username: "app".to_owned(),
            alternate,
            second: None,
            create: Vec::new(),
        };
        let credential = Credential { database: Some(rule), ..credential("orders-token", Engine::Database) };
        let (dir, store, vault, _token) = vault().await;
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        vault.create_credential_in(&mut tx, &credential, None).await.unwrap();
        tx.commit().await.unwrap();
        let first = store.running_rotations().await.unwrap().remove(0).id;
        let seen = Seen { logins: BTreeMap::from([("app".to_owned(), "of-old".to_owned())]), ..Seen::default() };
        let outside =
            Arc::new(Outside { store: store.clone(), plan: Mutex::new(self::plan()), seen: Mutex::new(seen) });
        let start = store.now();
        let mut world = Self { store, vault, outside, credential, rotation: first, start, _dir: dir };
        assert_eq!(world.finish().await.step, RotationStep::Done);
        let begun = world.vault.start_rotation(&Actor::operator(), &world.credential, None, None).await.unwrap();
        world.rotation = begun.id;
        world.start = world.store.now();
        *world.outside.plan.lock().unwrap() = plan;
        world.outside.seen.lock().unwrap().calls = 0;
        world
    }

    /// A vault with a provider's key in version 1, made by a first rotation, and a rotation to version 2
    /// that has begun.
    pub(super) async fn of_provider(plan: Plan) -> Self {
        let rule = ProviderRule { target: "provider".parse().unwrap() };
        let credential = Credential { provider: Some(rule), ..credential("orders-token", Engine::Provider) };
        let (dir, store, vault, _token) = vault().await;
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        let body = serde_json::to_string(&credential).unwrap();
        tx.put_resource(Kind::Credentials, &credential.name, &body, Expect::Absent).await.unwrap();
        assert_eq!(vault.create_credential_in(&mut tx, &credential, None).await.unwrap(), 1);
        tx.commit().await.unwrap();
        let first = store.running_rotations().await.unwrap().remove(0).id;
        let outside =
            Arc::new(Outside { store: store.clone(), plan: Mutex::new(self::plan()), seen: Mutex::default() });
        let start = store.now();
        let mut world = Self { store, vault, outside, credential, rotation: first, start, _dir: dir };
        assert_eq!(world.finish().await.step, RotationStep::Done);
        let begun = world.vault.start_rotation(&Actor::operator(), &world.credential, None, None).await.unwrap();
        assert_eq!((begun.from_version, begun.to_version), (Some(1), 2));
        world.rotation = begun.id;
        world.start = world.store.now();
        *world.outside.plan.lock().unwrap() = plan;
        world.outside.seen.lock().unwrap().calls = 0;
        world
    }

    /// A vault with a key that was given out by hand in version 1, whose secret a credential holds since: version 2, by
    /// a first rotation, and a rotation to version 3 that has begun.
    pub(super) async fn of_key(plan: Plan) -> Self {
        let rotate = RotateRule {
            quiet: Some(Period::from_secs(30)),
            limit: Some(Period::from_secs(300)),
            ..RotateRule::default()
        };
        let credential = Credential { rotate: Some(rotate), ..credential("orders-token", Engine::Key) };
        let (dir, store, vault, _token) = vault().await;
        let key = Key { name: credential.name.clone(), ..key("any") };
        let mut tx = store.begin(&Actor::operator()).await.unwrap();
        let body = serde_json::to_string(&key).unwrap();
        tx.put_resource(Kind::Keys, &key.name, &body, Expect::Absent).await.unwrap();
        vault.issue_key_in(&mut tx, &key, "cfk").await.unwrap();
        let body = serde_json::to_string(&credential).unwrap();
        tx.put_resource(Kind::Credentials, &credential.name, &body, Expect::Absent).await.unwrap();
        assert_eq!(vault.create_credential_in(&mut tx, &credential, None).await.unwrap(), 2);
        tx.commit().await.unwrap();
        let first = store.running_rotations().await.unwrap().remove(0).id;
        let outside =
            Arc::new(Outside { store: store.clone(), plan: Mutex::new(self::plan()), seen: Mutex::default() });
        let start = store.now();
        let mut world = Self { store, vault, outside, credential, rotation: first, start, _dir: dir };
        assert_eq!(world.finish().await.step, RotationStep::Done);
        assert_eq!(world.accepted().await, [2], "the secret that was given out by hand is over");
        let begun = world.vault.start_rotation(&Actor::operator(), &world.credential, None, None).await.unwrap();
        assert_eq!((begun.from_version, begun.to_version), (Some(2), 3));
        world.rotation = begun.id;
        world.start = world.store.now();
        *world.outside.plan.lock().unwrap() = plan;
        world.outside.seen.lock().unwrap().calls = 0;
        world
    }

    /// The secrets of the key that callers may show, by version.
    pub(super) async fn accepted(&self) -> Vec<u32> {
        let id = self.store.key_by_name("orders-token").await.unwrap().unwrap().id;
        let secrets = self.store.key_secrets(id).await.unwrap().into_iter();
        secrets.filter(|s| s.state.is_live() && s.retire_at.is_none()).map(|s| s.version).collect()
    }

    /// A caller shows a secret of the key, so many seconds after the rotation began.
    pub(super) async fn used(&self, version: u32, after: u64) {
        let used = KeySecretUse {
            key_id: self.store.key_by_name("orders-token").await.unwrap().unwrap().id,
            version,
            route: "orders".to_owned(),
            source: "10.0.0.7/32".to_owned(),
            last_time: self.start.plus(Period::from_secs(after)),
            count: 1,
        };
        self.store.record_uses(&Uses { secrets: vec![used], ..Uses::default() }).await.unwrap();
    }

    /// Which login the version in use is for, and whether the target accepts its password.
    pub(super) async fn login_in_use(&self) -> (String, bool) {
        let value = self.vault.current_value(&self.credential.name).await.unwrap();
        let login = DatabaseLogin::read(&value).unwrap();
        let seen = self.outside.seen.lock().unwrap();
        let accepted = seen.logins.get(&login.username).map(String::as_str) == login.password.expose_str();
        (login.username, accepted)
    }

    /// A runner as after a start of the process: nothing remembered, keys unsealed afresh.
    pub(super) async fn fresh_runner(&self) -> RotationRunner {
        let vault = Vault::open_sealed(&self.store).await.unwrap();
        vault.unseal(seal_input()).await.unwrap();
        let outside = &self.outside;
        RotationRunner::new(vault, outside.clone(), outside.clone(), outside.clone(), rules())
    }

    /// Runs a fresh runner and lets it die after that many polls, or where the plan says. Answers
    /// whether it died.
    pub(super) async fn run_and_die(&self, polls: usize, now: Timestamp) -> bool {
        let (runner, id) = (self.fresh_runner().await, self.rotation.clone());
        let life = tokio::spawn(async move { limited(polls, runner.advance(&id, now)).await });
        !matches!(life.await, Ok(Some(_)))
    }

    /// Lets time pass, three seconds at a time, until the rotation is finished.
    pub(super) async fn finish(&self) -> RotationRow {
        let runner = self.fresh_runner().await;
        for turn in 0..200 {
            let now = self.start.plus(Period::from_secs(3 * (turn + 1)));
            for advanced in runner.run_once(now).await.unwrap() {
                advanced.step.unwrap();
            }
            let row = self.row().await;
            if row.step.is_finished() {
                return row;
            }
        }
        panic!("the rotation does not end: {:?}", self.row().await);
    }

    pub(super) async fn row(&self) -> RotationRow {
        self.store.rotation(&self.rotation).await.unwrap().unwrap()
    }

    pub(super) async fn progress(&self) -> Progress {
        serde_json::from_value(self.row().await.detail).unwrap()
    }

    pub(super) async fn versions(&self) -> Vec<CredentialVersionRow> {
        self.store.credential_versions(self.credential.name.as_str()).await.unwrap()
    }

    pub(super) async fn states(&self) -> Vec<VersionState> {
        self.versions().await.iter().map(|v| v.state).collect()
    }

    /// What must hold at every moment, however the process died.
    pub(super) async fn check_always(&self) {
        let versions = self.versions().await;
        let current = versions.iter().find(|v| v.state == VersionState::Current).expect("always one version in use");
        self.vault.open_version(current).expect("and it opens");
        let seen = self.outside.seen.lock().unwrap();
        assert!(!seen.destroyed_in_use, "what the workers enforce is never destroyed");
        if let Some(enforced) = seen.enforced.last().copied().flatten() {
            let row = versions.iter().find(|v| v.version == enforced).unwrap();
            assert!(row.sealed.is_some(), "what the workers enforce is never destroyed");
        }
    }

    /// What must hold when the rotation went well, or was taken back.
    pub(super) async fn check_end(&self, expect: RotationStep) {
        let row = self.finish().await;
        assert_eq!(row.step, expect, "{row:?}");
        let (states, in_use) = match expect {
            RotationStep::Done => ([VersionState::Destroyed, VersionState::Current], 2),
            _ => ([VersionState::Current, VersionState::Failed], 1),
        };
        assert_eq!(self.states().await, states);
        assert_eq!(self.outside.seen.lock().unwrap().enforced.last(), Some(&Some(in_use)));
        assert_eq!(self.versions().await[0].sealed.is_none(), expect == RotationStep::Done);
        assert_eq!(row.error.is_some(), expect == RotationStep::RolledBack);
        self.check_always().await;
    }
}

/// Polls a future at most that often, then drops it as a crash would.
async fn limited<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
