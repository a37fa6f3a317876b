//! What a policy may know about a request.

use crate::ApplicationRules;
use credentialflow_model::Timestamp;
use std::net::IpAddr;

/// A route, as the snapshot numbers it. Meaningless outside the snapshot that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteSlot(pub u32);

/// A model, as the snapshot numbers it. Meaningless outside the snapshot that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelSlot(pub u32);

/// What a policy may know about a request. Borrowed from the request and from one snapshot, so
/// numbers, names and rules always belong together.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// Method, as sent.
    pub method: &'a str,
    /// Path without the query, as sent.
    pub path: &'a str,
    /// The matched route's number.
    pub route: RouteSlot,
    /// The matched route's name.
    pub route_name: &'a str,
    /// The number of the model asked for, once it is known.
    pub model: Option<ModelSlot>,
    /// The public name of that model.
    pub model_name: Option<&'a str>,
    /// Where the request came from.
    pub source: IpAddr,
    /// The time of day, for expiry.
    pub now: Timestamp,
    /// Nanoseconds on a clock that never runs backwards and is the same for all workers, for limits.
    pub monotonic_ns: u64,
    /// What each application may use, from the same snapshot as the route.
    pub applications: &'a ApplicationRules,
}
