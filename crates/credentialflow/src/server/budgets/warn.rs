//! Tells once that a budget runs out, once that it is used up, and what was lost of it: in the audit log, whichever node
//! sees it first; and the team whose money it is.

use credentialflow_model::{
    Actor, Name, Timestamp,
    resource::{
        Application, Key, Kind,
        budget::{Budget, BudgetPeriod, OF_USERS, usd, user_of_budget},
    },
};
use credentialflow_policy::{LiveBudget, Standing};
use credentialflow_store::{BudgetSettled, BudgetState, Notification, NotificationState, Store, StoreError, WriteTx};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

/// Users are whom callers name: of each application's so many are told of in an hour, by each process. The others' budgets
/// stand in the list of budgets.
const USERS_AN_HOUR: u32 = 50;
/// Warnings of users that wait to be told at most; who is left out is due again when it spends again.
const USERS_WAITING: usize = 200;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// How many warnings.
    pub warnings: AtomicU64,
    /// Of how many users' budgets in this hour since 1970, by application.
    users: Mutex<(i64, HashMap<String, u32>)>,
}

impl Told {
    /// Looks at, or changes, how often it was told of users of this application in this hour.
    fn of_users<T>(&self, application: &str, change: impl FnOnce(&mut u32) -> T) -> T {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let hour = hour_of(Timestamp::from(SystemTime::now()));
        if users.0 != hour {
            *users = (hour, HashMap::new());
        }
        change(users.1.entry(application.to_owned()).or_default())
    }
}

fn hour_of(at: Timestamp) -> i64 {
    at.secs().div_euclid(3600)
}

/// What is to be told.
#[derive(Debug, PartialEq)]
pub(super) struct Warning {
    budget: String,
    started: Timestamp,
    /// How much is used; nothing where something was lost.
    percent: Option<u8>,
    detail: Value,
}

impl Warning {
    /// What a turn shows, unless it was told before.
    pub fn due(budget: &LiveBudget, started: Timestamp, at: &BudgetState) -> Option<Self> {
        let percent = level(budget.definition(), at).filter(|percent| *percent > at.warned)?;
        let id = budget.id().to_string();
        let detail = json!({
            "budget": id, "window": window_of(&id, started), "percent": percent, "hard": budget.is_hard(),
            "limit_usd": budget.definition().usd.to_string(), "spent_usd": usd(at.totals.spent).to_string(),
        });
        Some(Self { budget: id, started, percent: Some(percent), detail })
    }

    /// What a process of this name had borrowed and left no account of.
    pub fn lost(settled: &BudgetSettled, node: &str) -> Self {
        let BudgetSettled { budget, started, lost, .. } = settled;
        let detail = json!({
            "budget": budget, "window": window_of(budget, *started), "node": node, "lost_usd": usd(*lost).to_string(),
        });
        Self { budget: budget.clone(), started: *started, percent: None, detail }
    }

    /// The application, where it is of one of its users that a budget runs out.
    fn of_user(&self) -> Option<&str> {
        self.percent?;
        Some(user_of_budget(&self.budget)?.0)
    }
}

/// When a window began, or how long one is that rolls.
fn window_of(budget: &str, started: Timestamp) -> String {
    match BudgetPeriod::of_budget(budget).and_then(BudgetPeriod::rolling) {
        Some(length) => length.to_string(),
        None => started.to_string(),
    }
}

/// How much is used, for callers.
pub(super) fn standing(budget: &LiveBudget, at: &BudgetState) -> Standing {
    let (used, limit) = used(budget.definition(), at);
    let percent = u16::try_from(used * 100 / limit.max(1)).unwrap_or(u16::MAX);
    Standing { percent, warns: level(budget.definition(), at).is_some() }
}

fn used(budget: &Budget, at: &BudgetState) -> (i128, i128) {
    (i128::from(at.totals.spent) + i128::from(at.totals.lost), i128::from(budget.pico()))
}

/// The percentage that is reached and to be told of.
fn level(budget: &Budget, at: &BudgetState) -> Option<u8> {
    let (used, limit) = used(budget, at);
    let reached = |percent: u8| used * 100 >= limit * i128::from(percent);
    [100, budget.warn_at.unwrap_or(Budget::WARN_AT)].into_iter().find(|percent| reached(*percent))
}

/// Keeps what is to be told, each percentage of a window once.
pub(super) fn keep(untold: &mut Vec<Warning>, warnings: Vec<Warning>) {
    let mut users = untold.iter().filter(|kept| kept.of_user().is_some()).count();
    for warning in warnings {
        let of_user = warning.of_user().is_some();
        if of_user && users >= USERS_WAITING {
            continue;
        }
        let same = |kept: &Warning| {
            fn of(w: &Warning) -> (&str, Timestamp, Option<u8>) {
                (&w.budget, w.started, w.percent)
            }
            warning.percent.is_some() && of(kept) == of(&warning)
        };
        if !untold.iter().any(same) {
            users += usize::from(of_user);
            untold.push(warning);
        }
    }
}

/// Tells each once among all nodes, those of users last and no more of them than [`USERS_AN_HOUR`]. Answers what cannot be
/// told now.
pub(super) async fn tell(store: &Store, told: &Told, mut warnings: Vec<Warning>) -> Vec<Warning> {
    warnings.sort_by_key(|warning| warning.of_user().is_some());
    let mut untold = Vec::new();
    for warning in warnings {
        let (budget, of_user) = (warning.budget.as_str(), warning.of_user());
        if of_user.is_some_and(|application| told.of_users(application, |so_far| *so_far >= USERS_AN_HOUR)) {
            continue;
        }
        match tell_one(store, &warning).await {
            Ok(false) => {}
            Ok(true) => match warning.percent {
                Some(percent) => {
                    told.warnings.fetch_add(1, Relaxed);
                    if let Some(application) = of_user {
                        told.of_users(application, |so_far| *so_far += 1);
                    }
                    let what = if percent >= 100 { "a budget is used up" } else { "a budget runs out" };
                    tracing::warn!(budget, percent, "{what}");
                }
                None => tracing::warn!(
                    budget, window = %warning.started, usd = %warning.detail["lost_usd"],
                    "a process ended without an account of all it had borrowed of a budget; that much counts as lost"
                ),
            },
            Err(error) => {
                tracing::warn!(%error, budget, "how a budget stands could not be told; it is tried again");
                untold.push(warning);
            }
        }
    }
    untold
}

/// Stores what is to be told to the team whose money it is, if there is one; of the users of an application the first of an
/// hour.
async fn tell_team(tx: &mut WriteTx, budget: &str, event: &str, mut data: Value) -> Result<(), StoreError> {
    let Some(team) = team_of(tx, budget).await? else { return Ok(()) };
    data["owner"] = json!(team);
    let now = tx.now();
    let mut same = None;
    if let Some((application, user)) = user_of_budget(budget) {
        data["user"] = json!(user);
        same = Some(format!("{event}:{application}:{}", hour_of(now)));
    }
    let mut bits = [0u8; 16];
    let random = aws_lc_rs::rand::fill(&mut bits);
    random.map_err(|_| StoreError::Other("the system gives no random numbers".into()))?;
    tx.add_notification(&Notification {
        id: format!("msg_{:032x}", u128::from_be_bytes(bits)),
        same,
        created: now,
        owner: team.to_string(),
        body: json!({ "type": event, "timestamp": now, "data": data }).to_string(),
        channel: None,
        state: NotificationState::Waiting,
        attempts: 0,
        next_attempt: now,
        error: None,
    })
    .await
}

/// The team that a budget is of, or whose application it is of.
async fn team_of(tx: &mut WriteTx, budget: &str) -> Result<Option<Name>, StoreError> {
    let Some((kind, rest)) = budget.split_once('/') else { return Ok(None) };
    let name = match kind {
        OF_USERS => rest.split('/').next(),
        _ => rest.rsplit_once('/').map(|(name, _)| name),
    };
    let Some(mut name) = name.map(str::to_owned) else { return Ok(None) };
    if kind == Kind::Teams.as_str() {
        return Ok(name.parse().ok());
    }
    if kind == Kind::Keys.as_str() {
        let stored = tx.resource(Kind::Keys, &name).await?;
        let Some(key) = stored.and_then(|row| serde_json::from_str::<Key>(&row.body).ok()) else { return Ok(None) };
        name = key.application.to_string();
    } else if kind != Kind::Applications.as_str() && kind != OF_USERS {
        return Ok(None);
    }
    let stored = tx.resource(Kind::Applications, &name).await?;
    Ok(stored.and_then(|row| serde_json::from_str::<Application>(&row.body).ok()).and_then(|found| found.team))
}

async fn tell_one(store: &Store, warning: &Warning) -> Result<bool, StoreError> {
    let mut tx = store.begin(&Actor::system("budgets")).await?;
    let action = match warning.percent {
        None => "budget.lose",
        Some(percent) => {
            if !tx.warn_of_budget(&warning.budget, warning.started, percent).await? {
                return Ok(false);
            }
            if percent >= 100 { "budget.exceed" } else { "budget.warn" }
        }
    };
    let subject = warning.budget.rsplit_once('/').map_or(warning.budget.as_str(), |(subject, _)| subject);
    if let Some(percent) = warning.percent {
        let event = if percent >= 100 { "budget.used_up" } else { "budget.running_out" };
        tell_team(&mut tx, &warning.budget, event, warning.detail.clone()).await?;
    }
    tx.audit(action, subject, warning.detail.clone());
    tx.commit().await?;
    Ok(true)
}
