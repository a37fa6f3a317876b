//! Engine `static`: a value received, handed in over the API or read through a typed reference.
//!
//! When to use it: for credentials that someone else issues, such as a provider's API key.
//! Settings: `value: ${env:NAME}`, `${file:PATH}`, `${credential:NAME}` or `${store:NAME/path#field}`,
//! or none and the value is handed in. Posture: the value was seen by whoever handed it in; rotate it after the first import.
//!
//! Reading references needs something outside; it comes in as a [`Lookup`].

use super::{BoxFuture, Engine, EngineError, Revocation};
use credentialflow_model::{
    Name, SecretReference, SecretValue,
    resource::{Credential, Engine as Kind},
};
use std::{fs::File, io::Read, path::Path};
use zeroize::Zeroizing;

/// No value read from a file is larger than this.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Takes values as they are.
pub struct Static;

impl Engine for Static {
    fn kind(&self) -> Kind {
        Kind::Static
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        let value = received.ok_or_else(|| EngineError::ValueMissing(credential.name.clone()))?;
        if value.is_empty() {
            return Err(EngineError::Empty);
        }
        if value.len() > MAX_FILE_BYTES {
            return Err(EngineError::TooLarge(MAX_FILE_BYTES));
        }
        Ok(value)
    }

    fn revoke<'a>(
        &'a self,
        _credential: &'a Credential,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // Someone else issued the value; only they can withdraw it.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

/// Where references are looked up. Errors say why in words, never with a value.
pub trait Lookup {
    /// An environment variable.
    fn env(&self, name: &str) -> Result<SecretValue, String>;
    /// A file's content.
    fn file(&self, path: &Path) -> Result<SecretValue, String>;
    /// The value in use of another credential.
    fn credential(&self, name: &Name) -> Result<SecretValue, String>;
}

/// Reads the value a reference points to. An unset, empty or unreadable one is an error.
pub fn resolve(reference: &SecretReference, lookup: &dyn Lookup) -> Result<SecretValue, EngineError> {
    let found = match reference {
        SecretReference::Env(name) => lookup.env(name),
        SecretReference::File(path) => lookup.file(Path::new(path)),
        SecretReference::Credential(name) => lookup.credential(name),
        // Read again and again, by a job that knows the stores.
        SecretReference::Store(_) => Err("stores are read by the server's own job".to_owned()),
    };
    let value = found.map_err(|why| EngineError::Unresolved(reference.to_string(), why))?;
    if value.len() > MAX_FILE_BYTES {
        return Err(EngineError::TooLarge(MAX_FILE_BYTES));
    }
    let value = match reference {
        SecretReference::File(_) => without_last_newline(value),
        _ => value,
    };
    if value.is_empty() {
        return Err(EngineError::Unresolved(reference.to_string(), "it is empty".to_owned()));
    }
    Ok(value)
}

fn without_last_newline(value: SecretValue) -> SecretValue {
    let bytes = value.expose();
    let cut = bytes.strip_suffix(b"\r\n").or_else(|| bytes.strip_suffix(b"\n"));
    cut.map(|rest| SecretValue::new(rest.to_vec())).unwrap_or_else(|| value.duplicate())
}

/// Looks references up in this process's environment and file system. Credentials are looked up
/// through `credentials`, which the caller fills beforehand.
#[derive(Default)]
pub struct ProcessLookup {
    /// Values of other credentials, by name.
    pub credentials: std::collections::HashMap<Name, SecretValue>,
}

impl Lookup for ProcessLookup {
    fn env(&self, name: &str) -> Result<SecretValue, String> {
        match std::env::var_os(name) {
            Some(value) => Ok(SecretValue::new(value.into_encoded_bytes())),
            None => Err("the variable is not set".to_owned()),
        }
    }

    fn file(&self, path: &Path) -> Result<SecretValue, String> {
        // Asked before opening: opening a named pipe would wait for a writer.
        if !std::fs::metadata(path).map_err(|e| e.kind().to_string())?.is_file() {
            return Err("it is not a regular file".to_owned());
        }
        let file = File::open(path).map_err(|e| e.kind().to_string())?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
        file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|e| e.kind().to_string())?;
        Ok(SecretValue::new(std::mem::take(&mut *bytes)))
    }

    fn credential(&self, name: &Name) -> Result<SecretValue, String> {
        self.credentials
            .get(name)
            .map(SecretValue::duplicate)
            .ok_or_else(|| "no such credential has a value in use".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};

    #[test]
    fn takes_what_it_receives_and_refuses_nothing_and_emptiness() {
        let credential = credential(Kind::Static);
        let make = |v: Option<&str>| Static.generate(&credential, v.map(SecretValue::from));
        assert_eq!(make(Some("abc")).unwrap().expose(), b"abc");
        assert_eq!(make(Some("")).map(|_| ()), Err(EngineError::Empty));
        assert_eq!(make(None).map(|_| ()), Err(EngineError::ValueMissing(credential.name.clone())));
        let large = "x".repeat(MAX_FILE_BYTES + 1);
        assert_eq!(make(Some(&large)).map(|_| ()), Err(EngineError::TooLarge(MAX_FILE_BYTES)));
    }

    #[test]
    fn files_are_read_bounded_and_lose_one_newline() {
        let dir = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| {
            let path = dir.path().join("secret");
            std::fs::write(&path, content).unwrap();
            let reference = SecretReference::File(path.to_str().unwrap().to_owned());
            resolve(&reference, &ProcessLookup::default()).map(|v| v.expose().to_vec())
        };
        assert_eq!(read(b"abc").unwrap(), b"abc");
        assert_eq!(read(b"abc\n").unwrap(), b"abc");
        assert_eq!(read(b"abc\r\n").unwrap(), b"abc");
        assert_eq!(read(b"abc\n\n").unwrap(), b"abc\n");
        assert!(matches!(read(b"\n"), Err(EngineError::Unresolved(..))));
        assert!(matches!(read(b""), Err(EngineError::Unresolved(..))));
        assert_eq!(read(&vec![b'x'; MAX_FILE_BYTES + 1]), Err(EngineError::TooLarge(MAX_FILE_BYTES)));
    }

    #[test]
    fn what_leads_nowhere_is_an_error_and_never_a_literal() {
        let lookup = ProcessLookup::default();
        for reference in ["${env:CREDENTIALFLOW_NEVER_SET}", "${file:/nonexistent/x}", "${file:/}", "${credential:x}"] {
            let refused = resolve(&reference.parse().unwrap(), &lookup);
            assert!(matches!(refused, Err(EngineError::Unresolved(..))), "{reference}");
        }
    }

    #[test]
    fn another_credential_can_be_the_source() {
        let mut lookup = ProcessLookup::default();
        lookup.credentials.insert("other".parse().unwrap(), SecretValue::from("v"));
        assert_eq!(resolve(&"${credential:other}".parse().unwrap(), &lookup).unwrap().expose(), b"v");
    }
}
