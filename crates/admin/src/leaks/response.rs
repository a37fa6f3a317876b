//! The rules by which leaks are answered: one stored document, read when a leak is found.

use crate::{AdminState, error::ApiError};
use credentialflow_model::{Actor, Location, Problem, Problems, leak::LeakResponse};
use serde_json::json;

const SETTING: &str = "leak_response";

/// The rules as stored, or the usual ones.
pub(crate) async fn get(state: &AdminState) -> Result<LeakResponse, ApiError> {
    match state.store.setting(SETTING).await? {
        None => Ok(LeakResponse::default()),
        Some(bytes) => serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::internal("the rules for leaks cannot be read; put them anew", &error)),
    }
}

/// Stores other rules. Leaks that were answered stay as they are.
pub(crate) async fn put(state: &AdminState, actor: &Actor, rules: LeakResponse) -> Result<LeakResponse, ApiError> {
    let set = state.catalogue.view(&state.store).await?;
    let mut problems: Vec<_> =
        rules.problems().into_iter().map(|(path, what)| problem(path, what.to_owned())).collect();
    for name in rules.by_application.keys().filter(|name| !set.applications.iter().any(|a| a.name == **name)) {
        problems.push(problem(format!("by_application.{name}"), format!("there is no application `{name}`")));
    }
    for name in rules.by_credential.keys().filter(|name| !set.credentials.iter().any(|c| c.name == **name)) {
        problems.push(problem(format!("by_credential.{name}"), format!("there is no credential `{name}`")));
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    let text = serde_json::to_vec(&rules).map_err(|error| ApiError::internal("the rules cannot be written", &error))?;
    let mut tx = state.store.begin(actor).await?;
    tx.put_note(SETTING, &text).await?;
    tx.audit("leaks.configure", "leaks", json!(rules));
    tx.commit().await?;
    Ok(rules)
}

fn problem(path: String, detail: String) -> Problem {
    Problem { file: None, at: Location::default(), path, code: "invalid_value".to_owned(), detail, hint: None }
}
