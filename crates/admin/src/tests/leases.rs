//! Whose leases end is said exactly, and what came of it is told.

use super::*;
use crate::ports::{Held, Leases, NotRevoked, RevokedLeases};
use std::sync::Mutex;

/// Remembers what it was asked to end.
#[derive(Debug, Default)]
struct Ends(Mutex<Vec<(String, Held)>>);

impl Leases for Ends {
    fn revoke<'a>(&'a self, actor: &'a Actor, held: &'a Held) -> BoxFuture<'a, Result<RevokedLeases, NotRevoked>> {
        self.0.lock().unwrap().push((actor.name.clone(), held.clone()));
        let told = |leases| RevokedLeases { tokens: leases, leases, left: 0, problem: None };
        let answer = match held {
            Held::Entity(name) if name == "sealed" => Err(NotRevoked::Sealed),
            Held::Entity(name) if name == "away" => Err(NotRevoked::Unavailable),
            Held::Application(name) if name != "gone" => Ok(told(0)),
            _ => Ok(told(3)),
        };
        Box::pin(std::future::ready(answer))
    }
}

#[tokio::test]
async fn leases_end_by_application_entity_or_prefix_and_only_by_one() {
    let ends = Arc::new(Ends::default());
    let port = ends.clone();
    let control = Control::start_with(|settings| settings.leases = Some(port)).await;
    let ask = async |body: Value| control.call(Method::POST, "/api/v1/leases/revoke", Some(body), &[]).await;
    for wrong in [json!({}), json!({"entity": "e", "prefix": "p"}), json!({"prefix": "/"}), json!({"application": ""})]
    {
        assert_eq!(ask(wrong).await.expect(400).code(), "invalid_request");
    }
    assert!(ends.0.lock().unwrap().is_empty(), "nothing ended");
    let told = ask(json!({"entity": "e-1"})).await.expect(200).json();
    assert_eq!(told, json!({"tokens": 3, "leases": 3, "left": 0}));
    ask(json!({"prefix": "database/creds/"})).await.expect(200);
    // What a deleted application left behind, one that holds nothing, and a name that is nobody's.
    ask(json!({"application": "gone"})).await.expect(200);
    assert_eq!(ask(json!({"application": "chekout"})).await.expect(404).code(), "not_found");
    control.call(Method::POST, "/api/v1/applications", Some(json!({"name": "checkout"})), &[]).await.expect(201);
    ask(json!({"application": "checkout"})).await.expect(200);
    assert_eq!(ask(json!({"entity": "sealed"})).await.expect(503).code(), "sealed");
    assert_eq!(ask(json!({"entity": "away"})).await.expect(503).code(), "store_unavailable");
    let asked = ends.0.lock().unwrap().clone();
    assert_eq!(asked[0].1, Held::Entity("e-1".into()));
    assert!(asked.iter().all(|(actor, _)| *actor == asked[0].0 && !actor.is_empty()));
}
