//! Puts together what is configured and what is spent.

use crate::{
    AdminState,
    api::{
        answer::Page,
        budgets::{BudgetKind, BudgetQuery, BudgetShare, BudgetView},
        request::limited,
    },
    catalogue,
    error::ApiError,
    resources::{cursor, read_cursor},
};
use credentialflow_model::{
    Name, ResourceSet, Timestamp,
    resource::{
        Application, Budget, BudgetPeriod, Budgets, Key, Kind, Model, Team, Upstream,
        budget::{BudgetWindow, OF_USERS, budget_id, usd, user_of_budget},
    },
};
use credentialflow_store::{BudgetWindowRow, ResourceRow};
use std::collections::HashMap;

/// Resources looked at in one piece: most have no budget.
const LOOK: u32 = 1000;
/// What has budgets, in the order of pages.
const KINDS: [(BudgetKind, Kind); 5] = [
    (BudgetKind::Applications, Kind::Applications),
    (BudgetKind::Keys, Kind::Keys),
    (BudgetKind::Models, Kind::Models),
    (BudgetKind::Teams, Kind::Teams),
    (BudgetKind::Upstreams, Kind::Upstreams),
];

/// One page of budgets, by kind and name.
pub(crate) async fn list(state: &AdminState, query: &BudgetQuery) -> Result<Page<BudgetView>, ApiError> {
    let limit = limited(query.limit)? as usize;
    if query.kind == Some(BudgetKind::Users) {
        return list_users(state, query, limit).await;
    }
    // The last budget of the page before.
    let last = query.cursor.as_deref().map(read_cursor).transpose()?.unwrap_or_default();
    let (from_kind, rest) = last.split_once('/').unwrap_or_default();
    let from_name = rest.rsplit_once('/').map_or("", |(name, _)| name);
    let first = KINDS.iter().position(|(_, kind)| kind.as_str() == from_kind).unwrap_or(0);
    let now = state.now();
    let windows: HashMap<(String, Timestamp), BudgetWindowRow> = state
        .store
        .budget_windows(now)
        .await?
        .into_iter()
        .map(|window| ((window.budget.clone(), window.started), window))
        .collect();
    let mut items: Vec<BudgetView> = Vec::new();
    for (place, (word, kind)) in KINDS.into_iter().enumerate().skip(first) {
        if query.kind.is_some_and(|wanted| wanted != word) {
            continue;
        }
        let from = if place == first { from_name } else { "" };
        // What that page left of the same thing comes first.
        let mut rows: Vec<_> = match from {
            "" => Vec::new(),
            name => state.store.resource(kind, name).await?.into_iter().collect(),
        };
        let mut after = Some(from.to_owned()).filter(|from| !from.is_empty());
        loop {
            for row in rows {
                let name = row.name.as_str();
                if query.name.as_deref().is_some_and(|wanted| wanted != name) {
                    continue;
                }
                let budgets = budgets_of(kind, &row)?;
                let all = Budgets::of(budgets.as_ref());
                let told = match name == from {
                    true => {
                        all.iter().position(|budget| budget_id(kind, name, budget) == last).map_or(all.len(), |n| n + 1)
                    }
                    false => 0,
                };
                for budget in all.iter().skip(told) {
                    let window = budget.window(now);
                    let known = windows.get(&(budget_id(kind, name, budget), window.start));
                    let view = view((word, kind), name, budget, now, known);
                    if view.percent < query.min_percent.unwrap_or(0) {
                        continue;
                    }
                    if items.len() == limit {
                        // One more than asked for shows that there is a next page.
                        let next = items.last().map(|last| cursor(&last.budget));
                        return Ok(Page { items, next });
                    }
                    items.push(view);
                }
            }
            rows = match query.name.as_deref() {
                Some(name) if after.is_none() => state.store.resource(kind, name).await?.into_iter().collect(),
                Some(_) => Vec::new(),
                None => state.store.resources_with_budgets(kind, after.as_deref(), LOOK).await?,
            };
            match rows.last() {
                Some(last) => after = Some(last.name.to_string()),
                None => break,
            }
        }
    }
    Ok(Page { items, next: None })
}

/// The budgets of these keys, by the names of those that have any.
pub(crate) async fn of_keys(
    state: &AdminState,
    keys: impl Iterator<Item = &Key>,
) -> Result<HashMap<Name, Vec<BudgetView>>, ApiError> {
    let now = state.now();
    let all: Vec<_> =
        keys.flat_map(|key| Budgets::of(key.budget.as_ref()).iter().map(move |of| (&key.name, of))).collect();
    let id = |name: &Name, budget: &Budget| budget_id(Kind::Keys, name.as_str(), budget);
    let ids: Vec<String> = all.iter().map(|(name, budget)| id(name, budget)).collect();
    let windows: HashMap<_, _> = state
        .store
        .budget_windows_of(now, &ids)
        .await?
        .into_iter()
        .map(|window| ((window.budget.clone(), window.started), window))
        .collect();
    let mut found = HashMap::<Name, Vec<BudgetView>>::new();
    for (name, budget) in all {
        let known = windows.get(&(id(name, budget), budget.window(now).start));
        let view = view((BudgetKind::Keys, Kind::Keys), name.as_str(), budget, now, known);
        found.entry(name.clone()).or_default().push(view);
    }
    Ok(found)
}

/// One page of what end users spent, by application and user.
async fn list_users(state: &AdminState, query: &BudgetQuery, limit: usize) -> Result<Page<BudgetView>, ApiError> {
    let mut after = query.cursor.as_deref().map(read_cursor).transpose()?.unwrap_or_default();
    let begins = query.name.as_ref().map_or(format!("{OF_USERS}/"), |name| format!("{OF_USERS}/{name}/"));
    let set = state.catalogue.view(&state.store).await?;
    let (now, mut items) = (state.now(), Vec::<BudgetView>::new());
    loop {
        let windows = state.store.user_budget_windows(now, &begins, &after, LOOK).await?;
        for window in &windows {
            // Of budgets that are configured no more there is nothing to tell.
            let Some(view) = user_view(&set, window, now) else { continue };
            if view.percent < query.min_percent.unwrap_or(0) {
                continue;
            }
            if items.len() == limit {
                let next = items.last().map(|last| cursor(&last.budget));
                return Ok(Page { items, next });
            }
            items.push(view);
        }
        match windows.last() {
            Some(last) if windows.len() == LOOK as usize => after = last.budget.clone(),
            _ => return Ok(Page { items, next: None }),
        }
    }
}

fn user_view(set: &ResourceSet, window: &BudgetWindowRow, now: Timestamp) -> Option<BudgetView> {
    let (application, user) = user_of_budget(&window.budget)?;
    let declared = set.applications.iter().find(|a| a.name.as_str() == application)?.users.as_ref()?;
    let per = BudgetPeriod::of_budget(&window.budget)?;
    let budget = Budgets::of(declared.budget.as_ref()).iter().find(|budget| budget.per == per)?;
    // Windows of a former time zone are not charged any more.
    let current = per.rolling().is_some() || budget.window(now).start == window.started;
    let view = view((BudgetKind::Users, Kind::Applications), application, budget, now, Some(window));
    current.then(|| BudgetView { budget: window.budget.clone(), user: Some(user), ..view })
}

fn budgets_of(kind: Kind, row: &ResourceRow) -> Result<Option<Budgets>, ApiError> {
    Ok(match kind {
        Kind::Keys => catalogue::parse::<Key>(&row.body)?.budget,
        Kind::Models => catalogue::parse::<Model>(&row.body)?.budget,
        Kind::Teams => catalogue::parse::<Team>(&row.body)?.budget,
        Kind::Upstreams => catalogue::parse::<Upstream>(&row.body)?.budget,
        _ => catalogue::parse::<Application>(&row.body)?.budget,
    })
}

fn view(
    (word, kind): (BudgetKind, Kind),
    name: &str,
    budget: &Budget,
    now: Timestamp,
    known: Option<&BudgetWindowRow>,
) -> BudgetView {
    let totals = known.map(|window| window.totals).unwrap_or_default();
    let limit = budget.pico();
    let used = i128::from(totals.spent) + i128::from(totals.lost);
    let (started, ends) = match budget.per.rolling() {
        Some(length) => {
            let micros = i64::try_from(length.as_duration().as_micros()).unwrap_or(i64::MAX);
            let ends = known.map(|window| window.ends).filter(|ends| *ends < BudgetWindow::ALWAYS.end);
            (Timestamp::from_micros(now.micros().saturating_sub(micros)), ends)
        }
        None => {
            let BudgetWindow { start, end } = budget.window(now);
            (start, Some(end))
        }
    };
    BudgetView {
        budget: budget_id(kind, name, budget),
        kind: word,
        name: name.to_owned(),
        user: None,
        limit_usd: budget.usd,
        per: budget.per,
        time_zone: match budget.per.rolling() {
            Some(_) => None,
            None => Some(budget.time_zone.clone().unwrap_or_else(|| "UTC".to_owned())),
        },
        hard: budget.hard,
        warn_at: budget.warn_at.unwrap_or(Budget::WARN_AT),
        model_when_used_up: budget.when_used_up.as_ref().and_then(|then| then.model.as_ref()).map(Name::to_string),
        next_target_when_used_up: budget.when_used_up.as_ref().is_some_and(|then| then.next_target),
        started,
        ends,
        spent_usd: usd(totals.spent).to_string(),
        reserved_usd: usd(totals.leased).to_string(),
        lost_usd: usd(totals.lost).to_string(),
        unlogged_usd: usd(known.map_or(0, |window| window.unlogged)).to_string(),
        left_usd: usd(totals.available(limit).max(0)).to_string(),
        percent: u32::try_from(used * 100 / i128::from(limit.max(1))).unwrap_or(u32::MAX),
        nodes: known
            .iter()
            .flat_map(|window| &window.leases)
            .map(|(node, amount)| BudgetShare { node: node.clone(), reserved_usd: usd(*amount).to_string() })
            .collect(),
    }
}
