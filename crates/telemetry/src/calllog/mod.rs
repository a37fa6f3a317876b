//! The call log: every finished request, in append-only segments that are read newest first.
//!
//! A segment is one SQLite file of at most a day and about a million rows, written by one process and never
//! changed afterwards. Rows carry no index: every 4,096 rows a summary (times, longest duration, a Bloom filter
//! over all values that can be searched for) is written beside them, so a search reads only the blocks that may
//! hold a match, and nothing has to be built later. All functions here block; none but [`CallLog::recover`] writes.

pub(crate) mod begin;
mod filter;
mod query;
mod row;
pub(crate) mod segment;
mod spend;
mod summary;
pub(crate) mod upkeep;
pub(crate) mod writer;

pub use filter::{CallFilter, InvalidStatusFilter, StatusFilter};
pub use query::{LightCall, Walked};
pub use row::{CallMcp, CallModel, CallRow, Page};
pub use spend::{QUARTER, SpendPiece, SpendSeries, SpendSums};

use crate::journal;
use filter::Cursor;
use segment::SegmentName;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Rows of one page at most.
pub const MAX_LIMIT: usize = 1000;
/// How long one page may take before it is given back unfinished, with a cursor to go on.
const PAGE_TIME: Duration = Duration::from_millis(1500);

/// Why the call log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CallLogError {
    /// A segment cannot be read.
    #[error("the call log cannot be read")]
    Database(#[from] rusqlite::Error),
    /// The directory cannot be read.
    #[error("the call log's directory cannot be read")]
    Directory(#[from] std::io::Error),
    /// The cursor was not made by this call log.
    #[error("the cursor is not valid; begin again without one")]
    InvalidCursor,
}

/// Reads the call log in a directory, also while it is being written.
#[derive(Clone, Debug)]
pub struct CallLog {
    dir: PathBuf,
}

impl CallLog {
    /// The call log in this directory. Nothing is opened yet; a missing directory is an empty log.
    pub fn new(dir: impl AsRef<Path>) -> Self {
        Self { dir: dir.as_ref().to_owned() }
    }

    /// The calls that match, the last one to be recorded first: at most `limit` (1 to 1,000), going on after `cursor`.
    ///
    /// A call is recorded when it ends, so a long call stands where it ended. Calls of one write stand in the
    /// order of their ends; between two writes that order may be off by the time between them. What is recorded
    /// never moves, so pages are stable while calls are added: going on shows every call once. While two processes share the
    /// directory, the older one's calls count as older than all of the newer one's.
    pub fn query(
        &self,
        filter: &CallFilter,
        limit: usize,
        cursor: Option<&str>,
    ) -> Result<Page<CallRow>, CallLogError> {
        self.query_until(filter, limit, cursor, Instant::now() + PAGE_TIME)
    }

    fn query_until(
        &self,
        filter: &CallFilter,
        limit: usize,
        cursor: Option<&str>,
        deadline: Instant,
    ) -> Result<Page<CallRow>, CallLogError> {
        let from: Option<Cursor> = cursor.map(str::parse).transpose()?;
        let limit = limit.clamp(1, MAX_LIMIT);
        let mut items = Vec::new();
        let (mut more, mut looked) = (None, false);
        for name in self.segments()?.into_iter().rev() {
            let below = match &from {
                Some(cursor) if name.id() > cursor.segment.as_str() => continue,
                Some(cursor) if name.id() == cursor.segment => cursor.row,
                _ => i64::MAX,
            };
            let here = |row| Some(Cursor { segment: name.id().to_owned(), row });
            // The first segment is always looked at, so that every page gets on.
            if looked && Instant::now() > deadline {
                more = here(below);
                break;
            }
            looked = true;
            let Some(reader) = query::Reader::open(&self.dir, &name)? else { continue };
            // One more than asked for shows whether there is a next page.
            let stopped = reader.newest(filter, below, limit + 1 - items.len(), deadline, &mut items)?;
            if items.len() > limit {
                items.truncate(limit);
                more = items.last().map(|(cursor, _)| cursor.clone());
                break;
            }
            if let Some(row) = stopped {
                more = here(row);
                break;
            }
        }
        Ok(Page { items: items.into_iter().map(|(_, row)| row).collect(), next: more.map(|cursor| cursor.to_string()) })
    }

    /// The calls recorded after `cursor` that match, oldest first, and always a cursor for the next call. Without
    /// a cursor: the newest `limit` of them.
    pub fn tail(&self, filter: &CallFilter, limit: usize, cursor: Option<&str>) -> Result<Page<CallRow>, CallLogError> {
        let limit = limit.clamp(1, MAX_LIMIT);
        let segments = self.segments()?;
        let Some(cursor) = cursor else {
            // The end is noted before looking, so that nothing in between is missed.
            let end = match segments.last() {
                Some(name) => {
                    let last = query::Reader::open(&self.dir, name)?.map(|r| r.last_row()).transpose()?.unwrap_or(0);
                    Some(Cursor { segment: name.id().to_owned(), row: last })
                }
                None => Some(Cursor { segment: "0".into(), row: 0 }),
            };
            let newest = end.as_ref().map(|e| Cursor { segment: e.segment.clone(), row: e.row + 1 }.to_string());
            let mut page = self.query(filter, limit, newest.as_deref())?;
            page.items.reverse();
            return Ok(Page { items: page.items, next: end.map(|e| e.to_string()) });
        };
        let mut at: Cursor = cursor.parse()?;
        let mut items = Vec::new();
        for name in segments.iter().filter(|name| name.id() >= at.segment.as_str()).collect::<Vec<_>>() {
            let above = if name.id() == at.segment { at.row } else { 0 };
            let Some(reader) = query::Reader::open(&self.dir, name)? else { continue };
            let row = reader.after(filter, above, limit - items.len(), &mut items)?;
            at = Cursor { segment: name.id().to_owned(), row };
            if items.len() >= limit {
                break;
            }
        }
        Ok(Page { items: items.into_iter().map(|(_, row)| row).collect(), next: Some(at.to_string()) })
    }

    /// The call with this request id.
    pub fn get(&self, request_id: credentialflow_model::RequestId) -> Result<Option<CallRow>, CallLogError> {
        for name in self.segments()?.into_iter().rev() {
            if let Some(reader) = query::Reader::open(&self.dir, &name)?
                && let Some(row) = reader.get(request_id)?
            {
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// Where the log ends now: what is written later, by any process, is after it.
    pub fn end(&self) -> Result<String, CallLogError> {
        let newest = self.segments()?.into_iter().max_by_key(SegmentName::made);
        let segment = newest.map_or("0".to_owned(), |name| name.id().to_owned());
        Ok(Cursor { segment, row: i64::MAX }.to_string())
    }

    /// A place before everything in it.
    pub fn beginning() -> String {
        Cursor { segment: "0".to_owned(), row: i64::MAX }.to_string()
    }

    /// What calls of one writer were charged to budgets after a place, and up to another one if there is one, in units of
    /// 10^-12 US dollars by the windows as calls name them.
    ///
    /// A place is after another one when its segment was made later, whatever day the segments are of: after midnight a
    /// segment may begin with a call of the day before.
    pub fn charges_between(
        &self,
        after: &str,
        up_to: Option<&str>,
        writer: u32,
    ) -> Result<HashMap<String, i64>, CallLogError> {
        let place = |text: &str| {
            let cursor: Cursor = text.parse()?;
            Ok::<_, CallLogError>((segment::made(&cursor.segment).map_or(0, |(made, _)| made), cursor))
        };
        let (first, from) = place(after)?;
        let to = up_to.map(place).transpose()?;
        let mut sums = HashMap::new();
        for name in self.segments()? {
            let Some((made, _)) = name.made().filter(|(made, by)| *by == writer && *made >= first) else { continue };
            let above = if name.id() == from.segment { from.row } else { 0 };
            let last = match &to {
                Some((_, to)) if name.id() == to.segment => to.row,
                Some((last, _)) if made > *last => continue,
                _ => i64::MAX,
            };
            if let Some(reader) = query::Reader::open(&self.dir, &name)? {
                reader.charges_in(above, last, &mut sums)?;
            }
        }
        Ok(sums)
    }

    /// The ids of a writer's calls that began at this time (microseconds since 1970) or later.
    pub(crate) fn for_requests_since(
        &self,
        writer: u32,
        time_us: i64,
        mut each: impl FnMut(u128),
    ) -> Result<(), CallLogError> {
        for name in self.segments()? {
            if name.made().is_some_and(|(_, by)| by == writer)
                && let Some(reader) = query::Reader::open(&self.dir, &name)?
            {
                reader.requests_since(time_us, &mut each)?;
            }
        }
        Ok(())
    }

    /// Puts what a process that is gone had no time to log into the log, where that is not done yet: a disk that is full
    /// at the start of its successor may have room later. How many calls that were.
    pub fn recover(&self, writer: u32) -> Result<u64, CallLogError> {
        journal::recover_of(self, &self.dir, writer)
    }

    /// From when on every call that was recorded is here: when the log was begun, or the first day that is still kept.
    /// `None` where that is not known.
    pub fn begins(&self) -> Option<credentialflow_model::Timestamp> {
        begin::read(&self.dir)
    }

    fn segments(&self) -> Result<Vec<SegmentName>, CallLogError> {
        Ok(segment::list(&self.dir)?)
    }
}

#[cfg(test)]
mod tests;
