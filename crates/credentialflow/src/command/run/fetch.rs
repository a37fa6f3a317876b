//! The secrets, fetched; their leases, renewed and given back.

use super::wanted::{Part, Secret, Wanted};
use anyhow::{Context, anyhow, bail};
use credentialflow_model::SecretValue;
use credentialflow_stores::{Answer, Wiped, vault::Client};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// After a renewal that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest giving back may take, so that a server that is away holds up nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was fetched, by path, with what has to be kept alive.
pub(super) struct Fetched {
    client: Client,
    secrets: BTreeMap<String, Wiped>,
    leases: Vec<Lease>,
    /// Whether the token was logged in for, and so is ours to revoke.
    own_token: bool,
}

/// Something that ends unless it is renewed.
struct Lease {
    what: What,
    ends: Instant,
    renew: Instant,
    told: bool,
}

enum What {
    Token,
    Lease(String),
}

impl Lease {
    fn new(what: What, lasts: Duration) -> Self {
        let now = Instant::now();
        Self { what, ends: now + lasts, renew: now + lasts * 2 / 3, told: false }
    }
}

impl Fetched {
    /// Fetches every secret that is wanted, each once. When one cannot be had, what was had is given back.
    pub(super) async fn read((client, own_token): (Client, bool), wanted: &[Wanted]) -> anyhow::Result<Self> {
        let mut fetched = Self { client, secrets: BTreeMap::new(), leases: Vec::new(), own_token };
        match fetched.read_all(wanted).await {
            Ok(()) => Ok(fetched),
            Err(error) => {
                fetched.give_back().await;
                Err(error)
            }
        }
    }

    async fn read_all(&mut self, wanted: &[Wanted]) -> anyhow::Result<()> {
        self.note_token().await;
        for secret in wanted.iter().flat_map(|w| &w.parts).filter_map(Part::secret) {
            if self.secrets.contains_key(&secret.path) {
                continue;
            }
            let (path, versioned) = self.place(&secret.path).await?;
            let answer = self.client.call(Method::GET, &path, None).await;
            let answer = answer.with_context(|| format!("{} cannot be read", secret.path))?;
            if !answer.status.is_success() {
                bail!("{} cannot be read: {}", secret.path, refusal(&answer));
            }
            let mut body = answer.json();
            let lease = body.text("/lease_id").filter(|id| !id.is_empty()).map(str::to_owned);
            let lasts = body.0.pointer("/lease_duration").and_then(Value::as_u64).unwrap_or(0);
            if let Some(id) = lease {
                self.leases.push(Lease::new(What::Lease(id), Duration::from_secs(lasts)));
            }
            let data = body.0.pointer_mut(if versioned { "/data/data" } else { "/data" }).map(Value::take);
            self.secrets.insert(secret.path.clone(), Wiped(data.unwrap_or_default()));
        }
        Ok(())
    }

    /// The path to read, and whether it is one of a key-value engine with versions.
    async fn place(&self, path: &str) -> anyhow::Result<(String, bool)> {
        let answer = self.client.call(Method::GET, &format!("sys/internal/ui/mounts/{}", escape(path)), None).await?;
        let about = answer.json();
        let versioned = about.text("/data/options/version") == Some("2");
        match about.text("/data/path").map(|mount| mount.trim_end_matches('/').to_owned()) {
            Some(mount) if versioned => {
                let rest = path.strip_prefix(&mount).map(|rest| rest.trim_start_matches('/')).unwrap_or_default();
                Ok((format!("{}/data/{}", escape(&mount), escape(rest)), true))
            }
            _ => Ok((escape(path), false)),
        }
    }

    /// A token that ends takes its leases with it, so it is renewed as well.
    async fn note_token(&mut self) {
        let Ok(answer) = self.client.call(Method::GET, "auth/token/lookup-self", None).await else { return };
        let about = answer.json();
        let ttl = about.0.pointer("/data/ttl").and_then(Value::as_u64).unwrap_or(0);
        let renewable = about.0.pointer("/data/renewable").and_then(Value::as_bool).unwrap_or(false);
        if ttl > 0 && renewable {
            self.leases.push(Lease::new(What::Token, Duration::from_secs(ttl)));
        }
    }

    /// The variables with their values.
    pub(super) fn environment(&self, wanted: &[Wanted]) -> anyhow::Result<Vec<(String, SecretValue)>> {
        wanted.iter().map(|w| Ok((w.name.clone(), self.value(w)?))).collect()
    }

    fn value(&self, wanted: &Wanted) -> anyhow::Result<SecretValue> {
        let mut pieces = Vec::with_capacity(wanted.parts.len());
        for part in &wanted.parts {
            pieces.push(match part {
                Part::Text(text) => SecretValue::from(text.as_str()),
                Part::Secret(secret) => self.field(secret)?,
            });
        }
        let value = SecretValue::new(pieces.iter().map(SecretValue::expose).collect::<Vec<_>>().concat());
        if value.expose().contains(&0) {
            bail!("the value for {} holds a NUL byte, which no variable can", wanted.name);
        }
        Ok(value)
    }

    fn field(&self, secret: &Secret) -> anyhow::Result<SecretValue> {
        let data = self.secrets.get(&secret.path);
        match data.and_then(|data| data.0.get(&secret.field)) {
            Some(Value::String(text)) => Ok(SecretValue::from(text.as_str())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(SecretValue::from(value.to_string())),
            Some(_) => Err(anyhow!("the field {} of {} is no text", secret.field, secret.path)),
            None => Err(anyhow!("{} has no field {}", secret.path, secret.field)),
        }
    }

    /// When the next renewal is due, if anything is to be renewed.
    pub(super) fn next(&self) -> Option<Instant> {
        self.leases.iter().map(|lease| lease.renew).min()
    }

    /// Renews what is due. What cannot be renewed is told once, and the program runs on.
    pub(super) async fn renew(&mut self) {
        let now = Instant::now();
        let mut over = Vec::new();
        for (index, lease) in self.leases.iter_mut().enumerate().filter(|(_, lease)| lease.renew <= now) {
            let (path, body) = match &lease.what {
                What::Token => ("auth/token/renew-self", json!({})),
                What::Lease(id) => ("sys/leases/renew", json!({ "lease_id": id })),
            };
            let failure = match self.client.call(Method::POST, path, Some(&Wiped(body))).await {
                Ok(answer) if answer.status.is_success() => {
                    let body = answer.json();
                    let lasts = ["/auth/lease_duration", "/lease_duration"]
                        .iter()
                        .find_map(|pointer| body.0.pointer(pointer).and_then(Value::as_u64).filter(|s| *s > 0));
                    let lasts = Duration::from_secs(lasts.unwrap_or(0));
                    if now + lasts <= lease.ends {
                        // It has come to its longest life and gets no more.
                        lease.renew = lease.ends + AGAIN;
                    } else {
                        let what = std::mem::replace(&mut lease.what, What::Token);
                        *lease = Lease::new(what, lasts);
                    }
                    continue;
                }
                Ok(answer) if answer.status == StatusCode::BAD_REQUEST && now >= lease.ends => {
                    over.push(index);
                    refusal(&answer)
                }
                Ok(answer) => refusal(&answer),
                Err(error) => error.to_string(),
            };
            lease.renew = now + AGAIN;
            if !std::mem::replace(&mut lease.told, true) {
                let what = match &lease.what {
                    What::Token => "the token",
                    What::Lease(_) => "a lease",
                };
                eprintln!("credentialflow: {what} cannot be renewed: {failure}");
            }
        }
        for index in over.into_iter().rev() {
            self.leases.remove(index);
        }
    }

    /// Revokes the token if it was logged in for, which ends its leases with it; the leases one by one otherwise.
    pub(super) async fn give_back(&mut self) {
        let leases = std::mem::take(&mut self.leases);
        let all = async {
            if self.own_token {
                let done = self.client.call(Method::POST, "auth/token/revoke-self", Some(&Wiped(json!({})))).await;
                if self.revoked(done, "the token") {
                    return;
                }
            }
            for lease in leases {
                let What::Lease(id) = lease.what else { continue };
                let body = Wiped(json!({ "lease_id": id }));
                self.revoked(self.client.call(Method::POST, "sys/leases/revoke", Some(&body)).await, "a lease");
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            eprintln!("credentialflow: not everything could be revoked in time; it ends with its lease");
        }
    }

    fn revoked(&self, done: credentialflow_stores::Result<Answer>, what: &str) -> bool {
        let failure = match done {
            Ok(answer) if answer.status.is_success() => return true,
            Ok(answer) => refusal(&answer),
            Err(error) => error.to_string(),
        };
        eprintln!("credentialflow: {what} cannot be revoked, and ends by itself later: {failure}");
        false
    }
}

impl Part {
    fn secret(&self) -> Option<&Secret> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Text(_) => None,
        }
    }
}

fn refusal(answer: &Answer) -> String {
    answer.failure(&Client::words(answer), &[]).to_string().replace("the store", "the server")
}

fn escape(path: &str) -> String {
    path.split('/').map(crate::client::escape).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_stores::vault::Access;
    use credentialflow_testkit::upstream::FakeUpstream;
    use std::sync::{Arc, Mutex};

    /// The calls with which two leases are given back, by a token of this kind; `batch` ones cannot be revoked.
    async fn given_back(own_token: bool, batch: bool) -> Vec<String> {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let told = calls.clone();
        let server = FakeUpstream::start(move |mut peer| {
            let told = told.clone();
            async move {
                while let Some(request) = peer.request().await {
                    let path = request.target().trim_start_matches("/v1/").to_owned();
                    let refused = batch && path.ends_with("revoke-self");
                    told.lock().unwrap().push(path);
                    let status = if refused { "400 Bad Request" } else { "204 No Content" };
                    let length = if refused { "content-length: 0\r\n" } else { "" };
                    peer.send(format!("HTTP/1.1 {status}\r\n{length}\r\n")).await;
                }
            }
        })
        .await;
        let access = Access::Token(SecretValue::from("a-token"));
        let client = Client::new(&server.url(), false, None, None, access).unwrap();
        let lease = |id: &str| Lease::new(What::Lease(id.to_owned()), Duration::from_secs(60));
        let leases = vec![Lease::new(What::Token, Duration::from_secs(60)), lease("a"), lease("b")];
        Fetched { client, secrets: BTreeMap::new(), leases, own_token }.give_back().await;
        let told = calls.lock().unwrap();
        told.clone()
    }

    #[tokio::test]
    async fn our_own_token_ends_all_its_leases_at_once() {
        let (own, lease) = ("auth/token/revoke-self", "sys/leases/revoke");
        assert_eq!(given_back(true, false).await, [own]);
        assert_eq!(given_back(true, true).await, [own, lease, lease]);
        assert_eq!(given_back(false, false).await, [lease, lease]);
    }
}
