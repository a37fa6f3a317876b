//! From texts to a checked difference: read, merge with what is stored, check everything, resolve values.

use crate::{
    AdminState,
    api::config::{Configuration, KeptValue},
    catalogue,
    credentials::{ENGINE_HINT, ENGINE_STAYS, stays},
    delegation::{PARENT_HINT, PARENT_STAYS, ancestors},
    error::ApiError,
    prompts,
    write::{CA_FILE, CONTEXT, check_files, file_problem},
};
use credentialflow_model::{
    Location, Name, Problem, Problems, ResourceSet, SecretReference, SecretValue,
    config::{Action, Context, Plan, SourceMap, check, plan, read_many},
    lifecycle::VersionState,
    resource::{Credential, GuardrailSet, Key, Kind, Resource},
};
use credentialflow_store::{CredentialVersionRow, WriteTx};
use std::collections::{BTreeMap, HashSet};

/// More declared keys than this, and all stored keys are read at once.
const KEYS_ONE_BY_ONE: usize = 500;

/// The texts as read.
pub(super) struct Read {
    pub set: ResourceSet,
    source: SourceMap,
    problems: Problems,
    values: BTreeMap<String, SecretValue>,
    prune: bool,
}

/// A difference that may be written if there are no problems.
pub(super) struct Draft {
    /// What was declared.
    pub set: ResourceSet,
    /// What changes.
    pub plan: Plan,
    /// The values handed in, by credential.
    pub values: BTreeMap<String, SecretValue>,
    /// Credentials whose stored value differs from the one handed in.
    pub rotated: Vec<Name>,
    /// Values handed in that were rotated away before; they are not among `values`.
    pub kept: Vec<KeptValue>,
}

impl Draft {
    pub(super) fn declared(&self, kind: Kind) -> u64 {
        let count = match kind {
            Kind::Teams => self.set.teams.len(),
            Kind::Applications => self.set.applications.len(),
            Kind::Keys => self.set.keys.len(),
            Kind::Credentials => self.set.credentials.len(),
            Kind::Targets => self.set.targets.len(),
            Kind::Stores => self.set.stores.len(),
            Kind::Upstreams => self.set.upstreams.len(),
            Kind::Routes => self.set.routes.len(),
            Kind::Guardrails => self.set.guardrails.len(),
            Kind::Models => self.set.models.len(),
            Kind::Prompts => self.set.prompts.len(),
            Kind::LeakResponses => self.set.leak_responses.len(),
        };
        count as u64
    }
}

/// Reads the texts beside the runtime: they may be large.
pub(super) async fn read(configuration: Configuration) -> Result<Read, ApiError> {
    let Configuration { documents, values, prune } = configuration;
    tokio::task::spawn_blocking(move || {
        let texts: Vec<_> = documents.iter().map(|d| (d.file.as_str(), d.text.as_str())).collect();
        let (set, source, problems) = read_many(&texts);
        let values = values.into_iter().map(|(name, value)| (name, value.0)).collect();
        Read { set, source, problems, values, prune }
    })
    .await
    .map_err(|error| ApiError::internal("the texts were not read to the end", &error))
}

/// Compares what was read with what is stored. Every problem is found, whatever kind it is.
pub(super) async fn compare(
    state: &AdminState,
    tx: &mut WriteTx,
    stored: &ResourceSet,
    read: Read,
) -> Result<(Draft, Problems), ApiError> {
    let Read { mut set, source, mut problems, mut values, prune } = read;
    for (index, prompt) in set.prompts.iter_mut().enumerate() {
        for forbidden in prompts::settle(tx, stored, prompt, None).await? {
            let found = source.locate(Kind::Prompts, index, &forbidden.path);
            problems.0.push(Problem {
                file: found.map(|(file, _)| file.to_owned()),
                at: found.map(|(_, at)| at).unwrap_or_default(),
                ..forbidden.problem(&format!("prompts[{index}]."))
            });
        }
    }
    let mut current = stored.clone();
    current.keys = stored_keys(state, &set, prune).await?;
    let mut desired = set.clone();
    if !prune {
        keep_undeclared(&mut desired, &current);
    }
    // Where what is not declared is deleted, nothing comes from it.
    let above = if prune { Vec::new() } else { ancestors(state, &set.keys).await? };
    let (source, checked, plan) = tokio::task::spawn_blocking(move || {
        let checked = check(&desired, &source, &Context { keys: &above, ..CONTEXT });
        let plan = plan(&current, &desired, prune);
        (source, checked, plan)
    })
    .await
    .map_err(|error| ApiError::internal("the check was not finished", &error))?;
    problems.0.extend(checked.0);
    for (kind, index, detail) in check_files(state, stored, &set).await {
        let found = source.locate(kind, index, CA_FILE);
        problems.0.push(Problem {
            file: found.map(|(file, _)| file.to_owned()),
            at: found.map(|(_, at)| at).unwrap_or_default(),
            ..file_problem(format!("{}[{index}].{CA_FILE}", kind.as_str()), detail)
        });
    }
    for (index, credential) in set.credentials.iter().enumerate() {
        let change = plan.changes.iter().find(|c| c.kind == Kind::Credentials && c.name == credential.name);
        let mut fields = change.map(|change| change.fields.as_slice()).unwrap_or_default().iter();
        let stays_so = |value: &Option<serde_json::Value>| {
            value.clone().is_some_and(|value| serde_json::from_value(value).is_ok_and(stays))
        };
        if fields.any(|field| field.path == "engine" && (stays_so(&field.before) || stays_so(&field.after))) {
            let found = source.locate(Kind::Credentials, index, "engine");
            problems.0.push(Problem {
                file: found.map(|(file, _)| file.to_owned()),
                at: found.map(|(_, at)| at).unwrap_or_default(),
                path: format!("credentials[{index}].engine"),
                code: "engine_stays".to_owned(),
                detail: ENGINE_STAYS.to_owned(),
                hint: Some(ENGINE_HINT.to_owned()),
            });
        }
    }
    for (index, key) in set.keys.iter().enumerate() {
        let change =
            plan.changes.iter().find(|c| c.kind == Kind::Keys && c.name == key.name && c.action == Action::Update);
        if change.is_some_and(|change| change.fields.iter().any(|field| field.path == "parent")) {
            let found = source.locate(Kind::Keys, index, "parent");
            problems.0.push(Problem {
                file: found.map(|(file, _)| file.to_owned()),
                at: found.map(|(_, at)| at).unwrap_or_default(),
                path: format!("keys[{index}].parent"),
                code: "parent_stays".to_owned(),
                detail: PARENT_STAYS.to_owned(),
                hint: Some(PARENT_HINT.to_owned()),
            });
        }
    }
    let Given { rotated, kept } = check_values(state, tx, &set, &source, &values, &mut problems).await?;
    for kept in &kept {
        values.remove(kept.credential.as_str());
    }
    Ok((Draft { set, plan, values, rotated, kept }, problems))
}

/// The stored keys that matter: the declared ones, or all of them when undeclared ones are deleted.
async fn stored_keys(state: &AdminState, declared: &ResourceSet, prune: bool) -> Result<Vec<Key>, ApiError> {
    if prune || declared.keys.len() > KEYS_ONE_BY_ONE {
        let names: HashSet<&str> = declared.keys.iter().map(|key| key.name.as_str()).collect();
        let rows = state.store.resources(Kind::Keys).await?;
        // Keys that other keys issued are no part of what is declared: they go with those, or by themselves.
        let exchanged: HashSet<String> = state.store.exchanged_keys().await?.into_iter().collect();
        let wanted = |name: &str| names.contains(name) || (prune && !exchanged.contains(name));
        let rows = rows.iter().filter(|row| wanted(row.name.as_str()));
        return rows.map(|row| catalogue::parse(&row.body)).collect();
    }
    let mut keys = Vec::new();
    for key in &declared.keys {
        if let Some(row) = state.store.resource(Kind::Keys, key.name.as_str()).await? {
            keys.push(catalogue::parse(&row.body)?);
        }
    }
    Ok(keys)
}

/// Adds what is stored and not declared, behind what is declared: the places of the texts stay right.
fn keep_undeclared(desired: &mut ResourceSet, current: &ResourceSet) {
    fn keep<T: Resource>(desired: &mut ResourceSet, current: &ResourceSet) {
        let names: HashSet<Name> = T::list(desired).iter().map(|resource| resource.name().clone()).collect();
        let kept = T::list(current).iter().filter(|resource| !names.contains(resource.name())).cloned();
        T::list_mut(desired).extend(kept);
    }
    use credentialflow_model::resource::{
        Application, LeakResponse, Model, Prompt, Route, SecretStore, System, Team, Upstream,
    };
    keep::<Team>(desired, current);
    keep::<Credential>(desired, current);
    keep::<System>(desired, current);
    keep::<SecretStore>(desired, current);
    keep::<Upstream>(desired, current);
    keep::<Route>(desired, current);
    keep::<GuardrailSet>(desired, current);
    keep::<Model>(desired, current);
    keep::<Prompt>(desired, current);
    keep::<Application>(desired, current);
    keep::<LeakResponse>(desired, current);
    keep::<Key>(desired, current);
}

/// What the values handed in lead to.
#[derive(Default)]
struct Given {
    rotated: Vec<Name>,
    kept: Vec<KeptValue>,
}

/// What a value handed in is among the versions there are.
enum Known {
    /// The one in use, or the one that a running rotation brings.
    InUse,
    /// None of them, or one that failed after the one in use began and may be tried again.
    New,
    /// One whose time is over: applying a file again must not bring it back.
    Over { version: u32, why: &'static str },
    /// One that was withdrawn.
    Revoked { version: u32 },
}

impl Known {
    /// The newest version with this fingerprint decides: a value may have been brought back on purpose.
    fn of(versions: &[CredentialVersionRow], fingerprint: &[u8]) -> Self {
        let same = || versions.iter().filter(|version| version.fingerprint == fingerprint);
        if same().any(|version| {
            matches!(version.state, VersionState::Current | VersionState::Canary | VersionState::Pending)
        }) {
            return Self::InUse;
        }
        let Some(newest) = same().max_by_key(|version| version.version) else { return Self::New };
        let current = versions.iter().find(|version| version.state == VersionState::Current);
        let why = match newest.state {
            VersionState::Revoked => return Self::Revoked { version: newest.version },
            VersionState::Failed if current.is_some_and(|current| current.version < newest.version) => {
                return Self::New;
            }
            VersionState::Failed => "which did not work",
            VersionState::Expired => "whose time is over",
            _ => "which was rotated away",
        };
        Self::Over { version: newest.version, why }
    }
}

/// Every reference has a value, handed in now or stored before; every value has a credential that takes
/// it; none was revoked. Answers the credentials whose value changes, and those whose value in the files is an old
/// one.
async fn check_values(
    state: &AdminState,
    tx: &mut WriteTx,
    set: &ResourceSet,
    source: &SourceMap,
    values: &BTreeMap<String, SecretValue>,
    problems: &mut Problems,
) -> Result<Given, ApiError> {
    let mut given = Given::default();
    for (index, credential) in set.credentials.iter().enumerate() {
        let value = values.get(credential.name.as_str());
        let referred = matches!(credential.value, Some(SecretReference::Env(_) | SecretReference::File(_)));
        if value.is_none() && !referred {
            continue;
        }
        let versions = tx.credential_versions(credential.name.as_str()).await?;
        let current = versions.iter().find(|version| version.state == VersionState::Current);
        let (code, path, detail, hint) = match value {
            Some(_) if !credential.engine.is_received() => (
                "value_not_taken",
                "engine",
                "only a credential whose values are received takes one".to_owned(),
                "leave the value out".to_owned(),
            ),
            Some(_) if credential.source().is_some() => (
                "value_not_taken",
                "value",
                "its value comes from a store".to_owned(),
                "change it there, or remove `value`".to_owned(),
            ),
            Some(value) => match Known::of(&versions, &state.vault.fingerprint(&credential.name, value)?) {
                Known::InUse => continue,
                Known::New => {
                    given.rotated.extend(current.map(|_| credential.name.clone()));
                    continue;
                }
                Known::Over { version, why } => {
                    given.kept.push(KeptValue {
                        credential: credential.name.to_string(),
                        version,
                        detail: format!("the file's value is version {version}, {why}"),
                    });
                    continue;
                }
                Known::Revoked { version } => (
                    "revoked_value",
                    "value",
                    format!("the file's value is version {version}, which was revoked"),
                    format!(
                        "give a new value; to bring this one back on purpose: credential rotate {} --value-from",
                        credential.name
                    ),
                ),
            },
            None if current.is_some() => continue,
            None => (
                "unresolved_reference",
                "value",
                "the reference was not resolved and no value is stored".to_owned(),
                "set the variable or the file where the configuration is applied from".to_owned(),
            ),
        };
        let found = source.locate(Kind::Credentials, index, path);
        problems.0.push(Problem {
            file: found.map(|(file, _)| file.to_owned()),
            at: found.map(|(_, at)| at).unwrap_or_default(),
            path: format!("credentials[{index}].{path}"),
            code: code.to_owned(),
            detail,
            hint: Some(hint),
        });
    }
    // While the texts have problems, the credential may be one that could not be read.
    let names: HashSet<&str> = set.credentials.iter().map(|credential| credential.name.as_str()).collect();
    let strangers = values.keys().filter(|name| problems.0.is_empty() && !names.contains(name.as_str()));
    let strangers: Vec<_> = strangers
        .map(|name| Problem {
            file: None,
            at: Location::default(),
            path: format!("values.{name}"),
            code: "unknown_name".to_owned(),
            detail: "a value is given for a credential that is not declared".to_owned(),
            hint: Some("declare the credential, or leave the value out".to_owned()),
        })
        .collect();
    problems.0.extend(strangers);
    Ok(given)
}
