//! A posted form (`application/x-www-form-urlencoded`), of which nothing stays in memory.
//!
//! Forms of OAuth carry tokens, passwords and client secrets under names that clients choose, so every name and every value
//! is held as a secret, also those that nobody asks for.

use crate::SecretValue;
use zeroize::Zeroizing;

/// The most parameters that one form has.
pub const MOST_PARAMETERS: usize = 100;

/// Why bytes are no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// A `%` without two hexadecimal digits behind it.
    #[error("a percent sign in the form is not followed by two hexadecimal digits")]
    Escape,
    /// A name or a value that is not UTF-8.
    #[error("the form is not UTF-8")]
    Text,
    /// More than [`MOST_PARAMETERS`].
    #[error("the form has more than {MOST_PARAMETERS} parameters")]
    TooMany,
    /// A parameter that was asked for stands there more than once.
    #[error("a parameter stands in the form more than once")]
    Repeated,
}

/// The parameters of a form; each name and each value is text, and wiped with it.
#[derive(Default)]
pub struct Form(Vec<(SecretValue, SecretValue)>);

impl Form {
    /// Reads a body. How long it may be is for the caller to say.
    pub fn read(body: &[u8]) -> Result<Self, FormError> {
        let mut parameters = Vec::new();
        for piece in body.split(|b| *b == b'&').filter(|piece| !piece.is_empty()) {
            if parameters.len() == MOST_PARAMETERS {
                return Err(FormError::TooMany);
            }
            let at = piece.iter().position(|b| *b == b'=');
            let (name, value) = at.map_or((piece, &[][..]), |at| (&piece[..at], &piece[at + 1..]));
            parameters.push((decoded(name)?, decoded(value)?));
        }
        Ok(Self(parameters))
    }

    /// Takes a parameter out; none where it is not there or empty, which is the same to OAuth (RFC 6749, 3.2). One that
    /// stands there more than once is [`FormError::Repeated`], whatever it says, and gone as well.
    pub fn take(&mut self, name: &str) -> Result<Option<SecretValue>, FormError> {
        let mut taken = self.0.extract_if(.., |(key, _)| key.expose() == name.as_bytes());
        let found = taken.next().map(|(_, value)| value);
        if taken.count() > 0 {
            return Err(FormError::Repeated);
        }
        Ok(found.filter(|value| !value.is_empty()))
    }

    /// Whether a parameter stands there and is not empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key.expose() == name.as_bytes() && !value.is_empty())
    }

    /// How many parameters are left.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no parameter is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn decoded(text: &[u8]) -> Result<SecretValue, FormError> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    // No longer than what it was made of: it never moves.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (Some(high), Some(low)) = (digit(at), digit(at + 1)) else { return Err(FormError::Escape) };
                at += 2;
                // Two digits of four bits each.
                (high << 4 | low) as u8
            }
            plain => *plain,
        });
    }
    if std::str::from_utf8(&out).is_err() {
        return Err(FormError::Text);
    }
    Ok(SecretValue::new(std::mem::take(&mut *out)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn taken(body: &[u8], name: &str) -> Result<Option<String>, FormError> {
        let value = Form::read(body)?.take(name)?;
        Ok(value.map(|value| value.expose_str().unwrap().to_owned()))
    }

    #[test]
    fn names_and_values_are_decoded() {
        for (body, name, value) in [
            (&b"a=b"[..], "a", Some("b")),
            (b"&&a=b&c=d&", "c", Some("d")),
            (b"a%62=%C3%A9+x%2B%26%3d", "ab", Some("\u{e9} x+&=")),
            (b"a=b=c", "a", Some("b=c")),
            (b"a", "a", None),
            (b"a=", "a", None),
            (b"=b", "", Some("b")),
            (b"", "a", None),
        ] {
            assert_eq!(taken(body, name), Ok(value.map(str::to_owned)), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for body in [&b"a=%"[..], b"a=%4", b"a=%4g", b"a=%%41", b"%=a", b"x=y&a=%zz"] {
            assert_eq!(taken(body, "a"), Err(FormError::Escape), "{}", body.escape_ascii());
        }
        for body in [&b"a=\xff"[..], b"a=%C3", b"%ff=a", b"x=%ed%a0%80"] {
            assert_eq!(taken(body, "a"), Err(FormError::Text), "{}", body.escape_ascii());
        }
        for body in [&b"a=b&a=b"[..], b"a=&a=b", b"a=b&%61=", b"a&a"] {
            assert_eq!(taken(body, "a"), Err(FormError::Repeated), "{}", body.escape_ascii());
        }
        assert_eq!(taken(&b"a=b&".repeat(MOST_PARAMETERS + 1), "b"), Err(FormError::TooMany));
        assert_eq!(taken(&b"a=b&".repeat(MOST_PARAMETERS), "b"), Ok(None));
    }

    #[test]
    fn what_is_taken_is_gone_and_what_nobody_asks_for_stays() {
        let mut form = Form::read(b"token=t&client_secret=s&empty=").unwrap();
        assert!(form.has("client_secret") && !form.has("empty") && !form.has("absent"));
        assert_eq!(form.take("token").unwrap().unwrap().expose(), b"t");
        assert!(form.take("token").unwrap().is_none());
        assert_eq!((form.len(), form.is_empty()), (2, false));
    }
}
