//! The sandbox's REST service, for showing and testing what a gateway does to a request.
//!
//! | Path | Answers |
//! | --- | --- |
//! | `/anything…` | what arrived, with a statement in place of the credential; any method, never 401 |
//! | `GET /items`, `GET /items/{id}` | three items, one of them; 401 without the expected credential |
//! | `/status/{code}` | that status, 200 to 599 |
//! | `/delay/{ms}` | after that many milliseconds, at most 30,000 |
//! | `/bytes/{n}` | n bytes, always the same, at most 16 MiB |
//! | `/stream/{n}` | n lines of JSON, one piece each, at most 1,000 |
//! | `/echo-secret` | **the credential itself**, so that removing echoed secrets can be shown |

use super::{MAX_LATENCY, Piece, SandboxAnswer, SandboxRequest, method_not_allowed, not_found, unauthorized};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::time::Duration;

const MAX_BYTES: usize = 16 << 20;
const MAX_LINES: usize = 1000;
const ITEMS: [(&str, &str, u32); 3] = [("1", "kettle", 3900), ("2", "lamp", 2450), ("3", "notebook", 380)];
/// Headers in which a credential may arrive.
const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

pub(super) fn answer(request: &SandboxRequest<'_>) -> SandboxAnswer {
    let path = request.path.strip_prefix('/').unwrap_or(request.path);
    let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let number = |max: usize| rest.and_then(|r| r.parse::<usize>().ok()).filter(|n| *n <= max);
    match (first, rest) {
        ("anything", _) => anything(request),
        ("items", id) => items(request, id),
        ("status", Some(_)) => match number(599).filter(|n| *n >= 200).and_then(|n| u16::try_from(n).ok()) {
            Some(status @ (204 | 304)) => SandboxAnswer::whole(status, "application/json", Vec::new()),
            Some(status) => SandboxAnswer::json(status, &json!({"status": status})),
            None => not_found(),
        },
        ("delay", Some(_)) => match number(MAX_LATENCY.as_millis() as usize) {
            Some(ms) => {
                let mut answer = SandboxAnswer::json(200, &json!({"delayed_ms": ms}));
                answer.pieces[0].delay = Duration::from_millis(ms as u64);
                answer
            }
            None => not_found(),
        },
        ("bytes", Some(_)) => match number(MAX_BYTES) {
            Some(n) => {
                let body = (0..n).map(|i| b"abcdefghijklmnopqrstuvwxyz012345"[i % 32]).collect();
                SandboxAnswer::whole(200, "application/octet-stream", body)
            }
            None => not_found(),
        },
        ("stream", Some(_)) => match number(MAX_LINES) {
            Some(n) => {
                let line = |i| Bytes::from(format!("{{\"line\":{i}}}\n"));
                let pieces = (0..n).map(|i| Piece { delay: Duration::ZERO, bytes: line(i) }).collect();
                let headers = vec![("content-type", "application/x-ndjson".into())];
                SandboxAnswer { status: 200, headers, pieces, streamed: true }
            }
            None => not_found(),
        },
        ("echo-secret", None) => {
            let value = request.credential().unwrap_or_default();
            SandboxAnswer::json(200, &json!({"received": String::from_utf8_lossy(&value)}))
        }
        _ => not_found(),
    }
}

fn items(request: &SandboxRequest<'_>, id: Option<&str>) -> SandboxAnswer {
    if !request.presented().accepted() {
        return unauthorized();
    }
    if !matches!(request.method, "GET" | "HEAD") {
        return method_not_allowed();
    }
    let item = |(id, name, cents): &(&str, &str, u32)| json!({"id": id, "name": name, "price_cents": cents});
    match id {
        None | Some("") => SandboxAnswer::json(200, &json!({"items": ITEMS.iter().map(item).collect::<Vec<_>>()})),
        Some(id) => ITEMS.iter().find(|i| i.0 == id).map_or_else(not_found, |i| SandboxAnswer::json(200, &item(i))),
    }
}

fn anything(request: &SandboxRequest<'_>) -> SandboxAnswer {
    let presented = request.presented();
    let mut headers = Map::new();
    for (name, value) in request.headers {
        let name = name.to_ascii_lowercase();
        let is_credential = request.expects.is_some_and(|expected| expected(value));
        let shown: Value = if is_credential || CREDENTIAL_HEADERS.contains(&name.as_str()) {
            presented.statement().into()
        } else {
            String::from_utf8_lossy(value).into()
        };
        match headers.get_mut(&name) {
            None => drop(headers.insert(name, shown)),
            Some(Value::Array(list)) => list.push(shown),
            Some(one) => *one = json!([one.take(), shown]),
        }
    }
    SandboxAnswer::json(
        200,
        &json!({
            "method": request.method,
            "path": request.path,
            "query": query(request.query, presented.statement()),
            "headers": headers,
            "credential": presented.statement(),
            "body_bytes": request.body.len(),
            "body": serde_json::from_slice::<Value>(request.body).unwrap_or_else(|_| String::from_utf8_lossy(request.body).into()),
        }),
    )
}

/// The query with a statement in place of a credential.
fn query(query: &str, statement: &str) -> String {
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name @ ("key" | "api_key"), _)) => format!("{name}=({statement})"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("&")
}
