//! Reads the tokens that a finished prediction tells (`metrics`) while its bytes pass.
//!
//! Tolerant: an answer that cannot be understood has no usage, it never becomes an error. Streams tell none.

use crate::openai::usage::Tokens;
use credentialflow_model::usage::TokenUsage;
use serde::Deserialize;

/// Answers up to this size are kept until their end; larger ones have no usage. A prediction repeats its input.
const ANSWER_LIMIT: usize = 32 << 20;

/// Collects a whole answer, and reads its usage at the end.
#[derive(Debug, Default)]
pub struct AnswerUsage {
    kept: Vec<u8>,
    /// A stream passes, or more than is kept.
    lost: bool,
}

impl AnswerUsage {
    /// For one answer.
    pub const fn new() -> Self {
        Self { kept: Vec::new(), lost: false }
    }

    /// What comes is a stream, or is none.
    pub const fn fit(&mut self, is_stream: bool) {
        self.lost = is_stream;
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        self.kept.capacity()
    }

    /// Takes the next bytes.
    pub fn feed(&mut self, payload: &[u8]) {
        self.lost |= self.kept.len() + payload.len() > ANSWER_LIMIT;
        if self.lost {
            self.kept = Vec::new();
        } else {
            self.kept.extend_from_slice(payload);
        }
    }

    /// The usage the answer reports.
    pub fn finish(self) -> Option<TokenUsage> {
        of(&self.kept)
    }
}

/// The tokens of a prediction. `None` where it counts none.
pub fn of(body: &[u8]) -> Option<TokenUsage> {
    #[derive(Deserialize)]
    struct Wire {
        metrics: Option<Metrics>,
    }
    #[derive(Deserialize)]
    struct Metrics {
        #[serde(default)]
        input_token_count: Tokens,
        #[serde(default)]
        output_token_count: Tokens,
    }
    let metrics = serde_json::from_slice::<Wire>(body).ok()?.metrics?;
    let (input, output) = (metrics.input_token_count.0, metrics.output_token_count.0);
    // One of the two alone is no count of what it cost.
    Some(TokenUsage { input: input?, output: output?, ..TokenUsage::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, size: usize) -> Option<TokenUsage> {
        let mut usage = AnswerUsage::new();
        body.as_bytes().chunks(size).for_each(|piece| usage.feed(piece));
        usage.finish()
    }

    #[test]
    fn metrics_are_the_usage() {
        let body = r#"{"id":"a","status":"succeeded","input":{"prompt":"\"metrics\":{\"input_token_count\":9}"},
            "metrics":{"predict_time":0.4,"input_token_count":27,"output_token_count":14,"tokens_per_second":30.1}}"#;
        for size in [1, 7, 4096] {
            let told = read(body, size).unwrap();
            assert_eq!((told.input, told.output, told.cached_input), (27, 14, 0));
        }
        for none in [
            r#"{"metrics":{"predict_time":1.5}}"#,
            r#"{"metrics":{"input_token_count":3}}"#,
            r#"{"metrics":null}"#,
            r#"{"status":"starting"}"#,
            "no json",
        ] {
            assert_eq!(read(none, 4096), None, "{none}");
        }
    }

    #[test]
    fn a_stream_is_not_kept() {
        let mut usage = AnswerUsage::new();
        usage.fit(true);
        usage.feed(br#"{"metrics":{"input_token_count":3,"output_token_count":3}}"#);
        assert_eq!((usage.held(), usage.finish()), (0, None));
    }
}
