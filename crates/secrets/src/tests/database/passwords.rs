//! Passwords of logins that stay: the administrator's, and those of static roles. Each survives a crash anywhere.

use super::*;

impl Database {
    /// A login of the cluster that is used as an administrator, or by an application.
    pub(super) async fn a_login(&self, name: &str, rights: &str) -> String {
        let name = format!("{name}-{}", self.url.rsplit('/').next().unwrap().split('?').next().unwrap());
        self.sql(&format!("CREATE ROLE \"{name}\" LOGIN {rights} PASSWORD 'first-password'"));
        name
    }

    /// A configuration whose administrator is one of its own.
    pub(super) async fn with_administrator(&self) -> String {
        let admin = self.a_login("admin", "SUPERUSER").await;
        let (_, rest) = self.here().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let url = format!("postgresql://{{{{username}}}}:{{{{password}}}}@{rest}");
        let config = json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": "*",
            "username": admin, "password": "first-password",
        });
        self.ok(Write, "db/config/main", config).await;
        admin
    }

    async fn static_password(&self, role: &str) -> String {
        let told = self.ok(Read, &format!("db/static-creds/{role}"), json!({})).await;
        told["password"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn an_administrators_password_is_changed_and_survives_a_crash_anywhere() {
    let d = Database::new().await;
    let refused = d.call(Write, "db/rotate-root/main", json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("username") || refused.to_string().contains("connection_url"), "{refused}");
    let admin = d.with_administrator().await;
    assert!(d.logs_in(&admin, "first-password").await);
    d.ok(Write, "db/rotate-root/main", json!({})).await;
    assert!(!d.logs_in(&admin, "first-password").await);
    d.issue("reader").await.unwrap();
    for fault in [Fault::RootBegun, Fault::RootSet] {
        d.leases.crash_at(fault);
        assert!(d.call(Write, "db/rotate-root/main", json!({})).await.is_err());
        assert_eq!(d.ok(Read, "db/config/main", json!({})).await["rotation_unfinished"], true);
        // Another process finds out which of the two is let in.
        let other = Leases::new(d.world.vault.clone(), d.world.store.clone(), PrivateHosts::default());
        other.issue(&holder(), &d.mount().await, "reader").await.unwrap();
        d.ok(Write, "db/rotate-root/main", json!({})).await;
        assert_eq!(d.ok(Read, "db/config/main", json!({})).await["rotation_unfinished"], Value::Null);
        d.issue("reader").await.unwrap();
    }
    // Whoever needs the database after a crash ends what was begun, and nothing tries the old password again.
    let unfinished = async || d.ok(Read, "db/config/main", json!({})).await["rotation_unfinished"] == true;
    d.leases.crash_at(Fault::RootSet);
    assert!(d.call(Write, "db/rotate-root/main", json!({})).await.is_err());
    assert!(unfinished().await);
    d.issue("reader").await.unwrap();
    assert!(!unfinished().await, "the new one is let in and is kept");
    d.issue("reader").await.unwrap();
    d.leases.crash_at(Fault::RootBegun);
    assert!(d.call(Write, "db/rotate-root/main", json!({})).await.is_err());
    d.issue("reader").await.unwrap();
    assert!(unfinished().await, "somebody may be setting it at this moment");
    let space = d.mount().await.uuid;
    let mut txn = d.world.txn();
    let mut config: Value = txn.entries(&space).get_json("config/main").await.unwrap().unwrap();
    config["pending_since"] = json!(crate::lease::after(txn.now(), -300));
    txn.entries(&space).put_json("config/main", &config).unwrap();
    txn.commit().await.unwrap();
    d.issue("reader").await.unwrap();
    assert!(!unfinished().await, "nobody can be setting it any more");
    d.ok(Write, "db/rotate-root/main", json!({})).await;
    d.issue("reader").await.unwrap();
    // Statements that change nothing are found out, and the old password stays.
    d.ok(Write, "db/config/main", json!({"root_rotation_statements": ["SELECT '{{password}}', '{{name}}'"]})).await;
    let refused = d.call(Write, "db/rotate-root/main", json!({})).await.unwrap_err();
    assert!(refused.to_string().contains("is not let in"), "{refused}");
    assert_eq!(d.ok(Read, "db/config/main", json!({})).await["rotation_unfinished"], Value::Null);
    d.issue("reader").await.unwrap();
    let told = d.ok(Read, "db/config/main", json!({})).await.to_string();
    assert!(!told.contains("first-password"), "{told}");
}

#[tokio::test]
async fn a_new_password_whose_change_was_not_answered_is_kept() {
    let d = Database::new().await;
    d.with_administrator().await;
    let slow = json!({"root_rotation_statements": ["SELECT pg_sleep(60), '{{password}}', '{{name}}'"]});
    d.ok(Write, "db/config/main", slow).await;
    let unsure = d.call(Write, "db/rotate-root/main", json!({})).await.unwrap_err();
    assert!(unsure.to_string().contains("both are kept"), "{unsure}");
    assert_eq!(d.ok(Read, "db/config/main", json!({})).await["rotation_unfinished"], true);
}

#[tokio::test]
async fn a_static_roles_password_changes_by_itself_and_on_demand() {
    let _clock = CLOCK.lock().await;
    AHEAD.store(0, std::sync::atomic::Ordering::SeqCst);
    let d = Database::over(a_world_with_a_clock().await).await;
    let app = d.a_login("app", "").await;
    d.ok(Write, "db/config/main", json!({"allowed_roles": "*"})).await;
    let body = json!({"db_name": "main", "username": app, "rotation_period": 3600});
    d.ok(Write, "db/static-roles/app", body.clone()).await;
    let first = d.static_password("app").await;
    assert!(d.logs_in(&app, &first).await && !d.logs_in(&app, "first-password").await);
    d.ok(Write, "db/rotate-role/app", json!({})).await;
    let second = d.static_password("app").await;
    assert!(d.logs_in(&app, &second).await && !d.logs_in(&app, &first).await);
    assert_eq!(d.leases.work(10).await.unwrap(), 0);
    AHEAD.store(3601, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(d.leases.work(10).await.unwrap(), 1);
    let third = d.static_password("app").await;
    assert!(d.logs_in(&app, &third).await && !d.logs_in(&app, &second).await);
    // What belongs to it is no lease.
    assert!(d.leases.list("").await.unwrap().0.is_empty());
    let row =
        d.world.store.leases_due("", Timestamp::from_secs(i64::MAX / 2_000_000), 10).await.unwrap().pop().unwrap();
    assert!(d.leases.lookup(&row.id).await.unwrap().is_none());
    assert!(!d.leases.revoke(&actor(), &row.id).await.unwrap());

    for (body, why) in [
        (json!({"username": "other"}), "cannot update static account username"),
        (json!({"rotation_period": "1s"}), "5 seconds or more"),
        (json!({"rotation_schedule": "* * * * *"}), "rotation_schedule is not offered"),
    ] {
        let refused = d.call(Write, "db/static-roles/app", body).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    for (name, body, why) in [
        ("reader", body.clone(), "must be unique"),
        ("x", json!({"db_name": "main", "rotation_period": 60}), "username is a required"),
        ("x", json!({"db_name": "main", "username": "u"}), "rotation_period is required"),
        ("x", json!({"db_name": "none", "username": "u", "rotation_period": 60}), "no database named"),
        ("x", json!({"db_name": "main", "username": "nobody-at-all", "rotation_period": 60}), "not changed"),
    ] {
        let refused = d.call(Write, &format!("db/static-roles/{name}"), body).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
    assert_eq!(d.ok(List, "db/static-roles", json!({})).await, json!({"keys": ["app"]}));
    assert!(d.call(Write, "db/roles/app", json!({"db_name": "main", "creation_statements": "x"})).await.is_err());
    assert!(d.call(Write, "db/rotate-role/reader", json!({})).await.is_err());
    d.ok(Delete, "db/static-roles/app", json!({})).await;
    assert!(d.logs_in(&app, &third).await, "the login stays as it is");
    assert!(d.call(Read, "db/static-creds/app", json!({})).await.is_err());
    assert!(d.world.store.next_lease_due().await.unwrap().is_none());
}

#[tokio::test]
async fn a_static_rotation_survives_a_crash_anywhere() {
    let _clock = CLOCK.lock().await;
    for fault in [Fault::StaticBegun, Fault::StaticSet] {
        AHEAD.store(0, std::sync::atomic::Ordering::SeqCst);
        let d = Database::over(a_world_with_a_clock().await).await;
        let app = d.a_login("app", "").await;
        d.ok(Write, "db/config/main", json!({"allowed_roles": "*"})).await;
        d.ok(Write, "db/static-roles/app", json!({"db_name": "main", "username": app, "rotation_period": "1h"})).await;
        let first = d.static_password("app").await;
        d.leases.crash_at(fault);
        assert!(d.call(Write, "db/rotate-role/app", json!({})).await.is_err());
        assert_eq!(d.logs_in(&app, &first).await, fault == Fault::StaticBegun);
        AHEAD.store(31, std::sync::atomic::Ordering::SeqCst);
        // Another process goes on with it.
        let other = Arc::new(Leases::new(d.world.vault.clone(), d.world.store.clone(), PrivateHosts::default()));
        assert_eq!(other.work(10).await.unwrap(), 1);
        let second = d.static_password("app").await;
        assert_ne!(first, second);
        assert!(d.logs_in(&app, &second).await && !d.logs_in(&app, &first).await, "{fault:?}");
    }
}

#[tokio::test]
async fn a_static_rotation_that_fails_is_tried_again_and_told() {
    let _clock = CLOCK.lock().await;
    AHEAD.store(0, std::sync::atomic::Ordering::SeqCst);
    let d = Database::over(a_world_with_a_clock().await).await;
    let app = d.a_login("app", "").await;
    d.ok(Write, "db/config/main", json!({"allowed_roles": "*"})).await;
    d.ok(Write, "db/static-roles/app", json!({"db_name": "main", "username": app, "rotation_period": "1h"})).await;
    let first = d.static_password("app").await;
    let nowhere = "postgresql://x:y@127.0.0.1:1/x?sslmode=disable";
    d.ok(Write, "db/config/main", json!({"connection_url": nowhere, "verify_connection": false})).await;
    AHEAD.store(3601, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(d.leases.work(10).await.unwrap(), 1);
    let told = d.ok(Read, "db/static-roles/app", json!({})).await;
    assert!(told["rotation_error"].as_str().unwrap().contains("cannot be reached"), "{told}");
    assert_eq!(d.static_password("app").await, first);
    assert_eq!(d.leases.work(10).await.unwrap(), 0, "not before its time");
    d.ok(Write, "db/config/main", json!({"connection_url": d.here()})).await;
    AHEAD.store(3601 + 11, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(d.leases.work(10).await.unwrap(), 1);
    let second = d.static_password("app").await;
    assert!(d.logs_in(&app, &second).await && !d.logs_in(&app, &first).await);
    assert_eq!(d.ok(Read, "db/static-roles/app", json!({})).await["rotation_error"], Value::Null);
}
