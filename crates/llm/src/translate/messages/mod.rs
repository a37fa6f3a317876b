//! Anthropic's Messages: reads and writes calls, answers and streams.
//! Reference: <https://platform.claude.com/docs/en/api/messages>.

pub(super) mod cite;
pub(super) mod read_answer;
pub(super) mod read_call;
pub(super) mod read_stream;
mod read_turns;
pub(super) mod thinking;
pub(super) mod write_answer;
pub(super) mod write_call;
pub(super) mod write_stream;
