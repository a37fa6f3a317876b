//! The key of a Google service account, and what it signs (RFC 7523, as Google wants it).

use super::Signer;
use credentialflow_model::{SecretValue, Timestamp};
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroize;

/// Where tokens are asked for where the key does not say.
const TOKENS: &str = "https://oauth2.googleapis.com/token";

/// A service account's key.
pub struct ServiceAccount {
    email: String,
    key_id: Option<String>,
    signer: Signer,
    token_uri: String,
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "type")]
    kind: Option<String>,
    client_email: String,
    private_key: String,
    private_key_id: Option<String>,
    token_uri: Option<String>,
}

impl Drop for File {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

impl ServiceAccount {
    /// The scope that opens what the account's roles allow.
    pub const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

    /// Reads the JSON file that Google gives out. `None`: this is none.
    pub fn read(file: &SecretValue) -> Option<Self> {
        let mut file: File = serde_json::from_slice(file.expose()).ok()?;
        if file.kind.as_deref().is_some_and(|kind| kind != "service_account") {
            return None;
        }
        let pem = SecretValue::from(std::mem::take(&mut file.private_key));
        Some(Self {
            email: std::mem::take(&mut file.client_email),
            key_id: file.private_key_id.take(),
            signer: Signer::read(&pem)?,
            token_uri: file.token_uri.take().unwrap_or_else(|| TOKENS.to_owned()),
        })
    }

    /// Whom its statements are for, and where tokens are asked for unless something else is declared. Read from a
    /// credential's value: to be asked as any stranger is.
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }

    /// A statement that says who asks, for an hour. `None`: the key does not sign.
    pub fn assertion(&self, scope: &str, now: Timestamp) -> Option<SecretValue> {
        let claims = json!({
            "iss": self.email, "scope": scope, "aud": self.token_uri, "iat": now.secs(), "exp": now.secs() + 3600
        });
        self.signer.sign(self.key_id.as_deref(), &claims)
    }
}
