//! OpenAI's Responses: reads and writes calls, answers and streams.
//! Reference: <https://platform.openai.com/docs/api-reference/responses>.

mod cite;
pub(super) mod read_answer;
pub(super) mod read_call;
mod read_input;
pub(super) mod read_stream;
pub(super) mod write_answer;
pub(super) mod write_call;
mod write_item;
pub(super) mod write_stream;

pub(super) use write_answer::Frame;
pub(super) use write_item::REDACTED;
