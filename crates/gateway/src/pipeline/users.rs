//! The end user that a model call is for, where its application has calls told apart by that: as its caller says, in a
//! header or in the call itself.

use super::{Inbound, Refused, record::Recording, route::RouteMatch};
use crate::worker::View;
use credentialflow_llm::end_user;
use credentialflow_model::{OutcomeReason, mask::masked};
use credentialflow_policy::{LiveBudget, LiveQuota, Principal, UserRule};
use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

/// Bytes of a name; what is longer names nobody.
const MOST_BYTES: usize = 256;
/// End users of an application whose budgets and limits a worker remembers, twice.
const MOST_KNOWN: usize = 2048;
/// How long a call is to wait where there is no room to count another end user.
const FULL: Duration = Duration::from_secs(1);

/// What a worker has met with a snapshot lately of end users. So only the first call of a user asks what all workers share.
#[derive(Default)]
pub(crate) struct KnownUsers {
    budgets: Known<Arc<[Arc<LiveBudget>]>>,
    quotas: Known<Arc<LiveQuota>>,
}

/// Something of each end user, by application and user.
struct Known<T>(RefCell<HashMap<u32, Met<T>>>);

/// That of one application. What is not met again until the turn after the next is forgotten.
struct Met<T> {
    lately: HashMap<Arc<str>, T>,
    before: HashMap<Arc<str>, T>,
}

impl KnownUsers {
    /// Lets go of those that were not met since the last turn: what workers hold has no room for others.
    pub fn turn(&self) {
        self.budgets.turn();
        self.quotas.turn();
    }

    /// Lets go of all.
    pub fn clear(&self) {
        self.budgets.0.borrow_mut().clear();
        self.quotas.0.borrow_mut().clear();
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Clone> Known<T> {
    /// That of an end user; `None` where nobody can hold any more.
    fn of(&self, application: u32, user: &Arc<str>, all_share: impl FnOnce() -> Option<T>) -> Option<T> {
        let mut known = self.0.borrow_mut();
        let empty = || Met { lately: HashMap::new(), before: HashMap::new() };
        let met = known.entry(application).or_insert_with(empty);
        if let Some(one) = met.lately.get(user) {
            return Some(one.clone());
        }
        let one = match met.before.remove(user) {
            Some(one) => one,
            None => all_share()?,
        };
        if met.lately.len() >= MOST_KNOWN {
            met.turn();
        }
        met.lately.insert(user.clone(), one.clone());
        Some(one)
    }

    fn turn(&self) {
        self.0.borrow_mut().retain(|_, met| {
            met.turn();
            !met.before.is_empty()
        });
    }
}

impl<T> Met<T> {
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
        return if is_hard { Err(unnamed(rule, "a hard budget")) } else { none() };
    };
    match view.users.budgets.of(application, user, || rule.budgets_of(user)) {
        Some(budgets) => Ok(budgets),
        None if is_hard => Err(Refused::new(OutcomeReason::BudgetUnavailable)),
        None => none(),
    }
}

/// Whether the application limits its end users.
pub(super) fn are_limited(view: &View, principal: &Principal) -> bool {
    rule(view, principal).is_some_and(|(_, rule)| rule.quotas().is_some())
}

/// The limit of the end user that a call is for. `now_ns` as limits count time.
pub(super) fn quota(
    view: &View,
    principal: &Principal,
    record: &Recording<'_>,
    now_ns: u64,
) -> Result<Option<Arc<LiveQuota>>, Refused> {
    let Some((application, rule)) = rule(view, principal) else { return Ok(None) };
    let Some(quotas) = rule.quotas() else { return Ok(None) };
    let user = record.end_user().ok_or_else(|| unnamed(rule, "a limit"))?;
    let quota = view.users.quotas.of(application, user, || quotas.of(user, now_ns));
    quota.map(Some).ok_or_else(|| {
        let detail = "more end users of this application call than can be counted at once";
        Refused::new(OutcomeReason::RateLimited).with_detail(detail.into()).with_retry_after(FULL)
    })
}

/// A call that names no end user where each has something of its own.
fn unnamed(rule: &UserRule, what: &str) -> Refused {
    let place = rule.header().map_or("`user` or the like in the call".to_owned(), |h| format!("the header `{h}`"));
    let detail = format!("each end user of this application has {what}: name the one it is for in {place}");
    Refused::new(OutcomeReason::InvalidModelCall).with_detail(detail)
}
