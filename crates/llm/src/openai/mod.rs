//! OpenAI's dialects: the wire format of `/v1/chat/completions`, `/v1/responses` and `/v1/models`.
//!
//! Bodies are never rebuilt: a request is forwarded with at most a few bytes spliced, an answer byte
//! for byte. Other dialects and translation between them are not here.
//! Reference: <https://platform.openai.com/docs/api-reference/chat>.

pub mod error;
pub mod models;
pub mod request;
pub mod responses;
pub mod usage;
