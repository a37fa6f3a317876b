//! Which model serves where a budget that is used up names one for that.
//!
//! A budget that is only watched is charged when calls are over, so what stands here is a moment old; the calls that run
//! when it is used up go where they went.

use super::{record::Recording, users};
use crate::{
    net::control::{Control, Interrupt},
    snapshot::models::ModelPlan,
    worker::{View, Worker},
};
use credentialflow_model::{Name, Timestamp};
use credentialflow_policy::{LiveBudget, Principal};
use std::{sync::Arc, time::Duration};

/// The longest a call waits to hear how a budget stands.
const WAIT: Duration = Duration::from_secs(1);
/// So long no call of a worker waits after one that heard nothing: a database that hangs holds up few.
const UNHEARD: Duration = Duration::from_secs(10);

/// The budgets of the caller that name a model, the narrowest first.
fn of_caller<'v>(
    view: &'v View,
    principal: &'v Principal,
    users: &'v [Arc<LiveBudget>],
) -> impl Iterator<Item = &'v Arc<LiveBudget>> {
    let key = principal.key();
    let of_keys = key.into_iter().flat_map(|key| key.budgets());
    let rule = key.and_then(|key| view.snapshot.applications.get(key.application()));
    let all = users.iter().chain(of_keys).chain(rule.map_or(&[][..], |rule| rule.budgets()));
    all.filter(|budget| model_of(budget).is_some())
}

/// Has the budgets of the caller that name a model told how they stand, where nobody knows: after the first call of a
/// process, of an end user or after a long pause. Where that cannot be told in time, calls go where they ask to go.
pub(super) async fn hear(
    worker: &Worker,
    view: &View,
    control: &Control,
    principal: &Principal,
    record: &Recording<'_>,
) {
    if worker.tick() < worker.unheard_until.get() {
        return;
    }
    let users = users::budgets(view, principal, record).unwrap_or_default();
    let unknown = |budget: &&Arc<LiveBudget>| budget.account(record.time()).is_used_up().is_none();
    let Some(budget) = of_caller(view, principal, &users).find(unknown) else { return };
    let account = budget.account(record.time());
    control.set_deadline(worker.tick_in(WAIT));
    // The next turn tells of all of them.
    match control.wait(worker.shared.lender.borrow(&account, 0)).await {
        Ok(true) => {}
        Ok(false) | Err(Interrupt::Deadline) => worker.unheard_until.set(worker.tick_in(UNHEARD)),
        // The call ends where it waits next.
        Err(_) => {}
    }
    control.clear_deadline();
}

/// The model that serves instead of one that is asked for, by the first budget that is used up.
pub(super) fn of(view: &View, principal: &Principal, asked: &ModelPlan, record: &Recording<'_>) -> Option<u32> {
    let users = users::budgets(view, principal, record).unwrap_or_default();
    let of_model = asked.budgets.iter().filter(|budget| model_of(budget).is_some());
    let used_up = |budget: &&Arc<LiveBudget>| is_used_up(budget, record.time());
    let name = {
        let budget = of_caller(view, principal, &users).chain(of_model).find(used_up)?;
        model_of(budget)?.as_str().to_owned()
    };
    let instead = *view.snapshot.models.by_name.get(name.as_str())?;
    (*view.snapshot.models.list[instead as usize].name != *asked.name).then_some(instead)
}

/// The model that serves once a budget is used up.
fn model_of(budget: &LiveBudget) -> Option<&Name> {
    budget.definition().when_used_up.as_ref()?.model.as_ref()
}

fn is_used_up(budget: &LiveBudget, at: Timestamp) -> bool {
    budget.account(at).is_used_up() == Some(true)
}
