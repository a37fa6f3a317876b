//! Writes rows into the newest segment, one transaction for many rows.
//!
//! After any failure the writer is thrown away and a new segment begun: what SQLite, the table of names and the
//! summary hold can then not disagree.

use super::{
    filter::Cursor,
    row::{CallMcp, CallTried},
    segment::{self, SegmentName},
    summary::{BLOCK_ROWS, Column, Summary, hash, prompt_name, request_value, source_value},
};
use crate::{
    intern::{Interner, NameId, stable_hash},
    rollup::Minute,
};
use credentialflow_model::{
    UsageRecord,
    usage::{Cost, Tried},
};
use rusqlite::{Connection, Statement, types::Value};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use std::{net::IpAddr, path::Path, sync::Arc};

const DAY_US: i64 = 86_400_000_000;
const INSERT_PLAIN: &str = "INSERT INTO calls (time, outcome, status, total_us, application, route, upstream, \
    credential, key, source, path, method, request_hi, request_lo, trace_hi, trace_lo, endpoint, credential_version, \
    upstream_status, attempts, bytes_in, bytes_out, upstream_us, ttfb_us) \
    VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";
const INSERT_MODEL: &str = "INSERT INTO calls (time, outcome, status, total_us, application, route, upstream, \
    credential, key, source, path, method, request_hi, request_lo, trace_hi, trace_lo, endpoint, credential_version, \
    upstream_status, attempts, bytes_in, bytes_out, upstream_us, ttfb_us, \
    model, provider, provider_model, streamed, input, cached_input, output, reasoning, cost, cache_write, cache_write_1h, \
    budgets, tried, guardrails, end_user, asked, cache, saved, prompt) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)";

/// The segment being written by this process.
pub(crate) struct Writer {
    db: Connection,
    pub name: SegmentName,
    dir: std::path::PathBuf,
    day: i64,
    /// The last row written.
    row: i64,
    /// By name id: whether the segment has the name.
    known: Vec<bool>,
    summary: Summary,
}

impl Writer {
    /// Begins a segment for the day of a record; `writer` is who does.
    pub fn create(dir: &Path, time_us: i64, writer: u32) -> Result<Self, super::CallLogError> {
        std::fs::create_dir_all(dir)?;
        let day = time_us.div_euclid(DAY_US);
        let name = SegmentName::new(dir, day, writer)?;
        let db = segment::create(dir, &name).inspect_err(|_| {
            // A file without a schema would be read by nobody and deleted late.
            let _ = segment::delete(dir, &name);
        })?;
        Ok(Self { db, name, dir: dir.to_owned(), day, row: 0, known: Vec::new(), summary: Summary::new(1) })
    }

    /// Rows written so far.
    pub fn rows(&self) -> i64 {
        self.row
    }

    /// The place after the last row, as a cursor.
    pub fn place(&self) -> String {
        Cursor { segment: self.name.id().to_owned(), row: self.row }.to_string()
    }

    /// Whether a record of this time belongs into a newer segment. A clock that goes back does not.
    pub fn is_past(&self, time_us: i64) -> bool {
        time_us.div_euclid(DAY_US) > self.day
    }

    /// Whether the file is still where readers look for it.
    pub fn is_reachable(&self) -> bool {
        self.name.path(&self.dir).exists()
    }

    /// Writes the records and the minutes in one transaction.
    pub fn write<'a>(
        &mut self,
        records: impl Iterator<Item = &'a UsageRecord>,
        minutes: &[Minute],
        names: &mut Interner,
    ) -> Result<u64, rusqlite::Error> {
        let before = self.row;
        let written = self.transaction(records, minutes, names);
        if written.is_err() {
            self.row = before;
        }
        written.map(|()| (self.row - before) as u64)
    }

    fn transaction<'a>(
        &mut self,
        records: impl Iterator<Item = &'a UsageRecord>,
        minutes: &[Minute],
        names: &mut Interner,
    ) -> Result<(), rusqlite::Error> {
        let Self { db, row, known, summary, .. } = self;
        let tx = db.unchecked_transaction()?;
        {
            let mut insert = Insert {
                plain: tx.prepare_cached(INSERT_PLAIN)?,
                model: tx.prepare_cached(INSERT_MODEL)?,
                string: tx.prepare_cached("INSERT INTO strings (id, text) VALUES (?, ?)")?,
                mcp: tx.prepare_cached("INSERT INTO mcp (row, body) VALUES (?, ?)")?,
                names,
                known,
                summary,
            };
            let mut block = tx.prepare_cached("INSERT INTO blocks VALUES (?, ?, ?, ?, ?, ?)")?;
            for record in records {
                *row = insert.row(record, &tx)?;
                let s = &mut *insert.summary;
                if s.rows >= BLOCK_ROWS {
                    block.execute((s.first_row, *row, s.min_time, s.max_time, s.max_total_us, s.bytes()))?;
                    s.reset(*row + 1);
                }
            }
            if !minutes.is_empty() {
                let mut minute = tx.prepare_cached("INSERT INTO minutes (last_row, body) VALUES (?, ?)")?;
                for part in minutes {
                    // Plain numbers and strings: serializing does not fail.
                    minute.execute((*row, serde_json::to_string(part).unwrap_or_default()))?;
                }
            }
        }
        tx.commit()
    }

    /// Ends the segment; what is left in the write-ahead log goes into the file.
    pub fn seal(self) {
        if let Err(error) = super::upkeep::seal(&self.db) {
            tracing::debug!(segment = self.name.id(), %error, "the segment is being read; it is sealed later");
        }
    }
}

struct Insert<'a> {
    plain: rusqlite::CachedStatement<'a>,
    model: rusqlite::CachedStatement<'a>,
    string: rusqlite::CachedStatement<'a>,
    mcp: rusqlite::CachedStatement<'a>,
    names: &'a mut Interner,
    known: &'a mut Vec<bool>,
    summary: &'a mut Summary,
}

impl Insert<'_> {
    fn row(&mut self, r: &UsageRecord, db: &Connection) -> rusqlite::Result<i64> {
        let time = r.time.micros();
        self.summary.row(time, r.total_us as i64);
        self.summary.ending(r.outcome, r.status);
        self.summary.add(hash(Column::Request, request_value(r.request_id.0)));
        self.summary.add(hash(Column::Source, source_value(r.source)));
        if let Some(key) = r.key {
            self.summary.add(hash(Column::Key, key.bits()));
        }
        if let Some(prompt) = r.model.as_ref().and_then(|m| m.prompt.as_ref()) {
            self.summary.add(hash(Column::Prompt, stable_hash(prompt_name(prompt).as_bytes())));
        }
        let mut names = [Bound::Null; 12];
        let fields = [
            (Some(Column::Application), r.application.as_ref()),
            (Some(Column::Route), r.route.as_ref()),
            (Some(Column::Upstream), r.upstream.as_ref()),
            (Some(Column::Credential), r.credential.as_ref().map(|c| &c.credential)),
            (None, Some(&r.method)),
            (None, r.endpoint.as_ref()),
            (Some(Column::Model), r.model.as_ref().map(|m| &m.model)),
            (None, r.model.as_ref().map(|m| &m.provider)),
            (None, r.model.as_ref().map(|m| &m.provider_model)),
            (None, r.model.as_ref().and_then(|m| m.budgets.as_ref())),
            (None, r.model.as_ref().and_then(|m| m.asked.as_ref())),
            (None, r.model.as_ref().and_then(|m| m.prompt.as_ref())),
        ];
        for (bound, (column, name)) in names.iter_mut().zip(fields) {
            if let Some(name) = name {
                *bound = self.name(column, name)?;
            }
        }
        let stmt = if r.model.is_some() { &mut self.model } else { &mut self.plain };
        let mut b = Binder { stmt, at: 0 };
        b.int(time)?;
        b.int(r.outcome as i64)?;
        b.int(i64::from(r.status))?;
        b.int(r.total_us as i64)?;
        b.name(names[0])?;
        b.name(names[1])?;
        b.name(names[2])?;
        b.name(names[3])?;
        b.opt(r.key.map(|key| key.bits() as i64))?;
        match r.source {
            IpAddr::V4(v4) => b.int(i64::from(v4.to_bits()))?,
            IpAddr::V6(v6) => b.bind(&v6.octets()[..])?,
        }
        b.bind(&*r.path)?;
        b.name(names[4])?;
        b.wide(r.request_id.0)?;
        b.wide(r.trace_id.0)?;
        b.name(names[5])?;
        b.opt(r.credential.as_ref().map(|c| i64::from(c.version)))?;
        b.int(i64::from(r.upstream_status))?;
        b.int(i64::from(r.attempts))?;
        b.int(r.bytes_in as i64)?;
        b.int(r.bytes_out as i64)?;
        b.int(r.upstream_us as i64)?;
        b.int(r.ttfb_us as i64)?;
        if let Some(m) = &r.model {
            b.name(names[6])?;
            b.name(names[7])?;
            b.name(names[8])?;
            b.int(i64::from(m.streamed))?;
            b.opt(m.tokens.map(|t| t.input as i64))?;
            b.opt(m.tokens.map(|t| t.cached_input as i64))?;
            b.opt(m.tokens.map(|t| t.output as i64))?;
            b.opt(m.tokens.map(|t| t.reasoning as i64))?;
            b.bind(cost_value(m.cost))?;
            b.opt(m.tokens.map(|t| t.cache_write as i64))?;
            b.opt(m.tokens.map(|t| t.cache_write_1h as i64))?;
            b.name(names[9])?;
            b.bind(tried(&m.tried))?;
            b.bind(m.guardrails.as_deref())?;
            // As text: there may be more users than names are kept of.
            b.bind(m.user.as_deref())?;
            b.name(names[10])?;
            b.opt(m.cache.map(|cache| cache as i64))?;
            b.bind(m.saved.map_or(Value::Null, usd_value))?;
            b.name(names[11])?;
        }
        stmt.raw_execute()?;
        let row = db.last_insert_rowid();
        if let Some(used) = &r.mcp {
            // Plain numbers and strings: serializing does not fail.
            self.mcp.execute((row, serde_json::to_string(&CallMcp::from(&**used)).unwrap_or_default()))?;
        }
        Ok(row)
    }

    /// The name's id, writing the name when the segment does not have it; its text when there is no room.
    #[inline]
    fn name<'n>(&mut self, column: Option<Column>, name: &'n Arc<str>) -> rusqlite::Result<Bound<'n>> {
        let Some(id) = self.names.id(name) else {
            if let Some(column) = column {
                self.summary.add(hash(column, stable_hash(name.as_bytes())));
            }
            return Ok(Bound::Text(name));
        };
        if let Some(column) = column {
            self.summary.add(hash(column, self.names.hash(id)));
        }
        if !self.known.get(id as usize).is_some_and(|known| *known) {
            self.string.execute((id, &**name))?;
            if self.known.len() <= id as usize {
                self.known.resize(id as usize + 1, false);
            }
            self.known[id as usize] = true;
        }
        Ok(Bound::Id(id))
    }
}

/// The targets that failed before; most calls have none.
fn tried(tried: &[Tried]) -> Option<String> {
    // Plain numbers and strings: serializing does not fail.
    (!tried.is_empty()).then(|| {
        let rows: Vec<CallTried> = tried.iter().map(CallTried::from).collect();
        serde_json::to_string(&rows).unwrap_or_default()
    })
}

#[derive(Clone, Copy)]
enum Bound<'a> {
    Null,
    Id(NameId),
    Text(&'a str),
}

/// Binds parameters in order.
struct Binder<'a, 'b> {
    stmt: &'a mut Statement<'b>,
    at: usize,
}

impl Binder<'_, '_> {
    #[inline]
    fn bind(&mut self, value: impl rusqlite::ToSql) -> rusqlite::Result<()> {
        self.at += 1;
        self.stmt.raw_bind_parameter(self.at, value)
    }
    #[inline]
    fn int(&mut self, value: i64) -> rusqlite::Result<()> {
        self.bind(value)
    }
    #[inline]
    fn opt(&mut self, value: Option<i64>) -> rusqlite::Result<()> {
        self.bind(value)
    }
    #[inline]
    fn wide(&mut self, value: u128) -> rusqlite::Result<()> {
        self.int((value >> 64) as i64)?;
        self.int(value as i64)
    }
    #[inline]
    fn name(&mut self, value: Bound<'_>) -> rusqlite::Result<()> {
        match value {
            Bound::Null => self.bind(rusqlite::types::Null),
            Bound::Id(id) => self.int(i64::from(id)),
            Bound::Text(text) => self.bind(text),
        }
    }
}

fn cost_value(cost: Option<Cost>) -> Value {
    match cost {
        None => Value::Null,
        Some(Cost::UnknownPrice | Cost::UnknownUsage) => Value::Text("?".into()),
        Some(Cost::Estimated(usd)) => Value::Text(format!("~{}", usd.normalize())),
        Some(Cost::Known(usd)) => usd_value(usd),
    }
}

fn usd_value(usd: Decimal) -> Value {
    let nano = usd.checked_mul(Decimal::from(1_000_000_000u32));
    match nano.filter(Decimal::is_integer).and_then(|n| n.to_i64()) {
        Some(nano) => Value::Integer(nano),
        None => Value::Text(usd.normalize().to_string()),
    }
}
