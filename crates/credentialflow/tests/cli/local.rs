//! What needs no server.

use crate::binary::{command, finish, run, with_input};
use credentialflow_testkit::place::Place;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

const GOOD: &str = "credentials:
  - { name: orders-token, engine: static, value: '${env:ORDERS_TOKEN}' }
upstreams:
  - { name: orders, endpoints: ['http://127.0.0.1:9001'], inject: { bearer: orders-token } }
routes:
  - { name: orders, match: { path: /orders/* }, upstream: orders, authenticate: [api_key] }
";

const BAD: &str = "credentials:
  - { name: orders-token, engine: static, value: '${env:ORDERS_TOKEN}' }
upstreams:
  - { name: orders, endpoints: ['http://127.0.0.1:9001'], inject: { bearer: order-token } }
routes:
  - { name: orders, match: { path: /orders/* }, upstream: orders, authenticate: [api_key], timeout: 5s }
";

#[test]
fn a_good_file_is_valid() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.yaml"), GOOD).unwrap();
    let mut check = command(dir.path(), &["check", "a.yaml"]);
    check.env("ORDERS_TOKEN", "x");
    assert_eq!(finish(check).expect(0).out, "Valid: 1 credentials, 1 routes, 1 upstreams.\n");
    let told = run(dir.path(), &["check", "--no-references", "a.yaml", "--output", "json"]).expect(0).json();
    assert_eq!((told["valid"].as_bool(), told["counts"]["routes"].as_u64()), (Some(true), Some(1)));
    let stdin = with_input(command(dir.path(), &["check", "-", "--no-references"]), GOOD);
    assert!(stdin.expect(0).out.starts_with("Valid"));
}

#[test]
fn every_problem_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.yaml"), BAD).unwrap();
    let told = run(dir.path(), &["check", "b.yaml"]).expect(1);
    assert_eq!(
        told.out,
        "b.yaml:2:50: credentials[0].value: ${env:ORDERS_TOKEN} cannot be resolved: the variable is not set (a reference that leads nowhere is never taken as text)
b.yaml:4:77: upstreams[0].inject.bearer: `order-token` is not declared in credentials (did you mean `orders-token`?)
b.yaml:6:92: routes[0].timeout: the field `timeout` is not known here (known: name, description, match, upstream, prompt, authenticate, key_in_query, limit, headers, strip_prefix, max_body, websocket, mcp, secrets_in_requests, secrets_in_answers, retry)
3 problems
"
    );
    let told = run(dir.path(), &["check", "b.yaml", "--output", "json"]).expect(1).json();
    assert_eq!((told["valid"].as_bool(), told["problems"].as_array().unwrap().len()), (Some(false), 3));
    // What is wrong is found before any server is asked.
    let mut apply = command(dir.path(), &["apply", "b.yaml", "--server", "http://127.0.0.1:1"]);
    apply.env("CREDENTIALFLOW_TOKEN", "t");
    assert!(finish(apply).expect(1).err.contains("b.yaml:2:50: credentials[0].value"));
}

#[test]
fn what_cannot_be_understood_is_exit_code_2() {
    let dir = Path::new("/");
    for args in [
        &["--nonsense"][..],
        &["chek", "a.yaml"],
        &["check"],
        &["key", "create"],
        &["key", "create", "k", "--application", "a", "--limit", "many"],
        &["calls", "--since", "yesterday"],
        &["calls", "--limit", "0"],
        &["server", "--role", "boss"],
        &["server", "--key-prefix", "A B"],
        &["server", "--config", "/nonexistent.yaml"],
        &["init", "--data-dir", "/nonexistent"],
        &["status"],
        &["status", "--server", "http://example.com"],
        &["status", "--server", "ftp://127.0.0.1"],
    ] {
        run(dir, args).expect(2);
    }
    for args in [&["--help"][..], &["--version"], &["key", "create", "--help"]] {
        run(dir, args).expect(0);
    }
}

#[test]
fn a_token_is_not_sent_in_the_clear_to_another_machine() {
    let mut status = command(Path::new("/"), &["status", "--server", "http://example.com"]);
    status.env("CREDENTIALFLOW_TOKEN", "cfadmin_secret");
    let told = finish(status).expect(2);
    assert!(told.err.contains("https") && !told.err.contains("cfadmin_secret"));
}

#[test]
fn nobody_there_says_what_to_start() {
    let nobody = Place::take();
    let url = format!("http://{}", nobody.address());
    let mut status = command(Path::new("/"), &["status", "--server", &url, "--output", "json"]);
    status.env("CREDENTIALFLOW_TOKEN", "t");
    let told = finish(status).expect(1);
    assert!(told.out.is_empty() && told.err.contains("credentialflow server"), "{}", told.err);
    assert!(serde_json::from_str::<serde_json::Value>(&told.err).is_ok());
}

#[test]
fn settings_problems_are_told_with_their_place() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.yaml"), "worker: 2\ndrain: 5\n").unwrap();
    let mut server = command(dir.path(), &["server"]);
    server.env("CREDENTIALFLOW_CONFIG", "s.yaml");
    let told = finish(server).expect(2);
    assert!(told.err.contains("s.yaml:1:1: worker") && told.err.contains("s.yaml:2:8: drain"), "{}", told.err);
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("s.yaml"), "data_dir: from-file\n").unwrap();
    let there = |name: &str| dir.path().join(name).join("credentialflow.db").exists();
    let init = |more: &[&str]| command(dir.path(), &[&["init", "--development", "--config", "s.yaml"], more].concat());
    let mut all = init(&["--data-dir", "from-flag"]);
    all.env("CREDENTIALFLOW_DATA_DIR", "from-variable");
    finish(all).expect(0);
    assert_eq!((there("from-flag"), there("from-variable"), there("from-file")), (true, false, false));
    let mut two = init(&[]);
    two.env("CREDENTIALFLOW_DATA_DIR", "from-variable");
    finish(two).expect(0);
    assert_eq!((there("from-variable"), there("from-file")), (true, false));
    finish(init(&[])).expect(0);
    assert!(there("from-file"));
}

#[test]
fn a_lost_answer_is_asked_for_once_more_with_the_same_key() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut keys = Vec::new();
        for answered in [false, true] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let line = line.trim_end().to_ascii_lowercase();
                if let Some(key) = line.strip_prefix("idempotency-key: ") {
                    keys.push(key.to_owned());
                }
                if let Some(n) = line.strip_prefix("content-length: ") {
                    length = n.parse().unwrap();
                }
                if line.is_empty() {
                    break;
                }
            }
            std::io::Read::read_exact(&mut reader, &mut vec![0; length]).unwrap();
            if answered {
                let body = r#"{"key":{"id":"x","spec":{"name":"k"}},"secret":"s"}"#;
                write!(stream, "HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        }
        keys
    });
    let mut create = command(Path::new("/"), &["key", "create", "k", "--application", "a", "--server", &url]);
    create.env("CREDENTIALFLOW_TOKEN", "t");
    assert_eq!(finish(create).expect(0).out, "Issued k (id x)\nKey, shown this once: s\n");
    let keys = server.join().unwrap();
    assert_eq!((keys.len(), keys[0].len()), (2, 32));
    assert_eq!(keys[0], keys[1]);
}

#[test]
fn init_makes_a_private_installation_once() {
    let dir = tempfile::tempdir().unwrap();
    let init = ["init", "--data-dir", "d", "--key-file", "k"];
    let made = run(dir.path(), &[&init[..], &["--admin-token-file", "token"]].concat()).expect(0);
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("d"), mode("k"), mode("token")), (0o700, 0o600, 0o600));
    let token = fs::read_to_string(dir.path().join("token")).unwrap();
    assert!(token.starts_with("cfadmin_") && !made.out.contains(token.trim()));
    let again = run(dir.path(), &init).expect(1);
    assert!(again.err.contains("initialised already") && again.out.is_empty());
    let migrated = run(dir.path(), &["migrate", "--data-dir", "d", "--output", "json"]).expect(0).json();
    assert_eq!(migrated["applied"], 0);
}

#[test]
fn passphrases_come_from_files_and_standard_input_and_are_never_empty() {
    let dir = tempfile::tempdir().unwrap();
    let init =
        |name: &str| command(dir.path(), &["init", "--data-dir", name, "--passphrase-stdin", "--output", "json"]);
    with_input(init("none"), "").expect(2);
    let made = with_input(init("p"), "correct horse battery staple\n").expect(0).json();
    assert_eq!(made["seal"], "passphrase");
    fs::write(dir.path().join("empty"), "\n").unwrap();
    run(dir.path(), &["init", "--data-dir", "e", "--passphrase-file", "empty"]).expect(1);
    // Nothing was left half made.
    run(dir.path(), &["init", "--data-dir", "e", "--development"]).expect(0);
}

#[test]
fn the_audit_log_verifies_from_the_database_and_from_a_copy_until_it_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), &["audit", "verify", "--data-dir", "d"]).expect(1);
    assert!(!dir.path().join("d").exists(), "verifying makes no database");
    run(dir.path(), &["init", "--data-dir", "d", "--development"]).expect(0);
    let told = run(dir.path(), &["audit", "verify", "--data-dir", "d", "--output", "json"]).expect(0).json();
    assert_eq!((told["intact"].as_bool(), told["events"].as_u64()), (Some(true), Some(1)));
    let copied = run(dir.path(), &["audit", "export", "--data-dir", "d", "--file", "c.jsonl", "--output", "json"]);
    let key = copied.expect(0).json()["public_key"].as_str().unwrap().to_owned();
    let verify = || run(dir.path(), &["audit", "verify", "--file", "c.jsonl", "--public-key", &key]);
    verify().expect(0);
    let path = dir.path().join("c.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen("vault.init", "vault.iniT", 1)).unwrap();
    assert!(verify().expect(1).out.starts_with("Broken at event 1:"));
}

#[test]
fn the_document_is_printed_without_a_server() {
    let document = run(Path::new("/"), &["openapi"]).expect(0).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(run(Path::new("/"), &["version", "--output", "json"]).expect(0).json()["name"], "credentialflow");
}
