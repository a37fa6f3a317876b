//! The Anthropic dialect: the wire format of `/v1/messages`, `/v1/messages/count_tokens` and the model list.
//!
//! A request is read by [`ChatCall`](crate::ChatCall): `model` and `stream` mean the same in both dialects. Bodies are
//! never rebuilt here: only the model's name is spliced, an answer passes byte for byte.
//! Reference: <https://platform.claude.com/docs/en/api/messages>.

pub mod error;
pub(crate) mod generation;
pub mod models;
pub mod usage;
pub mod vertex;

/// The header that names the version of the API.
pub const VERSION_HEADER: &str = "anthropic-version";

/// The version that is asked for when the caller asks for none; every feature since is opted into by other headers.
pub const VERSION: &str = "2023-06-01";
