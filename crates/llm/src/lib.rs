//! The model dialects: what a model call asks for, what its answer cost, and a model provider to try things with.
//!
//! Everything here is sans-I/O: bytes in, bytes out. This crate knows nothing about sockets, clocks,
//! randomness, credentials' values or HTTP servers, so every part can be fuzzed and golden-tested.
//!
//! - [`openai`]: the OpenAI dialect: reading and rewriting requests, counting usage, errors, model lists.
//! - [`anthropic`]: the Anthropic dialect: counting usage, errors, model lists.
//! - [`gemini`]: the Gemini dialect: what a path asks for, counting usage, errors, model lists.
//! - [`bedrock`]: AWS Bedrock's Converse: its event stream, counting usage.
//! - [`replicate`]: Replicate's predictions: following them, their streams, counting usage.
//! - [`batch`]: many calls that a provider works off within a day.
//! - [`guardrail`]: what is looked for in the texts of calls and answers, and taken out of them.
//! - [`sse`]: server-sent events, for any dialect that streams.
//! - [`task`]: what is asked of models beside a conversation: embeddings, images, speech, transcripts, ranking.
//! - [`realtime`]: conversations of events over a WebSocket, in text and sound.
//! - [`first`]: when a stream has begun.
//! - [`translate`]: from a caller's dialect into its provider's, and back.
//! - [`bound`]: how much a call may cost at most.
//! - [`cache`]: which calls ask the same, and which answers may be given again.
//! - [`embedding`]: embeddings that the gateway asks for itself, and how near two of them are.
//! - [`needs`]: what a call needs of a model: images, tools and the like, and room for its prompt.
//! - [`named`]: what a call names that its provider keeps: files, stores, earlier answers.
//! - [`files`]: files that providers keep and calls name by an id.
//! - [`affinity`]: what calls have in common that should go to the same place.
//! - [`produced`]: what was produced when nobody counted.
//! - [`prompt`]: prompts that are kept here, and the calls that they become.
//! - [`price`]: what tokens cost, by date.
//! - [`catalogue`]: the models that providers offer, with sizes, capabilities and prices, one file per provider.
//! - [`provider`]: the built-in providers, one explicit list.
//! - [`refusal`]: how a streamed answer that has begun ends where it may not go on.
//! - [`sandbox`]: a deterministic provider and REST service for quickstart, try-outs and tests.

pub mod affinity;
pub mod anthropic;
pub mod batch;
pub mod bedrock;
pub mod bound;
pub mod cache;
pub mod catalogue;
pub mod embedding;
pub mod end_user;
pub mod files;
pub mod first;
pub mod gemini;
pub mod guardrail;
pub mod key_refused;
pub mod named;
pub mod needs;
pub mod openai;
pub mod price;
pub mod produced;
pub mod prompt;
pub mod provider;
pub mod realtime;
pub mod refusal;
pub mod replicate;
pub mod sandbox;
pub mod sse;
pub mod task;
pub mod tier;
pub mod translate;
pub mod unframed;
pub mod unsuited;

pub use openai::request::{ChatCall, InvalidCall};
pub use openai::usage::{AnswerUsage, StreamUsage};
pub use price::{PriceHandle, PriceTable};
