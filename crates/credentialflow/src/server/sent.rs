//! Live secrets of ours that callers sent or were answered, or that were blanked in our own log: counted, and handed to
//! whoever answers leaks, never on a gateway thread.
//!
//! The same secret sent again by the same caller on the same route, in the same part of the request, is told once an hour,
//! and so is one in answers of the same upstream on the same route, and one in our log: that is seen before it waits, so
//! that one caller that repeats itself takes no place from another. Callers without a key
//! wait apart, and are told of after all others. What cannot be told goes behind what waits and is tried again; what does
//! not fit is counted, and told the next time. When the process ends, what waits is told first.

use crate::log::LogGuard;
use credentialflow_admin::{AdminState, LiveSecret as Leaked, Met, Sender, secret_logged, secret_sent};
use credentialflow_gateway::ports::{SecretListener, SecretPlace, SentSecrets};
use credentialflow_model::leak::client_network;
use credentialflow_policy::LiveSecret;
use credentialflow_telemetry::Metrics;
use std::{
    collections::VecDeque,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinHandle,
};

/// Requests that wait to be told of: those of callers with a key, those of others.
const WAITING: (usize, usize) = (256, 64);
/// Secrets that could not be told and wait for another try.
const FAILED: usize = 512;
/// How long one that was told of is not told of again, and how many are remembered.
const QUIET: Duration = Duration::from_secs(3600);
const REMEMBERED: usize = 1 << 14;
/// Telling is tried so often, and so much later again: the database may be away for a while.
const TRIES: u32 = 60;
const AGAIN: Duration = Duration::from_secs(2);
/// When the process ends, what waits is told for so long.
const AT_THE_END: Duration = Duration::from_secs(5);

/// How often, since the start.
#[derive(Default)]
struct Counts {
    refused: AtomicU64,
    let_pass: AtomicU64,
    echoed: AtomicU64,
    blanked: AtomicU64,
    answered: AtomicU64,
    gave_up: AtomicU64,
    lost: AtomicU64,
}

/// Hears of them.
pub(super) struct Sent {
    known: mpsc::Sender<Waiting>,
    strangers: mpsc::Sender<Waiting>,
    counts: Arc<Counts>,
    heard: Arc<Heard>,
    began: Instant,
    telling: Mutex<Option<(JoinHandle<()>, mpsc::Sender<()>)>>,
}

impl Sent {
    /// Starts telling.
    pub fn start(admin: AdminState, metrics: &Metrics, log: &Arc<LogGuard>) -> Arc<Self> {
        let sent = Self::telling(AGAIN, move |leaked, sender| {
            let admin = admin.clone();
            async move {
                let told = match sender {
                    Some(sender) => secret_sent(&admin, leaked, sender).await,
                    None => secret_logged(&admin, leaked).await,
                };
                told.map_err(|error| format!("{error:?}"))
            }
        });
        let heard = Arc::downgrade(&sent);
        log.tell(move |secrets| {
            if let Some(sent) = heard.upgrade() {
                sent.logged(secrets);
            }
        });
        let lines = log.clone();
        metrics.register_counter(
            "log_lines_with_secrets",
            "Lines of our own log in which a live secret of ours was blanked",
            move || lines.blanked() as i64,
        );
        let count = |of: fn(&Counts) -> &AtomicU64| {
            let counts = sent.counts.clone();
            move || of(&counts).load(Relaxed) as i64
        };
        metrics.register_counter(
            "requests_with_secrets_refused",
            "Requests that were refused because a live secret of ours stood in them",
            count(|counts| &counts.refused),
        );
        metrics.register_counter(
            "requests_with_secrets_served",
            "How often a live secret of ours stood in a request of a route that only reports them",
            count(|counts| &counts.let_pass),
        );
        metrics.register_counter(
            "credentials_echoed",
            "How often an upstream repeated the credential it was sent, which was blanked",
            count(|counts| &counts.echoed),
        );
        metrics.register_counter(
            "answers_with_secrets_blanked",
            "How often another live secret of ours was blanked in an answer",
            count(|counts| &counts.blanked),
        );
        metrics.register_counter(
            "answers_with_secrets_passed",
            "How often another live secret of ours stood in an answer of a route that only reports them",
            count(|counts| &counts.answered),
        );
        metrics.register_counter(
            "secret_searches_given_up",
            "How often more of a request or an answer looked like live secrets of ours than is compared",
            count(|counts| &counts.gave_up),
        );
        metrics.register_counter(
            "sent_secrets_lost",
            "Secrets in requests, answers or our log that no leak tells of, because too many waited or the database was away",
            count(|counts| &counts.lost),
        );
        sent
    }

    /// Tells by `tell`, which says why it could not.
    fn telling<F>(again: Duration, tell: impl Fn(Leaked, Option<Sender>) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (known, strangers) = (mpsc::channel(WAITING.0), mpsc::channel(WAITING.1));
        let (stop, stopped) = mpsc::channel(1);
        let (counts, heard) = (Arc::<Counts>::default(), Arc::<Heard>::default());
        let teller =
            Teller { known: known.1, strangers: strangers.1, stopped, failed: VecDeque::new(), again, counts, heard };
        let (counts, heard) = (teller.counts.clone(), teller.heard.clone());
        let telling = Mutex::new(Some((tokio::spawn(teller.run(tell)), stop)));
        Arc::new(Self { known: known.0, strangers: strangers.0, counts, heard, began: Instant::now(), telling })
    }

    /// Tells what waits, and no more after that. For when the gateway has ended.
    pub async fn finish(&self) {
        let Some((telling, stop)) = self.telling.lock().await.take() else { return };
        drop(stop);
        let end = telling.abort_handle();
        if tokio::time::timeout(AT_THE_END, telling).await.is_err() {
            end.abort();
            tracing::warn!("secrets that were met could not all be recorded as leaks before the end");
        }
    }
}

impl SecretListener for Sent {
    fn sent(&self, mut sent: SentSecrets) {
        let counts = &self.counts;
        counts.gave_up.fetch_add(u64::from(sent.gave_up), Relaxed);
        let counter = match (sent.place, sent.refused) {
            (SecretPlace::Echo, _) => &counts.echoed,
            (SecretPlace::Answer, true) => &counts.blanked,
            (SecretPlace::Answer, false) => &counts.answered,
            (_, true) => &counts.refused,
            (_, false) => &counts.let_pass,
        };
        // A search that found nothing before it was given up is counted as that.
        let met = !sent.gave_up || sent.refused && !sent.place.is_answer() || !sent.secrets.is_empty();
        counter.fetch_add(u64::from(met), Relaxed);
        let secrets = std::mem::take(&mut sent.secrets);
        self.wait(secrets, Some(sent));
    }
}

impl Sent {
    /// These stood in a line of our own log.
    fn logged(&self, secrets: Vec<LiveSecret>) {
        self.wait(secrets, None);
    }

    /// What is new waits until it is told.
    fn wait(&self, secrets: Vec<LiveSecret>, sent: Option<SentSecrets>) {
        let now = self.began.elapsed();
        let marked = secrets.into_iter().map(|secret| (self.heard.mark(&secret, sent.as_ref(), now), secret));
        let new: Vec<_> = marked.filter(|(mark, _)| self.heard.is_new(*mark)).collect();
        if new.is_empty() {
            return;
        }
        let known = sent.as_ref().is_none_or(|sent| sent.key.is_some());
        let waiting = if known { &self.known } else { &self.strangers };
        if let Err(error) = waiting.try_send(Waiting { secrets: new, sent }) {
            for (mark, _) in error.into_inner().secrets {
                self.heard.forget(mark);
                self.counts.lost.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Secrets of one request, of its answer or of a line of our log that were not told of yet, each with its mark, and the
/// request.
struct Waiting {
    secrets: Vec<(u64, LiveSecret)>,
    sent: Option<SentSecrets>,
}

/// What was heard of lately, as marks of 64 bits: where two need the same place, one is told of twice, which changes nothing.
struct Heard {
    marks: Box<[AtomicU64]>,
    hasher: RandomState,
}

impl Default for Heard {
    fn default() -> Self {
        Self { marks: (0..REMEMBERED).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }
}

impl Heard {
    /// Of who sent what where in this hour.
    fn mark(&self, secret: &LiveSecret, sent: Option<&SentSecrets>, now: Duration) -> u64 {
        let hour = now.as_secs() / QUIET.as_secs();
        let place = sent.map(|sent| {
            // An answer is the upstream's, whoever asked for it.
            let caller = Some(sent).filter(|sent| !sent.place.is_answer());
            let stranger = caller.filter(|sent| sent.key.is_none()).map(|sent| client_network(sent.source));
            (caller.and_then(|sent| sent.key), stranger, &sent.route, &sent.upstream, sent.place)
        });
        self.hasher.hash_one((secret, place, hour)) | 1
    }

    fn place(&self, mark: u64) -> &AtomicU64 {
        &self.marks[(mark >> 32) as usize % REMEMBERED]
    }

    /// Whether it was not heard of; now it is.
    fn is_new(&self, mark: u64) -> bool {
        self.place(mark).swap(mark, Relaxed) != mark
    }

    /// It may be told again.
    fn forget(&self, mark: u64) {
        let _ = self.place(mark).compare_exchange(mark, 0, Relaxed, Relaxed);
    }
}

/// Tells what was heard, one after the other.
struct Teller {
    known: mpsc::Receiver<Waiting>,
    strangers: mpsc::Receiver<Waiting>,
    stopped: mpsc::Receiver<()>,
    /// The next to be tried again first.
    failed: VecDeque<Failed>,
    again: Duration,
    counts: Arc<Counts>,
    heard: Arc<Heard>,
}

struct Failed {
    mark: u64,
    leaked: Leaked,
    sender: Option<Sender>,
    tried: u32,
    due: tokio::time::Instant,
}

impl Teller {
    async fn run<F: Future<Output = Result<(), String>>>(mut self, tell: impl Fn(Leaked, Option<Sender>) -> F) {
        loop {
            let due = self.failed.front().map(|failed| failed.due);
            let waiting = tokio::select! {
                biased;
                Some(waiting) = self.known.recv() => waiting,
                Some(waiting) = self.strangers.recv() => waiting,
                () = until(due) => {
                    if let Some(failed) = self.failed.pop_front() {
                        self.tell(failed, &tell).await;
                    }
                    continue;
                }
                _ = self.stopped.recv() => break,
            };
            self.all_of(waiting, &tell).await;
        }
        // Nobody waits for another try any more: what fails now is lost.
        while let Some(failed) = self.failed.pop_front() {
            self.tell(Failed { tried: TRIES, ..failed }, &tell).await;
        }
    }

    async fn all_of<F: Future<Output = Result<(), String>>>(
        &mut self,
        Waiting { secrets, sent }: Waiting,
        tell: &impl Fn(Leaked, Option<Sender>) -> F,
    ) {
        for (mark, secret) in secrets {
            let Some(leaked) = leaked(secret) else {
                self.counts.lost.fetch_add(1, Relaxed);
                continue;
            };
            let owned = |name: &Option<Arc<str>>| name.as_deref().map(str::to_owned);
            let sender = sent.as_ref().map(|sent| Sender {
                application: owned(&sent.application),
                key: sent.key,
                route: owned(&sent.route),
                upstream: owned(&sent.upstream),
                source: sent.source,
                met: match sent.place {
                    SecretPlace::Echo => Met::Echo,
                    SecretPlace::Answer => Met::Answer,
                    SecretPlace::Target | SecretPlace::Header | SecretPlace::Body => Met::Request,
                },
                place: sent.place.as_str(),
                refused: sent.refused,
            });
            self.tell(Failed { mark, leaked, sender, tried: 0, due: tokio::time::Instant::now() }, tell).await;
        }
    }

    async fn tell<F: Future<Output = Result<(), String>>>(
        &mut self,
        mut told: Failed,
        tell: &impl Fn(Leaked, Option<Sender>) -> F,
    ) {
        told.tried += 1;
        let Err(error) = tell(told.leaked.clone(), told.sender.clone()).await else { return };
        if told.tried >= TRIES || self.failed.len() >= FAILED {
            tracing::error!(error, "a secret that was met could not be recorded as a leak");
            self.heard.forget(told.mark);
            self.counts.lost.fetch_add(1, Relaxed);
            return;
        }
        if told.tried == 1 {
            tracing::warn!(error, "a secret that was met is recorded as soon as that is possible");
        }
        told.due = tokio::time::Instant::now() + self.again;
        self.failed.push_back(told);
    }
}

/// As the control plane names it.
pub(super) fn leaked(secret: LiveSecret) -> Option<Leaked> {
    Some(match secret {
        LiveSecret::Key { id, version } => Leaked::Key(id, version),
        LiveSecret::Value { credential, version } => Leaked::Credential(credential.parse().ok()?, version),
    })
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use credentialflow_gateway::ports::SecretPlace;
    use credentialflow_model::KeyId;
    use std::{collections::HashSet, sync};

    async fn eventually(is: impl Fn() -> bool) {
        for _ in 0..60_000 {
            if is() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("it does not come");
    }

    /// What was told, in order, and the keys that cannot be told now.
    #[derive(Clone, Default)]
    struct Told(Arc<sync::Mutex<(Vec<Leaked>, HashSet<u64>)>>);

    impl Told {
        fn sent(&self) -> Arc<Sent> {
            let told = self.clone();
            Sent::telling(Duration::from_millis(5), move |leaked, _| {
                let told = told.clone();
                async move {
                    let mut told = told.0.lock().unwrap();
                    match &leaked {
                        Leaked::Key(id, _) if told.1.contains(&id.bits()) => return Err("not now".to_owned()),
                        _ => told.0.push(leaked),
                    }
                    Ok(())
                }
            })
        }

        fn keys(&self) -> Vec<u64> {
            let id = |leaked: &Leaked| match leaked {
                Leaked::Key(id, _) => id.bits(),
                Leaked::Credential(..) => 0,
            };
            self.0.lock().unwrap().0.iter().map(id).collect()
        }

        fn fail(&self, ids: impl IntoIterator<Item = u64>) {
            self.0.lock().unwrap().1 = ids.into_iter().collect();
        }
    }

    fn of(secrets: &[u64], key: Option<u64>) -> SentSecrets {
        let secrets = secrets.iter().map(|id| LiveSecret::Key { id: KeyId::from_bits(*id), version: 1 });
        SentSecrets {
            secrets: secrets.collect(),
            place: SecretPlace::Body,
            application: key.map(|_| "app".into()),
            key: key.map(KeyId::from_bits),
            route: Some("r".into()),
            source: [192, 0, 2, 1].into(),
            upstream: None,
            refused: true,
            gave_up: false,
        }
    }

    fn lost(sent: &Sent) -> u64 {
        sent.counts.lost.load(Relaxed)
    }

    #[tokio::test]
    async fn what_a_caller_repeats_is_told_once_and_takes_no_place_from_others() {
        let told = Told::default();
        let sent = told.sent();
        // Nothing is told before this test waits.
        for _ in 0..10_000 {
            sent.sent(of(&[1], Some(9)));
        }
        sent.sent(of(&[1, 2, 3], Some(9)));
        sent.sent(of(&[], Some(9)));
        sent.sent(of(&[1], Some(8)));
        sent.sent(SentSecrets { place: SecretPlace::Header, ..of(&[1], Some(9)) });
        sent.sent(SentSecrets { route: None, ..of(&[1], Some(9)) });
        sent.finish().await;
        assert_eq!((told.keys(), lost(&sent)), (vec![1, 2, 3, 1, 1, 1], 0));
        assert_eq!(sent.counts.refused.load(Relaxed), 10_005);
    }

    #[tokio::test]
    async fn strangers_wait_apart_and_come_last() {
        let told = Told::default();
        let sent = told.sent();
        for n in 0..1000u16 {
            let source = [198, 51, (n >> 8) as u8, n as u8].into();
            sent.sent(SentSecrets { source, ..of(&[7], None) });
        }
        for n in 0..200 {
            sent.sent(of(&[n], Some(9)));
        }
        sent.finish().await;
        let expected: Vec<u64> = (0..200).chain([7; WAITING.1]).collect();
        assert_eq!(told.keys(), expected);
        assert_eq!(lost(&sent), 1000 - WAITING.1 as u64);
        // What was lost is told the next time it is sent.
        let sent = told.sent();
        for n in 0..=WAITING.1 as u64 {
            sent.sent(of(&[n], None));
        }
        let last = WAITING.1 as u64;
        eventually(|| told.keys().len() >= expected.len() + WAITING.1).await;
        sent.sent(of(&[last], None));
        sent.finish().await;
        assert_eq!((told.keys().last(), lost(&sent)), (Some(&last), 1));
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_behind_what_waits_and_once_more_at_the_end() {
        let told = Told::default();
        told.fail([1, 2]);
        let sent = told.sent();
        for n in 1..=5 {
            sent.sent(of(&[n], Some(9)));
        }
        eventually(|| told.keys() == [3, 4, 5]).await;
        told.fail([2]);
        eventually(|| told.keys() == [3, 4, 5, 1]).await;
        sent.finish().await;
        assert_eq!((told.keys(), lost(&sent)), (vec![3, 4, 5, 1], 1));
    }

    #[tokio::test]
    async fn an_answer_is_told_once_whoever_asked_and_so_is_a_line_of_our_log() {
        let told = Told::default();
        let sent = told.sent();
        let answer = |id, upstream: &str, place, key| SentSecrets {
            upstream: Some(upstream.into()),
            place,
            refused: place == SecretPlace::Echo,
            ..of(&[id], key)
        };
        for key in [Some(9), Some(8), None] {
            sent.sent(answer(1, "u", SecretPlace::Echo, key));
            sent.sent(answer(1, "v", SecretPlace::Answer, key));
        }
        sent.sent(SentSecrets { route: None, ..answer(2, "u", SecretPlace::Echo, Some(9)) });
        sent.sent(SentSecrets { gave_up: true, ..answer(3, "u", SecretPlace::Answer, Some(9)) });
        sent.sent(SentSecrets { gave_up: true, refused: false, ..of(&[], Some(9)) });
        for _ in 0..3 {
            sent.logged(of(&[4], None).secrets);
        }
        sent.finish().await;
        assert_eq!((told.keys(), lost(&sent)), (vec![1, 1, 2, 3, 4], 0));
        let counts = &sent.counts;
        let counted =
            [&counts.echoed, &counts.answered, &counts.blanked, &counts.gave_up, &counts.refused, &counts.let_pass];
        assert_eq!(counted.map(|count| count.load(Relaxed)), [4, 4, 0, 2, 0, 0]);
    }

    #[test]
    fn the_same_is_new_again_in_the_next_hour_and_when_it_is_forgotten() {
        let (heard, request) = (Heard::default(), of(&[1], None));
        let mark = |seconds| heard.mark(&request.secrets[0], Some(&request), Duration::from_secs(seconds));
        assert!(heard.is_new(mark(0)) && !heard.is_new(mark(3599)) && heard.is_new(mark(3600)));
        heard.forget(mark(3600));
        assert!(heard.is_new(mark(3600)));
    }
}
