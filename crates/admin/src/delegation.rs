//! Keys that come from other keys: what their check has to know, and how they are shown.

use crate::{
    AdminState,
    api::{
        budgets::BudgetView,
        keys::{DelegatedKeyView, DelegationView},
    },
    budgets, catalogue,
    error::{ApiError, Code},
};
use credentialflow_model::{
    KeyId, Name,
    resource::{Act, Key, Kind},
};
use credentialflow_store::{DelegationRow, WriteTx};
use std::collections::{BTreeMap, HashMap};

/// Keys below one that are named.
const NAMED: usize = 100;

/// The declared keys that these come from, as stored, without those that are among them.
pub(crate) async fn ancestors(state: &AdminState, keys: &[Key]) -> Result<Vec<Key>, ApiError> {
    let mut found = BTreeMap::<Name, Key>::new();
    let mut wanted: Vec<Name> = keys.iter().filter_map(|key| key.parent.clone()).collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let declared: HashMap<&Name, &Key> = keys.iter().map(|key| (&key.name, key)).collect();
    for _ in 0..=Key::MOST_ANCESTORS {
        let mut next = Vec::new();
        for name in wanted {
            if declared.contains_key(&name) || found.contains_key(&name) {
                continue;
            }
            // What a key issued itself is no place for others to stand on: it goes by itself.
            let record = state.store.key_record(name.as_str()).await?;
            let Some(body) = record.filter(|of| !of.is_exchanged()).and_then(|of| of.body) else { continue };
            let key: Key = catalogue::parse(&body)?;
            next.extend(key.parent.clone());
            found.insert(name, key);
        }
        wanted = next;
    }
    Ok(found.into_values().collect())
}

/// Refuses what would change where keys come from.
pub(crate) async fn stays_in(tx: &mut WriteTx, id: KeyId, (before, after): (&Name, &Key)) -> Result<(), ApiError> {
    let parent = match &after.parent {
        Some(name) => tx.key_by_name(name.as_str()).await?.map(|row| row.id),
        None => None,
    };
    let of = tx.delegation(id).await?;
    if of.as_ref().map(|of| of.parent) != parent {
        return Err(ApiError::new(Code::Conflict, PARENT_STAYS).hint(PARENT_HINT));
    }
    if of.is_some_and(|of| of.exchanged) {
        let detail = format!("key {} was issued at the token endpoint and is not declared", after.name);
        return Err(ApiError::new(Code::Conflict, detail).hint("change the key that it comes from, or revoke it"));
    }
    if *before != after.application && !tx.keys_below(id).await?.is_empty() {
        let detail = format!("keys that come from {} speak for application {before}", after.name);
        return Err(ApiError::new(Code::Conflict, detail).hint("revoke those first"));
    }
    Ok(())
}

pub(crate) const PARENT_STAYS: &str = "which key a key comes from never changes";
pub(crate) const PARENT_HINT: &str = "declare another key, and revoke this one";

/// Where a key comes from and which keys come from it; `None` where neither is the case.
pub(crate) async fn view(state: &AdminState, id: KeyId, key: &Key) -> Result<Option<DelegationView>, ApiError> {
    let below = state.store.keys_below(id).await?;
    let of = state.store.delegation(id).await?;
    if below.is_empty() && of.is_none() && key.actor.is_none() && key.subject.is_none() && key.delegate.is_none() {
        return Ok(None);
    }
    let mut chain = vec![key.clone()];
    while let Some(parent) = chain.last().and_then(|key| key.parent.clone()) {
        let Some(row) = state.store.resource(Kind::Keys, parent.as_str()).await? else { break };
        chain.push(catalogue::parse(&row.body)?);
        if chain.len() > Key::MOST_ANCESTORS + 1 {
            break;
        }
    }
    Ok(Some(DelegationView {
        subject: Key::subject_of(chain.iter()).map(str::to_owned),
        act: Act::of(chain.iter()),
        ancestors: chain[1..].iter().map(|key| key.name.to_string()).collect(),
        exchanged: of.is_some_and(|of| of.exchanged),
        budgets: budgets::of_keys(state, [key].into_iter()).await?.remove(&key.name).unwrap_or_default(),
        keys_below: below.len() as u64,
        below: named(state, &below[..below.len().min(NAMED)]).await?,
    }))
}

/// Keys below one, with what they declare.
async fn named(state: &AdminState, rows: &[DelegationRow]) -> Result<Vec<DelegatedKeyView>, ApiError> {
    let ids: Vec<KeyId> = rows.iter().map(|row| row.key).collect();
    let mut declared = HashMap::new();
    for (id, body) in state.store.key_bodies(&ids).await? {
        declared.insert(id, catalogue::parse::<Key>(&body)?);
    }
    let mut budgets = budgets::of_keys(state, declared.values()).await?;
    let view = |row: &DelegationRow| {
        // Deleted between the two reads: then only its row tells of it.
        let key = declared.remove(&row.key);
        let budgets = budgets.remove(&row.name).unwrap_or_default();
        DelegatedKeyView::of(row, key, budgets)
    };
    Ok(rows.iter().map(view).collect())
}

impl DelegatedKeyView {
    fn of(row: &DelegationRow, key: Option<Key>, budgets: Vec<BudgetView>) -> Self {
        // What is declared may have changed since it was issued.
        let expires = key.as_ref().map_or(row.expires, |key| key.expires);
        let (actor, allow) = key.map(|key| (key.actor, key.allow)).unwrap_or_default();
        Self {
            name: row.name.to_string(),
            id: row.key,
            parent: row.parent,
            actor: Some(row.actor.clone()).filter(|actor| !actor.is_empty()),
            exchanged: row.exchanged,
            created: row.created,
            expires,
            purpose: actor.and_then(|actor| actor.purpose),
            allow,
            budgets,
        }
    }
}

/// Where the keys of these calls or sums come from, by key.
pub(crate) fn by_key(rows: Vec<DelegationRow>) -> HashMap<KeyId, DelegationRow> {
    rows.into_iter().map(|row| (row.key, row)).collect()
}
