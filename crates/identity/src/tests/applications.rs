//! Tokens belong to applications: roles say so, children inherit it, and all of an application's end together.

use super::world::*;
use crate::*;
use credentialflow_model::{Actor, resource::Kind};
use credentialflow_store::Expect;
use serde_json::{Value, json};

impl World {
    async fn application(&self, name: &str) {
        let mut tx = self.store.begin(&Actor::operator()).await.unwrap();
        let body = json!({"name": name}).to_string();
        tx.put_resource(Kind::Applications, &name.parse().unwrap(), &body, Expect::Absent).await.unwrap();
        tx.audit("application.create", name, json!({}));
        tx.commit().await.unwrap();
    }

    async fn write(&self, kind: &str, path: &str, body: Value) -> Result<Response> {
        let root = self.root.clone();
        self.ask(kind, &mount(&format!("{kind}/")), Some(&root), Operation::Update, path, body, None).await
    }

    async fn login(&self, kind: &str, path: &str, body: Value) -> Result<String> {
        let made = self.ask(kind, &mount(&format!("{kind}/")), None, Operation::Update, path, body, None).await?;
        Ok(client_token(&made))
    }

    /// What a token says of itself.
    async fn about(&self, token: &str, field: &str) -> Value {
        data(&self.token(token, "lookup-self", json!({})).await.unwrap())[field].clone()
    }
}

#[tokio::test]
async fn a_role_names_an_application_that_exists() {
    let w = World::new().await;
    let cases = [
        ("approle", "role/web", json!({})),
        ("userpass", "users/bob", json!({"password": "correct horse"})),
        ("jwt", "role/web", json!({"role_type": "jwt", "user_claim": "sub", "bound_subject": "x"})),
        ("token", "roles/web", json!({})),
    ];
    for named in [false, true] {
        if named {
            w.application("checkout").await;
        }
        for (kind, path, body) in &cases {
            let mut body = body.clone();
            body["application"] = "checkout".into();
            let done = w.write(kind, path, body).await;
            if named {
                done.unwrap();
                let (root, at) = (w.root.clone(), mount(&format!("{kind}/")));
                let read = w.ask(kind, &at, Some(&root), Operation::Read, path, json!({}), None).await.unwrap();
                assert_eq!(data(&read)["application"], "checkout", "{kind}");
            } else {
                assert_eq!(refusal(done), (400, "there is no application named \"checkout\"".to_owned()), "{kind}");
            }
        }
    }
    let refused = w.write("approle", "role/web/application", json!({"application": "other"})).await;
    assert_eq!(refusal(refused).0, 400);
    w.write("approle", "role/web/application", json!({"application": "checkout"})).await.unwrap();
}

#[tokio::test]
async fn an_applications_tokens_end_together_and_nobody_elses() {
    let w = World::new().await;
    w.application("checkout").await;
    w.application("billing").await;
    let mut tokens = Vec::new();
    for (name, application) in [("a", "checkout"), ("b", "checkout"), ("c", "billing"), ("d", "")] {
        let body = json!({"password": "correct horse", "application": application, "token_policies": "makes"});
        w.write("userpass", &format!("users/{name}"), body).await.unwrap();
        let made = w.login("userpass", &format!("login/{name}"), json!({"password": "correct horse"})).await.unwrap();
        tokens.push(made);
    }
    w.policy("makes", "path \"auth/token/*\" { capabilities = [\"update\", \"create\", \"sudo\"] }").await;
    assert_eq!(w.about(&tokens[0], "application").await, "checkout");
    assert_eq!(w.about(&tokens[3], "application").await, Value::Null);
    let child = w.create(&tokens[0], json!({})).await;
    let orphan = client_token(&w.token(&tokens[1], "create-orphan", json!({})).await.unwrap());
    // A role's application stands above the maker's.
    w.write("token", "roles/pays", json!({"application": "billing", "orphan": true})).await.unwrap();
    let other = client_token(&w.token(&tokens[0], "create/pays", json!({})).await.unwrap());
    assert_eq!(w.about(&child, "application").await, "checkout");
    assert_eq!(w.about(&orphan, "application").await, "checkout");
    assert_eq!(w.about(&other, "application").await, "billing");

    let ended = w.identity.revoke_application(&Actor::operator(), "checkout").await.unwrap();
    assert_eq!(ended, 4);
    for token in [&tokens[0], &tokens[1], &child, &orphan] {
        assert!(!w.accepts(token).await);
    }
    for token in [&tokens[2], &tokens[3], &other] {
        assert!(w.accepts(token).await);
    }
    assert_eq!(w.identity.revoke_application(&Actor::operator(), "checkout").await.unwrap(), 0);
    // Of one entity, whatever applications its tokens are of.
    let entity = w.about(&tokens[2], "entity_id").await;
    assert_eq!(w.identity.revoke_entity(&Actor::operator(), entity.as_str().unwrap()).await.unwrap(), 1);
    assert!(!w.accepts(&tokens[2]).await && w.accepts(&tokens[3]).await && w.accepts(&other).await);
}

#[tokio::test]
async fn nobody_logs_in_for_an_application_that_is_gone() {
    let w = World::new().await;
    w.application("checkout").await;
    let body = json!({"password": "correct horse", "application": "checkout"});
    w.write("userpass", "users/a", body).await.unwrap();
    let login = || w.login("userpass", "login/a", json!({"password": "correct horse"}));
    let token = login().await.unwrap();
    let mut tx = w.store.begin(&Actor::operator()).await.unwrap();
    tx.delete_resource(Kind::Applications, "checkout", Expect::Present).await.unwrap();
    tx.audit("application.delete", "checkout", json!({}));
    tx.commit().await.unwrap();
    let refused = login().await.unwrap_err();
    assert!(refused.to_string().contains("no application named"), "{refused}");
    // What was handed out before is still found by the name.
    assert!(w.accepts(&token).await);
    assert_eq!(w.identity.revoke_application(&Actor::operator(), "checkout").await.unwrap(), 1);
}

#[tokio::test]
async fn tokens_come_from_the_one_that_somebody_logged_in_for() {
    let w = World::new().await;
    w.policy("makes", "path \"auth/token/*\" { capabilities = [\"update\", \"create\"] }").await;
    w.write("token", "roles/free", json!({"orphan": true})).await.unwrap();
    let origin = async |token: &str| w.identity.authenticate(token, None).await.unwrap().token().origin().to_owned();
    let first = w.create(&w.root, json!({"policies": ["makes"]})).await;
    let second = w.create(&w.root, json!({"policies": ["makes"]})).await;
    assert_ne!(origin(&first).await, origin(&second).await, "root's children are others");
    let child = w.create(&first, json!({})).await;
    let grandchild = w.create(&child, json!({})).await;
    let orphan = client_token(&w.token(&child, "create/free", json!({})).await.unwrap());
    let batch = w.create(&child, json!({"type": "batch"})).await;
    for token in [&child, &grandchild, &orphan, &batch] {
        assert_eq!(origin(token).await, origin(&first).await);
    }
}

#[tokio::test]
async fn a_list_of_accessors_that_is_cut_says_so() {
    let w = World::new().await;
    for _ in 0..3 {
        w.create(&w.root, json!({"ttl": "1h"})).await;
    }
    let told = async |most| {
        let response = crate::tokens::accessors(w.identity.core(), most).await.unwrap();
        (response.data.unwrap()["keys"].as_array().unwrap().len(), response.warnings.len())
    };
    assert_eq!(told(4).await, (4, 0));
    assert_eq!(told(3).await, (3, 1));
}
