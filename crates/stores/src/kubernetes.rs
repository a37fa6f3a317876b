//! Kind `kubernetes`: secrets of a namespace (core API v1), let in by a service account's token: one in a
//! credential, or that of the server's own pod, read anew for each call as the cluster exchanges it.
//!
//! The path is a secret's name, the field a key of its `data`, `value` unless named. Writing patches that
//! key alone (RFC 7396); a secret that does not exist is made as `Opaque`.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    error::unusable,
    http_client::{base, bearer, read_authorities, segment},
    json::same,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::{SecretPlace, SecretValue};
use http::{Method, Request};
use serde_json::{Map, Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use zeroize::Zeroizing;

/// Where a pod finds its service account.
const POD: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The key of a place that names none.
const KEY: &str = "value";

struct Secrets {
    http: Http,
    /// Up to and with the namespace.
    base: String,
    access: Access,
}

enum Access {
    Token(SecretValue),
    File(PathBuf),
}

/// Opens a declared store. Without a credential it is the cluster in which the server runs.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let spec = &declared.spec;
    let (address, access, authorities, namespace) = match &spec.credential {
        Some(_) => {
            let namespace = spec.namespace.clone().ok_or_else(|| unusable("the store has no namespace"))?;
            let access = Access::Token(declared.access()?);
            (declared.address()?.to_owned(), access, declared.authorities.clone(), namespace)
        }
        None => {
            let pod = Path::new(POD);
            let namespace = match &spec.namespace {
                Some(namespace) => namespace.clone(),
                None => std::fs::read_to_string(pod.join("namespace")).map_err(|_| nowhere())?.trim().to_owned(),
            };
            let authorities = match &declared.authorities {
                Some(authorities) => Some(authorities.clone()),
                None => Some(read_authorities(&pod.join("ca.crt"))?),
            };
            (of_the_cluster()?, Access::File(pod.join("token")), authorities, namespace)
        }
    };
    let base = base(&address, spec.plaintext)?;
    let http = Http::new(authorities.as_deref(), &[&base])?;
    let base = format!("{base}/api/v1/namespaces/{}/secrets", segment(&namespace));
    Ok(Arc::new(Secrets { http, base, access }))
}

fn nowhere() -> ExternalError {
    unusable("the server runs in no pod; name `address`, `namespace` and `credential`")
}

/// Where a pod finds the cluster's API.
fn of_the_cluster() -> Result<String> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let host = get("KUBERNETES_SERVICE_HOST").ok_or_else(nowhere)?;
    let port = get("KUBERNETES_SERVICE_PORT_HTTPS").or_else(|| get("KUBERNETES_SERVICE_PORT"));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{}", port.unwrap_or_else(|| "443".to_owned())))
}

impl Secrets {
    async fn call(
        &self,
        method: Method,
        url: &str,
        kind: &str,
        body: &Wiped,
        secrets: &[&SecretValue],
    ) -> Result<Wiped> {
        let token = match &self.access {
            Access::Token(token) => token.duplicate(),
            Access::File(path) => {
                let read = Zeroizing::new(std::fs::read(path).map_err(|_| nowhere())?);
                SecretValue::new(read.trim_ascii().to_vec())
            }
        };
        let request = Request::builder().method(method).uri(url).header("authorization", bearer(&token)?);
        let request = request.header("accept", "application/json");
        let body = if body.0.is_null() { Zeroizing::default() } else { body.to_bytes() };
        let answer = self.http.send(request.header("content-type", kind), &body).await?;
        if answer.status.is_success() { answer.success() } else { Err(failure(&answer, secrets)) }
    }

    fn url(&self, place: &SecretPlace) -> Result<String> {
        // A DNS subdomain (RFC 1123), as the API asks for.
        let name_like = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if place.path.is_empty() || place.path.len() > 253 || !place.path.bytes().all(name_like) {
            return Err(unusable("a secret's name has 1 to 253 small letters, digits, `-` and `.` there"));
        }
        Ok(format!("{}/{}", self.base, place.path))
    }

    async fn get(&self, url: &str) -> Result<Wiped> {
        self.call(Method::GET, url, "application/json", &Wiped::default(), &[]).await
    }

    async fn read_key(&self, place: &SecretPlace) -> Result<Found> {
        let secret = self.get(&self.url(place)?).await?;
        let key = place.field.as_deref().unwrap_or(KEY);
        let bytes = value_of(&secret, key).ok_or_else(|| unusable(format!("the secret has no key {key}")))?;
        if bytes.is_empty() {
            return Err(unusable(format!("the key {key} of the secret is empty")));
        }
        Ok(Found { value: bytes, version: version(&secret) })
    }

    async fn write_key(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (url, key) = (self.url(place)?, place.field.as_deref().unwrap_or(KEY));
        let mut data = Map::new();
        data.insert(key.to_owned(), Value::String(STANDARD.encode(value.expose())));
        let data = Wiped(json!({ "data": data }));
        let secrets = [value];
        // Twice: between looking and making, somebody else may make it.
        for last in [false, true] {
            match self.get(&url).await {
                Ok(there) if value_of(&there, key).is_some_and(|old| same(old.expose(), value.expose())) => {
                    return Ok(Written { version: version(&there), changed: false });
                }
                Ok(_) => {
                    let patched =
                        self.call(Method::PATCH, &url, "application/merge-patch+json", &data, &secrets).await?;
                    return Ok(Written { version: version(&patched), changed: true });
                }
                Err(ExternalError::NotFound) => {}
                Err(other) => return Err(other),
            }
            let mut made = Wiped(json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": { "name": place.path }
            }));
            made.0["data"] = data.0["data"].clone();
            match self.call(Method::POST, &self.base, "application/json", &made, &secrets).await {
                Ok(made) => return Ok(Written { version: version(&made), changed: true }),
                Err(ExternalError::Conflict(_)) if !last => {}
                Err(ExternalError::NotFound) => {
                    return Err(ExternalError::Refused("there is no such namespace".to_owned()));
                }
                Err(other) => return Err(other),
            }
        }
        Err(ExternalError::Busy { words: "the secret comes and goes".to_owned(), again: None })
    }
}

fn value_of(secret: &Wiped, key: &str) -> Option<SecretValue> {
    let encoded = secret.0.get("data")?.get(key)?.as_str()?;
    STANDARD.decode(encoded).ok().map(SecretValue::new)
}

fn version(secret: &Wiped) -> Option<String> {
    secret.text("/metadata/resourceVersion").map(str::to_owned)
}

fn failure(answer: &Answer, secrets: &[&SecretValue]) -> ExternalError {
    let words = answer.json().text("/message").unwrap_or_default().to_owned();
    answer.failure(&words, secrets)
}

impl ExternalStore for Secrets {
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.read_key(place))
    }

    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>> {
        Box::pin(self.write_key(place, value))
    }
}
