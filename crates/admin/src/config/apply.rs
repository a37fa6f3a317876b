//! Makes a configuration so: one transaction for resources, keys and values, then every worker.

use super::{draft, views};
use crate::{
    AdminState,
    api::{
        config::{Applied, Configuration},
        keys::IssuedKey,
        rotations::RotationView,
    },
    error::ApiError,
    idempotency::{Answer, Wish},
    keys,
    resources::to_body,
    rotations,
    secret::ShownOnce,
    write::{begin, enforce},
};
use axum::response::{IntoResponse, Response};
use credentialflow_model::{
    Actor, Name, ResourceSet, SecretReference, SecretValue,
    config::{Action, Change},
    lifecycle::VersionState,
    resource::{
        Application, Credential, Engine, GuardrailSet, Key, Kind, LeakResponse, Model, Prompt, Resource, Route,
        SecretStore, System, Team, Upstream,
    },
};
use credentialflow_store::WriteTx;
use credentialflow_vault::{Put, VaultError};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};

/// Most changes named one by one in the audit event; the rest is counted.
const AUDITED: usize = 100;

pub(crate) async fn apply(
    state: &AdminState,
    actor: &Actor,
    headers: &HeaderMap,
    configuration: Configuration,
) -> Result<Response, ApiError> {
    let wish = Wish::read(state, headers, "config/apply", fingerprint(&configuration).expose())?;
    let read = draft::read(configuration).await?;
    let mut begun = begin(state, actor).await?;
    if let Some(answer) = Wish::replay(wish.as_ref(), state, &mut begun.tx).await? {
        // It shows the secrets of the keys issued again.
        begun.tx.audit("config.repeat", "config", json!({}));
        begun.tx.commit().await?;
        enforce(state).await?;
        return Ok(answer.into_response());
    }
    let (draft, problems) = draft::compare(state, &mut begun.tx, &begun.set, read).await?;
    if !problems.0.is_empty() {
        return Err(problems.into());
    }
    let changes = views(&draft);
    let unchanged = draft.plan.unchanged as u64;
    let mut tx = begun.tx;
    write_resources(&mut tx, &draft.set, &draft.plan.changes).await?;
    let issued = write_keys(state, &mut tx, &draft.set, &draft.plan.changes).await?;
    let started = write_values(state, &mut tx, &draft.set, draft.values, &draft.plan.changes).await?;
    let done = !changes.is_empty() || started.touched;
    let mut applied =
        Applied { changes, unchanged, kept: draft.kept, keys: issued, rotations: Vec::new(), published: None };
    for id in &started.rotations {
        if let Some(row) = tx.rotation(id).await? {
            let view: RotationView = rotations::view(state, &row, &[]).await?;
            applied.rotations.push(view);
        }
    }
    if done || wish.is_some() {
        audit(&mut tx, &applied);
        let answer = Answer::new(StatusCode::OK, None, &applied)?;
        Wish::keep(wish.as_ref(), state, &mut tx, &answer).await?;
        tx.commit().await?;
    } else {
        drop(tx);
    }
    // Also when nothing changed: the answer is about every worker.
    applied.published = Some(enforce(state).await?);
    Ok(Answer::new(StatusCode::OK, None, &applied)?.into_response())
}

/// What makes two requests the same, secrets included; hashed with a key before it is kept.
fn fingerprint(configuration: &Configuration) -> SecretValue {
    let mut bytes = vec![u8::from(configuration.prune)];
    let mut part = |text: &[u8]| {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text);
    };
    for document in &configuration.documents {
        part(document.file.as_bytes());
        part(document.text.as_bytes());
    }
    for (name, value) in &configuration.values {
        part(name.as_bytes());
        part(value.0.expose());
    }
    SecretValue::new(bytes)
}

fn audit(tx: &mut WriteTx, applied: &Applied) {
    let word = |action| serde_json::to_value(action).unwrap_or_default();
    let named: Vec<_> = applied
        .changes
        .iter()
        .take(AUDITED)
        .map(|change| json!({ "action": word(change.action), "subject": format!("{}/{}", change.kind.as_str(), change.name) }))
        .collect();
    let detail = json!({ "count": applied.changes.len(), "changes": named });
    tx.audit("config.apply", "config", detail);
}

/// Writes the declarations that differ, and only those.
async fn write_resources(tx: &mut WriteTx, set: &ResourceSet, changes: &[Change]) -> Result<(), ApiError> {
    let mut bodies = Vec::new();
    put::<Team>(set, changes, &mut bodies)?;
    put::<Credential>(set, changes, &mut bodies)?;
    put::<System>(set, changes, &mut bodies)?;
    put::<SecretStore>(set, changes, &mut bodies)?;
    put::<Upstream>(set, changes, &mut bodies)?;
    put::<Route>(set, changes, &mut bodies)?;
    put::<GuardrailSet>(set, changes, &mut bodies)?;
    put::<Model>(set, changes, &mut bodies)?;
    put::<Prompt>(set, changes, &mut bodies)?;
    put::<Application>(set, changes, &mut bodies)?;
    put::<LeakResponse>(set, changes, &mut bodies)?;
    put::<Key>(set, changes, &mut bodies)?;
    tx.put_resources(&bodies).await?;
    let gone: Vec<_> = changes
        .iter()
        .filter(|change| change.action == Action::Delete)
        .map(|change| (change.kind, change.name.to_string()))
        .collect();
    tx.delete_resources(&gone).await?;
    Ok(())
}

fn put<T: Resource>(
    set: &ResourceSet,
    changes: &[Change],
    bodies: &mut Vec<(Kind, Name, String)>,
) -> Result<(), ApiError> {
    for resource in changed::<T>(set, changes, &[Action::Create, Action::Update]) {
        bodies.push((T::KIND, resource.name().clone(), to_body(resource)?));
    }
    Ok(())
}

/// The declared resources of a kind to which one of these actions happens.
fn changed<'s, T: Resource>(set: &'s ResourceSet, changes: &[Change], actions: &[Action]) -> Vec<&'s T> {
    let changes = changes.iter().filter(|change| change.kind == T::KIND && actions.contains(&change.action));
    let mut wanted = changes.map(|change| &change.name).peekable();
    if wanted.peek().is_none() {
        return Vec::new();
    }
    let declared: HashMap<&Name, &T> = T::list(set).iter().map(|resource| (resource.name(), resource)).collect();
    wanted.filter_map(|name| declared.get(name).copied()).collect()
}

fn deleted(changes: &[Change], kind: Kind) -> impl Iterator<Item = &Name> {
    changes.iter().filter(move |c| c.kind == kind && c.action == Action::Delete).map(|c| &c.name)
}

async fn write_keys(
    state: &AdminState,
    tx: &mut WriteTx,
    set: &ResourceSet,
    changes: &[Change],
) -> Result<Vec<IssuedKey>, ApiError> {
    let mut issued = Vec::new();
    let mut created = changed::<Key>(set, changes, &[Action::Create]);
    // Those that others come from first. A chain without a beginning did not pass the check.
    created.sort_by_cached_key(|key| depth(set, key));
    for key in created {
        let secret = state.vault.issue_key_in(tx, key, &state.settings.key_prefix).await?.secret;
        issued.push(IssuedKey { key: keys::item_in(tx, &key.name).await?, secret: ShownOnce(secret) });
    }
    for key in changed::<Key>(set, changes, &[Action::Update]) {
        keys::update_in(tx, key).await?;
    }
    for name in deleted(changes, Kind::Keys) {
        keys::delete_in(tx, name.as_str()).await?;
    }
    Ok(issued)
}

/// How many declared keys a key comes from.
fn depth(set: &ResourceSet, key: &Key) -> usize {
    let parent = |key: &Key| set.keys.iter().find(|other| Some(&other.name) == key.parent.as_ref());
    match &key.parent {
        Some(_) => std::iter::successors(parent(key), |above| parent(above)).take(Key::MOST_ANCESTORS).count(),
        None => 0,
    }
}

/// What giving values did.
struct Started {
    rotations: Vec<String>,
    touched: bool,
}

async fn write_values(
    state: &AdminState,
    tx: &mut WriteTx,
    set: &ResourceSet,
    mut values: BTreeMap<String, SecretValue>,
    changes: &[Change],
) -> Result<Started, ApiError> {
    let mut started = Started { rotations: Vec::new(), touched: false };
    let mut created = changed::<Credential>(set, changes, &[Action::Create]);
    // Authorities first: they sign the others.
    created.sort_by_key(|credential| credential.engine == Engine::Certificate);
    for credential in created {
        if !credential.engine.is_received() {
            state.vault.create_credential_in(tx, credential, None).await?;
            started.touched = true;
        }
    }
    let given = |credential: &&Credential| credential.engine.is_received();
    let (copies, others): (Vec<_>, Vec<_>) = set
        .credentials
        .iter()
        .filter(given)
        .partition(|credential| matches!(credential.value, Some(SecretReference::Credential(_))));
    for credential in others {
        if let Some(value) = values.remove(credential.name.as_str()) {
            started.note(state.vault.put_value_in(tx, credential, value).await?);
        }
    }
    // Copies of other credentials come last, when those have their values.
    for credential in copies {
        let value = match (values.remove(credential.name.as_str()), &credential.value) {
            (Some(value), _) => value,
            (None, Some(SecretReference::Credential(name))) => newest_value(state, tx, name).await?,
            (None, _) => continue,
        };
        started.note(state.vault.put_value_in(tx, credential, value).await?);
    }
    for name in deleted(changes, Kind::Credentials) {
        state.vault.destroy_credential_in(tx, name).await?;
    }
    Ok(started)
}

impl Started {
    fn note(&mut self, put: Put) {
        match put {
            Put::Unchanged { .. } => {}
            Put::Created { .. } => self.touched = true,
            Put::Rotating { rotation, .. } => {
                self.touched = true;
                self.rotations.push(rotation);
            }
        }
    }
}

/// The newest value of a credential as this transaction leaves it: the one a rotation brings, or the
/// one in use.
async fn newest_value(state: &AdminState, tx: &mut WriteTx, name: &Name) -> Result<SecretValue, ApiError> {
    let versions = tx.credential_versions(name.as_str()).await?;
    let with = |state| versions.iter().rev().find(|version| version.state == state);
    let version = with(VersionState::Pending).or_else(|| with(VersionState::Current));
    Ok(state.vault.open_version(version.ok_or_else(|| VaultError::NoCurrentVersion(name.clone()))?)?)
}
