//! The certificates that upstreams present, as nodes saw them: public, one for each endpoint.
//!
//! An observation like a use of a key: written without an audit event, and nothing that anybody decides depends on it.

use crate::row::{time, values};
use crate::{Result, Store};
use credentialflow_model::Timestamp;
use sqlx::{AssertSqlSafe, Connection, Row};
use std::collections::BTreeMap;

/// Rows of one statement.
const STATEMENT: usize = 16;

/// A certificate at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Where, as `host:port`.
    pub endpoint: String,
    /// The certificate (DER).
    pub certificate: Vec<u8>,
    /// When it was first seen there.
    pub first_seen: Timestamp,
    /// When it was last seen there.
    pub last_seen: Timestamp,
}

impl Store {
    /// Notes what was seen. At each endpoint the certificate that was seen last stays.
    pub async fn record_certificates(&self, seen: &[CertificateSeen]) -> Result<()> {
        // Each row once in a statement, and in the same order on every node.
        let mut rows = BTreeMap::<&str, &CertificateSeen>::new();
        for one in seen {
            let kept = rows.entry(&one.endpoint).or_insert(one);
            if one.last_seen >= kept.last_seen {
                *kept = one;
            }
        }
        let rows: Vec<_> = rows.into_values().collect();
        let mut connection = self.writer().await?;
        let mut tx = connection.begin_with(self.driver().begin()).await?;
        for chunk in rows.chunks(STATEMENT) {
            let sql = format!(
                "INSERT INTO certificates_seen (endpoint, certificate, first_seen, last_seen) VALUES {}
                 ON CONFLICT (endpoint) DO UPDATE SET
                 certificate = excluded.certificate,
                 first_seen = CASE WHEN certificates_seen.certificate = excluded.certificate
                              AND certificates_seen.first_seen < excluded.first_seen
                              THEN certificates_seen.first_seen ELSE excluded.first_seen END,
                 last_seen = excluded.last_seen
                 WHERE excluded.last_seen >= certificates_seen.last_seen",
                values(4, chunk.len())
            );
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for row in chunk {
                query = query
                    .bind(&row.endpoint)
                    .bind(&row.certificate)
                    .bind(row.first_seen.micros())
                    .bind(row.last_seen.micros());
            }
            query.execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// What was seen, by endpoint, at most `limit`.
    pub async fn certificates_seen(&self, limit: u32) -> Result<Vec<CertificateSeen>> {
        sqlx::query(
            "SELECT endpoint, certificate, first_seen, last_seen FROM certificates_seen ORDER BY endpoint LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?
        .iter()
        .map(|row| {
            Ok(CertificateSeen {
                endpoint: row.try_get(0)?,
                certificate: row.try_get(1)?,
                first_seen: time(row, 2)?,
                last_seen: time(row, 3)?,
            })
        })
        .collect()
    }

    /// Forgets what was not seen since a moment. Answers how many endpoints those were.
    pub async fn forget_certificates(&self, before: Timestamp) -> Result<u64> {
        let done = sqlx::query("DELETE FROM certificates_seen WHERE last_seen < $1")
            .bind(before.micros())
            .execute(&mut *self.writer().await?)
            .await?;
        Ok(done.rows_affected())
    }
}
