//! Which route takes the request.

use super::{Inbound, Refused, record::Recording};
use crate::{
    http1::tag::Tag,
    route::{Found, Lookup, RouteIndex, path},
    snapshot::{BatchRoute, RouteKind, RoutePlan},
    worker::View,
};
use credentialflow_llm::{anthropic::VERSION_HEADER, gemini, provider::Dialect};
use credentialflow_model::{OutcomeReason, objects::ObjectKind};
use std::borrow::Cow;

/// A request and the route that takes it.
pub(crate) struct RouteMatch<'a> {
    /// The route.
    pub route: RouteIndex,
    /// The path as it was matched, escapes in one form.
    pub path: Cow<'a, str>,
    /// The query as sent.
    pub query: Option<&'a str>,
    /// What the body calls itself, where that decides how it is read.
    pub content_type: Option<&'a [u8]>,
}

impl RouteMatch<'_> {
    /// The route's plan.
    pub fn plan<'v>(&self, view: &'v View) -> &'v RoutePlan {
        &view.snapshot.routes[self.route as usize]
    }
}

/// What the body calls itself; nothing that can be read where it calls itself more than one thing, as nobody knows which of
/// them its provider reads.
fn content_type<'a>(inbound: &Inbound<'a>) -> Option<&'a [u8]> {
    let mut told = inbound.fields().filter(|(field, ..)| field.tag == Tag::ContentType).map(|(.., value)| value);
    let first = told.next();
    if told.next().is_some() { Some(b"") } else { first }
}

/// Finds the route.
pub(super) fn find<'a>(
    view: &View,
    inbound: &Inbound<'a>,
    record: &mut Recording<'_>,
) -> Result<RouteMatch<'a>, Refused> {
    let (path, query) = inbound.path_and_query();
    let path = path::normalise(path).ok_or(Refused::new(OutcomeReason::MalformedRequest))?;
    let header = |name: &str| inbound.header(name);
    let lookup = Lookup { host: inbound.host(), path: &path, method: inbound.method(), header: &header };
    match view.snapshot.find(&lookup) {
        Found::Route(route) => {
            let plan = &view.snapshot.routes[route as usize];
            record.route(plan);
            // All dialects list models at the same path, three keep files there, and two batches.
            let is_shared = match plan.kind {
                RouteKind::Batch(BatchRoute::Batch | BatchRoute::Batches) => true,
                RouteKind::Batch(route) => route.kind() == ObjectKind::File,
                kind => kind == RouteKind::ModelList,
            };
            if is_shared {
                if inbound.header(VERSION_HEADER).is_some() {
                    record.speaks(Dialect::Anthropic);
                } else if inbound.header(gemini::KEY_HEADER).is_some() {
                    record.speaks(Dialect::Gemini);
                }
            }
            let content_type = match plan.kind {
                RouteKind::Task(_) | RouteKind::Batch(_) => content_type(inbound),
                _ => None,
            };
            Ok(RouteMatch { route, path, query, content_type })
        }
        Found::Nothing => Err(Refused::new(OutcomeReason::NoRoute)),
        Found::OtherMethod => {
            let mut allow = Vec::new();
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
                if matches!(view.snapshot.find(&Lookup { method, ..lookup }), Found::Route(_)) {
                    allow.push(method);
                }
            }
            Err(Refused::new(OutcomeReason::MethodNotAllowed).with_field("allow", allow.join(", ")))
        }
    }
}
