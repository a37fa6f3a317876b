//! The server's resources, and its own questions.

use super::{Account, Authorization, Knobs, Order, Server, State, issue, jws};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(super) async fn connections(server: Server, socket: TcpListener, tls: Option<tokio_rustls::TlsAcceptor>) {
    while let Ok((stream, _)) = socket.accept().await {
        let (server, tls) = (server.clone(), tls.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let service = service_fn(move |request| api(server.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            match tls {
                None => drop(http.serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        let _ = http.serve_connection(TokioIo::new(stream), service).await;
                    }
                }
            }
        });
    }
}

pub(super) async fn admin(server: Server, socket: TcpListener) {
    while let Ok((stream, _)) = socket.accept().await {
        let server = server.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let server = server.clone();
                async move {
                    let put = request.method() == Method::PUT;
                    let body = request.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
                    let status = match serde_json::from_slice::<Knobs>(&body) {
                        Ok(knobs) if put => {
                            server.set(knobs);
                            StatusCode::OK
                        }
                        Err(_) if put => StatusCode::BAD_REQUEST,
                        _ => StatusCode::OK,
                    };
                    let mut answer = Response::new(Full::new(Bytes::from(server.stats().to_string())));
                    *answer.status_mut() = status;
                    Ok::<_, Infallible>(answer)
                }
            });
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// What is at the place of a challenge's answer.
pub(super) async fn fetch(port: u16, name: &str, token: &str) -> Result<String, String> {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let head = format!(
            "GET /.well-known/acme-challenge/{token} HTTP/1.1\r\nhost: {name}\r\nuser-agent: validator\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        let mut text = String::new();
        (&mut stream).take(64 * 1024).read_to_string(&mut text).await?;
        std::io::Result::Ok(text)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|e| e.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP")?;
    match head.split(' ').nth(1) {
        Some("200") => Ok(body.to_owned()),
        other => Err(format!("status {}", other.unwrap_or("none"))),
    }
}

/// What is answered: status, fields, body.
struct Answer(u16, Vec<(&'static str, String)>, Body);

enum Body {
    Json(Value),
    Problem(&'static str, String),
    Pem(String),
    Empty,
}

fn problem(status: u16, kind: &'static str, detail: impl Into<String>) -> Answer {
    Answer(status, Vec::new(), Body::Problem(kind, detail.into()))
}

async fn api(server: Server, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let path = parts.uri.path().to_owned();
    let answer = {
        let mut state = server.lock();
        state.stats.requests += 1;
        let left = state.knobs.outages.unwrap_or(0);
        if left > 0 {
            state.knobs.outages = Some(left - 1);
            Answer(503, Vec::new(), Body::Empty)
        } else if parts.method == Method::POST {
            post(&server, &mut state, &path, &body)
        } else {
            get(&server, &mut state, &path)
        }
    };
    let nonce = server.lock().nonce();
    let Answer(status, fields, body) = answer;
    let mut head = HeaderMap::new();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            head.insert(name, value);
        }
    };
    put("replay-nonce", &nonce);
    fields.iter().for_each(|(name, value)| put(name, value));
    let bytes = match body {
        Body::Empty => Vec::new(),
        Body::Json(value) => {
            put("content-type", "application/json");
            value.to_string().into_bytes()
        }
        Body::Pem(text) => {
            put("content-type", "application/pem-certificate-chain");
            text.into_bytes()
        }
        Body::Problem(kind, detail) => {
            put("content-type", "application/problem+json");
            let kind = format!("urn:ietf:params:acme:error:{kind}");
            json!({ "type": kind, "detail": detail, "status": status }).to_string().into_bytes()
        }
    };
    let mut answer = Response::new(Full::new(Bytes::from(bytes)));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    *answer.headers_mut() = head;
    Ok(answer)
}

fn get(server: &Server, state: &mut State, path: &str) -> Answer {
    let base = &server.base;
    match path {
        "/directory" => {
            let external = state.knobs.external.is_some();
            let meta = json!({ "termsOfService": format!("{base}/terms"), "externalAccountRequired": external });
            let mut all = json!({ "newNonce": format!("{base}/nonce"), "newAccount": format!("{base}/account"),
                "newOrder": format!("{base}/order"), "revokeCert": format!("{base}/revoke"),
                "keyChange": format!("{base}/key"), "meta": meta });
            if state.knobs.suggestion().is_some() {
                all["renewalInfo"] = format!("{base}/renewal").into();
            }
            Answer(200, Vec::new(), Body::Json(all))
        }
        "/nonce" => Answer(200, Vec::new(), Body::Empty),
        _ if path.starts_with("/renewal/") && state.knobs.suggestion().is_some() => {
            state.stats.suggested += 1;
            let (start, end) = state.knobs.suggestion().unwrap_or_default();
            let at = |after: i64| {
                let now = SystemTime::now();
                let moment = match u64::try_from(after) {
                    Ok(after) => now + Duration::from_secs(after),
                    Err(_) => now - Duration::from_secs(after.unsigned_abs()),
                };
                rfc3339(moment)
            };
            let window = json!({ "suggestedWindow": { "start": at(start), "end": at(end) } });
            Answer(200, vec![("retry-after", "1".to_owned())], Body::Json(window))
        }
        _ => problem(404, "malformed", "there is no such resource"),
    }
}

/// Seconds are enough.
fn rfc3339(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to a date, by Howard Hinnant's method.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
    let year = yoe + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

fn post(server: &Server, state: &mut State, path: &str, body: &[u8]) -> Answer {
    let url = format!("{}{path}", server.base);
    let read = serde_json::from_slice::<Value>(body).ok().and_then(|value| jws::Signed::read(&value));
    let Some(signed) = read else { return problem(400, "malformed", "this is no signed request") };
    let forced = state.knobs.bad_nonces.unwrap_or(0);
    let known = state.nonces.remove(signed.text("nonce"));
    if !known || forced > 0 {
        state.knobs.bad_nonces = Some(forced.saturating_sub(1));
        state.stats.refused_nonces += 1;
        return problem(400, "badNonce", "the nonce was used, or never given");
    }
    if signed.text("url") != url {
        return problem(403, "unauthorized", "the request is signed for another address");
    }
    if path == "/account" {
        return account(server, state, &signed, &url);
    }
    let number = signed.text("kid").strip_prefix(&format!("{}/account/", server.base)).and_then(|n| n.parse().ok());
    let Some(account) = number.filter(|&n: &usize| state.accounts.get(n).is_some_and(|a| !a.gone)) else {
        return problem(400, "accountDoesNotExist", "there is no such account");
    };
    if !signed.is_by(&state.accounts[account].key) {
        return problem(403, "unauthorized", "the signature does not hold");
    }
    let (resource, number) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number: usize = number.parse().unwrap_or(usize::MAX);
    let payload = signed.payload.as_ref();
    match resource {
        "account" => {
            let contact = payload.and_then(|p| p.get("contact")).cloned();
            if let Some(contact) = contact.and_then(|c| serde_json::from_value(c).ok()) {
                state.accounts[account].contact = contact;
            }
            Answer(200, Vec::new(), Body::Json(json!({ "status": "valid" })))
        }
        "order" if number == usize::MAX => new_order(server, state, account, payload),
        "order" if state.orders.get(number).is_some_and(|o| o.account == account) => shown(server, state, number, 200),
        "authorization" if number < state.authorizations.len() => {
            Answer(200, Vec::new(), Body::Json(authorization(server, state, number)))
        }
        "challenge" if number < state.authorizations.len() => {
            if payload.is_some() && state.authorizations[number].status == "pending" {
                state.authorizations[number].status = "processing";
                tokio::spawn(server.clone().validate(number));
            }
            Answer(200, Vec::new(), Body::Json(challenge(server, state, number)))
        }
        "finalize" if state.orders.get(number).is_some_and(|o| o.account == account) => {
            finalize(server, state, number, payload)
        }
        "certificate" if state.orders.get(number).is_some_and(|o| o.account == account && o.status == "valid") => {
            Answer(200, Vec::new(), Body::Pem(state.orders[number].certificate.clone()))
        }
        _ => problem(404, "malformed", "there is no such resource"),
    }
}

fn account(server: &Server, state: &mut State, signed: &jws::Signed, url: &str) -> Answer {
    let key = signed.header.get("jwk").and_then(jws::Jwk::read);
    let (Some(key), Some(payload)) = (key, &signed.payload) else {
        return problem(400, "malformed", "an account is made with its own key");
    };
    if !signed.is_by(&key) {
        return problem(403, "unauthorized", "the signature does not hold");
    }
    if payload.get("termsOfServiceAgreed") != Some(&Value::Bool(true)) {
        return problem(403, "userActionRequired", "the terms are not agreed to");
    }
    let bound = payload.get("externalAccountBinding").and_then(jws::Signed::read);
    let external = match (&state.knobs.external, bound) {
        (None, _) => None,
        (Some((id, secret)), Some(bound)) if bound.binds((id, secret), &key, url) => Some(id.clone()),
        (Some(_), Some(_)) => return problem(403, "unauthorized", "the binding does not hold"),
        (Some(_), None) => return problem(403, "externalAccountRequired", "an account elsewhere is needed"),
    };
    let contact = payload.get("contact").cloned().and_then(|c| serde_json::from_value(c).ok()).unwrap_or_default();
    let number = state.accounts.iter().position(|a| a.key == key && !a.gone).unwrap_or_else(|| {
        state.accounts.push(Account { key, contact, external, gone: false });
        state.accounts.len() - 1
    });
    let place = format!("{}/account/{number}", server.base);
    Answer(201, vec![("location", place)], Body::Json(json!({ "status": "valid" })))
}

fn new_order(server: &Server, state: &mut State, account: usize, payload: Option<&Value>) -> Answer {
    if let Some((left @ 1.., after)) = state.knobs.rate_limits {
        state.knobs.rate_limits = Some((left - 1, after));
        let mut refused = problem(429, "rateLimited", "too many orders");
        refused.1.push(("retry-after", after.to_string()));
        return refused;
    }
    let list = payload.and_then(|p| p.get("identifiers")?.as_array()).cloned().unwrap_or_default();
    let name = |one: &Value| {
        (one.get("type")?.as_str()? == "dns").then_some(())?;
        one.get("value")?.as_str().map(str::to_owned)
    };
    let names: Option<Vec<String>> = list.iter().map(name).collect();
    let Some(names) = names.filter(|names| !names.is_empty()) else {
        return problem(400, "unsupportedIdentifier", "only host names are certified here");
    };
    let replaces = payload.and_then(|p| p.get("replaces")?.as_str()).map(str::to_owned);
    let number = state.orders.len();
    let first = state.authorizations.len();
    for (i, name) in names.iter().enumerate() {
        let token = jws::encode(format!("token-{}-{:?}", first + i, SystemTime::now()).as_bytes());
        let (order, name) = (number, name.clone());
        state.authorizations.push(Authorization { order, name, token, status: "pending", error: None });
    }
    let authorizations = (first..state.authorizations.len()).collect();
    let (request, certificate) = (Vec::new(), String::new());
    state.orders.push(Order { account, names, status: "pending", authorizations, request, certificate, replaces });
    let mut answer = shown(server, state, number, 201);
    answer.1.push(("location", format!("{}/order/{number}", server.base)));
    answer
}

fn shown(server: &Server, state: &State, number: usize, status: u16) -> Answer {
    let (order, base) = (&state.orders[number], &server.base);
    let identifiers: Vec<Value> = order.names.iter().map(|n| json!({ "type": "dns", "value": n })).collect();
    let all: Vec<String> = order.authorizations.iter().map(|a| format!("{base}/authorization/{a}")).collect();
    let mut value = json!({ "status": order.status, "identifiers": identifiers, "authorizations": all,
        "finalize": format!("{base}/finalize/{number}") });
    if order.status == "valid" {
        value["certificate"] = format!("{base}/certificate/{number}").into();
    }
    if let Some(replaces) = order.replaces.as_deref().filter(|_| state.knobs.suggest.is_some()) {
        value["replaces"] = replaces.into();
    }
    Answer(status, Vec::new(), Body::Json(value))
}

fn authorization(server: &Server, state: &State, number: usize) -> Value {
    let one = &state.authorizations[number];
    // A challenge that is being looked at leaves its authorization pending.
    let status = if one.status == "processing" { "pending" } else { one.status };
    let other = json!({ "type": "dns-01", "url": format!("{}/elsewhere/{number}", server.base), "token": one.token,
        "status": "pending" });
    json!({ "status": status, "identifier": { "type": "dns", "value": one.name },
        "challenges": [other, challenge(server, state, number)] })
}

fn challenge(server: &Server, state: &State, number: usize) -> Value {
    let one = &state.authorizations[number];
    let mut value = json!({ "type": "http-01", "url": format!("{}/challenge/{number}", server.base),
        "token": one.token, "status": one.status });
    if let Some(error) = &one.error {
        value["error"] = error.clone();
    }
    value
}

fn finalize(server: &Server, state: &mut State, number: usize, payload: Option<&Value>) -> Answer {
    if state.orders[number].status != "ready" {
        return problem(403, "orderNotReady", "the order is not ready");
    }
    let request = payload.and_then(|p| jws::decode(p.get("csr")?.as_str()?)).unwrap_or_default();
    if let Err(error) = issue::key_of(&request, &state.orders[number].names) {
        return problem(400, "badCSR", error.to_string());
    }
    state.orders[number].request = request;
    state.orders[number].status = "processing";
    tokio::spawn(server.clone().issue(number));
    let mut answer = shown(server, state, number, 200);
    answer.1.push(("retry-after", "1".to_owned()));
    answer
}
