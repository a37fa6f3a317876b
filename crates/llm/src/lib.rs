//! The model dialects: what a model call asks for, what its answer cost, and a model provider to try things with.
//!
//! Everything here is sans-I/O: bytes in, bytes out. This crate knows nothing about sockets, clocks,
//! randomness, credentials' values or HTTP servers, so every part can be fuzzed and golden-tested.
//!
//! - [`openai`]: the OpenAI dialect: reading and rewriting requests, counting usage, errors, model lists.
//! - [`anthropic`]: the Anthropic dialect: counting usage, errors, model lists.
//! - [`sse`]: server-sent events, for any dialect that streams.
//! - [`translate`]: from a caller's dialect into its provider's, and back.
//! - [`price`]: what tokens cost, by date.
//! - [`provider`]: the built-in providers, one explicit list.
//! - [`sandbox`]: a deterministic provider and REST service for quickstart, try-outs and tests.

pub mod anthropic;
pub mod openai;
pub mod price;
pub mod provider;
pub mod sandbox;
pub mod sse;
pub mod translate;

pub use openai::request::{ChatCall, InvalidCall};
pub use openai::usage::{AnswerUsage, StreamUsage};
pub use price::{PriceHandle, PriceTable};
