//! Searches one segment: which blocks may match, then their rows.

mod light;

pub use light::{LightCall, Walked};

use super::{
    CallFilter, CallLogError, CallModel, CallRow, StatusFilter,
    filter::Cursor,
    segment::{self, SegmentName},
    summary::{self, Column, hash, request_value},
};
use credentialflow_model::{
    KeyId, OutcomeReason, RequestId, Timestamp, TraceId,
    resource::budget::pico,
    usage::{CacheUse, TokenUsage, charges},
};
use rusqlite::{Connection, Row, params_from_iter, types::Value, types::ValueRef};
use rust_decimal::Decimal;
use std::{
    cell::RefCell,
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::Instant,
};

/// Rows read between two looks at the clock.
const STEP_ROWS: i64 = 16 * summary::BLOCK_ROWS;
const COLUMNS: &str = "row, time, outcome, status, total_us, application, route, upstream, credential, model, key, \
    source, path, method, request_hi, request_lo, trace_hi, trace_lo, endpoint, credential_version, upstream_status, \
    attempts, bytes_in, bytes_out, upstream_us, ttfb_us, provider, provider_model, streamed, input, cached_input, \
    output, reasoning, cost, cache_write, cache_write_1h, budgets, tried, guardrails, end_user, asked, \
    cache, saved, prompt, \
    (SELECT body FROM mcp WHERE mcp.row = calls.row) AS mcp";

/// One segment, open for reading.
pub(super) struct Reader {
    db: Connection,
    id: String,
    /// Whether its blocks tell of prompts.
    tells_prompts: bool,
    names: RefCell<HashMap<i64, Arc<str>>>,
}

/// A condition over the rows, as SQL with its values.
struct Condition {
    sql: String,
    values: Vec<Value>,
}

impl Reader {
    pub fn open(dir: &Path, name: &SegmentName) -> Result<Option<Self>, CallLogError> {
        let Some(db) = segment::open(dir, name)? else { return Ok(None) };
        let form: i64 = db.query_row("PRAGMA user_version", [], |r| r.get(0))?;
        let tells_prompts = form >= segment::TELLS_PROMPTS;
        Ok(Some(Self { db, id: name.id().to_owned(), tells_prompts, names: RefCell::default() }))
    }

    /// The segment's database.
    pub(super) const fn connection(&self) -> &Connection {
        &self.db
    }

    pub fn last_row(&self) -> Result<i64, CallLogError> {
        Ok(self.db.query_row("SELECT coalesce(max(row), 0) FROM calls", [], |r| r.get(0))?)
    }

    /// Adds at most `limit` matching rows below a row, newest first. Gives the row to go on below when the time is up.
    pub fn newest(
        &self,
        filter: &CallFilter,
        below: i64,
        limit: usize,
        deadline: Instant,
        out: &mut Vec<(Cursor, CallRow)>,
    ) -> Result<Option<i64>, CallLogError> {
        let condition = self.condition(filter)?;
        let last = self.last_row()?;
        let top = last.min(below.saturating_sub(1));
        let end = out.len() + limit;
        for (first, last) in self.ranges(filter, 1, top)?.into_iter().rev() {
            self.rows(&condition, (first, last), "DESC", end - out.len(), out)?;
            if out.len() >= end {
                return Ok(None);
            }
            if Instant::now() > deadline {
                return Ok(Some(first));
            }
        }
        Ok(None)
    }

    /// Adds at most `limit` matching rows above a row, oldest first. Gives the row to go on above.
    pub fn after(
        &self,
        filter: &CallFilter,
        above: i64,
        limit: usize,
        out: &mut Vec<(Cursor, CallRow)>,
    ) -> Result<i64, CallLogError> {
        let (condition, last) = (self.condition(filter)?, self.last_row()?);
        let end = out.len() + limit;
        for (first, last) in self.ranges(filter, above + 1, last)? {
            self.rows(&condition, (first, last), "ASC", end - out.len(), out)?;
            if out.len() >= end {
                return Ok(out.last().map_or(last, |(cursor, _)| cursor.row));
            }
        }
        Ok(last.max(above))
    }

    pub fn get(&self, id: RequestId) -> Result<Option<CallRow>, CallLogError> {
        let needed = [hash(Column::Request, request_value(id.0))];
        let values = vec![Value::Integer((id.0 >> 64) as i64), Value::Integer(id.0 as i64)];
        let condition = Condition { sql: " AND request_hi = ? AND request_lo = ?".into(), values };
        let mut out = Vec::new();
        for range in self.candidates(&needed, &CallFilter::default(), 1, self.last_row()?)?.into_iter().rev() {
            self.rows(&condition, range, "DESC", 1, &mut out)?;
            if let Some((_, row)) = out.pop() {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// All rows above a row, in order; for filling the minutes after a crash.
    pub fn each_above(&self, above: i64, mut see: impl FnMut(CallRow)) -> Result<(), CallLogError> {
        let mut stmt = self.db.prepare(&format!("SELECT {COLUMNS} FROM calls WHERE row > ? ORDER BY row"))?;
        let mut rows = stmt.query([above])?;
        while let Some(row) = rows.next()? {
            see(self.read(row)?);
        }
        Ok(())
    }

    /// The stored minutes, and the last row they count.
    pub fn minutes(&self, mut see: impl FnMut(&str)) -> Result<i64, CallLogError> {
        let mut stmt = self.db.prepare("SELECT last_row, body FROM minutes")?;
        let mut rows = stmt.query([])?;
        let mut last = 0;
        while let Some(row) = rows.next()? {
            last = last.max(row.get(0)?);
            see(row.get_ref(1)?.as_str().unwrap_or_default());
        }
        Ok(last)
    }

    /// Adds up what calls above a row, up to another one, were charged to budgets, in units of 10^-12 US dollars.
    pub fn charges_in(&self, above: i64, last: i64, sums: &mut HashMap<String, i64>) -> Result<(), CallLogError> {
        let mut stmt = self.db.prepare(
            "SELECT budgets, cost FROM calls WHERE row > ? AND row <= ? AND budgets IS NOT NULL ORDER BY row",
        )?;
        let mut rows = stmt.query([above, last])?;
        while let Some(row) = rows.next()? {
            let usd = usd_of(row.get_ref(1)?).and_then(|usd| usd.parse().ok());
            if let (Some(budgets), Some(usd)) = (self.name(row.get_ref(0)?)?, usd) {
                let mut add = |windows: &str, amount: i64| match sums.get_mut(windows) {
                    Some(sum) => *sum = sum.saturating_add(amount),
                    None => drop(sums.insert(windows.to_owned(), amount)),
                };
                match budgets.contains('=') {
                    true => charges(&budgets, pico(usd)).for_each(|(window, share)| add(window, share)),
                    false => add(&budgets, pico(usd)),
                }
            }
        }
        Ok(())
    }

    /// The ids of the calls that began at this time or later.
    pub fn requests_since(&self, time_us: i64, each: &mut impl FnMut(u128)) -> Result<(), CallLogError> {
        let mut stmt = self.db.prepare("SELECT request_hi, request_lo FROM calls WHERE time >= ?")?;
        let mut rows = stmt.query([time_us])?;
        while let Some(row) = rows.next()? {
            let half = |value: i64| u128::from(value as u64);
            each(half(row.get(0)?) << 64 | half(row.get(1)?));
        }
        Ok(())
    }

    fn ranges(&self, filter: &CallFilter, first: i64, last: i64) -> Result<Vec<(i64, i64)>, CallLogError> {
        let mut needed = summary::needed(filter);
        needed.extend(summary::needed_of_prompt(filter).filter(|_| self.tells_prompts));
        self.candidates(&needed, filter, first, last)
    }

    /// The ranges of rows that may match, in order, each at most [`STEP_ROWS`] long.
    pub(super) fn candidates(
        &self,
        needed: &[u64],
        filter: &CallFilter,
        first: i64,
        last: i64,
    ) -> Result<Vec<(i64, i64)>, CallLogError> {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        let mut add = |from: i64, to: i64| {
            let (mut from, to) = (from.max(first), to.min(last));
            if let Some(before) = ranges.last_mut()
                && before.1 + 1 == from
                && to - before.0 < STEP_ROWS
            {
                before.1 = to;
                return;
            }
            while from <= to {
                ranges.push((from, to.min(from + STEP_ROWS - 1)));
                from += STEP_ROWS;
            }
        };
        let since = filter.since.map_or(i64::MIN, Timestamp::micros);
        let until = filter.until.map_or(i64::MAX, Timestamp::micros);
        let long = filter.min_duration_us.map_or(0, |us| i64::try_from(us).unwrap_or(i64::MAX));
        let either = summary::either(filter);
        let blob = if needed.is_empty() && either.is_empty() { "NULL" } else { "filter" };
        let mut stmt = self.db.prepare(&format!(
            "SELECT first_row, last_row, max_time >= ?3 AND min_time < ?4 AND max_total_us >= ?5, {blob} FROM blocks \
             WHERE first_row <= ?2 AND last_row >= ?1 ORDER BY first_row"
        ))?;
        let mut rows = stmt.query((first, last, since, until, long))?;
        let mut covered = first - 1;
        while let Some(row) = rows.next()? {
            let (from, to, fits): (i64, i64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            covered = to;
            let holds = match row.get_ref(3)? {
                ValueRef::Blob(filter) => {
                    let may = |hash: &u64| summary::may_hold(filter, *hash);
                    needed.iter().all(may) && (either.is_empty() || either.iter().any(may))
                }
                _ => true,
            };
            if fits && holds {
                add(from, to);
            }
        }
        // The newest rows have no summary yet.
        add(covered + 1, last);
        Ok(ranges)
    }

    fn rows(
        &self,
        condition: &Condition,
        (first, last): (i64, i64),
        order: &str,
        limit: usize,
        out: &mut Vec<(Cursor, CallRow)>,
    ) -> Result<(), CallLogError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM calls WHERE row BETWEEN ? AND ?{} ORDER BY row {order} LIMIT ?",
            condition.sql
        );
        let mut stmt = self.db.prepare_cached(&sql)?;
        let range = [Value::Integer(first), Value::Integer(last)];
        let limit = Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX));
        let mut rows = stmt.query(params_from_iter(range.iter().chain(&condition.values).chain([&limit])))?;
        while let Some(row) = rows.next()? {
            out.push((Cursor { segment: self.id.clone(), row: row.get(0)? }, self.read(row)?));
        }
        Ok(())
    }

    fn condition(&self, f: &CallFilter) -> Result<Condition, CallLogError> {
        let mut c = Condition { sql: String::new(), values: Vec::new() };
        let mut and = |sql: &str, values: &mut dyn Iterator<Item = Value>| {
            c.sql.push_str(" AND ");
            c.sql.push_str(sql);
            c.values.extend(values);
        };
        let int = |n: u64| Value::Integer(i64::try_from(n).unwrap_or(i64::MAX));
        if let Some(outcome) = f.outcome {
            and("outcome = ?", &mut [int(outcome as u64)].into_iter());
        }
        match f.status {
            Some(StatusFilter::Exact(status)) => and("status = ?", &mut [int(u64::from(status))].into_iter()),
            Some(StatusFilter::Class(class)) => {
                let from = u64::from(class) * 100;
                and("status BETWEEN ? AND ?", &mut [int(from), int(from + 99)].into_iter());
            }
            None => {}
        }
        if let Some(us) = f.min_duration_us {
            and("total_us >= ?", &mut [int(us)].into_iter());
        }
        if let Some(since) = f.since {
            and("time >= ?", &mut [Value::Integer(since.micros())].into_iter());
        }
        if let Some(until) = f.until {
            and("time < ?", &mut [Value::Integer(until.micros())].into_iter());
        }
        for (column, name) in [
            ("application", &f.application),
            ("route", &f.route),
            ("upstream", &f.upstream),
            ("credential", &f.credential),
            ("model", &f.model),
        ] {
            if let Some(name) = name {
                // The id, or the text where the writer had no room for the name. Unary plus: no affinity.
                let mut stmt = self.db.prepare_cached("SELECT id FROM strings WHERE text = ?")?;
                let mut ids = stmt.query([name])?;
                let id = ids.next()?.map(|r| r.get(0)).transpose()?.map_or(Value::Null, Value::Integer);
                and(&format!("{column} IN (?, ?)"), &mut [id, Value::Text(name.clone())].into_iter());
            }
        }
        if let Some(key) = f.key {
            and("key = ?", &mut [int(key.bits())].into_iter());
        }
        if let Some(keys) = &f.keys {
            let keys: Vec<i64> = keys.iter().map(|key| key.bits() as i64).collect();
            // Plain numbers: serializing does not fail.
            let list = Value::Text(serde_json::to_string(&keys).unwrap_or_default());
            and("key IN (SELECT value FROM json_each(?))", &mut [list].into_iter());
        }
        if let Some(name) = &f.prompt {
            match f.prompt_version {
                Some(version) => {
                    let told = Value::Text(format!("{name}/{version}"));
                    let sql = "prompt IN ((SELECT id FROM strings WHERE text = ?), ?)";
                    and(sql, &mut [told.clone(), told].into_iter());
                }
                // All texts that begin with the name and a slash; what follows a slash is a nought.
                None => {
                    let (from, to) = (Value::Text(format!("{name}/")), Value::Text(format!("{name}0")));
                    let sql = "(prompt IN (SELECT id FROM strings WHERE text >= ? AND text < ?) \
                               OR (typeof(prompt) = 'text' AND prompt >= ? AND prompt < ?))";
                    and(sql, &mut [from.clone(), to.clone(), from, to].into_iter());
                }
            }
        }
        if let Some(source) = f.source {
            let value = match source {
                IpAddr::V4(v4) => int(u64::from(v4.to_bits())),
                IpAddr::V6(v6) => Value::Blob(v6.octets().to_vec()),
            };
            and("source = ?", &mut [value].into_iter());
        }
        if let Some(prefix) = &f.path_prefix {
            // Lengths and prefixes in bytes: a path is compared as it was sent.
            let values = [Value::Integer(prefix.len() as i64), Value::Blob(prefix.clone().into_bytes())];
            and("substr(CAST(path AS BLOB), 1, ?) = ?", &mut values.into_iter());
        }
        Ok(c)
    }

    fn name(&self, value: ValueRef<'_>) -> Result<Option<String>, CallLogError> {
        match value {
            ValueRef::Integer(id) => {
                if let Some(name) = self.names.borrow().get(&id) {
                    return Ok(Some(name.to_string()));
                }
                let name: String =
                    self.db.prepare_cached("SELECT text FROM strings WHERE id = ?")?.query_row([id], |r| r.get(0))?;
                self.names.borrow_mut().insert(id, name.as_str().into());
                Ok(Some(name))
            }
            ValueRef::Text(text) => Ok(Some(String::from_utf8_lossy(text).into_owned())),
            _ => Ok(None),
        }
    }

    fn read(&self, r: &Row<'_>) -> Result<CallRow, CallLogError> {
        let int = |at: usize| -> Result<u64, CallLogError> { Ok(r.get::<_, i64>(at)? as u64) };
        let wide =
            |at: usize| -> Result<u128, CallLogError> { Ok(u128::from(int(at)?) << 64 | u128::from(int(at + 1)?)) };
        let name = |at: usize| self.name(r.get_ref(at)?);
        let outcome = OutcomeReason::from_number(int(2)? as u8).unwrap_or(OutcomeReason::Internal);
        let model = match name(9)? {
            None => None,
            Some(model) => {
                let cost = r.get_ref(33)?;
                let cost_usd = usd_of(cost);
                let is = |begin: u8| matches!(cost, ValueRef::Text([first, ..]) if *first == begin);
                let (cost_unknown, cost_estimated) = (is(b'?'), is(b'~'));
                let budgets = charges(&name(36)?.unwrap_or_default(), 0).map(|(window, _)| window.to_owned()).collect();
                let tried: Option<String> = r.get(37)?;
                let tried = tried.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
                let guardrails: Option<String> = r.get(38)?;
                let guardrails = guardrails.unwrap_or_default().split_whitespace().map(str::to_owned).collect();
                let prompt = name(43)?;
                let (prompt, prompt_version) = match prompt.as_deref().and_then(|told| told.rsplit_once('/')) {
                    Some((prompt, version)) => (Some(prompt.to_owned()), version.parse().ok()),
                    None => (None, None),
                };
                let tokens = match r.get_ref(29)? {
                    ValueRef::Null => None,
                    _ => Some(TokenUsage {
                        input: int(29)?,
                        cached_input: int(30)?,
                        cache_write: int(34)?,
                        cache_write_1h: int(35)?,
                        output: int(31)?,
                        reasoning: int(32)?,
                    }),
                };
                Some(CallModel {
                    model,
                    provider: name(26)?.unwrap_or_default(),
                    provider_model: name(27)?.unwrap_or_default(),
                    streamed: r.get(28)?,
                    tokens,
                    cost_usd,
                    cost_unknown,
                    cost_estimated,
                    budgets,
                    tried,
                    guardrails,
                    user: r.get(39)?,
                    asked: name(40)?,
                    cache: r.get::<_, Option<i64>>(41)?.and_then(CacheUse::from_number),
                    saved_usd: usd_of(r.get_ref(42)?),
                    prompt,
                    prompt_version,
                })
            }
        };
        let source = match r.get_ref(11)? {
            ValueRef::Integer(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4 as u32)),
            ValueRef::Blob(v6) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(v6).unwrap_or_default())),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        Ok(CallRow {
            time: Timestamp::from_micros(r.get(1)?),
            request_id: RequestId(wide(14)?).to_string(),
            trace_id: TraceId(wide(16)?).to_string(),
            source: source.to_string(),
            application: name(5)?,
            key: r.get::<_, Option<i64>>(10)?.map(|bits| KeyId::from_bits(bits as u64)),
            route: name(6)?,
            method: name(13)?.unwrap_or_default(),
            path: r.get(12)?,
            upstream: name(7)?,
            endpoint: name(18)?,
            credential: name(8)?,
            credential_version: r.get(19)?,
            outcome,
            fault: outcome.fault(),
            status: r.get(3)?,
            upstream_status: r.get(20)?,
            attempts: r.get(21)?,
            bytes_in: int(22)?,
            bytes_out: int(23)?,
            total_us: int(4)?,
            upstream_us: int(24)?,
            ttfb_us: int(25)?,
            model,
            mcp: r.get::<_, Option<String>>("mcp")?.and_then(|body| serde_json::from_str(&body).ok()),
        })
    }
}

/// A cost as stored, in US dollars; nothing where it is not known or there was none.
pub(super) fn usd_of(cost: ValueRef<'_>) -> Option<String> {
    match cost {
        ValueRef::Integer(nano) => Some(Decimal::new(nano, 9).normalize().to_string()),
        ValueRef::Text(b"?") => None,
        ValueRef::Text(usd) => Some(String::from_utf8_lossy(usd.strip_prefix(b"~").unwrap_or(usd)).into_owned()),
        _ => None,
    }
}
