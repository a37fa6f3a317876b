//! Asks a webhook of a credential's owner for the next value, when a rotation needs one.

use credentialflow_model::{
    Name, SecretValue,
    resource::{Credential, Kind},
};
use credentialflow_notify::{SendError, Signed, Webhooks};
use credentialflow_store::Store;
use credentialflow_vault::{Vault, rotation::SupplyOutcome};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use std::time::SystemTime;

/// Who is asked for values.
pub(super) struct Suppliers {
    pub store: Store,
    pub vault: Vault,
    pub webhooks: Webhooks,
}

impl Suppliers {
    /// One try. The message's id is the rotation's, so that whoever is asked again gives the same value.
    pub async fn ask(&self, credential: &Name, rotation: &str) -> SupplyOutcome {
        match self.asked(credential, rotation).await {
            Ok(Some(value)) => SupplyOutcome::Value(value),
            Ok(None) => SupplyOutcome::Later,
            Err(why) => SupplyOutcome::Unreachable(why),
        }
    }

    async fn asked(&self, credential: &Name, rotation: &str) -> Result<Option<SecretValue>, String> {
        let stored = self.store.resource(Kind::Credentials, credential.as_str()).await.map_err(|e| e.to_string())?;
        let declared = stored.and_then(|row| serde_json::from_str::<Credential>(&row.body).ok());
        let Some(rule) = declared.and_then(|c| c.rotate).and_then(|rule| rule.deliver) else { return Ok(None) };
        let secret = self.vault.current_value(&rule.secret).await.map_err(|e| e.to_string())?;
        let data = json!({ "credential": credential, "rotation": rotation });
        let body = json!({ "type": "credential.value_wanted", "data": data }).to_string();
        let message = Signed { id: rotation, time: SystemTime::now().into(), body: &body, secret: &secret };
        match self.webhooks.post(&rule.url, &message).await {
            Ok((StatusCode::ACCEPTED, _)) => Ok(None),
            Ok((_, answer)) => read(&answer).map(Some).ok_or_else(|| "the webhook answered without a value".to_owned()),
            Err(SendError::Unusable(why) | SendError::NotTaken(why)) => Err(why),
        }
    }
}

/// `{"value": "…"}`; other fields may stand beside it.
fn read(answer: &[u8]) -> Option<SecretValue> {
    #[derive(Deserialize)]
    struct Answer {
        value: String,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    (!answer.value.is_empty()).then(|| SecretValue::from(answer.value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_value_or_none() {
        assert_eq!(read(br#"{"value": "abc", "note": 1}"#).map(|v| v.expose().to_vec()), Some(b"abc".to_vec()));
        for none in [&b"{}"[..], b"abc", br#"{"value": ""}"#, br#"{"value": 7}"#, b""] {
            assert!(read(none).is_none());
        }
    }
}
