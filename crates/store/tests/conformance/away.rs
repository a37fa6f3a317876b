//! A database that is away: told quickly, and forgotten once it is back.

use crate::{block_on, writes};
use credentialflow_model::resource::Kind;
use credentialflow_store::{Store, StoreError, Uses, audit};
use credentialflow_testkit::postgres::Cluster;
use std::time::{Duration, Instant};

#[test]
fn postgresql_goes_away_and_comes_back() {
    // A cluster of its own: the other cases need theirs running.
    let cluster = Cluster::start().unwrap();
    let url = cluster.create_database().unwrap();
    block_on(async {
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        writes::put(&store, "before").await;
        cluster.stop().unwrap();
        let began = Instant::now();
        assert_unavailable(store.resource(Kind::Teams, "before").await);
        assert_unavailable(store.begin(&crate::admin()).await);
        assert_unavailable(store.record_uses(&Uses::default()).await);
        // Three times the three seconds in which a server is to be reached, and a lot for a busy machine.
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        // A node can start meanwhile.
        let late = Store::connect(&url).await.unwrap();
        assert_unavailable(late.migrate().await);
        cluster.resume().unwrap();
        for s in [&store, &late] {
            s.ping().await.unwrap();
            s.migrate().await.unwrap();
        }
        writes::put(&late, "after").await;

        // Killed while a transaction is open: it is lost as a whole.
        let mut tx = store.begin(&crate::admin()).await.unwrap();
        tx.put_setting("half", b"x").await.unwrap();
        tx.audit("settings.put", "settings/half", serde_json::json!({}));
        cluster.kill().unwrap();
        assert_unavailable(tx.commit().await);
        cluster.resume().unwrap();
        assert_eq!(store.setting("half").await.unwrap(), None);
        writes::put(&store, "last").await;
        assert_eq!(audit::verify(&store, None).await.unwrap().events, 3);
    });
}

fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    match answer {
        Err(e @ StoreError::Unavailable(_)) => assert!(e.is_transient()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_url_is_refused_without_repeating_it() {
    block_on(async {
        let refused = ["postgres://u:hunter2@[::", "mysql://u:hunter2@h/d", "sqlite:", "sqlite::memory:"];
        for url in refused {
            let e = Store::connect(url).await.unwrap_err();
            assert!(!format!("{e} {e:?}").contains("hunter2"), "{e:?}");
        }
        let e = Store::connect("sqlite:/nonexistent/directory/a.db").await.unwrap_err();
        assert!(matches!(e, StoreError::Unavailable(_)), "{e:?}");
    });
}
