//! From a text to a checked [`ResourceSet`], with every problem found at once.
//!
//! [`read`] turns YAML (or JSON, its subset) into resources and remembers where each value stood;
//! [`check`] looks at the whole set for dangling names and contradictions; [`plan`] says what would
//! change; [`export`] writes a set back as text that reads equal. Everything here is a pure function:
//! no files, no environment, no clock. Problems never repeat the text of a value.

mod check;
mod decode;
mod dependents;
mod export;
mod json;
mod node;
mod plan;
mod read;
mod references;
mod report;
mod source;
mod yaml;

#[cfg(test)]
mod tests;

pub use check::{Context, check};
pub use dependents::{Dependent, without};
pub use export::{export, export_resource};
pub use plan::{Action, Change, FieldChange, Plan, plan};
pub use read::{read, read_bytes, read_many, read_resource, read_resource_yaml, read_settings};
pub use references::{ReferenceUse, references, resolve};
pub use source::SourceMap;

#[cfg(doc)]
use crate::ResourceSet;

/// Largest text that is looked at, in bytes; of several documents, all together.
pub const MAX_TEXT: usize = 16 << 20;
/// How deep values may be nested.
pub const MAX_DEPTH: usize = 64;
/// How many values a text may have.
pub const MAX_NODES: usize = 2_000_000;
/// How many problems are listed; a last one says that there are more.
pub const MAX_PROBLEMS: usize = 1000;
