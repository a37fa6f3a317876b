//! Migration 17 beyond its SQL: rules for leaks that became a resource name only what is there.
//!
//! As a setting they could outlive an application or a credential they named. As a resource they would make every later
//! check of the configuration fail.

use crate::Result;
use credentialflow_model::{leak::LeakResponse, resource::Kind};
use sqlx::{AnyConnection, Row};
use std::collections::HashSet;

pub(super) async fn without_dangling_names(c: &mut AnyConnection) -> Result<()> {
    let select = "SELECT body FROM resources WHERE kind = $1 AND name = $2";
    let stored = sqlx::query(select).bind(Kind::LeakResponses.as_str()).bind(LeakResponse::NAME);
    let Some(row) = stored.fetch_optional(&mut *c).await? else { return Ok(()) };
    let mut rules: LeakResponse = match serde_json::from_str(row.try_get(0)?) {
        Ok(rules) => rules,
        // It could not be followed before either, and who puts rules anew need not remove these first.
        Err(error) => {
            tracing::error!(%error, "the stored rules for leaks cannot be read; the usual ones hold");
            let delete = "DELETE FROM resources WHERE kind = $1 AND name = $2";
            let delete = sqlx::query(delete).bind(Kind::LeakResponses.as_str()).bind(LeakResponse::NAME);
            delete.execute(c).await?;
            return Ok(());
        }
    };
    let applications = names(c, Kind::Applications).await?;
    let credentials = names(c, Kind::Credentials).await?;
    rules.by_application.retain(|name, _| applications.contains(name.as_str()));
    rules.by_credential.retain(|name, _| credentials.contains(name.as_str()));
    let body = serde_json::to_string(&rules).map_err(|error| crate::StoreError::Other(error.to_string()))?;
    let update = sqlx::query("UPDATE resources SET body = $3 WHERE kind = $1 AND name = $2");
    update.bind(Kind::LeakResponses.as_str()).bind(LeakResponse::NAME).bind(body).execute(c).await?;
    Ok(())
}

async fn names(c: &mut AnyConnection, kind: Kind) -> Result<HashSet<String>> {
    let rows = sqlx::query("SELECT name FROM resources WHERE kind = $1").bind(kind.as_str()).fetch_all(c).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
