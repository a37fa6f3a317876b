//! When a call log begins. A day without calls has no segment, so that is written down beside them.

use super::segment;
use credentialflow_model::Timestamp;
use std::{io, path::Path};

const FILE: &str = "begins";
const DAY: i64 = 86_400;

/// From when on every call is in the log of this directory; `None` where that is not known.
pub(crate) fn read(dir: &Path) -> Option<Timestamp> {
    let text = std::fs::read_to_string(dir.join(FILE)).ok()?;
    text.trim().parse().ok().map(Timestamp::from_micros)
}

/// Writes down that it begins now, or with its oldest segment, unless that is known.
pub(crate) fn note(dir: &Path, now: Timestamp) -> io::Result<()> {
    if read(dir).is_some() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    let oldest = segment::list(dir)?.first().and_then(|name| day_of(name.day()));
    write(dir, oldest.unwrap_or(now))
}

/// Writes down that what was before this day (since 1970) is gone.
pub(crate) fn moved(dir: &Path, first_kept: i64) -> io::Result<()> {
    let first = Timestamp::from_secs(first_kept * DAY);
    if read(dir).is_some_and(|begins| begins >= first) { Ok(()) } else { write(dir, first) }
}

fn write(dir: &Path, begins: Timestamp) -> io::Result<()> {
    let fresh = dir.join("begins.new");
    std::fs::write(&fresh, format!("{}\n", begins.micros()))?;
    std::fs::rename(fresh, dir.join(FILE))
}

fn day_of(text: &str) -> Option<Timestamp> {
    let date: jiff::civil::Date = jiff::fmt::strtime::parse("%Y%m%d", text).ok()?.to_date().ok()?;
    let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(Timestamp::from_secs(midnight.as_second()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_begins_once_and_moves_with_what_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), None);
        let at = |secs| Timestamp::from_secs(secs);
        note(dir.path(), at(1_000_000)).unwrap();
        note(dir.path(), at(2_000_000)).unwrap();
        assert_eq!(read(dir.path()), Some(at(1_000_000)));
        moved(dir.path(), 3).unwrap();
        assert_eq!(read(dir.path()), Some(at(1_000_000)), "nothing of it was deleted");
        moved(dir.path(), 20).unwrap();
        assert_eq!(read(dir.path()), Some(at(20 * DAY)));
    }

    #[test]
    fn a_log_of_an_earlier_version_begins_with_its_oldest_segment() {
        let dir = tempfile::tempdir().unwrap();
        let name = segment::SegmentName::new(dir.path(), 11, 1).unwrap();
        drop(segment::create(dir.path(), &name).unwrap());
        note(dir.path(), Timestamp::from_secs(40 * DAY)).unwrap();
        assert_eq!(read(dir.path()), Some(Timestamp::from_secs(11 * DAY)));
    }
}
