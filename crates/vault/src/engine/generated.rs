//! Engine `generated`: a random value under a rule.
//!
//! When to use it: for values that both sides accept from us, such as a shared token of an internal
//! service. Settings: `generate: { length, alphabet, entropy }`. Characters are drawn without bias
//! from the system's randomness; a rule whose length cannot reach its entropy is refused.
//! Posture: nobody sees the value unless it is leased or the target is told.

use super::{BoxFuture, Engine, EngineError, Revocation};
use credentialflow_model::{
    SecretValue,
    resource::{Credential, Engine as Kind, GenerateRule},
};
use zeroize::Zeroizing;

/// Makes random values.
pub struct Generated;

impl Engine for Generated {
    fn kind(&self) -> Kind {
        Kind::Generated
    }

    fn generate(&self, credential: &Credential, received: Option<SecretValue>) -> Result<SecretValue, EngineError> {
        if received.is_some() {
            return Err(EngineError::ValueUnexpected(credential.name.clone()));
        }
        let rule = credential.generate.unwrap_or_default();
        check(&rule)?;
        draw(&rule, |bytes| aws_lc_rs::rand::fill(bytes).map_err(|_| EngineError::Randomness))
    }

    fn revoke<'a>(
        &'a self,
        _credential: &'a Credential,
        _value: &'a SecretValue,
    ) -> BoxFuture<'a, Result<Revocation, EngineError>> {
        // The value lives only here and at a target this engine does not know.
        Box::pin(async { Ok(Revocation::LocalOnly) })
    }
}

fn check(rule: &GenerateRule) -> Result<(), EngineError> {
    if !(8..=1024).contains(&rule.length) {
        return Err(EngineError::Length(rule.length));
    }
    let per_character = (rule.alphabet.characters().len() as f64).log2();
    let reached = (f64::from(rule.length) * per_character).floor() as u32;
    if reached < rule.entropy {
        return Err(EngineError::Entropy { length: rule.length, reached, wanted: rule.entropy });
    }
    Ok(())
}

fn draw(
    rule: &GenerateRule,
    mut random: impl FnMut(&mut [u8]) -> Result<(), EngineError>,
) -> Result<SecretValue, EngineError> {
    let characters = rule.alphabet.characters();
    // Bytes from the last, incomplete round of the alphabet would favour its first characters.
    let fair = 256 - 256 % characters.len();
    let length = rule.length as usize;
    let mut value = Zeroizing::new(Vec::with_capacity(length));
    let mut block = Zeroizing::new([0u8; 64]);
    while value.len() < length {
        random(&mut *block)?;
        let fitting = block.iter().map(|b| usize::from(*b)).filter(|b| *b < fair);
        for byte in fitting.take(length - value.len()) {
            value.push(characters[byte % characters.len()]);
        }
    }
    Ok(SecretValue::new(std::mem::take(&mut *value)))
}

#[cfg(test)]
mod tests {
    use super::{super::credential, *};
    use credentialflow_model::resource::Alphabet;
    use proptest::prelude::*;

    const ALPHABETS: [Alphabet; 5] =
        [Alphabet::Alphanumeric, Alphabet::Hex, Alphabet::Digits, Alphabet::Base64url, Alphabet::Printable];

    proptest! {
        #[test]
        fn values_obey_their_rule(length in 8u32..=1024, alphabet in prop::sample::select(&ALPHABETS)) {
            let mut credential = credential(Kind::Generated);
            credential.generate = Some(GenerateRule { length, alphabet, entropy: 8 });
            let value = Generated.generate(&credential, None).unwrap();
            prop_assert_eq!(value.len(), length as usize);
            prop_assert!(value.expose().iter().all(|b| alphabet.characters().contains(b)));
        }
    }

    #[test]
    fn every_character_is_equally_likely() {
        for alphabet in ALPHABETS {
            // Feed each byte once, as an ideal source would: each character must come out equally often.
            let n = alphabet.characters().len();
            let rounds = 256 / n;
            let rule = GenerateRule { length: (rounds * n) as u32, alphabet, entropy: 1 };
            let mut next = 0u8;
            let value = draw(&rule, |bytes| {
                bytes.fill_with(|| {
                    next = next.wrapping_add(1);
                    next.wrapping_sub(1)
                });
                Ok(())
            })
            .unwrap();
            for character in alphabet.characters() {
                assert_eq!(value.expose().iter().filter(|b| *b == character).count(), rounds);
            }
        }
    }

    #[test]
    fn rules_that_cannot_hold_are_refused() {
        let try_rule = |length, alphabet, entropy| {
            let mut credential = credential(Kind::Generated);
            credential.generate = Some(GenerateRule { length, alphabet, entropy });
            Generated.generate(&credential, None).map(|_| ())
        };
        assert_eq!(try_rule(7, Alphabet::Printable, 8), Err(EngineError::Length(7)));
        assert_eq!(try_rule(1025, Alphabet::Hex, 8), Err(EngineError::Length(1025)));
        assert_eq!(try_rule(32, Alphabet::Hex, 128), Ok(()));
        assert_eq!(
            try_rule(31, Alphabet::Hex, 128),
            Err(EngineError::Entropy { length: 31, reached: 124, wanted: 128 })
        );
        assert_eq!(
            try_rule(20, Alphabet::Digits, 128),
            Err(EngineError::Entropy { length: 20, reached: 66, wanted: 128 })
        );
    }

    #[test]
    fn a_value_handed_in_is_refused() {
        let credential = credential(Kind::Generated);
        let refused = Generated.generate(&credential, Some(SecretValue::from("x"))).map(|_| ());
        assert_eq!(refused, Err(EngineError::ValueUnexpected(credential.name)));
    }
}
