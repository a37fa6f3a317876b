//! Rotations as the API shows them; the vault drives them.

use crate::{
    AdminState,
    api::{
        request::one_line,
        rotations::{RotationView, Rotations, RotationsPage, UnfinishedQuery, WaitsFor},
    },
    error::{ApiError, Code},
    ports::Straggler,
};
use credentialflow_model::{Actor, Timestamp, lifecycle::RotationStep, resource::Kind};
use credentialflow_store::{CredentialUse, KeySecretUse, RotationRow};
use credentialflow_vault::rotation::Progress;

pub(crate) async fn view(
    state: &AdminState,
    row: &RotationRow,
    uses: &[CredentialUse],
) -> Result<RotationView, ApiError> {
    let credential = row.credential.as_str();
    let in_flight = match row.from_version {
        Some(version) if !row.step.is_finished() => state.dataplane.in_flight(credential, version).await,
        _ => 0,
    };
    let stragglers = match row.from_version {
        Some(version) if in_flight > 0 && row.step == RotationStep::Drain => {
            state.dataplane.stragglers(credential, version).await
        }
        _ => Vec::new(),
    };
    let used = uses.iter().find(|used| Some(used.version) == row.from_version).map(|used| used.last_time);
    let (callers, shown) = callers(state, row).await?;
    let stragglers = if callers.is_empty() { stragglers } else { callers };
    Ok(RotationView {
        id: row.id.clone(),
        credential: credential.to_owned(),
        from_version: row.from_version,
        to_version: row.to_version,
        step: row.step,
        finished: row.step.is_finished(),
        started: row.started,
        updated: row.updated,
        deadline: row.deadline,
        in_flight,
        stragglers,
        old_version_last_used: used.max(shown),
        waiting_for: match row.step {
            RotationStep::Approve => Some(WaitsFor::Approval),
            RotationStep::Deliver => Some(WaitsFor::Value),
            _ => None,
        },
        approved_by: row.detail.get("approved_by").and_then(|by| by.as_str()).map(str::to_owned),
        message: message(row, in_flight),
    })
}

/// Callers shown of one rotation, those seen last.
const CALLERS: u32 = 100;

/// Who still shows the old secret of a key of ours, and when it was shown last, as all nodes saw it. Nobody where the
/// rotation is of something else.
async fn callers(state: &AdminState, row: &RotationRow) -> Result<(Vec<Straggler>, Option<Timestamp>), ApiError> {
    let nobody = (Vec::new(), None);
    let Some(quiet) = Progress::read(row)?.quiet.filter(|_| !row.step.is_finished()) else { return Ok(nobody) };
    let Some(key) = state.store.key_by_name(row.credential.as_str()).await? else { return Ok(nobody) };
    let old = state.store.key_secret_uses(key.id, row.to_version.unwrap_or_default(), CALLERS).await?;
    let last = old.first().map(|used| used.last_time);
    // Whoever was not seen for longer has moved, as far as anybody can tell.
    let old = old.iter();
    let there = old.filter(|used| row.step == RotationStep::Drain && state.now() < used.last_time.plus(quiet));
    let straggler = |used: &KeySecretUse| Straggler {
        application: Some(key.application.to_string()),
        route: used.route.clone(),
        source: used.source.clone(),
        requests: used.count,
        node: None,
        last: Some(used.last_time),
    };
    Ok((there.map(straggler).collect(), last))
}

fn message(row: &RotationRow, in_flight: u64) -> String {
    let what = match row.step {
        RotationStep::Approve => "it is due and waits until somebody approves it".to_owned(),
        RotationStep::Deliver => "it waits until the next value is delivered".to_owned(),
        RotationStep::Generate => "the new version is being made".to_owned(),
        RotationStep::Verify => "the new version is being tried at its target".to_owned(),
        RotationStep::Canary => "a share of the traffic uses the new version; refusals are watched".to_owned(),
        RotationStep::Promote => "the new version is being brought to every worker".to_owned(),
        RotationStep::Watch => "traffic uses the new version; refusals are watched".to_owned(),
        RotationStep::Drain if row.detail.get("quiet").is_some() => {
            "waiting for callers to leave the old secret".to_owned()
        }
        RotationStep::Drain => format!("waiting for traffic to leave the old version; {in_flight} requests use it now"),
        RotationStep::Destroy => "the old version is being destroyed".to_owned(),
        RotationStep::Done => "the new version is in use, the old one is gone".to_owned(),
        RotationStep::RolledBack if row.to_version.is_none() => "nothing was changed".to_owned(),
        RotationStep::RolledBack => "the new version was taken back, the old one is in use".to_owned(),
    };
    // What the job noted: why a step takes longer, or why the rotation was taken back.
    let note = row.error.as_deref().or_else(|| row.detail.get("message").and_then(|note| note.as_str()));
    match note {
        Some(note) => format!("{what}: {note}"),
        None => what,
    }
}

pub(crate) async fn get(state: &AdminState, id: &str) -> Result<RotationView, ApiError> {
    let row = state.store.rotation(id).await?.ok_or_else(|| ApiError::not_found("rotations", id))?;
    let uses = state.store.credential_uses(row.credential.as_str()).await?;
    view(state, &row, &uses).await
}

pub(crate) async fn of_credential(state: &AdminState, name: &str, limit: u32) -> Result<Rotations, ApiError> {
    let rows = state.store.rotations(name, limit).await?;
    if rows.is_empty() && state.store.resource(Kind::Credentials, name).await?.is_none() {
        return Err(ApiError::not_found("credentials", name));
    }
    let uses = state.store.credential_uses(name).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        items.push(view(state, row, &uses).await?);
    }
    Ok(Rotations { items })
}

/// Every rotation that is not finished, oldest first.
pub(crate) async fn unfinished(state: &AdminState, query: &UnfinishedQuery) -> Result<RotationsPage, ApiError> {
    let limit = crate::api::request::limited(query.limit)?;
    let bad = || ApiError::new(Code::InvalidRequest, "the cursor is none of this list's");
    let after = match query.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let (started, id) = cursor.split_once('.').ok_or_else(bad)?;
            Some((Timestamp::from_micros(started.parse().map_err(|_| bad())?), id))
        }
    };
    let rows = state.store.unfinished_rotations_after(after, limit).await?;
    let last = rows.last().filter(|_| rows.len() == limit as usize);
    let next = last.map(|row| format!("{}.{}", row.started.micros(), row.id));
    let (running, waiting) = state.store.count_unfinished_rotations().await?;
    let due = state.store.count_due_rotations(state.now()).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let uses = state.store.credential_uses(row.credential.as_str()).await?;
        items.push(view(state, row, &uses).await?);
    }
    Ok(RotationsPage { items, next, running, waiting, due })
}

pub(crate) async fn approve(state: &AdminState, actor: &Actor, id: &str) -> Result<RotationView, ApiError> {
    state.vault.approve_rotation(actor, id).await?;
    get(state, id).await
}

pub(crate) async fn decline(
    state: &AdminState,
    actor: &Actor,
    id: &str,
    reason: Option<&str>,
) -> Result<RotationView, ApiError> {
    one_line(reason)?;
    state.vault.decline_rotation(actor, id, reason).await?;
    get(state, id).await
}
