//! Walks over many calls for what they say about the use of credentials, without the rest of each row.

use super::super::{CallFilter, CallLog, CallLogError, segment};
use super::Reader;
use credentialflow_model::{KeyId, OutcomeReason, Timestamp};
use rusqlite::{params_from_iter, types::Value, types::ValueRef};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
const COLUMNS: &str = "time, application, key, route, upstream, model, credential, credential_version, source, outcome";

/// A call as far as it tells who used what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LightCall {
    /// When the request's first byte was read.
    pub time: Timestamp,
    /// The application that called.
    pub application: Option<Arc<str>>,
    /// The key presented.
    pub key: Option<KeyId>,
    /// The route that matched.
    pub route: Option<Arc<str>>,
    /// The upstream chosen.
    pub upstream: Option<Arc<str>>,
    /// The public model name asked for.
    pub model: Option<Arc<str>>,
    /// The credential injected.
    pub credential: Option<Arc<str>>,
    /// Its version.
    pub credential_version: Option<u32>,
    /// Where it came from.
    pub source: IpAddr,
    /// How it ended.
    pub outcome: OutcomeReason,
}

/// How far a walk came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Calls handed over.
    pub calls: u64,
    /// Whether all that match were.
    pub complete: bool,
    /// When the oldest call that was handed over began, if the walk was cut short.
    pub since: Option<Timestamp>,
}

impl CallLog {
    /// Hands every call that matches to a function, the newest parts of the log first, until the time is up or so many
    /// calls were handed over. Reads a tenth of a row, for sums over millions.
    pub fn walk(
        &self,
        filter: &CallFilter,
        most: u64,
        deadline: Instant,
        mut see: impl FnMut(LightCall),
    ) -> Result<Walked, CallLogError> {
        let mut walked = Walked { calls: 0, complete: true, since: None };
        // A call is in the segment of the day in which it ended, so those of earlier days end before.
        let first_day = filter.since.map(|since| segment::day_text(since.micros().div_euclid(DAY)));
        for name in self.segments()?.into_iter().rev() {
            if first_day.as_deref().is_some_and(|day| name.day() < day) {
                break;
            }
            let Some(reader) = Reader::open(&self.dir, &name)? else { continue };
            let mut oldest = None::<Timestamp>;
            let mut tell = |call: LightCall| {
                walked.calls += 1;
                oldest = Some(oldest.map_or(call.time, |oldest| oldest.min(call.time)));
                see(call);
                walked.calls < most && (!walked.calls.is_multiple_of(1024) || Instant::now() < deadline)
            };
            let done = reader.walk(filter, &mut tell)?;
            walked.since = oldest.or(walked.since);
            if !done || Instant::now() > deadline {
                walked.complete = false;
                return Ok(walked);
            }
        }
        walked.since = None;
        Ok(walked)
    }
}

impl Reader {
    /// Until `see` answers that it is enough; `false` then.
    fn walk(&self, filter: &CallFilter, see: &mut impl FnMut(LightCall) -> bool) -> Result<bool, CallLogError> {
        let condition = self.condition(filter)?;
        for (first, last) in self.ranges(filter, 1, self.last_row()?)?.into_iter().rev() {
            let sql =
                format!("SELECT {COLUMNS} FROM calls WHERE row BETWEEN ? AND ?{} ORDER BY row DESC", condition.sql);
            let mut stmt = self.db.prepare_cached(&sql)?;
            let range = [Value::Integer(first), Value::Integer(last)];
            let mut rows = stmt.query(params_from_iter(range.iter().chain(&condition.values)))?;
            while let Some(r) = rows.next()? {
                let name = |at: usize| -> Result<Option<Arc<str>>, CallLogError> { self.shared(r.get_ref(at)?) };
                let outcome = u8::try_from(r.get::<_, i64>(9)?).ok().and_then(OutcomeReason::from_number);
                let source = match r.get_ref(8)? {
                    ValueRef::Integer(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4 as u32)),
                    ValueRef::Blob(v6) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(v6).unwrap_or_default())),
                    _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                };
                let enough = !see(LightCall {
                    time: Timestamp::from_micros(r.get(0)?),
                    application: name(1)?,
                    key: r.get::<_, Option<i64>>(2)?.map(|bits| KeyId::from_bits(bits as u64)),
                    route: name(3)?,
                    upstream: name(4)?,
                    model: name(5)?,
                    credential: name(6)?,
                    credential_version: r.get(7)?,
                    source,
                    outcome: outcome.unwrap_or(OutcomeReason::Internal),
                });
                if enough {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// A name, shared with others of the same.
    pub(in super::super) fn shared(&self, value: ValueRef<'_>) -> Result<Option<Arc<str>>, CallLogError> {
        if let ValueRef::Integer(id) = value
            && let Some(name) = self.names.borrow().get(&id)
        {
            return Ok(Some(name.clone()));
        }
        Ok(self.name(value)?.map(Arc::from))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{
        Recorder, RecorderSettings,
        testing::{NOON, bare, model, plain},
    };
    use credentialflow_model::UsageRecord;
    use std::time::Duration;

    fn recorded(records: Vec<UsageRecord>) -> (Recorder, CallLog, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let settings = RecorderSettings { retention_days: 100_000, ..RecorderSettings::new(dir.path()) };
        let recorder = Recorder::start(settings).unwrap();
        recorder.sender().send(records);
        assert!(recorder.flush());
        let log = recorder.telemetry().calls().clone();
        (recorder, log, dir)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn what_was_used_comes_back_newest_first() {
        let (_recorder, log, _dir) = recorded(vec![plain(1), bare(2), model(3, None)]);
        let mut seen = Vec::new();
        let walked = log.walk(&CallFilter::default(), 100, soon(), |call| seen.push(call)).unwrap();
        assert_eq!(walked, Walked { calls: 3, complete: true, since: None });
        assert_eq!(seen.iter().map(|c| c.time.micros() - NOON).collect::<Vec<_>>(), [3, 2, 1]);
        assert_eq!((seen[0].model.as_deref(), seen[1].application.as_deref()), (Some("chat-default"), None));
        let used = &seen[2];
        assert_eq!((used.credential.as_deref(), used.credential_version), (Some("orders-token"), Some(3)));
        assert_eq!((used.route.as_deref(), used.key), (Some("orders"), Some(KeyId::from_bits(77))));
        assert_eq!((used.source.to_string().as_str(), used.outcome), ("127.0.0.1", OutcomeReason::Served));
    }

    #[test]
    fn only_what_matches_is_walked_and_a_walk_that_is_cut_says_how_far_it_came() {
        let (_recorder, log, _dir) = recorded((1..=5000).map(plain).chain([bare(6000)]).collect());
        let count = |filter: CallFilter, most| {
            let mut n = 0;
            let walked = log.walk(&filter, most, soon(), |_| n += 1).unwrap();
            assert_eq!(walked.calls, n);
            walked
        };
        let of = |credential: &str| CallFilter { credential: Some(credential.into()), ..CallFilter::default() };
        assert_eq!(count(of("orders-token"), u64::MAX).calls, 5000);
        assert_eq!(count(of("other"), u64::MAX).calls, 0);
        let late = CallFilter { since: Some(Timestamp::from_micros(NOON + 4991)), ..of("orders-token") };
        assert_eq!(count(late, u64::MAX).calls, 10);
        let cut = count(of("orders-token"), 10);
        assert_eq!((cut.calls, cut.complete, cut.since), (10, false, Some(Timestamp::from_micros(NOON + 4991))));
    }
}
