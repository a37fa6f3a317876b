//! Stores as their documented APIs behave, played by servers on loopback: logins and their end, what is
//! not there, refusals, being asked to wait, versions. The real OpenBao and an AWS are in `e2e/75-stores`, the other
//! services, as their official clients know them, in `e2e/76-cloud-stores`.
#![allow(clippy::unwrap_used)]

mod azure;
mod google;
mod kubernetes;
mod links;
mod vault;

use credentialflow_model::{SecretPlace, SecretValue};
use credentialflow_stores::{Declared, ExternalStore, open};
use credentialflow_testkit::{upstream::FakeUpstream, wire::Message};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

/// What a played server answers: a status, further header lines, a body.
pub(crate) struct Played(u16, String, Value);

pub(crate) fn answer(status: u16, body: Value) -> Played {
    Played(status, String::new(), body)
}

pub(crate) fn wait(seconds: u32) -> Played {
    Played(429, format!("retry-after: {seconds}\r\n"), json!({ "error": { "code": "Throttled", "message": "slow" } }))
}

/// A server over shared state.
pub(crate) async fn play<S: Send + 'static>(
    state: &Arc<Mutex<S>>,
    serve: impl Fn(&mut S, &Message) -> Played + Send + Sync + 'static,
) -> FakeUpstream {
    let (state, serve) = (state.clone(), Arc::new(serve));
    FakeUpstream::start(move |mut peer| {
        let (state, serve) = (state.clone(), serve.clone());
        async move {
            while let Some(request) = peer.request().await {
                let Played(status, headers, body) = serve(&mut state.lock().unwrap(), &request);
                let body = if body.is_null() { String::new() } else { body.to_string() };
                let length = body.len();
                peer.send(format!("HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\n\r\n{body}")).await;
            }
        }
    })
    .await
}

pub(crate) fn opened(spec: Value, access: &str) -> Arc<dyn ExternalStore> {
    let spec = serde_json::from_value(spec).unwrap();
    let access = Some(SecretValue::from(access));
    open(&Declared { spec, access, authorities: None, files: None }).map_err(|e| e.to_string()).unwrap()
}

pub(crate) fn place(text: &str) -> SecretPlace {
    format!("s/{text}").parse().unwrap()
}

pub(crate) async fn read(store: &Arc<dyn ExternalStore>, at: &str) -> Result<(String, Option<String>), String> {
    let found = store.read(&place(at)).await.map_err(|e| e.to_string())?;
    Ok((found.value.expose_str().unwrap().to_owned(), found.version))
}

pub(crate) async fn write(
    store: &Arc<dyn ExternalStore>,
    at: &str,
    value: &str,
) -> Result<(bool, Option<String>), String> {
    let written = store.write(&place(at), &SecretValue::from(value)).await.map_err(|e| e.to_string())?;
    Ok((written.changed, written.version))
}

/// A form's field, with `%XX` undone.
pub(crate) fn form(request: &Message, name: &str) -> String {
    let text = String::from_utf8(request.body.clone()).unwrap();
    let raw = text.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap_or_default().to_owned();
    let (mut out, mut bytes) = (Vec::new(), raw.bytes());
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let hex: String = [bytes.next().unwrap(), bytes.next().unwrap()].map(char::from).iter().collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            b => out.push(b),
        }
    }
    String::from_utf8(out).unwrap()
}

pub(crate) fn json_of(request: &Message) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}
