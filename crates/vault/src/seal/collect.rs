//! Shares handed in one at a time until there are enough: for unsealing, and for proving a quorum.
//!
//! Held in this process's memory only and wiped when given up: a restart begins again. The nonce tells
//! one attempt from the next, so that two people can see that they take part in the same one.

use super::{
    shamir,
    share::{Share, ShareError},
};
use crate::Result;

/// One attempt. Without shares it has no nonce yet.
#[derive(Default)]
pub(crate) struct Collected {
    nonce: Option<String>,
    shares: Vec<Share>,
}

impl Collected {
    /// Takes a share; answers all of them, and begins anew, once there are enough.
    pub(crate) fn add(&mut self, settings: &shamir::Settings, share: Share) -> Result<Option<Vec<Share>>> {
        let (set, quorum) = settings.checked()?;
        shamir::belongs(set, &share)?;
        // Those of a set that is no longer in force can never be completed.
        if self.shares.iter().any(|earlier| earlier.set != set) {
            self.reset();
        }
        if self.shares.iter().any(|earlier| earlier.number == share.number) {
            return Err(ShareError::Repeated { number: share.number }.into());
        }
        if self.nonce.is_none() {
            self.nonce = Some(nonce()?);
        }
        self.shares.push(share);
        if self.shares.len() < usize::from(quorum.threshold) {
            return Ok(None);
        }
        self.nonce = None;
        Ok(Some(std::mem::take(&mut self.shares)))
    }

    /// Gives the attempt up.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// How many shares were handed in.
    pub(crate) fn progress(&self) -> u8 {
        u8::try_from(self.shares.len()).unwrap_or(u8::MAX)
    }

    /// Which attempt this is.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.nonce.as_deref()
    }
}

/// A random name for an attempt, in the form of a UUID (RFC 9562, version 4).
pub(crate) fn nonce() -> Result<String> {
    let mut b = [0u8; 16];
    aws_lc_rs::rand::fill(&mut b)?;
    b[6] = (b[6] & 0x0f) | 0x40;
    b[8] = (b[8] & 0x3f) | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VaultError;

    #[test]
    fn shares_add_up_and_the_attempt_begins_anew() {
        let (settings, kek, shares) = shamir::create(shamir::Quorum::default()).unwrap();
        let copies = || shares.iter().map(|s| Share::from_bytes(s.to_bytes().expose()).unwrap());
        let mut collected = Collected::default();
        let mut all = copies();
        assert!(collected.add(&settings, all.next().unwrap()).unwrap().is_none());
        let nonce = collected.nonce().unwrap().to_owned();
        assert_eq!((collected.progress(), nonce.len()), (1, 36));
        let again = copies().next().unwrap();
        let repeated = collected.add(&settings, again);
        assert!(matches!(repeated, Err(VaultError::Share(ShareError::Repeated { number: 1 }))));
        assert!(collected.add(&settings, all.next().unwrap()).unwrap().is_none());
        assert_eq!((collected.progress(), collected.nonce()), (2, Some(nonce.as_str())));
        let enough = collected.add(&settings, all.next().unwrap()).unwrap().unwrap();
        assert_eq!(*shamir::combine(&settings, &enough).unwrap().0, *kek.0);
        assert_eq!((collected.progress(), collected.nonce()), (0, None));
        assert!(collected.add(&settings, all.next().unwrap()).unwrap().is_none());
        collected.reset();
        assert_eq!(collected.progress(), 0);
    }

    #[test]
    fn shares_of_a_set_no_longer_in_force_do_not_count() {
        let (old, _, first) = shamir::create(shamir::Quorum::default()).unwrap();
        let (new, _, second) = shamir::create(shamir::Quorum::default()).unwrap();
        let mut collected = Collected::default();
        assert!(collected.add(&old, first.into_iter().next().unwrap()).unwrap().is_none());
        assert!(collected.add(&new, second.into_iter().next().unwrap()).unwrap().is_none());
        assert_eq!(collected.progress(), 1);
    }
}
