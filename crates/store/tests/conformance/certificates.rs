//! Certificates that upstreams present.

use crate::Database;
use credentialflow_model::Timestamp;
use credentialflow_store::CertificateSeen;

crate::on_both!(the_certificate_seen_last_stays, what_is_long_gone_is_forgotten);

fn seen(endpoint: &str, certificate: &[u8], first: i64, last: i64) -> CertificateSeen {
    CertificateSeen {
        endpoint: endpoint.to_owned(),
        certificate: certificate.to_vec(),
        first_seen: Timestamp::from_secs(first),
        last_seen: Timestamp::from_secs(last),
    }
}

async fn the_certificate_seen_last_stays(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    store.record_certificates(&[]).await.unwrap();
    let many: Vec<_> = (0..40).map(|i| seen(&format!("host-{i:02}:443"), b"one", 1, 5)).collect();
    store.record_certificates(&many).await.unwrap();
    assert_eq!(store.certificates_seen(1000).await.unwrap(), many);
    assert_eq!(store.certificates_seen(3).await.unwrap(), many[..3]);
    // The same one later, another one earlier, another one later; and one endpoint twice.
    let told = [
        seen("host-00:443", b"one", 3, 9),
        seen("host-01:443", b"old", 1, 4),
        seen("host-02:443", b"new", 6, 7),
        seen("host-03:443", b"two", 6, 6),
        seen("host-03:443", b"three", 7, 8),
        seen("host-03:443", b"two", 6, 7),
    ];
    store.record_certificates(&told).await.unwrap();
    let now = store.certificates_seen(4).await.unwrap();
    let expected = [
        seen("host-00:443", b"one", 1, 9),
        seen("host-01:443", b"one", 1, 5),
        seen("host-02:443", b"new", 6, 7),
        seen("host-03:443", b"three", 7, 8),
    ];
    assert_eq!(now, expected);
}

async fn what_is_long_gone_is_forgotten(on: Database) {
    let fresh = on.fresh().await;
    let store = &fresh.store;
    store.record_certificates(&[seen("a:1", b"x", 1, 5), seen("b:1", b"x", 1, 9)]).await.unwrap();
    assert_eq!(store.forget_certificates(Timestamp::from_secs(5)).await.unwrap(), 0);
    assert_eq!(store.forget_certificates(Timestamp::from_secs(6)).await.unwrap(), 1);
    assert_eq!(store.certificates_seen(9).await.unwrap(), [seen("b:1", b"x", 1, 9)]);
}
