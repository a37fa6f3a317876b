//! Google's Gemini: reads and writes calls, answers and streams.
//! Reference: <https://ai.google.dev/api/generate-content>.
//!
//! Google's servers read every name in camel case and in snake case, and so does this; they write camel case.

mod cite;
pub(super) mod read_answer;
pub(super) mod read_call;
pub(super) mod read_stream;
mod read_turns;
pub(super) mod schema;
pub(super) mod write_answer;
pub(super) mod write_call;
pub(super) mod write_stream;
mod write_turns;

pub(super) use write_turns::{NO_SIGNATURE, wants_signatures};
