//! AWS Bedrock's Converse API: writes calls, reads answers and streams. No caller speaks it.
//! Reference: <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>.

mod cite;
pub(super) mod read_answer;
pub(super) mod read_stream;
pub(super) mod write_call;
mod write_turns;
