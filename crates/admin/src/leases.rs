//! Leases by whose they are, and the life of one: from the rows of the store, the run-time API that can open them, and the
//! audit log.
//!
//! There may be a million, so they are read page by page over an index, and never one more than the page holds.

use crate::{
    AdminState,
    api::{
        answer::Page,
        leases::{LeaseEntry, LeaseLife, LeaseMoment, LeaseOpens, LeaseStage, LeasesQuery},
        request::limited,
    },
    error::{ApiError, Code},
    inventory::not_told,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use credentialflow_model::AuditEvent;
use credentialflow_store::{AuditFilter, LeaseRow, LeaseState};
use serde_json::Value;

/// What begins with a control character is no lease: rows that only tell when something is due.
const FIRST: &str = "\u{1f}\u{10ffff}";
/// Events of the beginning and of the end of a life that are told; those between are left out.
const EVENTS: u32 = 200;

/// One page.
pub(crate) async fn list(state: &AdminState, query: &LeasesQuery) -> Result<Page<LeaseEntry>, ApiError> {
    let limit = limited(query.limit)?;
    let after = match &query.cursor {
        Some(text) => read(text)?,
        None => FIRST.to_owned(),
    };
    let store = &state.store;
    let asked = (&query.application, &query.entity, &query.prefix);
    if [asked.0, asked.1, asked.2].into_iter().flatten().any(|text| text.contains(char::is_control)) {
        return Err(ApiError::new(Code::InvalidRequest, "no holder and no path has control characters"));
    }
    let rows = match asked {
        (Some(application), None, None) => store.leases_of_application(application, &after, limit).await?,
        (None, Some(entity), None) => store.leases_of_entity(entity, &after, limit).await?,
        (None, None, prefix) => store.leases_by_prefix(&below(prefix.as_deref()), &after, limit).await?,
        _ => {
            let why = "at most one of application, entity and prefix may be given";
            return Err(ApiError::new(Code::InvalidRequest, why));
        }
    };
    let next = rows.last().filter(|_| rows.len() == limit as usize).map(|last| URL_SAFE_NO_PAD.encode(&last.id));
    Ok(Page { items: rows.into_iter().map(entry).collect(), next })
}

/// What the ids below a path begin with.
fn below(path: Option<&str>) -> String {
    match path.unwrap_or_default().trim_matches('/') {
        "" => String::new(),
        path => format!("{path}/"),
    }
}

fn read(cursor: &str) -> Result<String, ApiError> {
    let invalid = || ApiError::new(Code::InvalidRequest, "the cursor is not valid; begin again without one");
    let id = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?).map_err(|_| invalid())?;
    // A page begins behind a lease.
    if id.starts_with(char::is_control) || id.contains('\0') { Err(invalid()) } else { Ok(id) }
}

fn entry(row: LeaseRow) -> LeaseEntry {
    LeaseEntry {
        id: row.id,
        state: match row.state {
            LeaseState::Pending => LeaseStage::Pending,
            LeaseState::Active => LeaseStage::Active,
            LeaseState::Revoking => LeaseStage::Revoking,
            LeaseState::Stuck => LeaseStage::Stuck,
        },
        application: row.application,
        entity: row.entity,
        token: row.token,
        issued: row.issued,
        expires: row.expires_at,
        attempts: row.attempts,
    }
}

/// Everything about one.
pub(crate) async fn life(state: &AdminState, id: &str) -> Result<LeaseLife, ApiError> {
    let unknown = || ApiError::not_found("leases", id);
    if id.starts_with(char::is_control) || id.contains('\0') {
        return Err(unknown());
    }
    let events = events(state, id).await?;
    let row = state.store.lease(id).await?;
    if row.is_none() && events.is_empty() {
        return Err(unknown());
    }
    let (mut opens, mut ends) = (None, Vec::new());
    if let Some(row) = &row {
        if let Some(api) = &state.settings.run_time {
            let of = api.describe(row).await.map_err(not_told)?;
            ends.push(if of.certificate {
                format!("the certificate {} of {} is put on the list of withdrawn ones", of.login, row.mount)
            } else {
                format!("the login {} at {} is taken away", of.login, of.system)
            });
            opens = Some(LeaseOpens {
                login: of.login,
                certificate: of.certificate,
                system: Some(of.system).filter(|system| !system.is_empty()),
                role: of.role,
                renewed: of.renewed,
                last_moment: of.last_moment,
                problem: of.problem,
            });
        }
        if let Some(token) = &row.token {
            let others = state.store.lease_count_of_token(token).await?.saturating_sub(1);
            ends.push(match others {
                0 => format!("the token {token} that holds it stays; it holds no other lease"),
                1 => format!("the token {token} that holds it stays, with 1 other lease"),
                many => format!("the token {token} that holds it stays, with {many} other leases"),
            });
        }
    }
    let fetched = events.iter().find(|event| matches!(event.action.as_str(), "lease.begin" | "lease.issue"));
    let fetched_by = fetched.cloned().map(moment);
    let moments = events.into_iter().map(moment).collect();
    Ok(LeaseLife { lease: row.map(entry), opens, fetched_by, ends, moments })
}

/// The first and the last events on a lease, oldest first.
async fn events(state: &AdminState, id: &str) -> Result<Vec<AuditEvent>, ApiError> {
    let filter = AuditFilter { action: None, subject: Some(format!("leases/{id}")) };
    let mut events = state.store.audit_events(0, EVENTS, &filter).await?;
    if events.len() == EVENTS as usize {
        let seen = events.last().map_or(0, |event| event.seq);
        let last = state.store.audit_events_before(0, EVENTS, &filter).await?;
        events.extend(last.into_iter().rev().filter(|event| event.seq > seen));
    }
    Ok(events)
}

fn moment(event: AuditEvent) -> LeaseMoment {
    let detail = |name: &str| match event.detail.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let text = match event.action.as_str() {
        "lease.begin" => format!("asked for by the role {}: {} is being made", detail("role"), detail("login")),
        "lease.issue" => format!("handed out for {} s: {}", detail("ttl"), detail("login")),
        "lease.renew" => format!("renewed until {}", detail("until")),
        "lease.revoke" if event.detail.get("again_at").is_some() => {
            format!("looked at again at {}: its login may still appear", detail("again_at"))
        }
        "lease.revoke" => "its end was written down".to_owned(),
        "lease.revoke_failed" => "its login could not be withdrawn; it is tried again".to_owned(),
        "lease.end" => "its login is withdrawn".to_owned(),
        action => action.replace(['.', '_'], " "),
    };
    LeaseMoment { time: event.time, text, actor: event.actor, seq: event.seq }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_no_part_of_a_name() {
        assert_eq!(below(Some("/database/creds/a")), "database/creds/a/");
        assert_eq!(
            (below(Some("database/")), below(Some("/")), below(None)),
            ("database/".into(), "".into(), "".into())
        );
    }

    #[test]
    fn a_cursor_begins_behind_a_lease() {
        let text = |id: &str| URL_SAFE_NO_PAD.encode(id);
        assert_eq!(read(&text("database/creds/ö/1")).unwrap(), "database/creds/ö/1");
        for bad in [text("\u{1}static/x"), text("a\0b"), "?".to_owned(), URL_SAFE_NO_PAD.encode([0xff])] {
            assert_eq!(read(&bad).unwrap_err().code(), Code::InvalidRequest);
        }
    }
}
