//! The Gemini dialect: the wire format of `/v1beta/models/{model}:generateContent`, `:streamGenerateContent`,
//! `:countTokens` and the model list.
//!
//! The model and what is asked of it stand in the path ([`request::Asked`]). Bodies are never rebuilt here: a request
//! passes byte for byte but for a model's name in it, an answer byte for byte. Vertex AI, which has another path and
//! another credential, is not here.
//! Reference: <https://ai.google.dev/api/generate-content>.

pub mod error;
pub mod files;
pub mod models;
pub mod request;
pub mod usage;

/// The header that Google's clients send their key in.
pub const KEY_HEADER: &str = "x-goog-api-key";
