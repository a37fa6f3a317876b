//! Runs of the tests of prompts: their calls may have a version that no label stands for yet, which nobody else may.
//!
//! They go through the listener of the node that runs them, so what they show is known to this process alone, and to no
//! provider: it stands within `prompt`, which never leaves.

use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use std::sync::LazyLock;

/// Empty where there was no randomness; then nothing is taken for it.
static PASS: LazyLock<String> = LazyLock::new(|| {
    let mut bytes = [0; 32];
    let made = rand::fill(&mut bytes).is_ok();
    bytes.iter().filter(|_| made).map(|byte| format!("{byte:02x}")).collect()
});

/// What a call of a run shows as `test` within `prompt`.
pub fn pass() -> &'static str {
    &PASS
}

/// Whether it was shown.
pub(crate) fn is_pass(shown: &str) -> bool {
    !PASS.is_empty() && verify_slices_are_equal(shown.as_bytes(), PASS.as_bytes()).is_ok()
}
