//! What a token may do: policy documents, compiled into one access list.
//!
//! A policy is text (HCL or JSON, as for HashiCorp Vault); [`Policy::parse`] reads it, and
//! [`Acl::new`] compiles a set of them once. Asking an [`Acl`] costs the length of the asked path,
//! not the number of rules. Nothing is allowed that no rule allows; `deny` beats everything else
//! said about the same pattern. Nothing here knows tokens, storage or HTTP.

mod capability;
mod compile;
mod hcl;
mod narrow;
mod parameters;
mod policy;
#[cfg(test)]
mod tests;

pub use capability::{Capabilities, Capability};
pub use compile::{Acl, Decision};
pub use narrow::{Narrowed, narrowed};
pub use parameters::Parameters;
pub use policy::{Policy, PolicyError, Rule};
