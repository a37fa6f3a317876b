//! Entries: sealed bytes under a path, each mount in a space of its own.

use super::cache::Cached;
use super::entry_key;
use crate::{Result, Store, WriteTx};
use sqlx::{AnyConnection, Row};
use std::sync::Arc;

/// A stored entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Its sealed bytes.
    pub sealed: Arc<[u8]>,
    /// The number of the commit that wrote it; never given twice.
    pub revision: i64,
}

/// Paths looked at in one statement.
const PAGE: i64 = 500;
/// Greater than every character a path can go on with.
pub(super) const LAST: char = '\u{10ffff}';

impl Store {
    /// An entry, from the cache where it is there.
    pub async fn entry(&self, space: &str, path: &str) -> Result<Option<EntryRow>> {
        let key = entry_key(space, path);
        let mark = match self.cache().get(&key) {
            Ok(Cached::Entry(sealed, revision)) => return Ok(Some(EntryRow { sealed, revision })),
            Ok(Cached::Nothing) => return Ok(None),
            Ok(Cached::Token(_)) => self.cache().mark(&key),
            Err(mark) => mark,
        };
        let found = read(&mut *self.reader().await?, space, path).await?;
        let kept = found.as_ref().map_or(Cached::Nothing, |row| Cached::Entry(row.sealed.clone(), row.revision));
        self.cache().insert(&key, kept, mark);
        Ok(found)
    }

    /// The names one level below a prefix (which ends with `/` or is empty) that come after a name, in
    /// the order of their bytes, at most `limit`. What has more below it ends with `/`; a name may come
    /// as both.
    pub async fn entry_children(&self, space: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let sql = "SELECT path FROM entries WHERE space = $1 AND path > $2 AND path < $3 ORDER BY path LIMIT $4";
        self.children(sql, Some(space), prefix, after, limit).await
    }

    /// Walks one level of a table whose rows have paths, skipping what lies deeper.
    pub(super) async fn children(
        &self,
        sql: &'static str,
        space: Option<&str>,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<String>> {
        let mut names: Vec<String> = Vec::new();
        // `/` is followed by `0`: past everything below a folder, and just before what comes next.
        let past = |folder: &str| before(&format!("{prefix}{}0", folder.trim_end_matches('/')));
        let mut cursor = if after.ends_with('/') { past(after) } else { format!("{prefix}{after}") };
        let end = format!("{prefix}{LAST}");
        let mut connection = self.reader().await?;
        loop {
            let mut query = sqlx::query(sql);
            if let Some(space) = space {
                query = query.bind(space);
            }
            let rows = query.bind(cursor.as_str()).bind(end.as_str()).bind(PAGE).fetch_all(&mut *connection).await?;
            for row in &rows {
                let path: &str = row.try_get(0)?;
                let Some(rest) = path.strip_prefix(prefix) else { continue };
                let name = match rest.find('/') {
                    Some(at) => &rest[..=at],
                    None => rest,
                };
                cursor = path.to_owned();
                // The row the cursor stands on is a leaf of its own name: `x0` is not below `x/`.
                if name.is_empty() || names.last().is_some_and(|last| last == name) {
                    continue;
                }
                if names.len() == limit {
                    return Ok(names);
                }
                names.push(name.to_owned());
            }
            if rows.len() < PAGE as usize {
                return Ok(names);
            }
            if let Some(folder) = names.last().filter(|n| n.ends_with('/')) {
                cursor = past(folder);
            }
        }
    }

    /// All paths of a space that begin with a prefix and come after a path, in the order of their
    /// bytes, at most `limit`.
    pub async fn entry_paths(&self, space: &str, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>> {
        let from = if after.is_empty() { before(prefix) } else { after.to_owned() };
        let rows =
            sqlx::query("SELECT path FROM entries WHERE space = $1 AND path > $2 AND path < $3 ORDER BY path LIMIT $4")
                .bind(space)
                .bind(from)
                .bind(format!("{prefix}{LAST}"))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                .fetch_all(&mut *self.reader().await?)
                .await?;
        rows.iter().map(|r| Ok(r.try_get(0)?)).collect()
    }

    /// Entries of a space whose path begins so and comes after a path, in the order of their paths, at most `limit`.
    /// They pass the cache by: who walks over all of them must not push out what is in use.
    pub async fn entries_below(
        &self,
        space: &str,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<(String, EntryRow)>> {
        let rows = sqlx::query(
            "SELECT path, sealed, revision FROM entries
             WHERE space = $1 AND path >= $2 AND path > $3 AND path < $4 ORDER BY path LIMIT $5",
        )
        .bind(space)
        .bind(prefix)
        .bind(after)
        .bind(format!("{prefix}{LAST}"))
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|r| {
                let sealed: Vec<u8> = r.try_get(1)?;
                Ok((r.try_get(0)?, EntryRow { sealed: sealed.into(), revision: r.try_get(2)? }))
            })
            .collect()
    }

    /// Entries after a place (space and path), in order, at most `limit`: for sealing them anew.
    pub async fn entries_after(&self, space: &str, path: &str, limit: u32) -> Result<Vec<(String, String, EntryRow)>> {
        let rows = sqlx::query(
            "SELECT space, path, sealed, revision FROM entries
             WHERE space > $1 OR (space = $1 AND path > $2) ORDER BY space, path LIMIT $3",
        )
        .bind(space)
        .bind(path)
        .bind(i64::from(limit))
        .fetch_all(&mut *self.reader().await?)
        .await?;
        rows.iter()
            .map(|r| {
                let sealed: Vec<u8> = r.try_get(2)?;
                Ok((r.try_get(0)?, r.try_get(1)?, EntryRow { sealed: sealed.into(), revision: r.try_get(3)? }))
            })
            .collect()
    }
}

impl WriteTx {
    /// An entry as this transaction sees it.
    pub async fn entry(&mut self, space: &str, path: &str) -> Result<Option<EntryRow>> {
        read(self.connection(), space, path).await
    }
}

async fn read(c: &mut AnyConnection, space: &str, path: &str) -> Result<Option<EntryRow>> {
    let row = sqlx::query("SELECT sealed, revision FROM entries WHERE space = $1 AND path = $2")
        .bind(space)
        .bind(path)
        .fetch_optional(c)
        .await?;
    row.map(|r| {
        let sealed: Vec<u8> = r.try_get(0)?;
        Ok(EntryRow { sealed: sealed.into(), revision: r.try_get(1)? })
    })
    .transpose()
}

/// A text below `text` with nothing between them that a path could be: the last character lowered by
/// one and followed by the greatest.
fn before(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let Some(last) = chars.pop() else { return String::new() };
    let lower = (0..u32::from(last)).rev().find_map(char::from_u32);
    match lower {
        // No NUL is ever stored, and PostgreSQL refuses one even in a comparison.
        Some(lower) if lower != '\0' => {
            chars.push(lower);
            chars.push(LAST);
        }
        _ => {}
    }
    chars.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::before;

    #[test]
    fn before_is_below() {
        for text in ["a", "b/", "folder0", "é", "\u{e000}", ""] {
            assert!(before(text).as_str() < text || text.is_empty());
        }
        assert!(before("x0").as_str() > "x/zzz");
    }
}
