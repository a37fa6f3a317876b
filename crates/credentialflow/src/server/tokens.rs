//! Keeps an access token at hand for every credential with which tokens are fetched, so that no request waits for a
//! token endpoint.
//!
//! Each node fetches for itself: a node needs neither the database nor another node for it, and starts with tokens of its
//! own. A token is renewed at about four fifths of its life; while that fails the old one serves until it really ends.
//! Renewals are observations and leave no trace in the audit log; trouble that lasts does, and so does its end.

mod fetch;

pub(super) use fetch::fetch;

use super::dataplane::Plane;
use credentialflow_admin::ports::AccessTokenView;
use credentialflow_model::{Name, SecretValue, Timestamp, resource::Credential};
use credentialflow_telemetry::{Metrics, Telemetry};
use credentialflow_vault::{Vault, access_token::AccessToken};
use fetch::Failure;
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};

/// A credential's version, and the token that was fetched with it.
pub(super) type Fetched = (Name, u32, Arc<AccessToken>);

/// A version with which tokens are to be fetched.
pub(super) struct Wanted {
    pub credential: Credential,
    pub version: u32,
    pub value: Arc<SecretValue>,
    /// What is in force already.
    pub token: Option<Arc<AccessToken>>,
}

/// What is in force, as far as tokens are concerned.
#[derive(Default)]
pub(super) struct InForce {
    pub wanted: Vec<Wanted>,
    /// Versions that have a token, those that only drain among them.
    pub held: HashSet<(Name, u32)>,
}

/// How often to look what is due.
const LOOK: Duration = Duration::from_millis(200);
/// Token endpoints that are asked at once.
const AT_ONCE: usize = 16;
/// Of those, at most so many at one place: one that hangs keeps no other waiting.
const AT_ONE_PLACE: usize = 4;
/// A token is not renewed sooner than this after it was asked for, however soon it ends.
const LEAST: Duration = Duration::from_secs(2);
/// Renewed tokens are brought into force together, so often at most, unless one ends before: workers take all of the
/// state anew.
const GATHER: Duration = Duration::from_secs(1);
/// First and longest wait after a failure.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After a token was refused by its upstream it is renewed early, and not again before this.
const EARLY_AGAIN: Duration = Duration::from_secs(60);
/// A start waits this long for first tokens, so that it begins with them.
const FIRST: Duration = Duration::from_secs(5);
/// So many failures in a row are told.
const TOLD_AFTER: u32 = 3;
/// How often a token is tried to be given back.
const GIVEN_BACK: u32 = 3;

/// When the token of a version is renewed that only drains.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// What the admin API and the metrics see.
#[derive(Default)]
pub(super) struct Board {
    views: Mutex<HashMap<Name, AccessTokenView>>,
    renewals: AtomicI64,
    failures: AtomicI64,
}

impl Board {
    /// How the token of a credential stands on this node.
    pub fn of(&self, credential: &str) -> Option<AccessTokenView> {
        self.views.lock().unwrap_or_else(PoisonError::into_inner).get(credential).cloned()
    }

    /// Tells tokens in the metrics.
    pub fn measure(self: &Arc<Self>, metrics: &Metrics) {
        let (ends, renewals, failures) = (self.clone(), self.clone(), self.clone());
        metrics.register_family(
            "access_token_expiry_timestamp_seconds",
            "When the access token of a credential ends, in seconds since 1970; 0 while there is none",
            &["credential"],
            move || {
                let views = ends.views.lock().unwrap_or_else(PoisonError::into_inner);
                let end = |view: &AccessTokenView| view.expires.map_or(0, Timestamp::secs);
                views.iter().map(|(name, view)| (vec![name.to_string()], end(view))).collect()
            },
        );
        metrics.register_counter("access_token_renewals", "Access tokens fetched", move || {
            renewals.renewals.load(Relaxed)
        });
        metrics.register_counter("access_token_failures", "Tries to fetch an access token that failed", move || {
            failures.failures.load(Relaxed)
        });
    }
}

/// Fetches what is wanted and not there, some at once at each place. What takes longer than a start may wait comes later.
pub(super) async fn first(in_force: InForce) -> Vec<Fetched> {
    let mut running = JoinSet::new();
    let mut places: HashMap<String, Arc<Semaphore>> = HashMap::new();
    for wanted in in_force.wanted.into_iter().filter(|wanted| wanted.token.is_none()) {
        let place = places.entry(fetch::place(&wanted.credential, &wanted.value));
        let place = place.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))).clone();
        running.spawn(async move {
            let _one = place.acquire_owned().await;
            let token = fetch(&wanted.credential, &wanted.value).await;
            (wanted.credential.name, wanted.version, token)
        });
    }
    let mut fetched = Vec::new();
    let collect = async {
        while let Some(done) = running.join_next().await {
            match done {
                Ok((name, version, Ok(token))) => fetched.push((name, version, Arc::new(token))),
                Ok((name, _, Err(failure))) => {
                    tracing::warn!(credential = %name, reason = failure.reason, "there is no access token yet");
                }
                Err(_) => {}
            }
        }
    };
    let _ = tokio::time::timeout(FIRST, collect).await;
    fetched
}

/// The job of one node.
pub(super) struct Tokens {
    pub plane: Arc<Plane>,
    pub vault: Vault,
    pub telemetry: Telemetry,
    /// This node's name, for those who read of trouble.
    pub node: String,
}

/// One version and its token.
struct Entry {
    wanted: Wanted,
    /// The credential as it was declared when the token was fetched.
    fetched_as: Credential,
    /// Replaced, and perhaps still good, and as what it was fetched.
    former: Option<(Credential, Arc<AccessToken>)>,
    /// Where it is fetched.
    place: String,
    /// When it is to be fetched next.
    due: Timestamp,
    running: bool,
    failures: u32,
    problem: Option<String>,
    /// Whether it was told that fetching fails, and that the token has ended.
    told: (bool, bool),
    /// Refusals by upstreams that were seen already.
    refused: u64,
    /// When it was last renewed because of one.
    early: Option<Timestamp>,
}

type Key = (Name, u32);
/// What came of asking, and with which declaration and value.
type Done = (Key, Credential, Arc<SecretValue>, Result<AccessToken, Failure>);

fn now() -> Timestamp {
    SystemTime::now().into()
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    Timestamp::from_micros(now.micros().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)))
}

fn random() -> u8 {
    let mut byte = [128];
    // Without randomness nodes ask at the same moment, which does no harm.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    byte[0]
}

/// When a token is to be renewed.
fn renewal(token: &AccessToken) -> Timestamp {
    token.renew_at(random()).max(after(token.obtained, LEAST))
}

/// The wait after so many failures in a row, while `left` of the token's life is left: never so long that the token ends
/// untried.
fn pause(failures: u32, again: Option<Duration>, left: Option<Duration>) -> Duration {
    let doubled = PAUSE.0.saturating_mul(1 << failures.saturating_sub(1).min(10));
    let wait = doubled.max(again.unwrap_or_default()).min(PAUSE.1);
    match left {
        Some(left) => wait.min((left / 4).max(PAUSE.0)),
        None => wait,
    }
}

impl Entry {
    fn new(wanted: Wanted, refused: u64) -> Self {
        let due = wanted.token.as_deref().map_or_else(now, renewal);
        let (former, running, told) = (None, false, (false, false));
        let (fetched_as, place) = (wanted.credential.clone(), fetch::place(&wanted.credential, &wanted.value));
        Self { wanted, fetched_as, former, place, due, running, failures: 0, problem: None, told, refused, early: None }
    }

    /// Takes in what is in force and wanted now.
    fn compare(&mut self, one: Wanted) {
        let before = &self.wanted;
        let other_value = before.value.expose() != one.value.expose();
        let other_rule = before.credential.token != one.credential.token;
        // Another history, or a state that was made anew, may not have the token that was put into force.
        let same_token = before.token.as_ref().map(Arc::as_ptr) == one.token.as_ref().map(Arc::as_ptr);
        let due = one.token.as_deref().map_or_else(now, renewal);
        // Declared anew: what was fetched as before may be good for something else.
        if other_rule || other_value {
            self.due = now();
        } else if self.due == NEVER {
            self.due = due;
        } else if !same_token {
            self.due = self.due.min(due);
        }
        if other_rule || other_value {
            self.place = fetch::place(&one.credential, &one.value);
        }
        self.wanted = one;
    }

    /// Takes in what came of asking; whether it is a token to be brought into force. What was asked for otherwise than
    /// now is of no use.
    fn is_answered(&mut self, credential: &Credential, value: &SecretValue) -> bool {
        self.running = false;
        self.wanted.credential.token == credential.token && self.wanted.value.expose() == value.expose()
    }

    /// What is to be known of its token: why there is no other, and that it is one of a declaration that is over.
    fn problem(&self) -> Option<String> {
        let outlived = self.wanted.token.is_some() && self.fetched_as.token != self.wanted.credential.token;
        let outlived = outlived.then(|| "requests carry a token that was fetched as declared before".to_owned());
        let told: Vec<String> = outlived.into_iter().chain(self.problem.clone()).collect();
        (!told.is_empty()).then(|| told.join("; "))
    }

    fn key(&self) -> Key {
        (self.wanted.credential.name.clone(), self.wanted.version)
    }

    fn live(&self, now: Timestamp) -> Option<&Arc<AccessToken>> {
        self.wanted.token.as_ref().filter(|token| token.expires > now)
    }

    fn view(&self) -> AccessTokenView {
        AccessTokenView {
            version: self.wanted.version,
            obtained: self.wanted.token.as_ref().map(|token| token.obtained),
            expires: self.wanted.token.as_ref().map(|token| token.expires),
            next_try: Some(self.due).filter(|due| *due != NEVER),
            failures: self.failures,
            problem: self.problem(),
        }
    }

    /// An upstream has refused what is in force: it is renewed early, but not again and again.
    fn notice_refusals(&mut self, refused: u64, now: Timestamp) {
        let news = refused > self.refused;
        self.refused = refused;
        let lately = self.early.is_some_and(|at| now < after(at, EARLY_AGAIN));
        if news && !lately && !self.running && self.live(now).is_some() && self.due > now {
            tracing::info!(credential = %self.wanted.credential.name, "an upstream refused its access token: another is fetched");
            (self.early, self.due) = (Some(now), now);
        }
    }
}

impl Tokens {
    /// Runs until the process is told to stop.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut entries: BTreeMap<Key, Entry> = BTreeMap::new();
        let mut running: JoinSet<Done> = JoinSet::new();
        let board = self.plane.tokens().clone();
        let mut fetched: Vec<Fetched> = Vec::new();
        let mut put = Timestamp::default();
        self.compare(&mut entries).await;
        loop {
            let (mut done, mut others) = (Vec::new(), false);
            tokio::select! {
                _ = stopped.wait_for(|s| *s) => return,
                () = self.plane.tokens_due() => others = true,
                Some(one) = running.join_next(), if !running.is_empty() => done.extend(one.ok()),
                () = tokio::time::sleep(LOOK) => {}
            }
            while let Some(one) = running.try_join_next() {
                done.extend(one.ok());
            }
            fetched.extend(self.take(&mut entries, done, &board));
            let now = now();
            // What is compared is what is in force.
            if !fetched.is_empty() && (others || is_urgent(&entries, &fetched, now) || now >= after(put, GATHER)) {
                put = now;
                if let Err(error) = self.plane.put_tokens(std::mem::take(&mut fetched)).await {
                    tracing::warn!(%error, "renewed access tokens are not in force on every worker yet");
                }
            }
            if others {
                self.compare(&mut entries).await;
            }
            for (key, entry) in &mut entries {
                let seen = self.telemetry.last_use().refusals(key.0.as_str(), key.1).refused;
                entry.notice_refusals(seen, now);
                self.tell_end(entry, now);
            }
            for key in next(&entries, now) {
                let Some(entry) = entries.get_mut(&key) else { continue };
                entry.running = true;
                let (credential, value) = (entry.wanted.credential.clone(), entry.wanted.value.clone());
                running.spawn(async move {
                    let token = fetch(&credential, &value).await;
                    (key, credential, value, token)
                });
            }
            // Neither a version that only gets a share nor one that drains stands for the one in use.
            let (used, over): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, entry)| entry.due != NEVER);
            let mut views = HashMap::new();
            for (key, entry) in used.into_iter().chain(over) {
                views.entry(key.0.clone()).or_insert_with(|| entry.view());
            }
            *board.views.lock().unwrap_or_else(PoisonError::into_inner) = views;
        }
    }

    /// Compares what is kept with what is in force.
    async fn compare(&self, entries: &mut BTreeMap<Key, Entry>) {
        let in_force = self.plane.tokens_in_force().await;
        let mut wanted = HashSet::new();
        for one in in_force.wanted {
            let key = (one.credential.name.clone(), one.version);
            wanted.insert(key.clone());
            match entries.get_mut(&key) {
                Some(entry) => entry.compare(one),
                None => {
                    let seen = self.telemetry.last_use().refusals(key.0.as_str(), key.1).refused;
                    entries.insert(key, Entry::new(one, seen));
                }
            }
        }
        let over: Vec<Key> = entries
            .keys()
            .filter(|key| !wanted.contains(*key))
            .filter(|key| !in_force.held.contains(*key))
            .cloned()
            .collect();
        for entry in over.iter().filter_map(|key| entries.remove(key)) {
            self.end(entry);
        }
        // What only drains is not renewed.
        for (key, entry) in entries.iter_mut().filter(|(key, _)| !wanted.contains(*key)) {
            tracing::debug!(credential = %key.0, version = key.1, "its access token serves until the next version has one");
            entry.due = NEVER;
        }
    }

    /// Takes in what came of requests to token endpoints; the tokens that are to be brought into force.
    fn take(&self, entries: &mut BTreeMap<Key, Entry>, done: Vec<Done>, board: &Board) -> Vec<Fetched> {
        let mut fetched = Vec::new();
        let now = now();
        for (key, credential, value, result) in done {
            let Some(entry) = entries.get_mut(&key) else { continue };
            if !entry.is_answered(&credential, &value) {
                continue;
            }
            match result {
                Ok(token) => {
                    board.renewals.fetch_add(1, Relaxed);
                    let token = Arc::new(token);
                    let fetched_as = std::mem::replace(&mut entry.fetched_as, credential);
                    entry.former = entry.wanted.token.replace(token.clone()).map(|former| (fetched_as, former));
                    entry.due = renewal(&token);
                    (entry.failures, entry.problem) = (0, None);
                    if std::mem::take(&mut entry.told) != (false, false) {
                        self.tell(entry, "credential.token_renewed");
                    }
                    fetched.push((key.0, key.1, token));
                }
                Err(failure) => {
                    board.failures.fetch_add(1, Relaxed);
                    entry.failures = entry.failures.saturating_add(1);
                    let left = entry.live(now).map(|token| token.expires.micros() - now.micros());
                    let left = left.map(|left| Duration::from_micros(u64::try_from(left).unwrap_or(0)));
                    entry.due = after(now, pause(entry.failures, failure.again, left));
                    tracing::warn!(
                        credential = %key.0, version = key.1, reason = failure.reason, failures = entry.failures,
                        "an access token could not be fetched; it is tried again"
                    );
                    entry.problem = Some(failure.reason);
                    if entry.failures >= TOLD_AFTER && !entry.told.0 {
                        entry.told.0 = true;
                        self.tell(entry, "credential.token_failing");
                    }
                }
            }
        }
        fetched
    }

    /// Tells once that a token has really ended although another was asked for.
    fn tell_end(&self, entry: &mut Entry, now: Timestamp) {
        if entry.failures > 0 && entry.wanted.token.is_some() && entry.live(now).is_none() && !entry.told.1 {
            entry.told.1 = true;
            self.tell(entry, "credential.token_ended");
        }
    }

    /// Writes to the audit log and to the credential's owner, beside the work.
    fn tell(&self, entry: &Entry, event: &'static str) {
        let (vault, (name, version)) = (self.vault.clone(), entry.key());
        let expires = entry.wanted.token.as_ref().map(|token| token.expires);
        let detail = json!({ "version": version, "node": self.node, "problem": entry.problem, "expires": expires });
        tokio::spawn(async move {
            if let Err(error) = vault.tell_token(&name, event, detail).await {
                tracing::warn!(credential = %name, event, %error, "what happens to access tokens could not be written to the audit log");
            }
        });
    }

    /// The version works no more: its tokens are given back where they were issued, if that is declared.
    fn end(&self, entry: Entry) {
        let Wanted { version, value, token, .. } = entry.wanted;
        // Each where it was issued: what was declared since is no place for an older one.
        let tokens = token.map(|token| (entry.fetched_as, token)).into_iter().chain(entry.former);
        let tokens: Vec<_> = tokens.filter(|(declared, _)| fetch::is_given_back(declared)).collect();
        if tokens.is_empty() {
            return;
        }
        let (vault, node) = (self.vault.clone(), self.node.clone());
        tokio::spawn(async move {
            for (credential, token) in tokens.into_iter().filter(|(_, token)| token.expires > now()) {
                let problem = give_back(&credential, &value, &token.value).await.err().map(|failure| failure.reason);
                let event =
                    if problem.is_none() { "credential.token_returned" } else { "credential.token_not_returned" };
                let detail = json!({ "version": version, "node": node, "problem": problem, "expires": token.expires });
                if let Err(error) = vault.tell_token(&credential.name, event, detail).await {
                    tracing::warn!(credential = %credential.name, event, %error, "it could not be written to the audit log");
                }
            }
        });
    }
}

/// What is to be fetched now: what is due longest first, and not too much at one place.
fn next(entries: &BTreeMap<Key, Entry>, now: Timestamp) -> Vec<Key> {
    let mut asked: HashMap<&str, usize> = HashMap::new();
    for entry in entries.values().filter(|entry| entry.running) {
        *asked.entry(&entry.place).or_default() += 1;
    }
    let mut free = AT_ONCE.saturating_sub(asked.values().sum());
    let mut due: Vec<_> = entries.iter().filter(|(_, entry)| entry.due <= now && !entry.running).collect();
    due.sort_by_key(|(_, entry)| entry.due);
    let mut next = Vec::new();
    for (key, entry) in due {
        let here = asked.entry(&entry.place).or_default();
        if free > 0 && *here < AT_ONE_PLACE {
            (free, *here) = (free - 1, *here + 1);
            next.push(key.clone());
        }
    }
    next
}

/// Whether requests would be left without a token if these came into force later.
fn is_urgent(entries: &BTreeMap<Key, Entry>, fetched: &[Fetched], now: Timestamp) -> bool {
    let soon = after(now, GATHER);
    fetched.iter().any(|(name, version, _)| {
        let former = entries.get(&(name.clone(), *version)).and_then(|entry| entry.former.as_ref());
        former.is_none_or(|(_, token)| token.expires <= soon)
    })
}

/// Tries a few times.
async fn give_back(credential: &Credential, value: &SecretValue, token: &SecretValue) -> Result<(), Failure> {
    let mut tried = 1;
    loop {
        match fetch::give_back(credential, value, token).await {
            None | Some(Ok(())) => return Ok(()),
            Some(Err(failure)) if tried >= GIVEN_BACK => return Err(failure),
            Some(Err(_)) => tokio::time::sleep(pause(tried, None, None)).await,
        }
        tried += 1;
    }
}

#[cfg(test)]
mod tests;
