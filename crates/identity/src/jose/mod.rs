//! Signed tokens of others (JWS in compact form, RFC 7515; JWT, RFC 7519), checked strictly.
//!
//! Which algorithms count is said by configuration, never by the token; `none` and the symmetric ones
//! do not exist here. A key is used only for what its own `kty`, `crv`, `use`, `key_ops` and `alg` say.
//! `kid` selects among configured keys and nothing else; `jku`, `jwk`, `x5u` and `x5c` are not looked
//! at, `crit` and `b64` are refused. Pure functions: bytes in, bytes out.

mod claims;
mod der;
mod key;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
mod verify;

pub use claims::{Claims, Skew, check_times};
pub(crate) use der::rsa_public_key as rsa_components;
pub use key::{Key, KeySet};
pub use verify::{Algorithm, JoseError, verify};
