//! Every way to unseal against every other: the same input opens, another does not.
#![allow(clippy::unwrap_used)]

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

/// A key service that "wraps" by exclusive or, and can be away.
#[derive(Default)]
pub(crate) struct FakeKms {
    pub away: AtomicBool,
    pub calls: AtomicU32,
}

impl FakeKms {
    fn answer(&self, bytes: &[u8]) -> Result<Vec<u8>, KeyServiceError> {
        self.calls.fetch_add(1, SeqCst);
        if self.away.load(SeqCst) {
            return Err(KeyServiceError::Away("the key service does not answer".to_owned()));
        }
        Ok(bytes.iter().map(|b| b ^ 0x5a).collect())
    }
}

impl KeyService for FakeKms {
    fn wrap<'a>(&'a self, _: &'a ExternalKey, plain: &'a SecretValue) -> external::KeyFuture<'a, Vec<u8>> {
        Box::pin(async { self.answer(plain.expose()) })
    }
    fn unwrap<'a>(&'a self, _: &'a ExternalKey, wrapped: &'a [u8]) -> external::KeyFuture<'a, SecretValue> {
        Box::pin(async { self.answer(wrapped).map(SecretValue::new) })
    }
}

pub(crate) fn kms_key() -> ExternalKey {
    ExternalKey::AwsKms { key_id: "alias/vault".into(), region: "eu-central-1".into() }
}

fn environment() -> SealInput {
    SealInput::Environment(SecretValue::from(STANDARD.encode([9u8; 32])))
}

async fn closed(new: impl Into<NewSeal>, root: &RootKey) -> (Vec<u8>, Vec<Share>) {
    let made = make(new.into(), None).await.unwrap();
    (made.close(root).unwrap(), made.shares)
}

async fn opened(stored: &[u8], input: SealInput) -> Result<RootKey> {
    open(stored, &kek(&method_of(stored)?, input, None).await?)
}

#[tokio::test]
async fn the_same_input_opens_and_another_does_not() {
    let root = RootKey::generate().unwrap();
    let (stored, _) = closed(environment(), &root).await;
    assert!(opened(&stored, environment()).await.unwrap().is(&root));
    let other = SealInput::Environment(SecretValue::from(STANDARD.encode([8u8; 32])));
    assert!(matches!(opened(&stored, other).await, Err(VaultError::Unseal)));
    for another in [SealInput::Passphrase(SecretValue::from("x")), SealInput::Shares(Vec::new()), SealInput::External] {
        assert!(matches!(opened(&stored, another).await, Err(VaultError::OtherSealMethod { .. })));
    }
    assert_eq!(method_of(&stored).unwrap().name(), "environment");
}

#[tokio::test]
async fn changed_settings_are_refused() {
    let input = || SealInput::Passphrase(SecretValue::from("correct horse"));
    let (stored, _) = closed(input(), &RootKey::generate().unwrap()).await;
    let text = String::from_utf8(stored.clone()).unwrap();
    assert!(!text.contains("horse"));
    assert!(opened(&stored, input()).await.is_ok());
    for (from, to) in [("\"passes\":3", "\"passes\":4"), ("\"format\":1", "\"format\":2")] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text);
        assert!(matches!(opened(changed.as_bytes(), input()).await, Err(VaultError::Unseal)));
    }
    let greedy = text.replace("\"memory_kib\":65536", "\"memory_kib\":4294967295");
    assert!(matches!(opened(greedy.as_bytes(), input()).await, Err(VaultError::SealSettings)));
}

#[tokio::test]
async fn shares_open_and_a_lowered_threshold_does_not() {
    let root = RootKey::generate().unwrap();
    let (stored, shares) = closed(NewSeal::Shares(Quorum::default()), &root).await;
    let some = |n: usize| {
        SealInput::Shares(shares.iter().take(n).map(|s| Share::from_bytes(s.to_bytes().expose()).unwrap()).collect())
    };
    assert!(opened(&stored, some(3)).await.unwrap().is(&root));
    assert!(matches!(opened(&stored, some(2)).await, Err(VaultError::TooFewShares { given: 2, threshold: 3 })));
    let text = String::from_utf8(stored).unwrap();
    let lowered = text.replace("\"threshold\":3", "\"threshold\":2");
    assert_ne!(lowered, text);
    assert!(matches!(opened(lowered.as_bytes(), some(2)).await, Err(VaultError::Unseal)));
    let none = text.replace("\"threshold\":3", "\"threshold\":0");
    assert!(matches!(opened(none.as_bytes(), some(2)).await, Err(VaultError::SealSettings)));
    for share in &shares {
        let value = share.to_text();
        assert!(!text.contains(&value.expose_str().unwrap()[20..40]));
    }
}

#[tokio::test]
async fn a_key_service_opens_and_its_absence_is_told() {
    let kms = FakeKms::default();
    let root = RootKey::generate().unwrap();
    let made = make(NewSeal::External(kms_key()), Some(&kms)).await.unwrap();
    let stored = made.close(&root).unwrap();
    let method = method_of(&stored).unwrap();
    assert_eq!((method.name(), method.external()), ("aws_kms", Some(&kms_key())));
    let again = kek(&method, SealInput::External, Some(&kms)).await.unwrap();
    assert!(open(&stored, &again).unwrap().is(&root));
    kms.away.store(true, SeqCst);
    let away = kek(&method, SealInput::External, Some(&kms)).await;
    assert!(matches!(away, Err(VaultError::KeyService(KeyServiceError::Away(_)))));
    assert!(matches!(make(NewSeal::External(kms_key()), Some(&kms)).await, Err(VaultError::KeyService(_))));
    assert!(matches!(kek(&method, SealInput::External, None).await, Err(VaultError::KeyService(_))));
    // Another key of the same service in the stored settings does not open.
    let moved = String::from_utf8(stored).unwrap().replace("alias/vault", "alias/other");
    assert!(matches!(open(moved.as_bytes(), &again), Err(VaultError::Unseal)));
}

#[tokio::test]
async fn a_key_file_is_made_and_must_be_the_same_one() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("unseal.key"), dir.path().join("other.key"));
    let root = RootKey::generate().unwrap();
    let (stored, _) = closed(SealInput::KeyFile(path.clone()), &root).await;
    assert!(opened(&stored, SealInput::KeyFile(path.clone())).await.unwrap().is(&root));
    key_file::create(&other).unwrap();
    assert!(matches!(opened(&stored, SealInput::KeyFile(other)).await, Err(VaultError::Unseal)));
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(opened(&stored, SealInput::KeyFile(path.clone())).await, Err(VaultError::KeyFile(_))));
    assert!(!path.exists(), "unsealing never makes a key file");
}

#[test]
fn wrapped_secrets_open_only_under_their_name() {
    let root = RootKey::generate().unwrap();
    let sealed = root.wrap("pepper", b"canary").unwrap();
    assert_eq!(root.unwrap("pepper", sealed.as_bytes()).unwrap().expose(), b"canary");
    assert!(root.unwrap("keyring", sealed.as_bytes()).is_err());
    assert!(RootKey::generate().unwrap().unwrap("pepper", sealed.as_bytes()).is_err());
}

#[test]
fn only_the_root_key_before_leads_to_the_next() {
    let (first, second) = (RootKey::generate().unwrap(), RootKey::generate().unwrap());
    let bridge = first.bridge(&second).unwrap();
    assert!(first.cross(bridge.as_bytes()).unwrap().is(&second));
    assert!(second.cross(bridge.as_bytes()).is_err());
}
