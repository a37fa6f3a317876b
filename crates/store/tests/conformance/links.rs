//! Links to stores that are not ours.

use crate::{Database, admin, name};
use credentialflow_model::Timestamp;
use credentialflow_store::{LinkDirection, LinkRow};
use serde_json::json;

crate::on_both!(
    links_are_written_over_and_forgotten,
    a_link_that_fails_is_found,
    a_link_that_brought_nothing_new_is_noted_without_an_event
);

fn link(credential: &str, direction: LinkDirection, place: &str) -> LinkRow {
    LinkRow {
        credential: name(credential),
        direction,
        place: place.to_owned(),
        version: None,
        remote: None,
        attempts: 0,
        next_attempt: None,
        succeeded: None,
        error: None,
    }
}

async fn links_are_written_over_and_forgotten(on: Database) {
    let fresh = on.fresh().await;
    let (read, write) = (link("a", LinkDirection::Read, "v/x#y"), link("a", LinkDirection::Write, "v/ä b"));
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    for row in [&read, &write, &link("b", LinkDirection::Read, "v/x#y")] {
        tx.put_link(row).await.unwrap();
    }
    let later = LinkRow {
        version: Some(3),
        remote: Some("7".to_owned()),
        next_attempt: Some(Timestamp::from_secs(9)),
        succeeded: Some(Timestamp::from_secs(8)),
        ..read.clone()
    };
    tx.put_link(&later).await.unwrap();
    assert_eq!(tx.links_of("a").await.unwrap(), [later.clone(), write.clone()]);
    tx.audit("test.link", "credentials/a", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.links().await.unwrap().len(), 3);

    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.delete_link("a", LinkDirection::Write, "v/ä b").await.unwrap();
    tx.delete_link("a", LinkDirection::Read, "v/ä b").await.unwrap();
    tx.audit("test.link", "credentials/a", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.links_of("a").await.unwrap(), [later]);
}

async fn a_link_that_fails_is_found(on: Database) {
    let fresh = on.fresh().await;
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    let failing = LinkRow { attempts: 2, error: Some("no".to_owned()), ..link("a", LinkDirection::Write, "v/x") };
    for row in [&failing, &link("b", LinkDirection::Read, "v/x")] {
        tx.put_link(row).await.unwrap();
    }
    tx.audit("test.link", "credentials/a", json!({}));
    tx.commit().await.unwrap();
    assert_eq!(fresh.store.failing_links(10).await.unwrap(), [failing]);
}

async fn a_link_that_brought_nothing_new_is_noted_without_an_event(on: Database) {
    let fresh = on.fresh().await;
    let well = LinkRow { version: Some(3), ..link("a", LinkDirection::Read, "v/x") };
    let failing = LinkRow { attempts: 1, error: Some("no".to_owned()), ..link("b", LinkDirection::Read, "v/x") };
    let mut tx = fresh.store.begin(&admin()).await.unwrap();
    tx.put_link(&well).await.unwrap();
    tx.put_link(&failing).await.unwrap();
    tx.audit("test.link", "credentials/a", json!({}));
    tx.commit().await.unwrap();
    let (_, before) = fresh.store.latest_place().await.unwrap();
    let times = (Some(Timestamp::from_secs(9)), Some(Timestamp::from_secs(8)));
    for row in [&well, &failing, &link("c", LinkDirection::Read, "v/x")] {
        let touched = LinkRow { next_attempt: times.0, succeeded: times.1, version: None, ..row.clone() };
        fresh.store.touch_link(&touched).await.unwrap();
    }
    let touched = LinkRow { next_attempt: times.0, succeeded: times.1, ..well };
    assert_eq!(fresh.store.links().await.unwrap(), [touched, failing]);
    assert_eq!(fresh.store.latest_place().await.unwrap().1, before);
}
