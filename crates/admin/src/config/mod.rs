//! The whole configuration at once: check, plan, apply, export.
//!
//! `draft` reads and checks the texts against what is stored; `apply` writes the difference in one
//! transaction. Nothing is written while there is one problem.

mod apply;
mod draft;

pub(crate) use apply::apply;

use crate::{
    AdminState,
    api::config::{ChangeAction, ChangeView, Checked, Configuration, FieldChangeView, PlanView},
    catalogue,
    error::ApiError,
};
use credentialflow_model::{
    Actor, Problems, ResourceSet, config as model,
    resource::{Key, Kind},
};
use draft::Draft;
use std::collections::HashSet;

/// Looks at what is stored without holding up writers: a transaction that is dropped again. It makes
/// the answer one consistent picture.
async fn look(state: &AdminState, configuration: Configuration) -> Result<(Draft, Problems), ApiError> {
    let read = draft::read(configuration).await?;
    let mut tx = state.store.begin(&Actor::system("plan")).await?;
    let set = state.catalogue.view(&state.store).await?;
    draft::compare(state, &mut tx, &set, read).await
}

pub(crate) async fn check(state: &AdminState, configuration: Configuration) -> Result<Checked, ApiError> {
    let (draft, problems) = look(state, configuration).await?;
    let counts = Kind::ALL.map(|kind| (kind.as_str().to_owned(), draft.declared(kind)));
    Ok(Checked { valid: problems.0.is_empty(), problems: problems.0, counts: counts.into_iter().collect() })
}

pub(crate) async fn plan(state: &AdminState, configuration: Configuration) -> Result<PlanView, ApiError> {
    let (draft, problems) = look(state, configuration).await?;
    if !problems.0.is_empty() {
        return Err(problems.into());
    }
    Ok(PlanView { changes: views(&draft), unchanged: draft.plan.unchanged as u64, kept: draft.kept })
}

/// The plan, and the values that change although their declaration does not.
fn views(draft: &Draft) -> Vec<ChangeView> {
    let declared = draft.plan.changes.iter().map(|change| ChangeView {
        action: match change.action {
            model::Action::Create => ChangeAction::Create,
            model::Action::Update => ChangeAction::Update,
            model::Action::Delete => ChangeAction::Delete,
        },
        kind: change.kind,
        name: change.name.to_string(),
        fields: change
            .fields
            .iter()
            .map(|field| FieldChangeView {
                path: field.path.clone(),
                from: field.before.clone(),
                to: field.after.clone(),
            })
            .collect(),
    });
    let rotated = draft.rotated.iter().map(|name| ChangeView {
        action: ChangeAction::Rotate,
        kind: Kind::Credentials,
        name: name.to_string(),
        fields: Vec::new(),
    });
    declared.chain(rotated).collect()
}

/// Everything declared, as YAML. Memory grows with the number of keys.
pub(crate) async fn export(state: &AdminState) -> Result<String, ApiError> {
    let mut set: ResourceSet = (*state.catalogue.view(&state.store).await?).clone();
    let exchanged: HashSet<String> = state.store.exchanged_keys().await?.into_iter().collect();
    // Keys that other keys issued are declared nowhere.
    for row in state.store.resources(Kind::Keys).await?.iter().filter(|row| !exchanged.contains(row.name.as_str())) {
        set.keys.push(catalogue::parse::<Key>(&row.body)?);
    }
    tokio::task::spawn_blocking(move || model::export(&set))
        .await
        .map_err(|error| ApiError::internal("the export was not finished", &error))
}
