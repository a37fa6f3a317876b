//! Kind `vault`: secrets of a key-value engine version 2, as HashiCorp Vault and OpenBao have it.
//!
//! A value is one field of a secret, `value` unless the place names another. Writing keeps the other
//! fields, and is checked against the version that was read (`cas`), so that nobody's change is lost.

use super::{Access, Client};
use crate::{
    BoxFuture, Declared, ExternalError, ExternalStore, Found, Result, Wiped, Written,
    error::unusable,
    http_client::segments,
    json::{field, same, text},
};
use credentialflow_model::{SecretPlace, SecretValue};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};

/// The field of a place that names none.
const FIELD: &str = "value";
/// How often a write is begun anew because somebody else wrote in between.
const RACES: usize = 5;

struct KeyValue {
    client: Client,
    mount: String,
}

/// Opens a declared store.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let (spec, access) = (&declared.spec, declared.access()?);
    let access = match &spec.identity {
        None => Access::Token(access),
        Some(role_id) => Access::AppRole {
            mount: spec.login.clone().unwrap_or_else(|| "approle".to_owned()),
            role_id: role_id.clone(),
            secret_id: access,
        },
    };
    let authorities = declared.authorities.as_deref();
    let client = Client::new(declared.address()?, spec.plaintext, authorities, spec.namespace.clone(), access)?;
    Ok(Arc::new(KeyValue { client, mount: segments(spec.mount.as_deref().unwrap_or("secret")) }))
}

/// A secret with the number of its version; 0 where there is none yet.
struct Stored {
    data: Wiped,
    version: u64,
}

impl KeyValue {
    fn path(&self, place: &SecretPlace) -> String {
        format!("{}/data/{}", self.mount, segments(&place.path))
    }

    /// The newest version. A deleted one has no data, but its number counts for the next write.
    async fn stored(&self, place: &SecretPlace) -> Result<Stored> {
        let answer = self.client.call(Method::GET, &self.path(place), None).await?;
        let mut body = answer.json();
        let version = body.0.pointer("/data/metadata/version").and_then(Value::as_u64);
        match (answer.status, version) {
            (status, Some(version)) if status.is_success() => {
                let data = body.0.pointer_mut("/data/data").map(Value::take).unwrap_or_default();
                Ok(Stored { data: Wiped(data), version })
            }
            (StatusCode::NOT_FOUND, version) => Ok(Stored { data: Wiped::default(), version: version.unwrap_or(0) }),
            (status, None) if status.is_success() => Err(unusable("its mount is no key-value engine of version 2")),
            _ => Err(answer.failure(&Client::words(&answer), &[])),
        }
    }

    async fn read_field(&self, place: &SecretPlace) -> Result<Found> {
        let Stored { data, version } = self.stored(place).await?;
        if !data.0.is_object() {
            return Err(ExternalError::NotFound);
        }
        let value = field(&data.0, place.field.as_deref().unwrap_or(FIELD))?;
        Ok(Found { value, version: Some(version.to_string()) })
    }

    async fn write_field(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (name, new) = (place.field.as_deref().unwrap_or(FIELD), text(value)?);
        for _ in 0..RACES {
            let Stored { mut data, version } = self.stored(place).await?;
            let old = data.0.get(name).and_then(Value::as_str);
            if old.is_some_and(|old| same(old.as_bytes(), new.as_bytes())) {
                return Ok(Written { version: Some(version.to_string()), changed: false });
            }
            let mut fields = Wiped(Value::Object(data.object().map(std::mem::take).unwrap_or_default()));
            fields.object().unwrap_or(&mut Map::new()).insert(name.to_owned(), Value::String(new.to_owned()));
            let body = Wiped(json!({ "options": { "cas": version }, "data": std::mem::take(&mut fields.0) }));
            let answer = self.client.call(Method::POST, &self.path(place), Some(&body)).await?;
            if answer.status.is_success() {
                let version = answer.success()?.0.pointer("/data/version").and_then(Value::as_u64);
                return Ok(Written { version: version.map(|v| v.to_string()), changed: true });
            }
            let words = Client::words(&answer);
            if answer.status != StatusCode::BAD_REQUEST || !words.contains("check-and-set") {
                return Err(match answer.failure(&words, &[value]) {
                    ExternalError::NotFound => unusable("its mount is no key-value engine of version 2"),
                    other => other,
                });
            }
        }
        Err(ExternalError::Busy { words: "others write the same secret all the time".to_owned(), again: None })
    }
}

impl ExternalStore for KeyValue {
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.read_field(place))
    }

    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>> {
        Box::pin(self.write_field(place, value))
    }

    fn keep(&self) -> BoxFuture<'_, Result<Option<Duration>>> {
        Box::pin(self.client.keep())
    }
}
