//! Unsealing by several people: Shamir's secret sharing (Shamir 1979) over GF(2^8).
//!
//! The key-encryption key is random and never kept; any `threshold` of its `shares` give it back, fewer
//! say nothing about it. The field arithmetic is `vsss-rs`'s, which takes the same time whatever the
//! secret. One share of one is the key itself. Posture: as strong as the number of people who would
//! have to agree; whoever holds `threshold` shares holds the vault.

use super::{
    Kek, random_key,
    share::{Share, ShareError, ShareSet},
};
use crate::{Result, VaultError};
use rand_core::{TryCryptoRng, TryRng};
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

/// How many shares are made and how many open the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    /// Shares made, 1 to 255.
    pub shares: u8,
    /// Shares needed, 2 to `shares`; 1 only when there is one share.
    pub threshold: u8,
}

impl Default for Quorum {
    /// Three of five.
    fn default() -> Self {
        Self { shares: 5, threshold: 3 }
    }
}

impl Quorum {
    /// A quorum that makes sense; refused otherwise.
    pub fn new(shares: u8, threshold: u8) -> Result<Self> {
        let sensible = if shares == 1 { threshold == 1 } else { threshold >= 2 && threshold <= shares };
        if sensible { Ok(Self { shares, threshold }) } else { Err(VaultError::Quorum { shares, threshold }) }
    }

    /// `shares` of which a bit more than half are needed.
    pub fn majority(shares: u8) -> Result<Self> {
        Self::new(shares, shares / 2 + 1)
    }
}

/// What is stored: public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The set of the shares, 8 hexadecimal digits.
    set: String,
    #[serde(flatten)]
    pub(super) quorum: Quorum,
}

impl Settings {
    pub(super) fn checked(&self) -> Result<(ShareSet, Quorum)> {
        let set = ShareSet::parse(&self.set).ok_or(VaultError::SealSettings)?;
        let quorum = Quorum::new(self.quorum.shares, self.quorum.threshold).map_err(|_| VaultError::SealSettings)?;
        Ok((set, quorum))
    }
}

/// A random KEK and its shares.
pub(super) fn create(quorum: Quorum) -> Result<(Settings, Kek, Vec<Share>)> {
    let quorum = Quorum::new(quorum.shares, quorum.threshold)?;
    let mut set = [0u8; 4];
    aws_lc_rs::rand::fill(&mut set)?;
    let set = ShareSet(set);
    let kek = random_key()?;
    let shares = split(&kek, set, quorum)?;
    Ok((Settings { set: set.to_string(), quorum }, Kek(kek), shares))
}

/// The KEK from enough shares. Shares of another set and repeated ones are named; shares that fit but
/// were made up give a key that does not open.
pub(super) fn combine(settings: &Settings, shares: &[Share]) -> Result<Kek> {
    let (set, quorum) = settings.checked()?;
    for (at, share) in shares.iter().enumerate() {
        belongs(set, share)?;
        if shares[..at].iter().any(|earlier| earlier.number == share.number) {
            return Err(ShareError::Repeated { number: share.number }.into());
        }
    }
    let Some(enough) = shares.get(..usize::from(quorum.threshold)) else {
        return Err(VaultError::TooFewShares { given: shares.len(), threshold: quorum.threshold });
    };
    let mut key = Zeroizing::new([0u8; 32]);
    if quorum.threshold == 1 {
        key.copy_from_slice(enough[0].value());
        return Ok(Kek(key));
    }
    let points = Points(
        enough
            .iter()
            .map(|share| {
                let mut point = Vec::with_capacity(33);
                point.push(share.number);
                point.extend_from_slice(share.value());
                point
            })
            .collect(),
    );
    let secret = Zeroizing::new(Gf256::combine_bytes(&points.0).map_err(|_| VaultError::Unseal)?);
    if secret.len() != key.len() {
        return Err(VaultError::Unseal);
    }
    key.copy_from_slice(&secret);
    Ok(Kek(key))
}

/// Refuses a share of another set, by name.
pub(super) fn belongs(set: ShareSet, share: &Share) -> Result<(), ShareError> {
    if share.set == set {
        return Ok(());
    }
    Err(ShareError::OtherSet { number: share.number, set: share.set.to_string(), expected: set.to_string() })
}

fn split(key: &[u8; 32], set: ShareSet, quorum: Quorum) -> Result<Vec<Share>> {
    if quorum.threshold == 1 {
        return Ok(vec![Share::new(set, 1, Zeroizing::new(*key))]);
    }
    let mut random = SystemRandom { failed: false };
    let points = Gf256::split_bytes(usize::from(quorum.threshold), usize::from(quorum.shares), key, &mut random);
    let points = Points(points.map_err(|_| VaultError::Crypto)?);
    if random.failed {
        return Err(VaultError::Crypto);
    }
    points
        .0
        .iter()
        .map(|point| match point.split_first() {
            Some((number, value)) if value.len() == 32 && *number > 0 => {
                let mut bytes = Zeroizing::new([0u8; 32]);
                bytes.copy_from_slice(value);
                Ok(Share::new(set, *number, bytes))
            }
            _ => Err(VaultError::Crypto),
        })
        .collect()
}

/// Shares as the library takes them; wiped when dropped.
struct Points(Vec<Vec<u8>>);

impl Drop for Points {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(zeroize::Zeroize::zeroize);
    }
}

/// The system's randomness through aws-lc-rs. The library's trait has no place for a failure: it is
/// remembered, and whatever was made with it is thrown away.
struct SystemRandom {
    failed: bool,
}

impl TryRng for SystemRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0u8; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_ne_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0u8; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        if aws_lc_rs::rand::fill(bytes).is_err() {
            self.failed = true;
            bytes.fill(1);
        }
        Ok(())
    }
}

impl TryCryptoRng for SystemRandom {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn copy(share: &Share) -> Share {
        Share::from_bytes(share.to_bytes().expose()).unwrap()
    }

    #[test]
    fn quorums_that_make_no_sense_are_refused() {
        for (shares, threshold) in [(0, 0), (1, 0), (1, 2), (2, 1), (5, 1), (5, 0), (5, 6), (255, 1)] {
            assert!(
                matches!(Quorum::new(shares, threshold), Err(VaultError::Quorum { .. })),
                "{threshold} of {shares}"
            );
        }
        assert_eq!(Quorum::majority(5).unwrap(), Quorum::default());
        assert_eq!(Quorum::majority(1).unwrap(), Quorum { shares: 1, threshold: 1 });
        assert_eq!(Quorum::majority(2).unwrap(), Quorum { shares: 2, threshold: 2 });
    }

    #[test]
    fn every_three_of_five_open_and_no_two_do() {
        let (settings, kek, shares) = create(Quorum::default()).unwrap();
        assert_eq!(shares.iter().map(|s| s.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        for a in 0..5 {
            for b in 0..5 {
                for c in 0..5 {
                    let chosen = [copy(&shares[a]), copy(&shares[b]), copy(&shares[c])];
                    match combine(&settings, &chosen) {
                        Ok(opened) => assert_eq!(*opened.0, *kek.0),
                        Err(VaultError::Share(ShareError::Repeated { .. })) => assert!(a == b || b == c || a == c),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
        }
        let two = [copy(&shares[0]), copy(&shares[4])];
        assert!(matches!(combine(&settings, &two), Err(VaultError::TooFewShares { given: 2, threshold: 3 })));
        // A threshold lowered in the stored settings does not help: two points give another key.
        let lowered = Settings { quorum: Quorum { shares: 5, threshold: 2 }, ..settings };
        assert_ne!(*combine(&lowered, &two).unwrap().0, *kek.0);
    }

    #[test]
    fn shares_of_another_split_are_named() {
        let (settings, _, _) = create(Quorum::default()).unwrap();
        let (_, _, others) = create(Quorum::default()).unwrap();
        let Err(VaultError::Share(ShareError::OtherSet { number, .. })) = combine(&settings, &others) else {
            panic!("refused")
        };
        assert_eq!(number, 1);
    }

    #[test]
    fn one_share_of_one_is_the_key() {
        let (settings, kek, shares) = create(Quorum { shares: 1, threshold: 1 }).unwrap();
        assert_eq!(*combine(&settings, &shares).unwrap().0, *kek.0);
    }

    #[test]
    fn two_splits_of_one_key_have_nothing_in_common() {
        let (set, quorum) = (ShareSet([1; 4]), Quorum::default());
        let (a, b) = (split(&[7; 32], set, quorum).unwrap(), split(&[7; 32], set, quorum).unwrap());
        assert!(a.iter().zip(&b).all(|(a, b)| a.value() != b.value() && a.value() != &[7; 32]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_quorum_opens_in_any_order(shares in 2u8..=20, t in 0u8..20, key: [u8; 32], seed: u64) {
            let quorum = Quorum::new(shares, 2 + t % (shares - 1)).unwrap();
            let set = ShareSet([9; 4]);
            let mut made = split(&key, set, quorum).unwrap();
            // A shuffle that the seed decides.
            for at in (1..made.len()).rev() {
                made.swap(at, (seed.wrapping_mul(at as u64 + 1) % (at as u64 + 1)) as usize);
            }
            made.truncate(usize::from(quorum.threshold));
            let settings = Settings { set: set.to_string(), quorum };
            prop_assert_eq!(*combine(&settings, &made).unwrap().0, key);
            made.pop();
            prop_assert!(combine(&settings, &made).is_err());
        }
    }
}
