//! Every suite of `cargo xtask test`, in the order they run: what is cheap and tells most comes first.

use super::{checks, context::Context, e2e, fuzz, programs};
use anyhow::Result;

/// Passed and failed checks of a suite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// How many went well.
    pub passed: u64,
    /// How many did not.
    pub failed: u64,
}

/// When a suite runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Always.
    Fast,
    /// Not with `--fast`.
    Full,
}

/// A suite.
pub struct Suite {
    /// What `--only` takes.
    pub name: &'static str,
    /// What it shows, in the reader's words.
    pub shows: &'static str,
    /// When it runs.
    pub when: When,
    /// Runs it.
    pub run: fn(&Context) -> Result<Count>,
}

/// The table.
#[rustfmt::skip]
pub const SUITES: &[Suite] = &[
    Suite { name: "format",  when: When::Fast, run: checks::format,    shows: "every Rust file is formatted" },
    Suite { name: "crates",  when: When::Fast, run: checks::crates,    shows: "ring and OpenSSL are absent, the wings do not import each other" },
    Suite { name: "console", when: When::Full, run: checks::console,   shows: "the web console: types, unit tests, build" },
    Suite { name: "lint",    when: When::Fast, run: checks::lint,      shows: "clippy finds nothing" },
    Suite { name: "tests",   when: When::Fast, run: programs::run,     shows: "unit, property, golden and conformance tests, on SQLite and PostgreSQL" },
    Suite { name: "doctests",when: When::Fast, run: checks::doctests,  shows: "the examples in the documentation, and what must not compile" },
    Suite { name: "binary",  when: When::Full, run: checks::binary,    shows: "the binary builds with the quickstart's profile" },
    Suite { name: "openapi", when: When::Full, run: checks::openapi,   shows: "the committed API document and its client are what the code says" },
    Suite { name: "fuzz",    when: When::Full, run: fuzz::run,         shows: "each fuzz target for a minute without a finding" },
    Suite { name: "e2e",     when: When::Full, run: e2e::run,          shows: "every suite in e2e/ against the built binary" },
];
