//! Predictions of Replicate: writes calls, reads answers and streams. No caller speaks them.
//! Reference: <https://replicate.com/docs/reference/http>.

pub(super) mod read_answer;
pub(super) mod read_stream;
pub(super) mod write_call;
