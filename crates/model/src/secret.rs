//! The one type for a secret's bytes.

use std::fmt;
use zeroize::Zeroize;

/// A secret's bytes: wiped when dropped, and impossible to print, clone or serialize.
///
/// ```compile_fail
/// let s = credentialflow_model::SecretValue::from("hunter2");
/// let copy = s.clone();
/// ```
/// ```compile_fail
/// let s = credentialflow_model::SecretValue::from("hunter2");
/// serde_json::to_string(&s).unwrap();
/// ```
/// ```compile_fail
/// let s = credentialflow_model::SecretValue::from("hunter2");
/// println!("{s}");
/// ```
/// ```compile_fail
/// let s = credentialflow_model::SecretValue::from("hunter2");
/// assert!(s == s);
/// ```
pub struct SecretValue(Box<[u8]>);

impl SecretValue {
    /// Takes ownership of the bytes; the caller's buffer becomes the secret, nothing is copied.
    pub fn new(bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        // Shrinking in place may move the bytes and leave the old block unwiped; copy and wipe instead.
        let mut bytes = bytes;
        let boxed: Box<[u8]> = Box::from(bytes.as_slice());
        bytes.zeroize();
        Self(boxed)
    }

    /// The bytes themselves. Every call is a place where the secret can leak: keep it short and local.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all; an empty secret is never acceptable as proof.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A second holder of the same secret, named so that each copy is a visible decision.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl From<String> for SecretValue {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<&str> for SecretValue {
    fn from(text: &str) -> Self {
        Self(Box::from(text.as_bytes()))
    }
}

impl Drop for SecretValue {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_bytes_nor_length() {
        let short = format!("{:?}", SecretValue::from("a"));
        let long = format!("{:#?}", SecretValue::from("correct horse battery staple"));
        assert_eq!(short, long);
        assert!(!long.contains("horse"));
    }

    #[test]
    fn oversized_buffers_keep_their_bytes() {
        let mut v = Vec::with_capacity(100);
        v.extend_from_slice(b"abc");
        assert_eq!(SecretValue::new(v).expose(), b"abc");
    }
}
