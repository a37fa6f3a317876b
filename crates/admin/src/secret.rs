//! Secrets at the edge of the API: read from a body, or written into the one answer that shows them.

use credentialflow_model::SecretValue;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A secret handed in as JSON text; goes straight into a [`SecretValue`].
pub struct SecretText(pub SecretValue);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Err(serde::de::Error::custom("an empty text is no secret"));
        }
        Ok(Self(SecretValue::from(text)))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}

/// A secret in the answer to the request that made it. The only way a secret leaves the control plane.
pub struct ShownOnce(pub SecretValue);

impl Serialize for ShownOnce {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_str().ok_or_else(|| serde::ser::Error::custom("a key is always text"))?)
    }
}

impl fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redacted")
    }
}
