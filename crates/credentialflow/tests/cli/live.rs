//! Commands against a real server.

use crate::binary::{Ran, Server, with_input};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

const CONFIG: &str = "teams:
  - { name: payments }
credentials:
  - { name: orders-token, owner: payments, engine: static, value: '${env:ORDERS_TOKEN}' }
upstreams:
  - { name: orders, endpoints: ['http://127.0.0.1:9'], inject: { bearer: orders-token } }
routes:
  - { name: orders, match: { path: /orders/* }, upstream: orders, authenticate: [api_key] }
applications:
  - { name: checkout, team: payments, allow: { routes: [orders] } }
keys:
  - { name: first, application: checkout }
";

fn apply(server: &Server, more: &[&str]) -> Ran {
    fs::write(server.dir.path().join("c.yaml"), CONFIG).unwrap();
    let mut command = server.command(&[more, &["c.yaml"]].concat());
    command.env("ORDERS_TOKEN", "canary-orders-token");
    crate::binary::finish(command)
}

/// The status of one request through the gateway.
fn call(server: &Server, key: &str) -> u16 {
    let mut stream = TcpStream::connect(("127.0.0.1", server.gateway)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let request = format!("GET /orders/1 HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[test]
fn a_configuration_is_planned_applied_exported_and_used() {
    let server = Server::start(&["--development"]);
    server.wait_for_gateway();
    let planned = apply(&server, &["plan"]).expect(0).out;
    assert!(
        planned.contains("+ credentials/orders-token") && planned.contains("6 to create, 0 to update"),
        "{planned}"
    );
    let applied = apply(&server, &["apply", "--output", "json"]).expect(0).json();
    let key = applied["keys"][0]["secret"].as_str().unwrap().to_owned();
    assert_eq!(applied["published"]["workers"], 2);
    assert_eq!(apply(&server, &["apply"]).expect(0).out, "Nothing changed: everything was as declared.\n");
    assert_eq!(apply(&server, &["plan"]).expect(0).out, "Nothing to change: everything is as declared.\n");
    let exported = server.run(&["export"]).expect(0).out;
    assert!(exported.contains("${env:ORDERS_TOKEN}") && !exported.contains("canary"));
    assert_eq!(server.run(&["export", "--output", "json"]).expect(0).json()["routes"][0]["name"], "orders");

    // The upstream is not there, which is not the key's fault; an unknown key is.
    assert!(call(&server, &key) >= 500);
    assert_eq!(call(&server, "cfk_live_wrong"), 401);
    let refused = || server.run(&["calls", "--status", "401", "--since", "5m", "--output", "json"]).expect(0).json();
    server.wait("the call log", || !refused()["items"].as_array().unwrap().is_empty());
    let calls = refused();
    let id = calls["items"][0]["request_id"].as_str().unwrap();
    assert!(server.run(&["calls", "show", id]).expect(0).out.contains("path: /orders/1"));

    assert!(server.run(&["route", "list"]).expect(0).out.contains("/orders/*"));
    assert!(server.run(&["application", "show", "checkout"]).expect(0).out.contains("team: payments"));
    let refused = server.run(&["team", "delete", "payments"]).expect(1);
    assert!(refused.err.contains("payments") && refused.out.is_empty(), "{}", refused.err);
    assert!(server.run(&["upstream", "show", "nothing"]).expect(1).err.contains("nothing"));
    assert!(server.run(&["model", "list"]).expect(0).out.starts_with("No models. "));
    assert!(server.run(&["status"]).expect(0).out.contains("2 workers"));
    let events = server.run(&["audit", "list", "--limit", "3"]).expect(0).out;
    assert!(events.contains("seq"), "{events}");
}

#[test]
fn keys_are_issued_once_rotated_and_revoked() {
    let server = Server::start(&["--development"]);
    server.wait_for_gateway();
    assert!(server.run(&["key", "list"]).expect(0).out.contains("key create NAME"));
    apply(&server, &["apply"]).expect(0);
    let create = ["key", "create", "k", "--application", "checkout", "--limit", "100/1m", "--expires", "90d"];
    let create = [&create[..], &["--idempotency-key", "once", "--output", "json"]].concat();
    // A duration from now is another moment each time, and so another request: the same wish is told apart.
    let secret = server.run(&create).expect(0).json()["secret"].as_str().unwrap().to_owned();
    let fixed = ["key", "create", "f", "--application", "checkout", "--idempotency-key", "two", "--output", "json"];
    let first = server.run(&fixed).expect(0).json();
    assert_eq!(server.run(&fixed).expect(0).json(), first, "the same wish brings the same answer");
    assert!(server.run(&["key", "create", "f", "--application", "checkout"]).expect(1).err.contains('f'));
    assert!(call(&server, &secret) >= 500);
    let rotated = server.run(&["key", "rotate", "k", "--overlap", "1h", "--output", "json"]).expect(0).json();
    let second = rotated["secret"].as_str().unwrap().to_owned();
    assert!(call(&server, &secret) >= 500 && call(&server, &second) >= 500, "both are accepted");
    let shown = server.run(&["key", "show", "k"]).expect(0).out;
    assert!(!shown.contains(&secret) && !shown.contains(&second) && shown.contains("application: checkout"));
    server.run(&["key", "revoke", "k"]).expect(0);
    assert_eq!((call(&server, &secret), call(&server, &second)), (401, 401));
    server.run(&["key", "delete", "k"]).expect(0);
    server.run(&["key", "show", "k"]).expect(1);
}

#[test]
fn credentials_are_set_rotated_and_revoked_and_never_shown() {
    let server = Server::start(&["--development"]);
    server.wait_for_gateway();
    let set = with_input(server.command(&["credential", "set", "db"]), "canary-first\n").expect(0);
    assert!(set.out.contains("version 1 is current"));
    let rotated = with_input(server.command(&["credential", "rotate", "db", "--stdin"]), "canary-second\n").expect(0);
    assert_eq!(rotated.out, "Rotated db: version 2 is current.\n");
    fs::write(server.dir.path().join("v"), "canary-third\n").unwrap();
    let reference = format!("${{file:{}}}", server.dir.path().join("v").display());
    let set = server.run(&["credential", "set", "db", "--value-from", &reference, "--output", "json"]).expect(0);
    assert_eq!((set.json()["step"].as_str(), set.json()["to_version"].as_u64()), (Some("done"), Some(3)));
    server.run(&["credential", "rotate", "db", "--value-from", "${env:NOT_SET}"]).expect(1);
    let rotate = ["credential", "rotate", "other", "--value-from", &reference, "--overlap", "24h", "--output", "json"];
    with_input(server.command(&["credential", "set", "other"]), "canary-other\n").expect(0);
    let promoted = server.run(&rotate).expect(0).json();
    assert_eq!((promoted["step"].as_str(), promoted["to_version"].as_u64()), (Some("drain"), Some(2)));
    server.run(&["credential", "rotate", "db", "--value-from", "literal"]).expect(2);
    let mut told = String::new();
    for args in [&["list"][..], &["show", "db"], &["versions", "db"], &["inventory"]] {
        told.push_str(&server.run(&[&["credential"], args].concat()).expect(0).out);
    }
    assert!(told.contains("db") && told.to_lowercase().contains("aes"), "{told}");
    assert!(server.run(&["credential", "revoke", "db"]).expect(0).out.contains('3'));
    server.run(&["credential", "delete", "db"]).expect(0);
    let log = fs::read_to_string(server.log()).unwrap();
    assert!(!format!("{told}{log}").contains("canary-"));
}

#[test]
fn a_sealed_server_is_unsealed_by_its_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let passphrase = dir.path().join("p");
    fs::write(&passphrase, "correct horse battery staple\n").unwrap();
    let server = Server::start(&["--passphrase-file", passphrase.to_str().unwrap()]);
    assert!(server.run(&["status"]).expect(1).err.contains("credentialflow unseal"));
    let wrong = with_input(server.command(&["unseal"]), "wrong\n").expect(1);
    assert!(!wrong.err.contains("wrong\n") && wrong.out.is_empty());
    assert_eq!(
        with_input(server.command(&["unseal"]), "correct horse battery staple\n").expect(0).out,
        "The vault is unsealed.\n"
    );
    server.wait_for_gateway();
    server.run(&["status"]).expect(0);
    server.run(&["seal"]).expect(0);
    server.run(&["status"]).expect(1);
    server.run(&["unseal", "--passphrase-file", passphrase.to_str().unwrap()]).expect(0);
    server.run(&["status"]).expect(0);
}

#[test]
fn a_server_that_does_not_know_the_token_says_so_once() {
    let server = Server::start(&["--development"]);
    server.wait_for_gateway();
    let mut status = server.command(&["status", "--output", "json"]);
    status.env("CREDENTIALFLOW_TOKEN", "cfadmin_canary");
    let refused = crate::binary::finish(status).expect(1);
    let problem: serde_json::Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(problem["code"], "unauthenticated");
    assert!(!refused.err.contains("canary"));
}

#[test]
fn over_tls_the_server_must_prove_itself() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let flags = ["--control-tls-certificate", "cert.pem", "--control-tls-key", "key.pem"];
    let server = Server::start_with(dir, &["--development"], &flags);
    server.wait_for_gateway();
    let url = format!("https://localhost:{}", server.control);
    server.run(&["status", "--server", &url, "--ca-file", "cert.pem"]).expect(0);
    let refused = server.run(&["status", "--server", &url]).expect(1);
    assert!(refused.err.contains("certificate"), "{}", refused.err);
}

#[test]
fn the_call_log_is_followed_as_it_grows() {
    let server = Server::start(&["--development"]);
    server.wait_for_gateway();
    let mut follow = server.command(&["calls", "--follow", "--since", "1h", "--output", "json"]);
    let mut child = follow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let lines = std::io::BufReader::new(child.stdout.take().unwrap());
    std::thread::sleep(Duration::from_millis(500));
    for _ in 0..3 {
        assert_eq!(call(&server, "cfk_live_wrong"), 404, "no route takes it yet");
    }
    let told: Vec<serde_json::Value> =
        std::io::BufRead::lines(lines).take(3).map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let ids: std::collections::HashSet<_> = told.iter().map(|call| call["request_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 3, "each call is told once");
}
