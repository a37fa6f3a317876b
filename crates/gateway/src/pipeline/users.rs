//! The end user that a model call is for, where its application has calls told apart by that: as its caller says, in a
//! header or in the call itself.

use super::{Inbound, Refused, record::Recording, route::RouteMatch};
use crate::worker::View;
use credentialflow_llm::end_user;
use credentialflow_model::{OutcomeReason, mask::masked};
use credentialflow_policy::{LiveBudget, Principal, UserRule};
use std::{cell::RefCell, collections::HashMap, sync::Arc};

/// Bytes of a name; what is longer names nobody.
const MOST_BYTES: usize = 256;
/// End users of an application whose budgets a worker remembers, twice.
const MOST_KNOWN: usize = 2048;

/// The budgets of end users that a worker has met with a snapshot lately, by application and user. So only the first call
/// of a user asks what all workers share.
#[derive(Default)]
pub(crate) struct KnownUsers(RefCell<HashMap<u32, Met>>);

/// Those of one application. What is not met again until the turn after the next is forgotten.
#[derive(Default)]
struct Met {
    lately: Users,
    before: Users,
}

type Users = HashMap<Arc<str>, Arc<[Arc<LiveBudget>]>>;

impl KnownUsers {
    /// The budgets of an end user; `None` where nobody can hold any more of them.
    fn budgets(&self, application: u32, rule: &UserRule, user: &Arc<str>) -> Option<Arc<[Arc<LiveBudget>]>> {
        let mut known = self.0.borrow_mut();
        let met = known.entry(application).or_default();
        if let Some(budgets) = met.lately.get(user) {
            return Some(budgets.clone());
        }
        let budgets = match met.before.remove(user) {
            Some(budgets) => budgets,
            None => rule.budgets_of(user)?,
        };
        if met.lately.len() >= MOST_KNOWN {
            met.turn();
        }
        met.lately.insert(user.clone(), budgets.clone());
        Some(budgets)
    }

    /// Lets go of those that were not met since the last turn: what workers hold has no room for others.
    pub fn turn(&self) {
        self.0.borrow_mut().retain(|_, met| {
            met.turn();
            !met.before.is_empty()
        });
    }

    /// Lets go of all.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Met {
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.lately);
    }
}

/// How the application of a caller tells its end users apart, if it does.
fn rule<'v>(view: &'v View, principal: &Principal) -> Option<(u32, &'v UserRule)> {
    let application = principal.key()?.application();
    Some((application, view.snapshot.applications.get(application)?.users()?))
}

/// Notes for whom a call is.
pub(super) fn name(
    view: &View,
    inbound: &Inbound<'_>,
    matched: &RouteMatch<'_>,
    principal: &Principal,
    body: &[u8],
    record: &mut Recording<'_>,
) {
    let Some((_, rule)) = rule(view, principal) else { return };
    let user = match rule.header() {
        Some(header) => inbound.header(header).and_then(|value| std::str::from_utf8(value).ok()).map(Into::into),
        None => matched.plan(view).kind.dialect().and_then(|speaks| end_user::of_call(speaks, body)),
    };
    if let Some(user) = user {
        note(&user, record);
    }
}

/// The same for whom a call that is only asked about is said to be.
pub(super) fn stand_in(view: &View, principal: &Principal, user: &str, record: &mut Recording<'_>) {
    if rule(view, principal).is_some() {
        note(user, record);
    }
}

fn note(user: &str, record: &mut Recording<'_>) {
    let user = user.trim();
    if !user.is_empty() && user.len() <= MOST_BYTES && !user.chars().any(char::is_control) {
        // The call log shows it: a key that somebody puts there by mistake is left out.
        record.user(masked(user).as_ref().into());
    }
}

/// The budgets of the end user that a call is for.
pub(super) fn budgets(
    view: &View,
    principal: &Principal,
    record: &Recording<'_>,
) -> Result<Arc<[Arc<LiveBudget>]>, Refused> {
    let none = || Ok(Arc::default());
    let Some((application, rule)) = rule(view, principal).filter(|(_, rule)| !rule.definitions().is_empty()) else {
        return none();
    };
    let is_hard = rule.definitions().iter().any(|budget| budget.hard);
    let Some(user) = record.end_user() else {
        let place = rule.header().map_or("`user` or the like in the call".to_owned(), |h| format!("the header `{h}`"));
        let detail = format!("each end user of this application has a hard budget: name the one it is for in {place}");
        return if is_hard { Err(Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail)) } else { none() };
    };
    match view.users.budgets(application, rule, user) {
        Some(budgets) => Ok(budgets),
        None if is_hard => Err(Refused::new(OutcomeReason::BudgetUnavailable)),
        None => none(),
    }
}
