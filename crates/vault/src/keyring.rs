//! The keyring: numbered AES-256 keys. The newest seals, the old ones still open.
//!
//! AES-GCM with random nonces is safe for 2^32 seals under one key (NIST SP 800-38D section 8.3).
//! Seals are counted: a block of them is reserved in the store before any is made, so that a crash
//! can only waste part of a block, never count too little. Before the limit the ring is rotated; at
//! the limit sealing is refused.
//!
//! Each tenant's data key is derived from a ring key (HKDF-Expand, RFC 5869), so tenants' values do
//! not open under one another's keys. Nothing here reads or writes the store.

use crate::{
    Result, VaultError,
    envelope::{DEFAULT_TENANT, Sealed, SealingKey},
    seal::random_key,
};
use aws_lc_rs::{
    aead::{AES_256_GCM, UnboundKey},
    hkdf,
};
use credentialflow_model::{SecretValue, Timestamp};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};
use zeroize::Zeroizing;

/// No more seals than this under one key.
pub const SEAL_LIMIT: u64 = 1 << 32;
/// Seals reserved at a time.
pub const RESERVATION: u64 = 1 << 20;
/// A ring is rotated when its newest key has this many seals reserved.
pub const ROTATE_AT: u64 = 1 << 31;

/// The keys, oldest first; never empty.
#[derive(Clone)]
pub struct Keyring {
    keys: Vec<RingKey>,
}

#[derive(Clone)]
struct RingKey {
    id: u32,
    created: Timestamp,
    material: Zeroizing<[u8; 32]>,
    /// Seals written down as used, whether they were made or not.
    reserved: u64,
    /// Seals made or given up. Shared by all clones of the ring.
    used: Arc<AtomicU64>,
    /// The data key of [`DEFAULT_TENANT`], derived when it is first needed: deriving costs more than opening a value.
    default: Arc<OnceLock<SealingKey>>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|k| k.id)).finish()
    }
}

impl Keyring {
    /// A ring with one fresh key, number 1, and a first block of seals reserved.
    pub fn generate(now: Timestamp) -> Result<Self> {
        let mut ring = Self { keys: Vec::new() };
        ring.rotate(now)?;
        Ok(ring)
    }

    /// Adds a fresh key, which seals from now on.
    pub fn rotate(&mut self, now: Timestamp) -> Result<u32> {
        let id = self.keys.last().map_or(1, |k| k.id + 1);
        let used = Arc::new(AtomicU64::new(0));
        self.keys.push(RingKey {
            id,
            created: now,
            material: random_key()?,
            reserved: RESERVATION,
            used,
            default: Arc::default(),
        });
        Ok(id)
    }

    /// Reserves one more block of seals, rotating first when the newest key is near its limit.
    /// The result must be stored before it is used.
    pub fn reserve(&mut self, now: Timestamp) -> Result<()> {
        match self.keys.last_mut() {
            Some(key) if key.reserved + RESERVATION <= ROTATE_AT => key.reserved += RESERVATION,
            _ => {
                self.rotate(now)?;
            }
        }
        Ok(())
    }

    /// Whether less than half a block of reserved seals is left.
    pub fn is_low(&self) -> bool {
        self.keys.last().is_none_or(|k| k.reserved.saturating_sub(k.used.load(Ordering::Relaxed)) < RESERVATION / 2)
    }

    /// Number of the key that seals.
    pub fn newest_id(&self) -> u32 {
        self.keys.last().map_or(0, |k| k.id)
    }

    /// Numbers and creation times of all keys, oldest first.
    pub fn inventory(&self) -> Vec<(u32, Timestamp)> {
        self.keys.iter().map(|k| (k.id, k.created)).collect()
    }

    /// Numbers, creation times, and seals made or given up at most, oldest first.
    pub fn usage(&self) -> Vec<(u32, Timestamp, u64)> {
        self.keys.iter().map(|k| (k.id, k.created, k.used.load(Ordering::Relaxed))).collect()
    }

    pub(crate) fn seal(&self, tenant: &str, context: &[u8], plain: &[u8]) -> Result<Sealed> {
        let key = self.keys.last().ok_or(VaultError::Corrupt("keyring"))?;
        let end = key.reserved.min(SEAL_LIMIT);
        key.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| (used < end).then_some(used + 1))
            .map_err(|_| VaultError::SealsExhausted)?;
        key.with_data_key(tenant, |data| data.seal(key.id, context, plain))
    }

    pub(crate) fn open(&self, tenant: &str, context: &[u8], sealed: &Sealed) -> Result<SecretValue> {
        let id = sealed.key_id();
        let key = self.keys.iter().find(|k| k.id == id).ok_or(VaultError::UnknownKey(id))?;
        key.with_data_key(tenant, |data| data.open(context, sealed))
    }

    /// The ring as bytes for the root key to wrap.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(self.keys.len() * ENTRY));
        for key in &self.keys {
            out.extend_from_slice(&key.id.to_be_bytes());
            out.extend_from_slice(&key.created.micros().to_be_bytes());
            out.extend_from_slice(&key.reserved.to_be_bytes());
            out.extend_from_slice(&*key.material);
        }
        out
    }

    /// Reads what `to_bytes` wrote. Everything reserved before counts as used.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = || VaultError::Corrupt("keyring");
        if bytes.is_empty() || !bytes.len().is_multiple_of(ENTRY) {
            return Err(corrupt());
        }
        let mut keys = Vec::with_capacity(bytes.len() / ENTRY);
        for entry in bytes.chunks_exact(ENTRY) {
            let (id, rest) = entry.split_first_chunk::<4>().ok_or_else(corrupt)?;
            let (created, rest) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
            let (reserved, material) = rest.split_first_chunk::<8>().ok_or_else(corrupt)?;
            let mut key = Zeroizing::new([0u8; 32]);
            key.copy_from_slice(material);
            let reserved = u64::from_be_bytes(*reserved);
            keys.push(RingKey {
                id: u32::from_be_bytes(*id),
                created: Timestamp::from_micros(i64::from_be_bytes(*created)),
                material: key,
                reserved,
                used: Arc::new(AtomicU64::new(reserved)),
                default: Arc::default(),
            });
        }
        Ok(Self { keys })
    }
}

const ENTRY: usize = 4 + 8 + 8 + 32;

impl RingKey {
    fn with_data_key<T>(&self, tenant: &str, run: impl FnOnce(&SealingKey) -> Result<T>) -> Result<T> {
        if tenant != DEFAULT_TENANT {
            return run(&self.data_key(tenant)?);
        }
        if let Some(known) = self.default.get() {
            return run(known);
        }
        let fresh = self.data_key(tenant)?;
        run(self.default.get_or_init(|| fresh))
    }

    fn data_key(&self, tenant: &str) -> Result<SealingKey> {
        let prk = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &*self.material);
        let info = [b"credentialflow data key 1\0".as_slice(), tenant.as_bytes()];
        expand(&prk, &info)
    }
}

/// The sealing key of a purpose (HKDF-Expand, RFC 5869).
pub(crate) fn expand(prk: &hkdf::Prk, info: &[&[u8]]) -> Result<SealingKey> {
    Ok(SealingKey::from_unbound(UnboundKey::from(prk.expand(info, &AES_256_GCM)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::generate(Timestamp::from_secs(1)).unwrap()
    }

    #[test]
    fn the_newest_seals_and_old_ones_open() {
        let mut ring = ring();
        let old = ring.seal("default", b"c", b"one").unwrap();
        assert_eq!(ring.rotate(Timestamp::from_secs(2)).unwrap(), 2);
        let new = ring.seal("default", b"c", b"two").unwrap();
        assert_eq!((old.key_id(), new.key_id()), (1, 2));
        let read = Keyring::from_bytes(&ring.to_bytes()).unwrap();
        assert_eq!(read.open("default", b"c", &old).unwrap().expose(), b"one");
        assert_eq!(read.open("default", b"c", &new).unwrap().expose(), b"two");
        assert_eq!(read.inventory(), ring.inventory());
        assert!(matches!(self::ring().open("default", b"c", &new), Err(VaultError::UnknownKey(2))));
    }

    #[test]
    fn tenants_do_not_share_data_keys() {
        let ring = ring();
        let sealed = ring.seal("a", b"c", b"x").unwrap();
        assert!(matches!(ring.open("b", b"c", &sealed), Err(VaultError::Tampered)));
    }

    #[test]
    fn a_ring_read_back_seals_nothing_until_more_is_reserved() {
        let mut read = Keyring::from_bytes(&ring().to_bytes()).unwrap();
        assert!(read.is_low());
        assert!(matches!(read.seal("default", b"", b""), Err(VaultError::SealsExhausted)));
        read.reserve(Timestamp::from_secs(2)).unwrap();
        assert!(!read.is_low());
        assert!(read.seal("default", b"", b"").is_ok());
    }

    #[test]
    fn rotates_before_the_limit_and_never_passes_it() {
        let mut ring = ring();
        ring.keys[0].reserved = ROTATE_AT;
        ring.keys[0].used.store(ROTATE_AT, Ordering::Relaxed);
        ring.reserve(Timestamp::from_secs(2)).unwrap();
        assert_eq!(ring.newest_id(), 2);
        ring.keys[1].reserved = u64::MAX;
        ring.keys[1].used.store(SEAL_LIMIT - 1, Ordering::Relaxed);
        assert!(ring.seal("default", b"", b"").is_ok());
        assert!(matches!(ring.seal("default", b"", b""), Err(VaultError::SealsExhausted)));
    }

    #[test]
    fn corrupt_rings_are_refused() {
        let bytes = ring().to_bytes();
        assert!(Keyring::from_bytes(&[]).is_err());
        assert!(Keyring::from_bytes(&bytes[1..]).is_err());
    }

    #[test]
    fn debug_shows_numbers_only() {
        assert_eq!(format!("{:?}", ring()), "[1]");
    }
}
