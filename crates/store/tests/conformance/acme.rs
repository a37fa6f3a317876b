//! What ordering certificates remembers.

use crate::{Database, admin};
use credentialflow_store::{
    AcmeRow,
    sealed::{ACME, KeyPart, SealedRow},
};
use serde_json::json;

crate::on_both!(what_is_remembered_is_replaced_forgotten_and_sealed_anew);

fn row(name: &str, sealed: Option<&[u8]>, note: &str) -> AcmeRow {
    AcmeRow { name: name.into(), sealed: sealed.map(<[u8]>::to_vec), note: note.into() }
}

async fn what_is_remembered_is_replaced_forgotten_and_sealed_anew(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    assert!(store.acme().await.unwrap().is_empty());
    let mut tx = store.begin(&admin()).await.unwrap();
    for one in [row("order", Some(b"one"), "{}"), row("account", Some(b"two"), ""), row("trouble", None, "x")] {
        tx.put_acme(&one).await.unwrap();
    }
    tx.audit("acme.test", "acme/order", json!({}));
    tx.commit().await.unwrap();
    let mut tx = store.begin(&admin()).await.unwrap();
    tx.put_acme(&row("order", None, "later")).await.unwrap();
    tx.forget_acme("trouble").await.unwrap();
    tx.forget_acme("nothing").await.unwrap();
    tx.audit("acme.test", "acme/order", json!({}));
    tx.commit().await.unwrap();
    let expected = [row("account", Some(b"two"), ""), row("order", None, "later")];
    assert_eq!(store.acme().await.unwrap(), expected);
    let sealed = store.sealed_after(&ACME, None, 10).await.unwrap();
    let account = SealedRow { key: vec![KeyPart::Text("account".into())], sealed: b"two".to_vec() };
    assert_eq!(sealed, std::slice::from_ref(&account));
    let mut tx = store.begin(&admin()).await.unwrap();
    assert!(tx.replace_sealed(&ACME, &account, b"new", 2).await.unwrap());
    tx.audit("acme.test", "acme/account", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(store.acme().await.unwrap()[0], row("account", Some(b"new"), ""));
}
