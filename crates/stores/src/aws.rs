//! Kind `aws`: AWS Secrets Manager (API version 2017-10-17, JSON 1.1, Signature Version 4).
//!
//! The path is a secret's name or ARN. Without a field, the value is the whole secret: text in
//! `SecretString`, anything else in `SecretBinary`. With a field, the secret is a JSON object, as the
//! console makes them. A secret that does not exist is made, with the account's own key.

use crate::{
    Answer, BoxFuture, Declared, ExternalError, ExternalStore, Found, Http, Result, Wiped, Written,
    error::{told, unusable},
    http_client::base,
    json::{pick, put},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_kms::AwsSettings;
use credentialflow_model::{SecretPlace, SecretValue};
use credentialflow_sigv4::{Payload, ToSign, authorization};
use http::{Request, Uri};
use serde_json::{Value, json};
use std::{sync::Arc, time::SystemTime};

const JSON: &str = "application/x-amz-json-1.1";

struct SecretsManager {
    http: Http,
    uri: Uri,
    host: String,
    region: String,
    access: AwsSettings,
}

/// Opens a declared store. Without a credential, the server's environment lets us in.
pub(crate) fn open(declared: &Declared) -> Result<Arc<dyn ExternalStore>> {
    let spec = &declared.spec;
    let region = spec.region.clone().ok_or_else(|| unusable("the store has no region"))?;
    let region_like = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.is_empty() || region.len() > 32 || !region.bytes().all(region_like) {
        return Err(unusable("that is no AWS region"));
    }
    let (access, given) = match &spec.identity {
        Some(id) => {
            let secret_access_key = declared.access()?;
            let access =
                AwsSettings { access_key_id: id.clone(), secret_access_key, session_token: None, endpoint: None };
            (access, spec.address.clone())
        }
        None => from_environment()?,
    };
    let url = match given {
        Some(address) => format!("{}/", base(&address, spec.plaintext)?),
        None => format!("https://secretsmanager.{region}.{}/", domain(&region)),
    };
    let uri: Uri = url.parse().map_err(|_| unusable("the address is none"))?;
    let host = uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
    let http = Http::new(declared.authorities.as_deref(), &[&url])?;
    Ok(Arc::new(SecretsManager { http, uri, host, region, access }))
}

/// Where a region's services are.
fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

/// What AWS's own tools would take, and where they would go.
fn from_environment() -> Result<(AwsSettings, Option<String>)> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(access_key_id), Some(secret)) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) else {
        let words = "no credentials for AWS: name `identity` and `credential`, or set AWS_ACCESS_KEY_ID and \
                     AWS_SECRET_ACCESS_KEY for the server";
        return Err(unusable(words));
    };
    let session_token = get("AWS_SESSION_TOKEN").map(SecretValue::from);
    let endpoint = get("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| get("AWS_ENDPOINT_URL"));
    let secret_access_key = SecretValue::from(secret);
    Ok((AwsSettings { access_key_id, secret_access_key, session_token, endpoint: None }, endpoint))
}

/// A secret, and the id of its version.
struct Stored {
    value: SecretValue,
    version: Option<String>,
}

impl SecretsManager {
    async fn call(&self, operation: &str, body: &Wiped, secrets: &[&SecretValue]) -> Result<Wiped> {
        let time = jiff::Timestamp::try_from(SystemTime::now()).map_err(|_| unusable("the clock cannot be read"))?;
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let target = format!("secretsmanager.{operation}");
        let body = body.to_bytes();
        let mut headers = vec![("content-type", JSON), ("host", self.host.as_str()), ("x-amz-date", time.as_str())];
        if let Some(token) = &self.access.session_token {
            headers.push(("x-amz-security-token", token.expose_str().unwrap_or_default()));
        }
        headers.push(("x-amz-target", &target));
        let signed = ToSign {
            method: "POST",
            path: "/",
            query: "",
            service: "secretsmanager",
            region: &self.region,
            time: &time,
            headers: &headers,
            payload: Payload::Bytes(&body),
        };
        let AwsSettings { access_key_id, secret_access_key, .. } = &self.access;
        let proof = authorization(access_key_id, secret_access_key, &signed);
        let mut request = Request::post(self.uri.clone()).header("authorization", proof);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.http.send(request, &body).await?;
        if answer.status.is_success() { answer.success() } else { Err(failure(&answer, secrets)) }
    }

    async fn stored(&self, place: &SecretPlace) -> Result<Stored> {
        let mut answer = self.call("GetSecretValue", &Wiped(json!({ "SecretId": place.path })), &[]).await?;
        let version = answer.text("/VersionId").map(str::to_owned);
        let value = match answer.take("/SecretString") {
            Some(text) => text,
            None => {
                let binary = answer.text("/SecretBinary").and_then(|text| STANDARD.decode(text).ok());
                SecretValue::new(binary.ok_or_else(|| unusable("its answer holds no secret"))?)
            }
        };
        Ok(Stored { value, version })
    }

    async fn read_place(&self, place: &SecretPlace) -> Result<Found> {
        let Stored { value, version } = self.stored(place).await?;
        Ok(Found { value: pick(value, place.field.as_deref())?, version })
    }

    async fn write_place(&self, place: &SecretPlace, value: &SecretValue) -> Result<Written> {
        let (there, version) = match self.stored(place).await {
            Ok(Stored { value, version }) => (Some(value), version),
            Err(ExternalError::NotFound) => (None, None),
            Err(other) => return Err(other),
        };
        let exists = there.is_some();
        let Some(whole) = put(there, place.field.as_deref(), value)? else {
            return Ok(Written { version, changed: false });
        };
        let token = token()?;
        let mut body = match exists {
            true => json!({ "SecretId": place.path, "ClientRequestToken": token }),
            false => json!({ "Name": place.path, "ClientRequestToken": token }),
        };
        match whole.expose_str() {
            Some(text) => body["SecretString"] = Value::String(text.to_owned()),
            None => body["SecretBinary"] = Value::String(STANDARD.encode(whole.expose())),
        }
        let operation = if exists { "PutSecretValue" } else { "CreateSecret" };
        let answer = match self.call(operation, &Wiped(body.take()), &[value, &whole]).await {
            // A name without any version yet: it exists, but holds nothing.
            Err(ExternalError::Conflict(_)) if !exists => {
                let mut body = Wiped(json!({ "SecretId": place.path, "ClientRequestToken": token }));
                match whole.expose_str() {
                    Some(text) => body.0["SecretString"] = Value::String(text.to_owned()),
                    None => body.0["SecretBinary"] = Value::String(STANDARD.encode(whole.expose())),
                }
                self.call("PutSecretValue", &body, &[value, &whole]).await?
            }
            other => other?,
        };
        Ok(Written { version: answer.text("/VersionId").map(str::to_owned), changed: true })
    }
}

impl ExternalStore for SecretsManager {
    fn read<'a>(&'a self, place: &'a SecretPlace) -> BoxFuture<'a, Result<Found>> {
        Box::pin(self.read_place(place))
    }

    fn write<'a>(&'a self, place: &'a SecretPlace, value: &'a SecretValue) -> BoxFuture<'a, Result<Written>> {
        Box::pin(self.write_place(place, value))
    }
}

/// A new version's id, as a random UUID (RFC 9562, version 4).
fn token() -> Result<String> {
    let mut bits = [0u8; 16];
    aws_lc_rs::rand::fill(&mut bits).map_err(|_| unusable("the system gave no random bytes"))?;
    bits[6] = (bits[6] & 0x0f) | 0x40;
    bits[8] = (bits[8] & 0x3f) | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bits));
    Ok(format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]))
}

fn failure(answer: &Answer, secrets: &[&SecretValue]) -> ExternalError {
    let body = answer.json();
    // `__type` may carry a namespace before a `#`.
    let kind = body.text("/__type").unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or_default().to_owned();
    let words = body.text("/message").or_else(|| body.text("/Message")).unwrap_or_default();
    match kind.as_str() {
        "ResourceNotFoundException" => ExternalError::NotFound,
        "ResourceExistsException" => ExternalError::Conflict(told(words, secrets)),
        "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequestsException" | "InternalServiceError" => {
            ExternalError::Busy { words: told(&format!("{kind}: {words}"), secrets), again: answer.retry_after }
        }
        _ => match answer.failure(&format!("{kind}: {words}"), secrets) {
            // AWS says that something is not there by its type, never by the status.
            ExternalError::NotFound => ExternalError::Refused("it answered 404: this is no Secrets Manager".to_owned()),
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn ids_of_versions_are_random_uuids() {
        let (a, b) = (super::token().unwrap(), super::token().unwrap());
        assert!(a != b && a.len() == 36 && a.as_bytes()[14] == b'4', "{a}");
    }
}
