//! The command line through its boundary: the built binary, its exit codes, what it prints, and a real
//! server it talks to.
#![allow(clippy::unwrap_used)]

mod binary;
mod live;
mod local;
mod reference;
