//! Any bytes as a request of the run-time API: method, target, headers, body. No panic; what is read is within
//! bounds, and no token in a path is shown.
#![no_main]

use credentialflow_identity::wiped::{Tree, json};

// The file itself: its crate would bring every database driver.
#[allow(dead_code)]
#[path = "../../crates/vaultapi/src/parse.rs"]
mod parse;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(5, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (method, target, token, authorization, body) = (next(), next(), next(), next(), next());
    if let Ok(target) = std::str::from_utf8(target) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if let (Ok(query), Ok(method)) = (parse::query(query), std::str::from_utf8(method)) {
            let _ = parse::verb(method, &query).map(parse::Verb::as_str);
            assert!(query.values().all(serde_json::Value::is_string));
        }
        if let Ok(path) = parse::path(path) {
            assert!(!path.chars().any(char::is_control));
            let secret = "cfs_0123456789abcdefghijklmnopqrstuvwxyz";
            for with in [format!("{path}/{secret}"), format!("auth/token/lookup/{secret}"), format!("{secret}/{path}")]
            {
                assert!(!parse::shown(&with).contains(secret));
            }
            assert_eq!(parse::shown(&parse::shown(&path)), parse::shown(&path));
        }
    }
    if let Some(read) = parse::token(Some(token), Some(authorization)) {
        let text = read.expose_str().expect("a token is text");
        assert!(!text.is_empty() && text.bytes().all(|b| matches!(b, b'\t' | 32..=126)));
    }
    let _ = parse::namespace(Some(token));
    let mut elements = None;
    let read = parse::fields(body, 1000, |counted| {
        elements = Some(counted);
        Ok::<(), parse::Unreadable>(())
    });
    if let (Ok(fields), Some(elements)) = (read, elements) {
        assert!(elements <= 1000);
        let mut left = elements;
        fields.values().for_each(|value| count(value, 64, &mut left));
        // What was read is what serde_json reads, and is written so that it reads again. `null` is no field, and one
        // name means something of its own to serde_json.
        let value = serde_json::Value::Object(fields);
        if value != serde_json::json!({}) && !body.windows(11).any(|part| part == b"$serde_json") {
            assert_eq!(serde_json::from_slice::<serde_json::Value>(body).expect("it was read"), value);
        }
        let written = json(&value).expect("it is written");
        assert!(serde_json::from_slice::<Tree>(written.expose()).expect("it is read").into_fields().is_some());
    }
});

/// Not deeper than was promised, and not more than was counted.
fn count(value: &serde_json::Value, deepest: usize, left: &mut usize) {
    *left = left.checked_sub(1).expect("more elements than were counted");
    let deeper = || deepest.checked_sub(1).expect("deeper than is allowed");
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|value| count(value, deeper(), left)),
        serde_json::Value::Object(map) => map.values().for_each(|value| count(value, deeper(), left)),
        _ => {}
    }
}
