//! What is told on the terminal: progress on stderr, results on stdout.

use std::{
    io::{Write as _, stderr, stdout},
    time::{Duration, Instant},
};

/// A line of progress. A terminal that went away is no reason to stop.
pub fn note(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// A line of the result.
pub fn result(line: &str) {
    let _ = writeln!(stdout(), "{line}");
}

/// Numbered steps of a longer job, each with the time since the start.
pub struct Steps {
    started: Instant,
    number: usize,
    of: usize,
}

impl Steps {
    /// Begins a job of this many steps.
    pub fn new(of: usize) -> Self {
        Self { started: Instant::now(), number: 0, of }
    }

    /// Says that the next step begins.
    pub fn next(&mut self, what: &str) {
        self.number += 1;
        note(&format!("[{}/{} {:>4}] {what}", self.number, self.of, seconds(self.started.elapsed())));
    }

    /// How long the job has taken so far.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Whole seconds, as in `73s`.
pub fn seconds(time: Duration) -> String {
    format!("{}s", time.as_secs())
}
