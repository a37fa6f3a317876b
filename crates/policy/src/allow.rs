//! `allow`: an application uses only what it is allowed to, a key only what it was narrowed to.
//!
//! When: on every route. On a route that is open to anyone (`authenticate: [none]` among its
//! authenticators) there is nothing to decide and the policy is not built.
//!
//! Settings: `allow` of applications and keys. An absent or empty list of an application allows
//! nothing; an absent `allow` of a key narrows nothing, a written one allows only what it lists.
//!
//! ```yaml
//! applications:
//!   - name: checkout
//!     allow: { routes: [orders, chat], models: [chat-default], prompts: [sentiment] }
//! keys:
//!   - name: checkout-batch
//!     application: checkout
//!     allow: { routes: [orders] }
//! ```
//!
//! Posture: default deny. An unknown application, route, model or prompt is refused. A route that may not be
//! used is `forbidden`; a model that may not be used is `model_not_found`, as if it did not exist, and a call may not name
//! a prompt that is not allowed any more than one that does not exist.

use crate::{ApplicationRules, LimitReport, ModelSlot, Policy, Principal, RateTable, Refusal, RequestFacts};
use credentialflow_model::{
    OutcomeReason,
    resource::{Authenticator, Route},
};
use std::sync::Arc;

/// The policy's name.
pub const KIND: &str = "allow";

struct Allow;

pub(crate) fn build(route: &Route, _: &Arc<RateTable>) -> Option<Box<dyn Policy>> {
    if route.authenticate.contains(&Authenticator::None) { None } else { Some(Box::new(Allow)) }
}

impl Policy for Allow {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn check(&self, request: &RequestFacts<'_>, principal: &Principal, _: &mut LimitReport) -> Result<(), Refusal> {
        // A route that is not open never has an anonymous caller; should one appear, it is refused.
        let key = principal.key().ok_or(Refusal::new(OutcomeReason::Unauthenticated))?;
        let by_application =
            request.applications.get(key.application()).is_some_and(|rule| rule.allows_route(request.route));
        if !(by_application && key.allows_route(request.route_name)) {
            return Err(Refusal::new(OutcomeReason::Forbidden));
        }
        check_model(request, principal)
    }
}

/// Refuses a model this caller may not use. On model routes the model is known only once the body is
/// read, so the gateway asks again then. A request without a model passes.
pub fn check_model(request: &RequestFacts<'_>, principal: &Principal) -> Result<(), Refusal> {
    let Some(model) = request.model else { return Ok(()) };
    // Without its name a narrowed key could not be checked; the empty name is on no list.
    if may_use_model(request.applications, principal, model, request.model_name.unwrap_or_default()) {
        Ok(())
    } else {
        Err(Refusal::new(OutcomeReason::ModelNotFound))
    }
}

/// Whether a caller may use a model; also decides what a listing of models shows. An anonymous caller
/// exists only on open routes, where every model may be used.
pub fn may_use_model(applications: &ApplicationRules, principal: &Principal, model: ModelSlot, name: &str) -> bool {
    principal.key().is_none_or(|key| {
        applications.get(key.application()).is_some_and(|rule| rule.allows_model(model)) && key.allows_model(name)
    })
}

/// Whether the calls of a caller may name a prompt. An anonymous caller exists only on open routes, whose calls name none.
pub fn may_use_prompt(applications: &ApplicationRules, principal: &Principal, name: &str) -> bool {
    principal.key().is_none_or(|key| {
        applications.get(key.application()).is_some_and(|rule| rule.allows_prompt(name)) && key.allows_prompt(name)
    })
}

#[cfg(test)]
mod tests {
    use crate::policy_tests::World;
    use credentialflow_model::OutcomeReason::{Forbidden, ModelNotFound, Unauthenticated};

    const WORLD: &str = "checkout: routes orders chat, models small";

    #[test]
    fn applications_use_what_they_are_allowed_to() {
        let world = World::new(WORLD);
        let key = world.key(|_| {});
        assert_eq!(world.check("orders", None, &key), Ok(()));
        assert_eq!(world.check("chat", Some("small"), &key), Ok(()));
        assert_eq!(world.check("chat", Some("large"), &key), Err(ModelNotFound));
        assert_eq!(world.check("secret", None, &key), Err(Forbidden));
    }

    #[test]
    fn keys_only_narrow() {
        let world = World::new(WORLD);
        let narrowed = world.key(|key| key.allow = Some(crate::policy_tests::allow(&["orders", "secret"], &[])));
        assert_eq!(world.check("orders", None, &narrowed), Ok(()));
        assert_eq!(world.check("chat", None, &narrowed), Err(Forbidden));
        assert_eq!(world.check("secret", None, &narrowed), Err(Forbidden), "a key cannot widen its application");
        let nothing = world.key(|key| key.allow = Some(Default::default()));
        assert_eq!(world.check("orders", None, &nothing), Err(Forbidden));
        let models = world.key(|key| key.allow = Some(crate::policy_tests::allow(&["chat"], &["large"])));
        assert_eq!(world.check("chat", Some("small"), &models), Err(ModelNotFound));
        assert_eq!(world.check("chat", Some("large"), &models), Err(ModelNotFound));
    }

    #[test]
    fn a_key_has_what_those_that_it_comes_from_have_too() {
        let world = World::new("checkout: routes orders chat, models small large");
        let parent = world.key(|key| key.allow = Some(crate::policy_tests::allow(&["orders", "chat"], &["small"])));
        let plain = world.below(&parent, |_| {});
        assert_eq!(world.check("chat", Some("small"), &plain), Ok(()));
        assert_eq!(world.check("chat", Some("large"), &plain), Err(ModelNotFound));
        let wide =
            world.below(&parent, |key| key.allow = Some(crate::policy_tests::allow(&["chat"], &["small", "large"])));
        assert_eq!(world.check("chat", Some("large"), &wide), Err(ModelNotFound), "whatever it was declared with");
        assert_eq!(world.check("orders", None, &wide), Err(Forbidden));
        let last = world.below(&wide, |_| {});
        assert_eq!(world.check("chat", Some("small"), &last), Ok(()));
        assert_eq!(world.check("orders", None, &last), Err(Forbidden));
    }

    #[test]
    fn prompts_are_allowed_by_name_and_narrowed_down_the_chain() {
        let world = World::new("checkout: routes chat, models small, prompts mood tone");
        let narrowed = |prompts: &'static [&'static str]| {
            move |key: &mut credentialflow_model::resource::Key| {
                let prompts = prompts.iter().map(|name| name.parse().unwrap()).collect();
                key.allow = Some(credentialflow_model::resource::Allow { prompts, ..Default::default() });
            }
        };
        let plain = world.key(|_| {});
        let mood = world.key(narrowed(&["mood", "other"]));
        let below = world.below(&mood, narrowed(&["mood", "tone"]));
        let none = world.key(narrowed(&[]));
        let stranger = world.key_of("earlier");
        for (name, who) in [
            ("mood", [true, true, true, false, false]),
            ("tone", [true, false, false, false, false]),
            ("other", [false; 5]),
        ] {
            for (at, (key, may)) in [&plain, &mood, &below, &none, &stranger].into_iter().zip(who).enumerate() {
                assert_eq!(world.may_use_prompt(name, key), may, "{name}, {at}");
            }
        }
        let silent = World::new("checkout: routes chat, models small");
        assert!(!silent.may_use_prompt("mood", &silent.key(|_| {})), "who is allowed none has none");
    }

    #[test]
    fn nobody_passes_only_where_it_is_written_out() {
        let mut world = World::new(WORLD);
        assert_eq!(world.check("orders", None, &crate::Principal::Anonymous), Err(Unauthenticated));
        world.open("orders");
        assert_eq!(world.check("orders", None, &crate::Principal::Anonymous), Ok(()));
    }

    #[test]
    fn an_application_without_a_rule_may_use_nothing() {
        let world = World::new("other: routes orders");
        assert_eq!(world.check("orders", None, &world.key(|_| {})), Err(Forbidden));
    }
}
