//! Passwords as Argon2id (RFC 9106), hashed off the runtime's threads, a few at a time.

use crate::{IdentityError, Result};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use credentialflow_model::SecretValue;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use zeroize::{Zeroize, Zeroizing};

/// OWASP's recommendation for Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
/// Longer passwords are nobody's.
const MAX_LEN: usize = 4096;

/// Hashes running at a time: bounds processor and memory (19 MiB each).
static RUNNING: Semaphore = Semaphore::const_new(2);
/// Hashes running or waiting at a time; more are refused.
static WAITING: Semaphore = Semaphore::const_new(64);

/// What is stored of a password, with how it was made.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Hashed {
    memory_kib: u32,
    passes: u32,
    salt: String,
    hash: String,
}

impl std::fmt::Debug for Hashed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hashed(redacted)")
    }
}

/// Hashes a new password.
pub(super) async fn hash(password: SecretValue) -> Result<Hashed> {
    if password.len() > MAX_LEN {
        return Err(IdentityError::invalid("a password has at most 4096 bytes"));
    }
    let mut salt = [0u8; 16];
    aws_lc_rs::rand::fill(&mut salt)?;
    let hash = aside(password, salt.to_vec(), MEMORY_KIB, PASSES).await?;
    Ok(Hashed { memory_kib: MEMORY_KIB, passes: PASSES, salt: STANDARD.encode(salt), hash: STANDARD.encode(*hash) })
}

/// Whether a password is the right one; as much work when there is none to compare with.
pub(super) async fn verify(stored: Option<Hashed>, password: SecretValue) -> Result<bool> {
    let fits = password.len() <= MAX_LEN;
    let password = if fits { password } else { SecretValue::from("") };
    let corrupt = || IdentityError::internal("a stored password hash cannot be read");
    let (memory, passes, salt, expected) = match &stored {
        Some(s) => {
            let salt = STANDARD.decode(&s.salt).map_err(|_| corrupt())?;
            (s.memory_kib, s.passes, salt, STANDARD.decode(&s.hash).map_err(|_| corrupt())?)
        }
        None => (MEMORY_KIB, PASSES, vec![0; 16], vec![0; 32]),
    };
    let actual = aside(password, salt, memory, passes).await?;
    Ok(verify_slices_are_equal(&*actual, &expected).is_ok() && stored.is_some() && fits)
}

async fn aside(password: SecretValue, salt: Vec<u8>, memory: u32, passes: u32) -> Result<Zeroizing<[u8; 32]>> {
    let busy = || IdentityError::TooMany("too many logins at the same time; try again");
    let _waiting = WAITING.try_acquire().map_err(|_| busy())?;
    let _running = RUNNING.acquire().await.map_err(|_| busy())?;
    let refused = || IdentityError::internal("a password could not be hashed");
    tokio::task::spawn_blocking(move || {
        let params = Params::new(memory, passes, 1, Some(32)).ok()?;
        let mut blocks = vec![Block::default(); params.block_count()];
        let mut out = Zeroizing::new([0u8; 32]);
        let done = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            password.expose(),
            &salt,
            &mut *out,
            &mut blocks,
        );
        blocks.iter_mut().for_each(Zeroize::zeroize);
        done.ok().map(|()| out)
    })
    .await
    .map_err(|_| refused())?
    .ok_or_else(refused)
}
