//! An access key of AWS, as it stands in one value.

use credentialflow_model::SecretValue;
use serde::Deserialize;

/// An access key: its id, which is no secret, the secret, and for temporary ones the session's token.
pub struct AccessKey {
    /// As in `AKIA…`, or `ASIA…` for temporary ones.
    pub id: String,
    /// What signatures are made with; never sent.
    pub secret: SecretValue,
    /// Sent along with temporary ones.
    pub session_token: Option<SecretValue>,
}

impl std::fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl AccessKey {
    /// Reads `ID:SECRET`, `ID:SECRET:TOKEN`, or the JSON object that `aws configure export-credentials` prints and
    /// stores keep, by the names of AWS's APIs or of its configuration files. `None` when a value is neither.
    pub fn parse(value: &SecretValue) -> Option<Self> {
        let text = std::str::from_utf8(value.expose()).ok()?.trim();
        let key = match text.starts_with('{') {
            true => {
                let Wire { id, secret, token } = serde_json::from_str(text).ok()?;
                let session_token = token.filter(|token| !token.is_empty()).map(SecretValue::from);
                Self { id, secret: SecretValue::from(secret), session_token }
            }
            false => {
                let mut parts = text.splitn(3, ':');
                let (id, secret) = (parts.next()?.to_owned(), SecretValue::from(parts.next()?));
                Self { id, secret, session_token: parts.next().map(SecretValue::from) }
            }
        };
        key.is_usable().then_some(key)
    }

    /// Whether all of it can stand in a header, and nothing is missing.
    fn is_usable(&self) -> bool {
        let plain = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
        let id = !self.id.is_empty() && self.id.len() <= 128 && self.id.bytes().all(|b| b.is_ascii_alphanumeric());
        id && plain(self.secret.expose()) && self.session_token.as_ref().is_none_or(|token| plain(token.expose()))
    }
}

/// Members that are none of these, such as `Version` and `Expiration`, say nothing of the signature.
#[derive(Deserialize)]
struct Wire {
    #[serde(rename = "AccessKeyId", alias = "access_key_id", alias = "aws_access_key_id")]
    id: String,
    #[serde(rename = "SecretAccessKey", alias = "secret_access_key", alias = "aws_secret_access_key")]
    secret: String,
    #[serde(rename = "SessionToken", alias = "session_token", alias = "aws_session_token", default)]
    token: Option<String>,
}
