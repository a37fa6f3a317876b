//! What revoking one credential would do: the graph of what is declared, and a replay of the recorded requests.

use super::{before, facts, observed, window};
use crate::{AdminState, calls, catalogue, error::ApiError};
use credentialflow_governance::{
    BlastRadius, Consequence, CredentialKind, EntryState, Graph, Holder, Reach, Replay, Replayed, Traffic,
};
use credentialflow_model::{
    Period, ResourceSet, SecretReference,
    resource::{Allow, Engine, Key},
};
use credentialflow_store::{DelegationRow, KeyRecord};
use credentialflow_telemetry::CallFilter;
use std::{collections::HashMap, sync::Arc};

/// The window of traffic that is replayed unless asked otherwise.
const WINDOW: Period = Period::from_secs(86_400);
/// Keys walked at a time, and named of one application.
const PAGE: u32 = 1000;
const NAMED: usize = 20;

/// A replay, with the requests that would break of each application that was asked about.
struct Told {
    replayed: Replayed,
    by_application: HashMap<String, u64>,
}

async fn replay(
    state: &AdminState,
    asked: Option<Period>,
    set: &Arc<ResourceSet>,
    filter: CallFilter,
    credential: Option<String>,
    applications: Vec<String>,
) -> Result<(Told, Period), ApiError> {
    let window = window(asked, WINDOW)?;
    let (now, since) = (state.now(), before(state.now(), window));
    let filter = CallFilter { since: Some(since), ..filter };
    let (set, place) = (set.clone(), state.clone());
    let told = calls::read(state, move |log| {
        let graph = Graph::new(&set);
        let mut replay = match &credential {
            Some(name) => Replay::of_credential(&graph, name),
            None => Replay::of_key(&graph),
        };
        let walked =
            log.walk(&filter, observed::MOST, observed::deadline(), |call| replay.add(&observed::seen(call)))?;
        let by_application = applications.into_iter().map(|name| (replay.of_application(&name), name));
        let by_application = by_application.map(|(requests, name)| (name, requests)).collect();
        let observed = observed::observed(&place, since, now, &walked);
        Ok(Told { replayed: replay.finish(observed), by_application })
    })
    .await?;
    Ok((told, window))
}

fn finished(mut radius: BlastRadius, window: Period) -> BlastRadius {
    let observed = &radius.replay.observed;
    let looked = observed.complete && observed.other_nodes.is_empty();
    radius.quiet =
        looked && radius.replay.breaks == 0 && radius.consequences.is_empty() && radius.in_flight.unwrap_or(0) == 0;
    radius.verdict = radius.verdict(&window.to_string());
    radius
}

/// Of a credential we hold.
pub(crate) async fn of_credential(
    state: &AdminState,
    name: &str,
    asked: Option<Period>,
) -> Result<BlastRadius, ApiError> {
    let set = state.catalogue.view(&state.store).await?;
    let spec = set.credentials.iter().find(|c| c.name.as_str() == name);
    let spec = spec.ok_or_else(|| ApiError::not_found("credentials", name))?;
    let opens = Graph::new(&set).of_credential(name);
    let filter = CallFilter { credential: Some(name.to_owned()), ..CallFilter::default() };
    let (told, window) = replay(state, asked, &set, filter, Some(name.to_owned()), opens.applications.clone()).await?;
    let rows = state.store.credential_versions(name).await?;
    let mut in_flight = 0;
    for row in rows.iter().filter(|row| row.state.is_live()) {
        in_flight += state.dataplane.in_flight(name, row.version).await;
    }
    let versions: Vec<facts::Version> = rows.into_iter().map(Into::into).collect();
    let uses = state.store.credential_uses(name).await?;
    let mut consequences = Vec::new();
    let mut tell = |subject: String, what: &str| consequences.push(Consequence { subject, what: what.to_owned() });
    if spec.engine == Engine::Database
        && let Some(rule) = &spec.database
    {
        tell(
            format!("targets/{}", rule.target),
            "the password is taken away there too: others that log in with it fail",
        );
    }
    if spec.engine == Engine::Key {
        tell(
            format!("keys/{name}"),
            "callers that show this secret are refused; the next one is in the stores under `sync`",
        );
    }
    for target in set.targets.iter().filter(|t| t.credential.as_str() == name) {
        tell(format!("targets/{}", target.name), "nobody can change its logins any more");
    }
    for store in set.stores.iter().filter(|s| s.credential.as_ref().is_some_and(|c| c.as_str() == name)) {
        tell(format!("stores/{}", store.name), "nothing is read from it or written to it any more");
    }
    for other in &opens.credentials {
        let declared = set.credentials.iter().find(|c| c.name.as_str() == other);
        let what = match declared.map(|c| (c.database.is_some(), &c.value)) {
            Some((true, _)) => "its password cannot be rotated any more",
            Some((_, Some(SecretReference::Store(_)))) => "it gets no new values from its store any more",
            _ => "it is a copy of the value and is not revoked with it",
        };
        tell(format!("credentials/{other}"), what);
    }
    if state.store.unfinished_rotation(name).await?.is_some() {
        tell(format!("credentials/{name}"), "its running rotation ends");
    }
    let radius = BlastRadius {
        kind: CredentialKind::Credential,
        name: name.to_owned(),
        state: facts::state_of(spec, &versions, state.now()),
        verdict: String::new(),
        quiet: false,
        in_flight: Some(in_flight),
        last_used: uses.iter().map(|u| u.last_time).max().max(told.replayed.last),
        holders: holders(state, &set, &opens, &told.by_application).await?,
        opens,
        replay: told.replayed,
        consequences,
    };
    Ok(finished(radius, window))
}

/// Applications that may use one of these routes or models, with the keys that do.
async fn holders(
    state: &AdminState,
    set: &ResourceSet,
    opens: &Reach,
    requests: &HashMap<String, u64>,
) -> Result<Vec<Holder>, ApiError> {
    let graph = Graph::new(set);
    let mut found: HashMap<String, Holder> = HashMap::new();
    for name in &opens.applications {
        let team = graph.application(name).and_then(|a| a.team.as_ref()).map(ToString::to_string);
        let requests = requests.get(name).copied().unwrap_or(0);
        let holder = Holder { application: name.clone(), team, keys: 0, key_names: Vec::new(), requests };
        found.insert(name.clone(), holder);
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let now = state.now();
    let opened = |allow: &Allow| {
        allow.routes.iter().any(|r| opens.routes.iter().any(|open| open == r.as_str()))
            || allow.models.iter().any(|m| opens.models.iter().any(|open| open == m.as_str()))
    };
    state
        .store
        .for_each_key(PAGE, |record: KeyRecord| -> Result<(), ApiError> {
            let Some(holder) = found.get_mut(record.key.application.as_str()) else { return Ok(()) };
            let Some(body) = record.body.filter(|_| record.key.revoked_at.is_none()) else { return Ok(()) };
            let key: Key = catalogue::parse(&body)?;
            if key.expires.is_none_or(|end| end > now) && opened(&graph.granted(&key)) {
                holder.keys += 1;
                if holder.key_names.len() < NAMED {
                    holder.key_names.push(key.name.to_string());
                }
            }
            Ok(())
        })
        .await?;
    let mut holders: Vec<_> = found.into_values().collect();
    holders.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.application.cmp(&b.application)));
    Ok(holders)
}

/// Of a key we issued.
pub(crate) async fn of_key(state: &AdminState, name: &str, asked: Option<Period>) -> Result<BlastRadius, ApiError> {
    let missing = || ApiError::not_found("keys", name);
    let record = state.store.key_record(name).await?.ok_or_else(missing)?;
    let set = state.catalogue.view(&state.store).await?;
    let used = state.store.key_use(record.key.id).await?;
    let graph = Graph::new(&set);
    let (nothing, now) = (Traffic::default(), state.now());
    let facts = facts::of_key(&record, used.as_ref(), &graph, &nothing, Vec::new(), now)?.ok_or_else(missing)?;
    let filter = CallFilter { key: Some(record.key.id), ..CallFilter::default() };
    let (told, window) = replay(state, asked, &set, filter, None, Vec::new()).await?;
    let opens = facts.key.as_ref().map(|spec| graph.of_key(spec)).unwrap_or_default();
    let entry = facts.entry;
    let works = matches!(entry.state, EntryState::Active | EntryState::Pending);
    let holder = Holder {
        application: record.key.application.to_string(),
        team: entry.team,
        keys: u64::from(works),
        key_names: vec![name.to_owned()],
        requests: told.replayed.breaks,
    };
    let below = state.store.keys_below(record.key.id).await?;
    let mut consequences: Vec<_> = below.iter().take(NAMED).map(ends_with_it).collect();
    if below.len() > NAMED {
        let what = format!("{} further keys that come from it end with it", below.len() - NAMED);
        consequences.push(Consequence { subject: format!("keys/{name}"), what });
    }
    let radius = BlastRadius {
        kind: CredentialKind::Key,
        name: name.to_owned(),
        state: entry.state,
        verdict: String::new(),
        quiet: false,
        in_flight: None,
        last_used: entry.last_used.max(told.replayed.last),
        opens,
        holders: vec![holder],
        replay: told.replayed,
        consequences,
    };
    Ok(finished(radius, window))
}

fn ends_with_it(below: &DelegationRow) -> Consequence {
    let what = match below.actor.as_str() {
        "" => "it comes from this key and ends with it".to_owned(),
        actor => format!("it comes from this key and ends with it; {actor} uses it"),
    };
    Consequence { subject: format!("keys/{}", below.name), what }
}
