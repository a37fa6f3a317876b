//! Chat Completions: reads and writes calls, answers and streams.
//! Reference: <https://platform.openai.com/docs/api-reference/chat>.

pub(super) mod cite;
mod open_calls;
pub(super) mod read_answer;
pub(super) mod read_call;
pub(super) mod read_stream;
pub(super) mod read_turns;
mod signed;
pub(super) mod write_answer;
pub(super) mod write_call;
mod write_signed;
pub(super) mod write_stream;
