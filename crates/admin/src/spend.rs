//! Adds up what model calls cost, from the sums that all nodes share, and compares that with the call log.

mod check;

pub(crate) use check::check;

use crate::{
    AdminState,
    api::spend::{SpendFigures, SpendItem, SpendNodeView, SpendQuery, SpendReport},
    csv::push_line,
    delegation,
    error::{ApiError, Code},
    ports::NodeState,
    resources::{cursor, read_cursor},
};
use credentialflow_model::{
    KeyId, Timestamp,
    calendar::Calendar,
    resource::{
        Key,
        budget::{BudgetPeriod, BudgetWindow, usd_of_sum},
    },
};
use credentialflow_store::{DelegationRow, SpendColumn, SpendCounts, SpendRow};
use credentialflow_telemetry::{SpendSums, calllog::QUARTER};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Hours, days, weeks or months of one report at most.
const MOST_PIECES: usize = 1_000;
/// Groups of one report at most, over all pages.
const MOST_GROUPS: usize = 50_000;
/// Groups on a page unless asked otherwise.
const LINES: usize = 100;

/// What calls are told apart by, besides time: as [`SpendColumn`] says, the team to which the application belongs now, and
/// where the key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    Team,
    Application,
    Key,
    RootKey,
    Agent,
    User,
    Model,
    Provider,
    ProviderModel,
    Credential,
    Route,
    Prompt,
    PromptVersion,
    Outcome,
    Node,
}

impl Dimension {
    fn word(self) -> &'static str {
        WORDS.iter().find(|(_, known)| *known == self).map_or("", |(word, _)| word)
    }

    /// The column of the sums, where they have one.
    const fn stored(self) -> Option<SpendColumn> {
        Some(match self {
            Self::Team | Self::RootKey | Self::Agent => return None,
            Self::Application => SpendColumn::Application,
            Self::Key => SpendColumn::Key,
            Self::User => SpendColumn::User,
            Self::Model => SpendColumn::Model,
            Self::Provider => SpendColumn::Provider,
            Self::ProviderModel => SpendColumn::ProviderModel,
            Self::Credential => SpendColumn::Credential,
            Self::Route => SpendColumn::Route,
            Self::Prompt => SpendColumn::Prompt,
            Self::PromptVersion => SpendColumn::PromptVersion,
            Self::Outcome => SpendColumn::Outcome,
            Self::Node => SpendColumn::Node,
        })
    }
}

/// The words of `by`.
const WORDS: [(&str, Dimension); 15] = [
    ("team", Dimension::Team),
    ("application", Dimension::Application),
    ("key", Dimension::Key),
    ("root_key", Dimension::RootKey),
    ("agent", Dimension::Agent),
    ("user", Dimension::User),
    ("model", Dimension::Model),
    ("provider", Dimension::Provider),
    ("provider_model", Dimension::ProviderModel),
    ("credential", Dimension::Credential),
    ("route", Dimension::Route),
    ("prompt", Dimension::Prompt),
    ("prompt_version", Dimension::PromptVersion),
    ("outcome", Dimension::Outcome),
    ("node", Dimension::Node),
];
const PERIODS: [(&str, BudgetPeriod); 4] = [
    ("hour", BudgetPeriod::Hour),
    ("day", BudgetPeriod::Day),
    ("week", BudgetPeriod::Week),
    ("month", BudgetPeriod::Month),
];

/// What is asked for, read.
struct Asked {
    from: Timestamp,
    to: Timestamp,
    pieces: Vec<BudgetWindow>,
    dimensions: Vec<Dimension>,
    /// What the database tells apart.
    columns: Vec<SpendColumn>,
    only: Vec<(SpendColumn, String)>,
    team: Option<String>,
}

fn invalid(detail: impl Into<String>) -> ApiError {
    ApiError::new(Code::InvalidRequest, detail)
}

/// What a text of `from` or `to` means.
fn moment(calendar: &Calendar, name: &str, text: &str) -> Result<Timestamp, ApiError> {
    let unread = || invalid(format!("`{name}` is a date or a time, as in 2026-11-01 or 2026-11-01T12:00:00Z"));
    let at = calendar.moment(text).ok_or_else(unread)?;
    match at.micros() % (QUARTER * 1_000_000) {
        0 => Ok(at),
        _ => Err(invalid(format!("`{name}` is on a quarter of an hour, as in 2026-11-01T12:15:00Z"))),
    }
}

fn calendar(zone: Option<&str>) -> Result<Calendar, ApiError> {
    let unknown = || invalid("`time_zone` is the IANA name of a time zone, as in Europe/Berlin");
    Calendar::of(zone).ok_or_else(unknown)
}

/// The end of the quarter of an hour that a moment is in.
fn next_quarter(at: Timestamp) -> Timestamp {
    Timestamp::from_secs((at.secs().div_euclid(QUARTER) + 1) * QUARTER)
}

impl Asked {
    fn read(query: &SpendQuery, now: Timestamp) -> Result<Self, ApiError> {
        let calendar = calendar(query.time_zone.as_deref())?;
        let (mut period, mut dimensions) = (None, Vec::new());
        for word in query.by.as_deref().unwrap_or_default().split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if let Some((_, found)) = PERIODS.iter().find(|(known, _)| *known == word) {
                if period.replace(*found).is_some() {
                    return Err(invalid("`by` has one of hour, day, week and month at most"));
                }
                continue;
            }
            let Some((_, found)) = WORDS.into_iter().find(|(known, _)| *known == word) else {
                let words: Vec<_> = PERIODS.iter().map(|(w, _)| *w).chain(WORDS.iter().map(|(w, _)| *w)).collect();
                return Err(invalid(format!("`by` is a list of {}", words.join(", "))));
            };
            if !dimensions.contains(&found) {
                dimensions.push(found);
            }
        }
        let month = || calendar.window(BudgetPeriod::Month, now).map_or(now, |window| window.start);
        let from = query.from.as_deref().map(|text| moment(&calendar, "from", text)).transpose()?;
        let from = from.unwrap_or_else(month);
        let to = query.to.as_deref().map(|text| moment(&calendar, "to", text)).transpose()?;
        let to = to.unwrap_or_else(|| next_quarter(now));
        if from >= to {
            return Err(invalid("`from` is before `to`"));
        }
        let pieces = match period {
            None => vec![BudgetWindow { start: from, end: to }],
            Some(per) => calendar.cut(per, (from, to), MOST_PIECES).ok_or_else(|| {
                invalid(format!("a report has at most {MOST_PIECES} hours, days, weeks or months: ask for less time"))
            })?,
        };
        let of_team = dimensions.contains(&Dimension::Team) || query.team.is_some();
        let mut columns: Vec<_> = dimensions.iter().filter_map(|dimension| dimension.stored()).collect();
        if of_team && !columns.contains(&SpendColumn::Application) {
            columns.push(SpendColumn::Application);
        }
        let of_key = dimensions.iter().any(|of| matches!(of, Dimension::RootKey | Dimension::Agent));
        if of_key && !columns.contains(&SpendColumn::Key) {
            columns.push(SpendColumn::Key);
        }
        let only = [
            (SpendColumn::Application, &query.application),
            (SpendColumn::Key, &query.key),
            (SpendColumn::User, &query.user),
            (SpendColumn::Model, &query.model),
            (SpendColumn::Provider, &query.provider),
            (SpendColumn::ProviderModel, &query.provider_model),
            (SpendColumn::Credential, &query.credential),
            (SpendColumn::Route, &query.route),
            (SpendColumn::Prompt, &query.prompt),
            (SpendColumn::Outcome, &query.outcome),
            (SpendColumn::Node, &query.node),
        ];
        let only = only.into_iter().filter_map(|(column, wanted)| Some((column, wanted.clone()?))).collect();
        Ok(Self { from, to, pieces, dimensions, columns, only, team: query.team.clone() })
    }
}

/// How many lines come before a page, and when the first page was asked for: its window is that of all.
fn place_of(text: &str, now: Timestamp) -> Result<(usize, Timestamp), ApiError> {
    let read = || {
        let (skip, began) = text.split_once(' ')?;
        let began = Timestamp::from_secs(began.parse().ok().filter(|secs| (0..=now.secs()).contains(secs))?);
        Some((skip.parse().ok()?, began))
    };
    read().ok_or_else(|| invalid("the cursor is not valid; begin again without one"))
}

/// One page of a report.
pub(crate) async fn report(state: &AdminState, query: &SpendQuery) -> Result<SpendReport, ApiError> {
    let limit = query.limit.map_or(LINES, |limit| limit as usize);
    if !(1..=MOST_GROUPS).contains(&limit) {
        return Err(invalid(format!("limit must be 1 to {MOST_GROUPS}")));
    }
    let (skip, began) = match query.cursor.as_deref().map(read_cursor).transpose()? {
        None => (0, state.now()),
        Some(place) => place_of(&place, state.now())?,
    };
    let asked = Asked::read(query, began)?;
    // What this node recorded a moment ago is in it; where that cannot be, its node tells since when.
    if let Some(log) = &state.settings.spend
        && let Err(error) = log.catch_up().await
    {
        tracing::warn!(error, "what calls cost could not be added up for a report");
    }
    let teams = match asked.columns.contains(&SpendColumn::Application) {
        true => teams(state).await?,
        false => HashMap::new(),
    };
    let (mut all, mut total) = (Vec::new(), Sum::default());
    for piece in &asked.pieces {
        let left = MOST_GROUPS - all.len();
        let rows = state.store.spend((piece.start, piece.end), &asked.columns, &asked.only, left as u32 + 1).await?;
        if rows.len() > left {
            return Err(invalid(format!(
                "the report has more than {MOST_GROUPS} lines: ask for less time, or tell calls apart by less"
            )));
        }
        let delegations = delegations(state, &asked, &rows).await?;
        let mut groups: Vec<_> = grouped(&asked, rows, (&teams, &delegations)).into_iter().collect();
        groups.sort_by(|(a, x), (b, y)| y.cost.cmp(&x.cost).then_with(|| a.cmp(b)));
        groups.iter().for_each(|(_, sum)| total.add(&sum.counts, sum.cost, sum.saved));
        all.extend(groups.into_iter().map(|(names, sum)| (*piece, names, sum)));
    }
    let more = all.len() > skip.saturating_add(limit);
    let next = more.then(|| cursor(&format!("{} {}", skip + limit, began.secs())));
    let items = all.into_iter().skip(skip).take(limit);
    let mut items: Vec<_> = items.map(|(piece, names, sum)| item(&asked, piece, names, &sum)).collect();
    name_keys(state, &mut items).await?;
    Ok(SpendReport {
        from: asked.from,
        to: asked.to,
        time_zone: query.time_zone.clone().unwrap_or_else(|| "UTC".to_owned()),
        items,
        total: total.figures(),
        nodes: nodes(state).await?,
        next,
    })
}

/// A whole report as lines for spreadsheets. They come in one answer: between pages lines change their places.
pub(crate) async fn csv(state: &AdminState, query: &SpendQuery) -> Result<String, ApiError> {
    if query.cursor.is_some() {
        return Err(invalid("CSV has no pages: ask without `cursor`"));
    }
    let dimensions = Asked::read(query, state.now())?.dimensions;
    let report =
        report(state, &SpendQuery { limit: query.limit.or(Some(MOST_GROUPS as u32)), ..query.clone() }).await?;
    let mut text = String::new();
    let names = dimensions.iter().map(|dimension| dimension.word());
    let figures = SpendFigures::default().cells().map(|(name, _)| name);
    push_line(&mut text, ["from", "to"].into_iter().chain(names).chain(figures));
    for item in &report.items {
        let window = [item.from.to_string(), item.to.to_string()];
        let names = dimensions.iter().map(|dimension| item.group.get(dimension).and_then(Option::as_deref));
        let figures = item.figures.cells().map(|(_, figure)| figure);
        let cells = window.iter().map(String::as_str).chain(names.map(Option::unwrap_or_default));
        push_line(&mut text, cells.chain(figures.iter().map(String::as_str)));
    }
    Ok(text)
}

/// Whose team each application is in now.
async fn teams(state: &AdminState) -> Result<HashMap<String, String>, ApiError> {
    let set = state.catalogue.view(&state.store).await?;
    let of = |a: &credentialflow_model::resource::Application| Some((a.name.to_string(), a.team.as_ref()?.to_string()));
    Ok(set.applications.iter().filter_map(of).collect())
}

/// The rows by what was asked for, without those of other teams.
fn grouped(
    asked: &Asked,
    rows: Vec<SpendRow>,
    (teams, delegations): (&HashMap<String, String>, &HashMap<KeyId, DelegationRow>),
) -> BTreeMap<Vec<String>, Sum> {
    let mut groups = BTreeMap::<Vec<String>, Sum>::new();
    let place = |column| asked.columns.iter().position(|known| *known == column);
    for row in rows {
        let of = |column| place(column).and_then(|at| row.names.get(at)).cloned().unwrap_or_default();
        let team = || teams.get(&of(SpendColumn::Application)).cloned().unwrap_or_default();
        if asked.team.as_ref().is_some_and(|wanted| *wanted != team()) {
            continue;
        }
        let delegation = || delegations.get(&of(SpendColumn::Key).parse::<KeyId>().ok()?);
        let names = asked.dimensions.iter().map(|dimension| match (dimension, dimension.stored()) {
            (_, Some(column)) => of(column),
            // The first of a chain is its own root.
            (Dimension::RootKey, None) => delegation().map_or_else(|| of(SpendColumn::Key), |of| of.root.to_string()),
            (Dimension::Agent, None) => delegation().map_or_else(String::new, |of| of.actor.clone()),
            (_, None) => team(),
        });
        groups.entry(names.collect()).or_default().add(&row.counts, row.cost, row.saved);
    }
    groups
}

/// Where the keys of these rows come from, where that is asked for.
async fn delegations(
    state: &AdminState,
    asked: &Asked,
    rows: &[SpendRow],
) -> Result<HashMap<KeyId, DelegationRow>, ApiError> {
    if !asked.dimensions.iter().any(|of| matches!(of, Dimension::RootKey | Dimension::Agent)) {
        return Ok(HashMap::new());
    }
    let place = asked.columns.iter().position(|known| *known == SpendColumn::Key);
    let key = |row: &SpendRow| row.names.get(place?)?.parse::<KeyId>().ok();
    let mut keys: Vec<KeyId> = rows.iter().filter_map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    Ok(delegation::by_key(state.store.delegations(&keys).await?))
}

fn item(asked: &Asked, piece: BudgetWindow, names: Vec<String>, sum: &Sum) -> SpendItem {
    let named = names.into_iter().map(|name| Some(name).filter(|name| !name.is_empty()));
    SpendItem {
        from: piece.start,
        to: piece.end,
        group: asked.dimensions.iter().copied().zip(named).collect(),
        key_name: None,
        figures: sum.figures(),
    }
}

async fn name_keys(state: &AdminState, items: &mut [SpendItem]) -> Result<(), ApiError> {
    let id = |item: &SpendItem| {
        let group = &item.group;
        let key = group.get(&Dimension::Key).or_else(|| group.get(&Dimension::RootKey))?;
        key.as_deref()?.parse::<KeyId>().ok()
    };
    let mut ids: Vec<KeyId> = items.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    let bodies = state.store.key_bodies(&ids).await?;
    let named = |(id, body): (KeyId, String)| Some((id, serde_json::from_str::<Key>(&body).ok()?.name.to_string()));
    let mut names: HashMap<KeyId, String> = bodies.into_iter().filter_map(named).collect();
    // Keys of agents are gone soon; what they were called stays.
    let gone: Vec<KeyId> = ids.into_iter().filter(|id| !names.contains_key(id)).collect();
    names.extend(state.store.delegations(&gone).await?.into_iter().map(|of| (of.key, of.name.to_string())));
    for item in items {
        item.key_name = id(item).and_then(|id| names.get(&id)).cloned();
    }
    Ok(())
}

/// Whose calls are in reports, and which nodes there are of which none is yet.
async fn nodes(state: &AdminState) -> Result<Vec<SpendNodeView>, ApiError> {
    let there = state.dataplane.status().nodes;
    let live = |name: &str| there.iter().any(|node| node.name == name && node.state == NodeState::Live);
    let told = state.store.spend_nodes().await?;
    let mut nodes: Vec<_> = told
        .into_iter()
        .map(|told| SpendNodeView { live: live(&told.node), told: Some(told.told), node: told.node })
        .collect();
    for node in there.iter().filter(|node| node.workers > 0) {
        if !nodes.iter().any(|known| known.node == node.name) {
            nodes.push(SpendNodeView { node: node.name.clone(), told: None, live: node.state == NodeState::Live });
        }
    }
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(nodes)
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sum {
    counts: SpendCounts,
    cost: i128,
    saved: i128,
}

impl Sum {
    fn of(sums: &SpendSums) -> Self {
        Self { counts: sums.counts(), cost: sums.cost, saved: sums.saved }
    }

    fn add(&mut self, counts: &SpendCounts, cost: i128, saved: i128) {
        self.counts.iter_mut().zip(counts).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
        self.cost = self.cost.saturating_add(cost);
        self.saved = self.saved.saturating_add(saved);
    }

    fn figures(&self) -> SpendFigures {
        let [calls, unknown, estimated, input, cached_input, cache_write, output, reasoning, cached] = self.counts;
        SpendFigures {
            calls,
            calls_of_unknown_cost: unknown,
            calls_of_estimated_cost: estimated,
            input_tokens: input,
            cached_input_tokens: cached_input,
            cache_write_tokens: cache_write,
            output_tokens: output,
            reasoning_tokens: reasoning,
            cost_usd: usd(self.cost),
            calls_from_cache: cached,
            saved_usd: usd(self.saved),
        }
    }
}

/// Units of 10^-12 US dollars as a decimal.
fn usd(units: i128) -> String {
    usd_of_sum(units).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked(change: impl FnOnce(&mut SpendQuery)) -> Result<Asked, String> {
        let mut query = SpendQuery::default();
        change(&mut query);
        let now = "2026-11-23T05:42:10Z".parse().unwrap();
        Asked::read(&query, now).map_err(|error| format!("{error:?}"))
    }

    #[test]
    fn a_report_is_of_this_month_unless_asked_otherwise() {
        let read = asked(|_| {}).unwrap();
        assert_eq!(
            (read.from.to_string().as_str(), read.to.to_string().as_str()),
            ("2026-11-01T00:00:00Z", "2026-11-23T05:45:00Z")
        );
        assert_eq!((read.pieces.len(), read.columns.len()), (1, 0));
        let read = asked(|q| {
            q.by = Some("week, team ,model,model".into());
            (q.from, q.to) = (Some("2026-11-01".into()), Some("2026-11-15T12:30:00Z".into()));
            q.time_zone = Some("Europe/Berlin".into());
            q.user = Some("ada".into());
        })
        .unwrap();
        assert_eq!(read.from.to_string(), "2026-10-31T23:00:00Z");
        assert_eq!(read.pieces.len(), 3, "a Sunday, a week, and six days and a half");
        assert_eq!(read.columns, [SpendColumn::Model, SpendColumn::Application], "teams have applications");
        assert_eq!(read.dimensions.len(), 2);
        assert_eq!(read.only, [(SpendColumn::User, "ada".to_owned())]);
    }

    #[test]
    fn what_cannot_be_asked_is_told() {
        let told = |change: fn(&mut SpendQuery)| asked(change).err().unwrap_or_default();
        for (error, why) in [
            (told(|q| q.by = Some("colour".into())), "is a list of hour, day"),
            (told(|q| q.by = Some("day,month".into())), "one of hour"),
            (told(|q| q.from = Some("soon".into())), "a date or a time"),
            (told(|q| q.from = Some("2026-11-01T12:01:00Z".into())), "quarter of an hour"),
            (told(|q| q.to = Some("2026-10-01".into())), "`from` is before"),
            (told(|q| q.time_zone = Some("Europe/Atlantis".into())), "IANA"),
            (told(|q| (q.by, q.from) = (Some("hour".into()), Some("2025-01-01".into()))), "at most 1000 hours"),
        ] {
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    #[test]
    fn all_pages_are_of_the_window_of_the_first() {
        let now = Timestamp::from_secs(1_000_000);
        assert_eq!(place_of("200 900", now).unwrap(), (200, Timestamp::from_secs(900)));
        for wrong in ["200", "x 900", "200 x", "200 1000001", "200 -1", "-1 900", "200 900 1"] {
            assert!(place_of(wrong, now).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_exact() {
        assert_eq!(usd(1), "0.000000000001");
        assert_eq!(usd(12_304_480_000_000), "12.30448");
        assert_eq!(usd(0), "0");
        assert_eq!(usd(-5), "-0.000000000005");
        assert_eq!(usd(i128::from(i64::MAX) * 1000), "9223372036.854775807");
    }
}
