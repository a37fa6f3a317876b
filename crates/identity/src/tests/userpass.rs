//! Userpass: right, wrong, unknown and too often.

use super::world::*;
use crate::{Operation, Response, Result};
use serde_json::{Value, json};
use std::net::IpAddr;

async fn ask(world: &World, operation: Operation, path: &str, body: Value) -> Result<Response> {
    let token = (!path.starts_with("login")).then_some(world.root.as_str());
    world.ask("userpass", &mount("userpass/"), token, operation, path, body, None).await
}

async fn login(world: &World, name: &str, password: &str) -> Result<Response> {
    ask(world, Operation::Update, &format!("login/{name}"), json!({ "password": password })).await
}

#[tokio::test]
async fn people_log_in_with_their_password() {
    let world = World::new().await;
    let body = json!({"password": "first", "policies": "a,b", "token_ttl": "5m"});
    ask(&world, Operation::Update, "users/Bob", body).await.unwrap();
    let made = login(&world, "bob", "first").await.unwrap();
    let auth = made.auth.as_ref().unwrap();
    assert_eq!(
        (auth.policies.as_slice(), auth.lease_duration),
        (["a", "b", "default"].map(str::to_owned).as_slice(), 300)
    );
    assert_eq!(auth.metadata.as_ref().unwrap()["username"], "bob");
    let seen = data(&world.token(&client_token(&made), "lookup-self", json!({})).await.unwrap());
    assert_eq!(seen["display_name"], "userpass-bob");
    ask(&world, Operation::Update, "users/bob/password", json!({"password": "second"})).await.unwrap();
    assert!(login(&world, "bob", "first").await.is_err());
    assert!(login(&world, "BOB", "second").await.is_ok());
    ask(&world, Operation::Update, "users/bob/policies", json!({"policies": ["c"]})).await.unwrap();
    let user = data(&ask(&world, Operation::Read, "users/bob", json!({})).await.unwrap());
    assert_eq!(user["token_policies"], json!(["c"]));
    assert!(!user.to_string().contains("hash"));
    assert_eq!(
        refusal(world.token(&client_token(&made), "renew-self", json!({})).await).1,
        "policies have changed, not renewing"
    );
    assert_eq!(data(&ask(&world, Operation::List, "users", json!({})).await.unwrap())["keys"], json!(["bob"]));
    ask(&world, Operation::Delete, "users/bob", json!({})).await.unwrap();
    assert!(login(&world, "bob", "second").await.is_err());
    assert_eq!(refusal(ask(&world, Operation::Update, "users/x", json!({})).await), (400, "missing password".into()));
    assert_eq!(refusal(ask(&world, Operation::Update, "users/x", json!({"password": ""})).await).0, 400);
}

#[tokio::test]
async fn guessing_locks_a_name_known_or_not_for_a_while() {
    let world = World::new().await;
    ask(&world, Operation::Update, "users/bob", json!({"password": "right"})).await.unwrap();
    for name in ["bob", "nobody"] {
        for _ in 0..5 {
            assert_eq!(
                refusal(login(&world, name, "wrong").await),
                (400, "invalid username or password".into()),
                "{name}"
            );
        }
        assert_eq!(refusal(login(&world, name, "right").await).0, 403, "{name}");
    }
    world.pass(15 * 60);
    assert!(login(&world, "bob", "right").await.is_ok());
    assert_eq!(world.actions().await.iter().filter(|a| *a == "auth.refuse").count(), 10);
}

#[tokio::test]
async fn guessing_locks_its_source_for_every_name_and_no_other_source() {
    let world = World::new().await;
    for name in ["bob", "eve"] {
        ask(&world, Operation::Update, &format!("users/{name}"), json!({"password": "right"})).await.unwrap();
    }
    let from = |source: &str, name: &str, password: &str| {
        let (world, source, path) = (&world, source.parse::<IpAddr>().unwrap(), format!("login/{name}"));
        let body = json!({ "password": password });
        async move { world.ask("userpass", &mount("userpass/"), None, Operation::Update, &path, body, Some(source)).await }
    };
    for guess in 0..100 {
        // Another address of the same network, and a right password in between, are no way around it.
        let source = format!("2001:db8::{guess:x}");
        assert_eq!(refusal(from(&source, &format!("name{guess}"), "wrong").await).0, 400);
        if guess == 50 {
            assert!(from(&source, "eve", "right").await.is_ok());
        }
    }
    assert_eq!(refusal(from("2001:db8::ffff", "bob", "right").await).0, 403);
    assert!(from("2001:db8:0:1::1", "bob", "right").await.is_ok(), "others log in");
    assert_eq!(world.actions().await.iter().filter(|a| *a == "auth.refuse").count(), 100);
    world.pass(15 * 60);
    assert!(from("2001:db8::1", "bob", "right").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_guesses_at_the_same_moment_are_told_no_more_than_as_many_in_turn() {
    let world = World::new().await;
    ask(&world, Operation::Update, "users/bob", json!({"password": "right"})).await.unwrap();
    let guesses = (0..40).map(|guess| {
        let password = if guess == 39 { "right".to_owned() } else { guess.to_string() };
        let world = &world;
        async move { login(world, "bob", &password).await.map_err(|error| error.status()) }
    });
    let mut told: Vec<_> = Vec::new();
    let mut running: Vec<_> = guesses.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        running.retain_mut(|guess| match guess.as_mut().poll(cx) {
            std::task::Poll::Ready(done) => {
                told.push(done.err());
                false
            }
            std::task::Poll::Pending => true,
        });
        if running.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    let wrong = told.iter().filter(|status| **status == Some(400)).count();
    assert!(wrong <= 6, "{wrong} guesses were told apart from a lock");
    assert!(told.contains(&Some(403)) && !told.contains(&None), "the last, right one came after the lock");
}

/// Of logins that are on their way when a password is changed or its user removed, none succeeds afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_on_its_way_outlives_its_password_or_user() {
    let world = World::new().await;
    for (name, operation, path, body, action) in [
        ("bob", Operation::Update, "users/bob/password", json!({"password": "new"}), "userpass.password.set"),
        ("eve", Operation::Delete, "users/eve", json!({}), "userpass.user.delete"),
        ("dan", Operation::Update, "users/dan/policies", json!({"policies": "less"}), "userpass.user.set"),
    ] {
        ask(&world, Operation::Update, &format!("users/{name}"), json!({"password": "old"})).await.unwrap();
        let before = world.actions().await.len();
        // Only a few passwords are looked at at a time: the others wait with what they have read.
        let logins = async {
            let all = [(); 12].map(|()| login(&world, name, "old"));
            let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
            let mut policies = Vec::new();
            std::future::poll_fn(|cx| {
                all.retain_mut(|login| match login.as_mut().poll(cx) {
                    std::task::Poll::Ready(done) => {
                        policies.extend(done.ok().map(|made| made.auth.unwrap().policies));
                        false
                    }
                    std::task::Poll::Pending => true,
                });
                if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            policies
        };
        let (given, changed) = tokio::join!(logins, ask(&world, operation, path, body));
        changed.unwrap();
        let actions = world.actions().await.split_off(before);
        let at = actions.iter().position(|a| a == action).unwrap();
        let later = actions[at..].iter().filter(|a| *a == "auth.login").count();
        if name == "dan" {
            let old = given.iter().filter(|p| !p.contains(&"less".to_owned())).count();
            assert_eq!((given.len(), old), (12, 12 - later), "{actions:?}");
        } else {
            assert_eq!(later, 0, "{actions:?}");
        }
    }
}
