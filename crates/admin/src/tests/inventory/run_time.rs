//! What the run-time API keeps, lets in and handed out, as the inventory tells it.

use super::{found, get, names, world};
use crate::{
    ports::{
        BoxFuture, CredentialKind, EntryVersion, LeasedLogin, NotTold, Rights, RootToken, RunTimeApi,
        RunTimeCredential, RunTimeCredentials, SigningKey,
    },
    tests::Control,
};
use credentialflow_model::{Actor, Period, Timestamp, lifecycle::VersionState};
use credentialflow_store::{Expect, LeaseRow, LeaseState, Op, Unit};
use http::Method;
use serde_json::json;
use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

/// Keys that sign, as another room tells of them.
#[derive(Debug)]
struct TokenKeys(Timestamp);

impl RunTimeApi for TokenKeys {
    fn signing_keys(&self) -> BoxFuture<'_, Result<Vec<SigningKey>, String>> {
        let hours = |n: i64| Timestamp::from_secs(self.0.secs() + n * 3600);
        let version =
            |version, state, created, last_used| EntryVersion { version, state, created, last_used, uses: None };
        let key = |name: &str, algorithm: &str, due| SigningKey {
            name: format!("identity/oidc/key/{name}"),
            description: "signs identity tokens of web".into(),
            algorithm: algorithm.into(),
            every: Period::from_secs(24 * 3600),
            due,
            versions: vec![
                version(3, VersionState::Pending, hours(-2), None),
                version(2, VersionState::Current, hours(-26), Some(hours(-1))),
                version(1, VersionState::Previous, hours(-50), None),
            ],
        };
        // The second should have rotated two hours ago.
        let keys = vec![key("ours", "RS256", hours(22)), key("late", "ES256", hours(-2))];
        Box::pin(std::future::ready(Ok(keys)))
    }

    fn credentials<'a>(
        &'a self,
        kind: CredentialKind,
        after: &'a str,
        most: u32,
    ) -> BoxFuture<'a, Result<RunTimeCredentials, NotTold>> {
        Box::pin(std::future::ready(Ok(kept(kind, after, most, self.0))))
    }

    fn describe<'a>(&'a self, lease: &'a LeaseRow) -> BoxFuture<'a, Result<LeasedLogin, NotTold>> {
        let of = LeasedLogin {
            role: "orders".into(),
            login: format!("v-{}", lease.id.rsplit('/').next().unwrap_or_default()),
            certificate: false,
            system: "postgresql at db:5432/orders".into(),
            renewed: None,
            last_moment: self.0,
            problem: None,
        };
        Box::pin(std::future::ready(Ok(of)))
    }

    fn root_token<'a>(&'a self, _: &'a Actor, _: Period) -> BoxFuture<'a, Result<RootToken, String>> {
        Box::pin(std::future::ready(Err("not here".to_owned())))
    }
}

#[tokio::test]
async fn keys_that_sign_are_listed_and_judged() {
    let now: Timestamp = SystemTime::now().into();
    let control = Control::start_with(|settings| settings.run_time = Some(Arc::new(TokenKeys(now)))).await;
    let list = get(&control, "/api/v1/inventory?kind=signing_key").await;
    let [ours, late] = ["ours", "late"].map(|name| format!("identity/oidc/key/{name}"));
    let expected = ["audit-checkpoints".to_owned(), late.clone(), ours.clone()];
    assert_eq!(names(&list), expected.map(|name| format!("signing_key {name}")));
    let told = &list["items"][2];
    assert_eq!(
        (&told["algorithm"], &told["state"], &told["direction"]),
        (&json!("RS256"), &json!("active"), &json!("held"))
    );
    let age = told["age_seconds"].as_u64().unwrap();
    assert!((26 * 3600..27 * 3600).contains(&age), "{age}");
    let states: Vec<_> = told["versions"].as_array().unwrap().iter().map(|v| (&v["version"], &v["state"])).collect();
    assert_eq!(
        states,
        [(&json!(3), &json!("pending")), (&json!(2), &json!("current")), (&json!(1), &json!("previous"))]
    );
    assert_eq!(told["last_used"], told["versions"][1]["last_used"]);
    assert!(told["last_used"].is_string() && told["rotation_due"].is_string());
    let found = found(&control, "?kind=signing_key").await;
    let (late, ours) = (late.as_str(), ours.as_str());
    let all = [("audit-checkpoints", "weak"), (late, "long_lived"), (late, "weak"), (ours, "weak")];
    assert_eq!(found, all.map(|(name, finding)| format!("{name}: {finding}")).into());
    // Pages of one line each show every one of them once.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&control, &format!("/api/v1/inventory?kind=signing_key&limit=1{cursor}")).await;
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names(&list));
}

/// What the run-time API keeps, two of each kind a page.
fn kept(kind: CredentialKind, after: &str, most: u32, now: Timestamp) -> RunTimeCredentials {
    let ago = |days: i64| Some(Timestamp::from_secs(now.secs() - days * 86_400));
    let one = |name: &str, days| RunTimeCredential {
        name: name.into(),
        made: ago(days),
        since: ago(days),
        counted: true,
        ..RunTimeCredential::default()
    };
    let role = "auth/approle/role/web/secret-id";
    let mut all = match kind {
        CredentialKind::Login => vec![
            RunTimeCredential { counted: false, ..one("database/config/orders", 400) },
            RunTimeCredential {
                every: Some(Period::from_secs(86_400)),
                due: ago(1),
                last_used: ago(100),
                ..one("database/static-roles/app", 2)
            },
        ],
        CredentialKind::Role => {
            let rights = |days: i64| Rights {
                rules: 2,
                unused: vec!["db/creds/orders".into()],
                policy: "path \"kv/data/*\" {\n  capabilities = [\"read\"]\n}\n".into(),
                since: Timestamp::from_secs(now.secs() - days * 86_400),
            };
            let role = |name: &str, days| RunTimeCredential {
                name: name.into(),
                policies: vec!["orders".into()],
                rights: Some(rights(days)),
                ..RunTimeCredential::default()
            };
            vec![role("auth/approle/role/web", 30), role("auth/jwt/role/ci", 2)]
        }
        CredentialKind::SecretId => vec![
            RunTimeCredential {
                application: Some("checkout".into()),
                policies: vec!["orders".into()],
                made_by: Some("ci".into()),
                ..one(&format!("{role}/a"), 8)
            },
            RunTimeCredential { last_used: ago(91), ..one(&format!("{role}/b"), 100) },
            RunTimeCredential { application: Some("gone".into()), counted: false, ..one(&format!("{role}/c"), 8) },
        ],
        CredentialKind::User => vec![one("auth/userpass/users/ada", 1)],
        CredentialKind::Token => vec![RunTimeCredential { counted: false, ..one("accessor-1", 366) }],
        CredentialKind::Secrets => vec![RunTimeCredential { count: Some(3), counted: false, ..one("secret/", 500) }],
        _ => Vec::new(),
    };
    let paged =
        matches!(kind, CredentialKind::Role | CredentialKind::SecretId | CredentialKind::User | CredentialKind::Token);
    if !paged {
        return RunTimeCredentials { items: all, next: None };
    }
    all.retain(|of| of.name.as_str() > after);
    let cut = all.len() > 2.min(most as usize);
    all.truncate(2);
    let next = all.last().filter(|_| cut).map(|of| of.name.clone());
    RunTimeCredentials { items: all, next }
}

#[tokio::test]
async fn what_the_run_time_api_keeps_is_listed_and_judged() {
    let now: Timestamp = SystemTime::now().into();
    let control = Control::start_with(|settings| settings.run_time = Some(Arc::new(TokenKeys(now)))).await;
    world(&control).await;
    let role = "auth/approle/role/web/secret-id";
    let ids = get(&control, "/api/v1/inventory?kind=secret_id").await;
    assert_eq!(names(&ids), ["a", "b", "c"].map(|id| format!("secret_id {role}/{id}")));
    let first = &ids["items"][0];
    assert_eq!(
        (&first["owner"], &first["team"], &first["direction"]),
        (&json!("checkout"), &json!("payments"), &json!("issued"))
    );
    assert_eq!(first["reach"], json!({ "applications": ["checkout"], "policies": ["orders"] }));
    assert_eq!(first["issued_by"]["name"], "ci");
    let expected = [
        "auth/approle/role/web/secret-id/a: never_used",
        "auth/approle/role/web/secret-id/b: orphaned",
        "auth/approle/role/web/secret-id/b: stale",
        "auth/approle/role/web/secret-id/c: orphaned",
    ];
    assert_eq!(found(&control, "?kind=secret_id").await, expected.map(str::to_owned).into());
    let expected = [
        "database/config/orders: long_lived",
        "database/static-roles/app: long_lived",
        "database/static-roles/app: stale",
    ];
    assert_eq!(found(&control, "?kind=login").await, expected.map(str::to_owned).into());
    assert_eq!(found(&control, "?kind=user").await, BTreeSet::new());
    assert_eq!(found(&control, "?kind=token").await, ["accessor-1: long_lived".to_owned()].into());
    assert_eq!(found(&control, "?kind=secrets").await, ["secret/: long_lived".to_owned()].into());
    assert_eq!(
        names(
            &get(&control, &format!("/api/v1/inventory?unused_since={}", Timestamp::from_secs(now.secs() - 8_000_000)))
                .await
        ),
        ["login database/static-roles/app".to_owned()]
    );
    let summary = get(&control, "/api/v1/inventory/summary").await;
    let count = |kind: &str| {
        let all = summary["kinds"].as_array().unwrap();
        all.iter().find(|one| one["kind"] == kind).map(|one| one["count"].as_u64().unwrap())
    };
    assert_eq!(
        (count("secret_id"), count("secrets"), count("login"), count("tokens")),
        (Some(3), Some(3), Some(2), None)
    );
    // Pages of one line each show every one of them once, over all kinds.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get(&control, &format!("/api/v1/inventory?limit=1{cursor}")).await;
        seen.extend(names(&page));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names(&get(&control, "/api/v1/inventory").await));
}

#[tokio::test]
async fn leases_are_listed_by_holder_and_one_is_told_with_its_life() {
    let now: Timestamp = SystemTime::now().into();
    let control = Control::start_with(|settings| settings.run_time = Some(Arc::new(TokenKeys(now)))).await;
    let lease = |id: &str, entity: &str, application: &str| {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Op::PutLease(
            LeaseRow {
                id: id.to_owned(),
                mount: "database/".to_owned(),
                token: some("acc"),
                entity: some(entity),
                application: some(application),
                place: String::new(),
                issued: now,
                expires_at: Some(now),
                state: LeaseState::Active,
                attempts: 0,
                next_attempt: None,
                sealed: Vec::new(),
                revision: 0,
            },
            Expect::Absent,
        )
    };
    let mut unit = Unit::new(Actor { name: "approle web".into(), ..Actor::operator() });
    unit.audit("lease.begin", "leases/database/creds/ä b/1", json!({ "role": "ä b", "login": "v-1" }));
    unit.audit("lease.issue", "leases/database/creds/ä b/1", json!({ "login": "v-1", "ttl": 60 }));
    unit.ops.push(lease("\u{1}static/s/app", "", ""));
    unit.ops.extend(
        [("ä b/1", "e-1", "checkout"), ("ä b/2", "e-1", "checkout"), ("ä b/3", "e-2", "")]
            .map(|(id, entity, application)| lease(&format!("database/creds/{id}"), entity, application)),
    );
    unit.ops.push(lease("database/creds/ä bc/4", "e-1", ""));
    control.store.submit(unit).await.unwrap();
    let ids = async |query: &str| -> Vec<String> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get(&control, &format!("/api/v1/leases?limit=1{query}{cursor}")).await;
            for item in page["items"].as_array().unwrap() {
                seen.push(item["id"].as_str().unwrap().strip_prefix("database/creds/").unwrap().to_owned());
            }
            let Some(next) = page["next"].as_str() else { return seen };
            cursor = format!("&cursor={next}");
        }
    };
    assert_eq!(ids("").await, ["ä b/1", "ä b/2", "ä b/3", "ä bc/4"]);
    assert_eq!(ids("&entity=e-1").await, ["ä b/1", "ä b/2", "ä bc/4"]);
    assert_eq!(ids("&application=checkout").await, ["ä b/1", "ä b/2"]);
    assert_eq!(ids("&prefix=database/creds/%C3%A4%20b").await, ["ä b/1", "ä b/2", "ä b/3"]);
    assert_eq!(ids("&prefix=rabbitmq/").await, [""; 0]);
    for wrong in ["entity=e&application=a", "prefix=a%00", "cursor=AXN0YXRpYw", "limit=0"] {
        control.call(Method::GET, &format!("/api/v1/leases?{wrong}"), None, &[]).await.expect(400);
    }
    let life = get(&control, "/api/v1/leases/lookup?id=database/creds/%C3%A4%20b/1").await;
    assert_eq!((&life["lease"]["application"], &life["opens"]["login"]), (&json!("checkout"), &json!("v-1")));
    assert_eq!(life["fetched_by"]["actor"]["name"], "approle web");
    assert_eq!(life["moments"].as_array().unwrap().len(), 2);
    let ends = [
        "the login v-1 at postgresql at db:5432/orders is taken away",
        "the token acc that holds it stays, with 4 other leases",
    ];
    assert_eq!(life["ends"], json!(ends));
    for unknown in ["database/creds/x/1", "%01static/s/app"] {
        control.call(Method::GET, &format!("/api/v1/leases/lookup?id={unknown}"), None, &[]).await.expect(404);
    }
}

#[tokio::test]
async fn what_policies_grant_and_nobody_used_comes_with_a_narrower_policy() {
    let now: Timestamp = SystemTime::now().into();
    let control = Control::start_with(|settings| settings.run_time = Some(Arc::new(TokenKeys(now)))).await;
    let all = get(&control, "/api/v1/inventory/findings?finding=over_privileged").await;
    // Of the other role uses are not known for long enough.
    let [found] = &all["items"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&found["kind"], &found["name"]), (&json!("role"), &json!("auth/approle/role/web")));
    assert!(found["detail"].as_str().unwrap().contains("in the 30 days for which uses are known"), "{found}");
    let policy = &found["policy"];
    assert_eq!(policy["name"], "approle-role-web-narrower");
    assert_eq!(policy["removes"], json!(["db/creds/orders"]));
    assert_eq!(policy["commands"][1], "bao write auth/approle/role/web token_policies=approle-role-web-narrower");
    assert!(policy["policy"].as_str().unwrap().starts_with("path \"kv/data/*\""));
    assert_eq!(found.get("grant"), None);
    let soon = get(&control, "/api/v1/inventory/findings?finding=over_privileged&settle=1d").await;
    assert_eq!(soon["items"].as_array().unwrap().len(), 2);
}
