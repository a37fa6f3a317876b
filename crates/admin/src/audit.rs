//! Reading the audit log.

use crate::{
    AdminState,
    api::audit::{AuditPage, AuditQuery},
    error::{ApiError, Code},
};
use credentialflow_store::AuditFilter;

pub(crate) async fn list(state: &AdminState, query: &AuditQuery, limit: u32) -> Result<AuditPage, ApiError> {
    let filter = AuditFilter { action: query.action.clone(), subject: query.subject.clone() };
    let items = match (query.after, query.before) {
        (Some(_), Some(_)) => {
            return Err(ApiError::new(Code::InvalidRequest, "give after or before, not both"));
        }
        (Some(after), None) => state.store.audit_events(after, limit, &filter).await?,
        (None, before) => state.store.audit_events_before(before.unwrap_or(0), limit, &filter).await?,
    };
    Ok(AuditPage { items })
}
