//! Files and batches that callers have at providers of models.
//!
//! Like what budgets spend these are observations of traffic: callers make them through the gateway, and nobody's
//! configuration changes. They are written without an actor and an audit event, over the connections of what processes
//! tell of themselves, and read over those of readers: callers may ask for them as often as they like, and no writer waits
//! for that.

use crate::{Result, Store, StoreError, WriteTx, driver::Driver, row};
use credentialflow_model::{
    Timestamp,
    objects::{ModelObject, ObjectKind, ObjectState},
};
use sqlx::{AnyConnection, AssertSqlSafe, Row, any::AnyRow};
use std::time::Duration;

const COLUMNS: &str = "id, kind, application, made, state, upstream_id, body, facts, purpose";

/// Which part of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct ModelObjectPage<'a> {
    /// Only what is older than the one with this id.
    pub after: Option<&'a str>,
    /// Only what is newer than the one with this id.
    pub before: Option<&'a str>,
    /// Only files for this.
    pub purpose: Option<&'a str>,
    /// At most so many.
    pub most: u32,
    /// No more once they have so many bytes together; one in any case.
    pub bytes: u32,
}

impl Store {
    /// Adds one. False where one with its id is there already.
    pub async fn add_model_object(&self, object: &ModelObject, due: Duration) -> Result<bool> {
        let sql = format!(
            "INSERT INTO model_objects ({COLUMNS}, expires, due)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {now} + $11) ON CONFLICT (id) DO NOTHING",
            now = self.driver().now()
        );
        // Files alone are forgotten: a batch that were would never be charged.
        let expires = object.facts.expires.filter(|_| object.kind.is_file());
        let done = sqlx::query(AssertSqlSafe(sql))
            .bind(object.id.as_str())
            .bind(object.kind as i64)
            .bind(object.application.as_str())
            .bind(object.made.micros())
            .bind(object.state as i64)
            .bind(object.upstream_id.as_str())
            .bind(object.body.as_str())
            .bind(facts(object)?)
            .bind(object.purpose.as_str())
            .bind(expires.map_or(0, Timestamp::micros))
            .bind(micros(due))
            .execute(&mut *self.notes().await?)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// One of an application's, by its id.
    pub async fn model_object(&self, application: &str, id: &str) -> Result<Option<ModelObject>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM model_objects WHERE id = $1 AND application = $2 AND {lives}",
            lives = lives(self.driver())
        );
        let found = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(application);
        found.fetch_optional(&mut *self.reader().await?).await?.as_ref().map(read).transpose()
    }

    /// Those of an application that have these ids, in any order.
    pub async fn model_objects_by_ids(&self, application: &str, ids: &[String]) -> Result<Vec<ModelObject>> {
        let ids = serde_json::to_string(ids).map_err(|error| StoreError::Other(error.to_string()))?;
        let sql = format!(
            "SELECT {COLUMNS} FROM model_objects
             WHERE id IN (SELECT name FROM ({names}) AS named) AND application = $2 AND {lives}",
            names = self.driver().names(),
            lives = lives(self.driver())
        );
        let found = sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(application);
        found.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// Forgets files whose providers have forgotten them. How many there were.
    pub async fn forget_expired_model_objects(&self) -> Result<u64> {
        let sql =
            format!("DELETE FROM model_objects WHERE expires > 0 AND expires <= {now}", now = self.driver().now());
        Ok(sqlx::query(AssertSqlSafe(sql)).execute(&mut *self.notes().await?).await?.rows_affected())
    }

    /// Whether anybody has one of this kind that its provider calls so. Looks at all: for what is rare.
    pub async fn knows_model_object(&self, kind: ObjectKind, upstream_id: &str) -> Result<bool> {
        let sql = "SELECT id FROM model_objects WHERE kind = $1 AND upstream_id = $2 LIMIT 1";
        let found = sqlx::query(sql).bind(kind as i64).bind(upstream_id);
        Ok(found.fetch_optional(&mut *self.reader().await?).await?.is_some())
    }

    /// Those of an application of one kind, the newest first, and whether there are more beyond them.
    pub async fn model_objects(
        &self,
        application: &str,
        kind: ObjectKind,
        page: ModelObjectPage<'_>,
    ) -> Result<(Vec<ModelObject>, bool)> {
        let place = "(SELECT made FROM model_objects WHERE application = $1 AND kind = $2 AND id =";
        let (bound, order) = match (page.after, page.before) {
            (Some(_), _) => (format!("AND (made, id) < ({place} $4), $4)"), "DESC"),
            (None, Some(_)) => (format!("AND (made, id) > ({place} $4), $4)"), "ASC"),
            (None, None) => ("AND $4 = ''".to_owned(), "DESC"),
        };
        // What is too much for a page stays at the database.
        let sql = format!(
            "WITH page AS (
                 SELECT {COLUMNS}, octet_length(body) + octet_length(facts) AS size FROM model_objects
                 WHERE application = $1 AND kind = $2 AND ($5 = '' OR purpose = $5) AND {lives} {bound}
                 ORDER BY made {order}, id {order} LIMIT $3
             ), summed AS (
                 SELECT page.*, SUM(size) OVER (ORDER BY made {order}, id {order}) - size AS newer FROM page
             )
             SELECT {COLUMNS}, (SELECT COUNT(*) FROM page) FROM summed WHERE newer < $6
             ORDER BY made {order}, id {order} LIMIT $3 - 1",
            lives = lives(self.driver())
        );
        let found = sqlx::query(AssertSqlSafe(sql))
            .bind(application)
            .bind(kind as i64)
            .bind(i64::from(page.most) + 1)
            .bind(page.after.or(page.before).unwrap_or_default())
            .bind(page.purpose.unwrap_or_default())
            .bind(i64::from(page.bytes))
            .fetch_all(&mut *self.reader().await?)
            .await?;
        let all: i64 = found.first().map_or(Ok(0), |row| row.try_get(9))?;
        let mut objects: Vec<ModelObject> = found.iter().map(read).collect::<Result<_>>()?;
        let more = usize::try_from(all).unwrap_or(usize::MAX) > objects.len();
        if order == "ASC" {
            objects.reverse();
        }
        Ok((objects, more))
    }

    /// Keeps what callers are told of one, as long as it is in this state; it is looked after so soon.
    pub async fn tell_model_object(&self, id: &str, state: ObjectState, body: &str, due: Duration) -> Result<bool> {
        let sql = format!(
            "UPDATE model_objects SET body = $3, due = {now} + $4 WHERE id = $1 AND state = $2",
            now = self.driver().now()
        );
        let done = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(state as i64).bind(body).bind(micros(due));
        Ok(done.execute(&mut *self.notes().await?).await?.rows_affected() > 0)
    }

    /// Takes one that is in the state `from` to what it is now. False where it is not in that state any more.
    pub async fn change_model_object(&self, from: ObjectState, object: &ModelObject, due: Duration) -> Result<bool> {
        change(&mut *self.notes().await?, self.driver(), (from, object, due)).await
    }

    /// Forgets one.
    pub async fn delete_model_object(&self, id: &str) -> Result<bool> {
        let gone = sqlx::query("DELETE FROM model_objects WHERE id = $1").bind(id);
        Ok(gone.execute(&mut *self.notes().await?).await?.rows_affected() > 0)
    }

    /// Batches that are not settled and are to be looked after now, the longest waiting first.
    pub async fn due_model_objects(&self, most: u32) -> Result<Vec<ModelObject>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM model_objects WHERE state < 3 AND due <= {now} ORDER BY due LIMIT $1",
            now = self.driver().now()
        );
        let found = sqlx::query(AssertSqlSafe(sql)).bind(i64::from(most));
        found.fetch_all(&mut *self.reader().await?).await?.iter().map(read).collect()
    }

    /// Has these looked after so soon.
    pub async fn postpone_model_objects(&self, ids: &[&str], due: Duration) -> Result<()> {
        let ids = serde_json::to_string(ids).map_err(|error| StoreError::Other(error.to_string()))?;
        let sql = format!(
            "UPDATE model_objects SET due = {now} + $2 WHERE id IN (SELECT name FROM ({names}) AS named)",
            now = self.driver().now(),
            names = self.driver().names()
        );
        sqlx::query(AssertSqlSafe(sql)).bind(ids).bind(micros(due)).execute(&mut *self.notes().await?).await?;
        Ok(())
    }
}

impl WriteTx {
    /// [`Store::change_model_object`], where the change has an audit event.
    pub async fn change_model_object(
        &mut self,
        from: ObjectState,
        object: &ModelObject,
        due: Duration,
    ) -> Result<bool> {
        let driver = self.driver();
        change(self.connection(), driver, (from, object, due)).await
    }
}

/// Whether the provider of a file has not forgotten it.
fn lives(driver: Driver) -> String {
    format!("(expires = 0 OR expires > {now})", now = driver.now())
}

async fn change(
    connection: &mut AnyConnection,
    driver: Driver,
    (from, object, due): (ObjectState, &ModelObject, Duration),
) -> Result<bool> {
    let sql = format!(
        "UPDATE model_objects SET state = $3, upstream_id = $4, body = $5, facts = $6, due = {now} + $7
         WHERE id = $1 AND state = $2",
        now = driver.now()
    );
    let done = sqlx::query(AssertSqlSafe(sql))
        .bind(object.id.as_str())
        .bind(from as i64)
        .bind(object.state as i64)
        .bind(object.upstream_id.as_str())
        .bind(object.body.as_str())
        .bind(facts(object)?)
        .bind(micros(due))
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX / 4)
}

fn facts(object: &ModelObject) -> Result<String> {
    serde_json::to_string(&object.facts).map_err(|error| StoreError::Other(error.to_string()))
}

fn read(r: &AnyRow) -> Result<ModelObject> {
    let kind = ObjectKind::from_number(r.try_get(1)?).ok_or_else(|| StoreError::corrupt("a kind of object"))?;
    let state = ObjectState::from_number(r.try_get(4)?).ok_or_else(|| StoreError::corrupt("a state of an object"))?;
    let facts = serde_json::from_str(r.try_get(7)?).map_err(|_| StoreError::corrupt("facts of an object"))?;
    Ok(ModelObject {
        id: r.try_get(0)?,
        kind,
        application: r.try_get(2)?,
        made: row::time(r, 3)?,
        state,
        upstream_id: r.try_get(5)?,
        purpose: r.try_get(8)?,
        body: r.try_get(6)?,
        facts,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn reads_do_not_wait_behind_writers() {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("db").display());
        let store = Store::connect(&url).await.unwrap();
        store.migrate().await.unwrap();
        let _writer = store.writer().await.unwrap();
        let wait = Duration::from_secs(5);
        let one = tokio::time::timeout(wait, store.model_object("a", "file-1")).await.unwrap();
        assert_eq!(one.unwrap(), None);
        let all =
            store.model_objects("a", ObjectKind::File, ModelObjectPage { most: 9, bytes: 9, ..Default::default() });
        let all = tokio::time::timeout(wait, all).await;
        assert_eq!(all.unwrap().unwrap(), (vec![], false));
        assert_eq!(tokio::time::timeout(wait, store.due_model_objects(9)).await.unwrap().unwrap(), []);
    }
}
