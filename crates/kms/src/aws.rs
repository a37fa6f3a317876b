//! AWS KMS: `Encrypt` and `Decrypt` with a symmetric key (AWS KMS API reference, JSON 1.1, SigV4).
//!
//! The encryption context binds the wrapped bytes to their purpose: they decrypt for nothing else, and
//! CloudTrail tells what it was for.

use crate::{
    http::{Answer, Http},
    settings::AwsSettings,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use credentialflow_model::SecretValue;
use credentialflow_sigv4::{Payload, ToSign, authorization};
use credentialflow_vault::seal::external::KeyServiceError;
use http::{Request, StatusCode, Uri};
use http_body_util::Full;
use serde_json::{Value, json};
use std::time::SystemTime;
use zeroize::Zeroizing;

const WHAT: &str = "AWS KMS";
const JSON: &str = "application/x-amz-json-1.1";
/// The region becomes part of a host's name.
const MAX_REGION: usize = 32;

pub(crate) async fn encrypt(
    http: &Http,
    settings: &AwsSettings,
    region: &str,
    key_id: &str,
    plain: &SecretValue,
) -> Result<Vec<u8>, KeyServiceError> {
    let plain = Zeroizing::new(STANDARD.encode(plain.expose()));
    let body = json!({ "KeyId": key_id, "Plaintext": plain.as_str(), "EncryptionContext": context() });
    let answer = call(http, settings, region, "Encrypt", &body).await?;
    decoded(&answer, "CiphertextBlob").map(|bytes| bytes.to_vec())
}

pub(crate) async fn decrypt(
    http: &Http,
    settings: &AwsSettings,
    region: &str,
    key_id: &str,
    wrapped: &[u8],
) -> Result<SecretValue, KeyServiceError> {
    // The key is named, so that no other one can be made to answer (AWS's advice).
    let blob = STANDARD.encode(wrapped);
    let body = json!({ "KeyId": key_id, "CiphertextBlob": blob, "EncryptionContext": context() });
    let answer = call(http, settings, region, "Decrypt", &body).await?;
    decoded(&answer, "Plaintext").map(|bytes| SecretValue::new(bytes.to_vec()))
}

fn context() -> Value {
    json!({ "purpose": "credentialflow vault seal" })
}

async fn call(
    http: &Http,
    settings: &AwsSettings,
    region: &str,
    operation: &str,
    body: &Value,
) -> Result<Value, KeyServiceError> {
    let region_like = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if region.is_empty() || region.len() > MAX_REGION || !region.bytes().all(region_like) {
        return Err(refused("that is no AWS region"));
    }
    let url = match &settings.endpoint {
        Some(endpoint) => format!("{endpoint}/"),
        None => format!("https://kms.{region}.amazonaws.com/"),
    };
    let uri: Uri = url.parse().map_err(|_| refused("its address cannot be used"))?;
    let host = uri.authority().map(|a| a.as_str().to_owned()).unwrap_or_default();
    let body = Zeroizing::new(body.to_string());
    let make = || {
        let time = jiff::Timestamp::try_from(SystemTime::now()).map_err(|_| refused("the clock cannot be read"))?;
        let time = time.strftime("%Y%m%dT%H%M%SZ").to_string();
        let target = format!("TrentService.{operation}");
        let mut headers = vec![("content-type", JSON), ("host", host.as_str()), ("x-amz-date", time.as_str())];
        if let Some(token) = &settings.session_token {
            headers.push(("x-amz-security-token", token.expose_str().unwrap_or_default()));
        }
        headers.push(("x-amz-target", &target));
        let signed = ToSign {
            method: "POST",
            path: "/",
            query: "",
            service: "kms",
            region,
            time: &time,
            headers: &headers,
            payload: Payload::Bytes(body.as_bytes()),
        };
        let proof = authorization(&settings.access_key_id, &settings.secret_access_key, &signed);
        let mut request = Request::post(uri.clone()).header("authorization", proof);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(|_| refused("the credentials hold characters that cannot be sent"))
    };
    http.exchange(WHAT, make, judge).await
}

fn judge(answer: Answer) -> Result<Value, KeyServiceError> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    if answer.status.is_success() {
        return Ok(body);
    }
    let text = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
    // `__type` may carry a namespace before a `#`.
    let kind = text("__type").map(|kind| kind.rsplit('#').next().unwrap_or_default().to_owned()).unwrap_or_default();
    let told = text("message").or_else(|| text("Message")).unwrap_or_default();
    let told =
        format!("{WHAT} answered {} {kind}: {}", answer.status.as_u16(), told.chars().take(300).collect::<String>());
    let busy = answer.status.is_server_error()
        || answer.status == StatusCode::TOO_MANY_REQUESTS
        || ["ThrottlingException", "LimitExceededException", "DependencyTimeoutException", "KMSInternalException"]
            .contains(&kind.as_str());
    Err(if busy { KeyServiceError::Away(told) } else { KeyServiceError::Refused(told) })
}

fn decoded(answer: &Value, name: &str) -> Result<Zeroizing<Vec<u8>>, KeyServiceError> {
    let text = answer.get(name).and_then(Value::as_str);
    let bytes =
        text.and_then(|text| STANDARD.decode(text).ok()).ok_or_else(|| refused("its answer lacks the bytes"))?;
    Ok(Zeroizing::new(bytes))
}

fn refused(why: &str) -> KeyServiceError {
    KeyServiceError::Refused(format!("{WHAT}: {why}"))
}
