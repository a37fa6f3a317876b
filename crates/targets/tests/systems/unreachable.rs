//! Targets that are not there, and one that takes the connection and says nothing.

use super::{create, secret, statements};
use credentialflow_model::SecretValue;
use credentialflow_targets::{Server, Settings, Target, TargetError, mysql, open, postgresql, rabbitmq, redis};
use credentialflow_testkit::place::Place;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What one operation may take.
const ONE: Duration = Duration::from_secs(1);
/// How many wait for each target.
const WAITING: u32 = 300;

fn all_at(port: u16) -> Vec<Arc<dyn Target>> {
    let server = || {
        let mut server = Server::new("127.0.0.1", port, "admin", SecretValue::from("admin-password"));
        server.connect_timeout = Duration::from_millis(500);
        server.timeout = ONE;
        server
    };
    vec![
        open(Settings::Postgresql(postgresql::Settings::new(server(), "orders"))).unwrap(),
        open(Settings::Mysql(mysql::Settings::new(server()))).unwrap(),
        open(Settings::Redis(redis::Settings::new(server()))).unwrap(),
        open(Settings::Rabbitmq(rabbitmq::Settings::declared(server()))).unwrap(),
    ]
}

#[tokio::test]
async fn a_stuck_target_ends_in_time_and_holds_nobody_up() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    let begun = Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    for target in all_at(port) {
        // More than may be in use at once: those that wait end in time as well.
        for _ in 0..WAITING {
            let target = target.clone();
            calls.spawn(async move {
                let statements = statements(&[r#"{"vhosts": {}}"#]);
                let rules = self::statements(&["+@read"]);
                let statements = if target.kind().as_str() == "redis" { rules } else { statements };
                create(&*target, "v-1", &secret(), &statements).await.unwrap_err()
            });
        }
    }
    for error in calls.join_all().await {
        assert!(error.is_transient(), "{error}");
        assert!(!error.to_string().contains("127.0.0.1") && !error.to_string().contains("admin"), "{error}");
    }
    // Two at a time, one after the other, would take this long.
    assert!(begun.elapsed() < ONE * (WAITING / 8), "{:?}", begun.elapsed());
    silent.abort();
}

#[tokio::test]
async fn nobody_there_is_told_at_once() {
    let nobody = Place::take();
    for target in all_at(nobody.port()) {
        let error = target.check().await.unwrap_err();
        assert!(matches!(&error, TargetError::Unreachable(_)), "{error}");
        assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    }
}
