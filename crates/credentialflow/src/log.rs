//! The server's own log: lines on standard error, without live secrets of ours.
//!
//! A line is searched before it is written, as requests are by the gateway: with what is in force now, and only once the
//! server has been unsealed. What is found is blanked, counted and told of as a leak, never by whoever logs: it is handed on,
//! and what is logged meanwhile by the same thread is blanked but not told of. Of a line that cannot be searched to its
//! end, when it was written, how grave it is and where it comes from are kept. Not covered is what a panic writes.

use arc_swap::ArcSwapOption;
use credentialflow_gateway::Snapshot;
use credentialflow_model::Timestamp;
use credentialflow_policy::LiveSecret;
use std::{
    cell::Cell,
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// What a line says that cannot be searched to its end.
const LEFT_OUT: &str = "this line was left out: too much of it looks like secrets of ours";

thread_local! {
    /// Whether this thread is telling of a secret right now.
    static TELLING: Cell<bool> = const { Cell::new(false) };
}

/// Hears of secrets that were blanked. Never blocks.
type Listener = Box<dyn Fn(Vec<LiveSecret>) + Send + Sync>;

/// What keeps secrets out of the log.
#[derive(Default)]
pub struct LogGuard {
    sought: ArcSwapOption<Snapshot>,
    listener: OnceLock<Listener>,
    blanked: AtomicU64,
}

impl LogGuard {
    /// Looks for what is in force with this snapshot from now on.
    pub fn look_for(&self, snapshot: Arc<Snapshot>) {
        self.sought.store(Some(snapshot));
    }

    /// Looks for nothing any more: the server has ended.
    pub fn forget(&self) {
        self.sought.store(None);
    }

    /// Who is told; the first call counts.
    pub fn tell(&self, listener: impl Fn(Vec<LiveSecret>) + Send + Sync + 'static) {
        let _ = self.listener.set(Box::new(listener));
    }

    /// In how many lines something was blanked.
    pub fn blanked(&self) -> u64 {
        self.blanked.load(Relaxed)
    }

    /// The line as it may be written; `None`: as it is.
    fn clean(&self, line: &[u8], of: &Origin) -> Option<Vec<u8>> {
        let sought = self.sought.load();
        let now = SystemTime::now().into();
        let (places, gave_up) = sought.as_ref()?.finder(now).places(line);
        if places.is_empty() && !gave_up {
            return None;
        }
        self.blanked.fetch_add(1, Relaxed);
        let mut clean = if gave_up { of.left_out(line, now) } else { line.to_vec() };
        let mut secrets = Vec::new();
        for place in places {
            if let Some(hidden) = clean.get_mut(place.hidden).filter(|_| !gave_up) {
                hidden.fill(b'*');
            }
            if !secrets.contains(&place.secret) {
                secrets.push(place.secret);
            }
        }
        if let Some(listener) = self.listener.get()
            && !TELLING.replace(true)
        {
            listener(secrets);
            TELLING.set(false);
        }
        Some(clean)
    }
}

/// Where a line comes from, in words of this program.
struct Origin {
    level: Level,
    target: String,
}

impl Origin {
    /// What is written in place of a line, in its format.
    fn left_out(&self, line: &[u8], now: Timestamp) -> Vec<u8> {
        let Self { level, target } = self;
        let line = if line.starts_with(b"{") {
            let words = [("timestamp", now.to_string()), ("level", level.to_string())];
            let words = words.into_iter().chain([("message", LEFT_OUT.to_owned()), ("target", target.clone())]);
            serde_json::Value::Object(words.map(|(name, text)| (name.to_owned(), text.into())).collect()).to_string()
        } else {
            format!("{now} {level:>5} {target}: {LEFT_OUT}")
        };
        (line + "\n").into_bytes()
    }
}

/// Writes lines to standard error.
pub struct Lines(pub Arc<LogGuard>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Guarded<'a, io::Stderr>;

    fn make_writer(&'a self) -> Self::Writer {
        let of = Origin { level: Level::INFO, target: "credentialflow".to_owned() };
        Guarded { guard: &self.0, to: io::stderr(), of }
    }

    fn make_writer_for(&'a self, about: &Metadata<'_>) -> Self::Writer {
        let of = Origin { level: *about.level(), target: about.target().to_owned() };
        Guarded { of, ..self.make_writer() }
    }
}

/// Writes what it is given, a whole line at a time, without secrets.
pub struct Guarded<'a, W> {
    guard: &'a LogGuard,
    to: W,
    of: Origin,
}

impl<W: Write> Write for Guarded<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.guard.clean(line, &self.of) {
            Some(clean) => self.to.write_all(&clean)?,
            None => self.to.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_gateway::{
        Permit,
        ports::{CredentialSlot, CredentialSource, CredentialUnavailable},
        snapshot::Sources,
    };
    use credentialflow_model::{ResourceSet, SecretValue};
    use credentialflow_policy::{ApiKey, Book, KeyTable, Peppers, RateTable, ValueKey, ValueMarks};
    use std::sync::Mutex;

    const VALUE: &str = "sk-upstream-Zq7+/W4e1r9T=";

    struct Nothing;

    impl CredentialSource for Nothing {
        fn slot(&self, _: &str) -> Option<CredentialSlot> {
            None
        }
        fn len(&self) -> usize {
            0
        }
        fn describe(&self, _: CredentialSlot) -> Option<(&Arc<str>, u32)> {
            None
        }
        fn open<'a>(&'a self, _: &Permit, _: CredentialSlot) -> Result<&'a SecretValue, CredentialUnavailable> {
            Err(CredentialUnavailable)
        }
    }

    fn snapshot(value: &str) -> Arc<Snapshot> {
        snapshot_of(&[value])
    }

    fn snapshot_of(all: &[&str]) -> Arc<Snapshot> {
        let key = Arc::new(ValueKey::new(&[7; 64]));
        let marks: Vec<_> = all.iter().filter_map(|value| Some(("c".into(), 3, key.mark(value.as_bytes())?))).collect();
        let sources = Sources {
            keys: KeyTable::from_records([]),
            api_key: ApiKey::new(Arc::new(Peppers::new([(1, &SecretValue::from("pepper"))]))),
            credentials: Arc::new(Nothing),
            values: Arc::new(ValueMarks::new(key, marks)),
            rates: Arc::new(RateTable::new(16, 7)),
            budgets: Arc::<Book>::default(),
            trust: Arc::default(),
            sandbox: None,
            max_model_body: 1 << 20,
            models_written: Default::default(),
        };
        Arc::new(Snapshot::compile(1, &ResourceSet::default(), sources))
    }

    /// What is written when this is logged.
    fn written(guard: &LogGuard, lines: &[&str]) -> String {
        let mut out = Vec::new();
        for line in lines {
            let of = Origin { level: Level::WARN, target: "credentialflow::here".to_owned() };
            Guarded { guard, to: &mut out, of }.write_all(line.as_bytes()).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_secret_is_blanked_counted_and_told_and_what_is_in_force_counts() {
        let (guard, told) = (Arc::new(LogGuard::default()), Arc::new(Mutex::new(Vec::new())));
        let line = format!("WARN it was {VALUE}, twice {VALUE}\n");
        assert_eq!(written(&guard, &[&line]), line, "before there is anything to look for");
        guard.look_for(snapshot(VALUE));
        let (seen, inside) = (told.clone(), guard.clone());
        guard.tell(move |secrets| {
            // Whoever is told may log itself: that is written without it as well, and told of to nobody.
            let again = written(&inside, &[&format!("telling of {VALUE}\n")]);
            assert_eq!(again, format!("telling of {}\n", "*".repeat(VALUE.len())));
            seen.lock().unwrap().push(secrets);
        });
        let hidden = line.replace(VALUE, &"*".repeat(VALUE.len()));
        assert_eq!(written(&guard, &["INFO nothing\n", &line, &line]), format!("INFO nothing\n{hidden}{hidden}"));
        let secret = LiveSecret::Value { credential: "c".into(), version: 3 };
        assert_eq!(*told.lock().unwrap(), [vec![secret.clone()], vec![secret]]);
        assert_eq!(guard.blanked(), 4);
        guard.look_for(snapshot("another-value-of-ours"));
        assert_eq!(written(&guard, &[&line]), line);
    }

    #[test]
    fn of_a_line_that_is_left_out_its_time_level_and_origin_are_kept() {
        let guard = LogGuard::default();
        let values: Vec<String> = (0..3000).map(|i| format!("postgres://u{i:04}@db.internal:5432/orders")).collect();
        guard.look_for(snapshot_of(&values.iter().map(String::as_str).collect::<Vec<_>>()));
        let many = "postgres://nobody@db.internal:5432/orders ".repeat(20);
        let plain = written(&guard, &[&format!("then WARN credentialflow::here: {many}{}\n", values[2999])]);
        assert!(plain.ends_with(&format!("  WARN credentialflow::here: {LEFT_OUT}\n")), "{plain}");
        let json = written(&guard, &[&format!("{{\"message\":\"{many}{}\"}}\n", values[2999])]);
        assert_eq!(json.lines().count(), 1);
        let told: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (&told["level"], &told["target"]),
            (&serde_json::json!("WARN"), &serde_json::json!("credentialflow::here"))
        );
        assert_eq!(told["message"], LEFT_OUT);
        for time in [plain.split(' ').next().unwrap(), told["timestamp"].as_str().unwrap()] {
            assert!(time.parse::<Timestamp>().is_ok(), "{time}");
        }
        assert_eq!(guard.blanked(), 2);
    }

    #[test]
    fn many_threads_log_and_tell_at_once() {
        let (guard, told) = (Arc::new(LogGuard::default()), Arc::new(AtomicU64::new(0)));
        guard.look_for(snapshot(VALUE));
        let count = told.clone();
        guard.tell(move |secrets| {
            count.fetch_add(secrets.len() as u64, Relaxed);
        });
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for n in 0..200 {
                        guard.look_for(snapshot(VALUE));
                        assert!(!written(&guard, &[&format!("{n}: {VALUE}\n")]).contains(VALUE));
                    }
                });
            }
        });
        assert_eq!((told.load(Relaxed), guard.blanked()), (1600, 1600));
    }
}
