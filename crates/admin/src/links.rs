//! Links to external stores as the API shows them; the jobs that keep them are elsewhere.

use crate::{
    AdminState,
    api::links::{LinkDirection, LinkView, Links},
    catalogue,
    error::{ApiError, Code},
    write::enforce,
};
use credentialflow_model::{
    Actor, SecretPlace,
    resource::{Credential, Kind},
};
use credentialflow_store::{LinkDirection as Direction, LinkRow};

/// Most failing links told in the status.
const MOST: u32 = 100;

/// The links that a credential declares, also those that were never tried.
pub(crate) async fn of(state: &AdminState, credential: &Credential) -> Result<Vec<LinkView>, ApiError> {
    if credential.source().is_none() && credential.sync.is_empty() {
        return Ok(Vec::new());
    }
    let rows = state.store.links_of(credential.name.as_str()).await?;
    let link = |direction: Direction, place: &SecretPlace| {
        let place = place.to_string();
        match rows.iter().find(|row| row.direction == direction && row.place == place) {
            Some(row) => view(row),
            None => LinkView {
                credential: credential.name.to_string(),
                direction: word(direction),
                place,
                version: None,
                remote: None,
                succeeded: None,
                attempts: 0,
                next_attempt: None,
                error: None,
            },
        }
    };
    let source = credential.source().map(|place| link(Direction::Read, place));
    let mut sync: Vec<LinkView> = credential.sync.iter().map(|rule| link(Direction::Write, &rule.place())).collect();
    sync.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(source.into_iter().chain(sync).collect())
}

pub(crate) async fn failing(state: &AdminState) -> Result<Vec<LinkView>, ApiError> {
    Ok(state.store.failing_links(MOST).await?.iter().map(view).collect())
}

pub(crate) async fn refresh(state: &AdminState, actor: &Actor, name: &str) -> Result<Links, ApiError> {
    let row = state.store.resource(Kind::Credentials, name).await?;
    let credential: Credential = catalogue::parse(&row.ok_or_else(|| ApiError::not_found("credentials", name))?.body)?;
    let items = of(state, &credential).await?;
    if items.is_empty() {
        return Ok(Links { items });
    }
    let Some(stores) = &state.settings.stores else {
        return Err(ApiError::new(Code::InvalidRequest, "this process reaches no external stores"));
    };
    if let Err(why) = stores.refresh(actor, &credential.name).await {
        return Err(ApiError::internal("external stores could not be asked", &why));
    }
    enforce(state).await?;
    Ok(Links { items: of(state, &credential).await? })
}

fn word(direction: Direction) -> LinkDirection {
    match direction {
        Direction::Read => LinkDirection::Read,
        Direction::Write => LinkDirection::Write,
    }
}

fn view(row: &LinkRow) -> LinkView {
    LinkView {
        credential: row.credential.to_string(),
        direction: word(row.direction),
        place: row.place.clone(),
        version: row.version,
        remote: row.remote.clone(),
        succeeded: row.succeeded,
        attempts: row.attempts,
        next_attempt: row.next_attempt,
        error: row.error.clone(),
    }
}
