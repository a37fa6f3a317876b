//! Reads keys by the thousand: a whole page comes as one text.
//!
//! A row costs the driver more than what is in it (a hop between threads, an allocation for every
//! column), and a start reads a million of them. So the database joins a page into one text, fields
//! parted by U+001F and rows by U+001E, which neither names nor JSON can hold.

use super::{KeyRow, KeySecretRow};
use crate::row::parse_word;
use crate::{Parent, Result, Store, StoreError};
use credentialflow_model::{KeyId, Timestamp};
use sqlx::{AssertSqlSafe, Row};
use std::{
    collections::HashMap,
    str::{FromStr, Split},
};

const FIELD: char = '\u{1f}';
const ROW: char = '\u{1e}';

/// A page's keys with their resources' bodies, and their secrets, each in the order of the ids; and where those come from
/// that come from others.
pub(super) type Page = (Vec<(KeyRow, Option<String>)>, Vec<KeySecretRow>, HashMap<KeyId, Parent>);

pub(super) async fn page(store: &Store, after: i64, limit: u32) -> Result<Page> {
    let mut connection = store.reader().await?;
    let sql = joined(
        &[
            "CAST(id AS TEXT)",
            "name",
            "application",
            "CAST(created AS TEXT)",
            &nullable("revoked_at"),
            "COALESCE(quarantine, '')",
            "COALESCE(body, '')",
        ],
        "SELECT k.id, k.name, k.application, k.created, k.revoked_at, k.quarantine, r.body
         FROM keys k LEFT JOIN resources r ON r.kind = 'keys' AND r.name = k.name
         WHERE k.id > $1 ORDER BY k.id LIMIT $2",
    );
    let found = sqlx::query(AssertSqlSafe(sql)).bind(after).bind(i64::from(limit)).fetch_one(&mut *connection).await?;
    let mut keys = read(found.try_get(0)?, |fields| {
        let key = KeyRow {
            id: key_id(fields)?,
            name: parsed(fields)?,
            application: parsed(fields)?,
            created: Timestamp::from_micros(parsed(fields)?),
            revoked_at: optional_time(fields)?,
            quarantine: Some(next(fields)?).filter(|text| !text.is_empty()).map(str::to_owned),
        };
        let body = next(fields)?;
        Ok((key, (!body.is_empty()).then(|| body.to_owned())))
    })?;
    keys.sort_unstable_by_key(|(key, _)| key.id);
    let Some((last, _)) = keys.last() else { return Ok((keys, Vec::new(), HashMap::new())) };

    let sql = joined(
        &[
            "CAST(key_id AS TEXT)",
            "CAST(version AS TEXT)",
            "state",
            &store.driver().hex("hash"),
            "CAST(pepper_id AS TEXT)",
            "CAST(created AS TEXT)",
            &nullable("retire_at"),
        ],
        "SELECT key_id, version, state, hash, pepper_id, created, retire_at FROM key_secrets
         WHERE key_id > $1 AND key_id <= $2",
    );
    let found =
        sqlx::query(AssertSqlSafe(sql)).bind(after).bind(last.id.bits() as i64).fetch_one(&mut *connection).await?;
    let mut secrets = read(found.try_get(0)?, |fields| {
        Ok(KeySecretRow {
            key_id: key_id(fields)?,
            version: parsed(fields)?,
            state: parse_word(next(fields)?, "state of a key's secret")?,
            hash: hash(next(fields)?)?,
            pepper_id: parsed(fields)?,
            created: Timestamp::from_micros(parsed(fields)?),
            retire_at: optional_time(fields)?,
        })
    })?;
    secrets.sort_unstable_by_key(|s| (s.key_id, s.version));

    let sql = joined(
        &["CAST(key_id AS TEXT)", "CAST(parent AS TEXT)", "CAST(parent_version AS TEXT)", "CAST(exchanged AS TEXT)"],
        "SELECT key_id, parent, parent_version, exchanged FROM delegations WHERE key_id > $1 AND key_id <= $2",
    );
    let found =
        sqlx::query(AssertSqlSafe(sql)).bind(after).bind(last.id.bits() as i64).fetch_one(&mut *connection).await?;
    let parents = read(found.try_get(0)?, |fields| {
        let (key, parent) = (key_id(fields)?, key_id(fields)?);
        Ok((key, Parent { key: parent, version: parsed(fields)?, exchanged: next(fields)? != "0" }))
    })?;
    Ok((keys, secrets, parents.into_iter().collect()))
}

fn joined(fields: &[&str], rows: &str) -> String {
    let fields = fields.join(&format!(" || '{FIELD}' || "));
    format!("SELECT string_agg({fields}, '{ROW}') FROM ({rows}) AS page")
}

fn nullable(column: &str) -> String {
    format!("COALESCE(CAST({column} AS TEXT), '')")
}

type Fields<'a> = Split<'a, char>;

fn read<T>(text: Option<&str>, row: impl Fn(&mut Fields<'_>) -> Result<T>) -> Result<Vec<T>> {
    // Without a row there is no text; an empty text is never one.
    let rows = text.into_iter().flat_map(|t| t.split(ROW));
    rows.map(|line| {
        let mut fields = line.split(FIELD);
        let read = row(&mut fields)?;
        if fields.next().is_some() { Err(damaged()) } else { Ok(read) }
    })
    .collect()
}

fn damaged() -> StoreError {
    StoreError::corrupt("a key")
}

fn next<'a>(fields: &mut Fields<'a>) -> Result<&'a str> {
    fields.next().ok_or_else(damaged)
}

/// A field that its type reads from text.
fn parsed<T: FromStr>(fields: &mut Fields<'_>) -> Result<T> {
    next(fields)?.parse().map_err(|_| damaged())
}

fn key_id(fields: &mut Fields<'_>) -> Result<KeyId> {
    parsed(fields).map(KeyId::from_bits)
}

fn optional_time(fields: &mut Fields<'_>) -> Result<Option<Timestamp>> {
    match next(fields)? {
        "" => Ok(None),
        micros => micros.parse().map(|m| Some(Timestamp::from_micros(m))).map_err(|_| damaged()),
    }
}

/// 32 bytes from hexadecimal, capitals or not.
fn hash(text: &str) -> Result<[u8; 32]> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 32 || !rest.is_empty() {
        return Err(damaged());
    }
    let mut hash = [0; 32];
    for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
        *byte = digit(*high).zip(digit(*low)).map(|(h, l)| h << 4 | l).ok_or_else(damaged)?;
    }
    Ok(hash)
}
