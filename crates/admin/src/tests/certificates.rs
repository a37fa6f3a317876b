//! Authorities and the certificates they sign, through the API.

use super::Control;
use credentialflow_certificates::{Bundle, Certificate};
use serde_json::json;

// The certificate stands before its authority: the order does not matter.
const HOUSE: &str = r#"
credentials:
  - name: billing
    engine: certificate
    certificate: { authority: house-ca, names: [billing.example.internal], lifetime: 12h }
  - name: house-ca
    engine: certificate_authority
    certificate: { permitted: [example.internal] }
upstreams:
  - name: ledger
    endpoints: [https://ledger.example.internal]
    tls: { ca: house-ca, client_certificate: billing }
"#;

async fn said(control: &Control, name: &str) -> Certificate {
    let value = control.vault.current_value(&name.parse().unwrap()).await.unwrap();
    Certificate::parse(Bundle::read(&value).unwrap().leaf()).unwrap()
}

#[tokio::test]
async fn declared_together_an_authority_signs_its_certificate() {
    let control = Control::start().await;
    control.apply(HOUSE, json!({})).await.expect(200);
    assert_eq!(control.apply(HOUSE, json!({})).await.expect(200).json()["changes"], json!([]));
    let (root, leaf) = (said(&control, "house-ca").await, said(&control, "billing").await);
    assert!(root.authority && leaf.issuer == root.subject && leaf.names == ["billing.example.internal"]);
    assert_eq!(leaf.not_after.secs() - leaf.not_before.secs(), 12 * 3600 + 300);
    let shown = control.get("/api/v1/credentials/billing").await.expect(200).json();
    assert!(shown["rotation_due"].is_string(), "{shown}");
    assert!(control.get("/api/v1/credentials/house-ca").await.expect(200).json()["rotation_due"].is_null());
    control.call(http::Method::DELETE, "/api/v1/credentials/house-ca", None, &[]).await.expect(422);
    control.call(http::Method::DELETE, "/api/v1/credentials/billing", None, &[]).await.expect(422);
}

#[tokio::test]
async fn what_cannot_be_signed_is_told() {
    let control = Control::start().await;
    control.apply(HOUSE, json!({})).await.expect(200);
    let beyond = json!({ "name": "shop", "engine": "certificate",
        "certificate": { "authority": "house-ca", "names": ["shop.example.com"] } });
    let refused = control.post("/api/v1/credentials", beyond).await.expect(409);
    assert!(refused.text.contains("does not permit the name shop.example.com"), "{}", refused.text);
    let handed_in = json!({ "name": "shop", "engine": "certificate", "secret": "handed-in",
        "certificate": { "authority": "house-ca" } });
    let refused = control.post("/api/v1/credentials", handed_in).await;
    assert!(refused.status.is_client_error() && !refused.text.contains("handed-in"), "{}", refused.text);
    let copied = json!({ "name": "copy", "engine": "static", "value": "${credential:house-ca}" });
    assert!(control.post("/api/v1/credentials", copied).await.expect(422).text.contains("wrong_engine"));
}

#[tokio::test]
async fn what_is_watched_is_listed_and_what_ends_is_in_the_status() {
    let control = Control::start().await;
    control.apply(HOUSE, json!({})).await.expect(200);
    assert_eq!(control.get("/api/v1/certificates").await.expect(200).json(), json!({ "items": [], "left_out": 0 }));
    control.get("/api/v1/certificates/billing").await.expect(404);
    let value = control.vault.current_value(&"billing".parse().unwrap()).await.unwrap();
    let bundle = Bundle::read(&value).unwrap();
    let made: credentialflow_model::Timestamp = std::time::SystemTime::now().into();
    control.watch.hold("billing", 1, bundle.leaf(), bundle.pem(), made).unwrap();
    let over = rcgen::CertificateParams::new(vec!["old.example".to_owned()]).map(|mut params| {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap()
    });
    let place = credentialflow_certificates::Place {
        kind: credentialflow_certificates::PlaceKind::Upstream,
        name: "old.example:8443".into(),
    };
    control.watch.see(place, over.unwrap().der(), made).unwrap();
    let listed = control.get("/api/v1/certificates").await.expect(200).json();
    let states: Vec<_> = listed["items"].as_array().unwrap().iter().map(|i| (&i["place"], &i["state"])).collect();
    assert_eq!(states, [(&json!("upstream"), &json!("expired")), (&json!("credential"), &json!("valid"))]);
    let one = control.get("/api/v1/certificates/billing").await.expect(200);
    assert!(one.json()["pem"].as_str().unwrap().contains("BEGIN CERTIFICATE") && !one.text.contains("PRIVATE"));
    let status = control.get("/api/v1/status").await.expect(200).json();
    assert_eq!(status["certificates"].as_array().unwrap().len(), 1);
    assert_eq!(status["certificates"][0]["name"], "old.example:8443");
}
