//! The answers that are kept, within their bounds: bytes, time, and what is in force. Knows no clock: `now` is handed in,
//! in milliseconds.

use super::{Key, Similar};
use crate::snapshot::Snapshot;
use credentialflow_llm::embedding::product;
use credentialflow_model::{KeyId, SecretValue, usage::TokenUsage};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// How much is kept.
pub(super) struct Bounds {
    pub bytes: u64,
}

/// Questions that are compared with one another, at most: beyond them the one goes that was used longest ago.
const MOST_ALIKE: usize = 1024;
/// What an answer takes beside its bytes, about.
const BESIDE: u64 = 640;

/// An answer, and what has to be known to give it again.
pub(crate) struct Entry {
    /// Its body, as the caller got it.
    pub body: Arc<SecretValue>,
    /// Its media type.
    pub content_type: Box<[u8]>,
    /// Whose it is.
    pub owner: Owner,
    /// The target of the model that gave it.
    pub target: u32,
    /// What its provider counted.
    pub tokens: Option<TokenUsage>,
    /// How long it is given again.
    pub ttl: Duration,
    /// The embedding of its question, of length one, and what it is compared with.
    pub question: Option<(Key, Arc<[f32]>)>,
}

impl Entry {
    /// What it takes, about.
    pub fn bytes(&self) -> u64 {
        let vector = self.question.as_ref().map_or(0, |(_, vector)| 4 * vector.len());
        BESIDE + (self.body.len() + self.content_type.len() + vector) as u64
    }
}

/// Whose an answer is: when any of this is gone, so is the answer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    /// The model as it is configured.
    pub model: Key,
    /// The application, where only it gets the answer.
    pub application: Option<Arc<str>>,
    /// The key, where only it does.
    pub key: Option<KeyId>,
}

/// An answer that was found.
pub(crate) struct Found {
    pub body: Arc<SecretValue>,
    pub content_type: Box<[u8]>,
    pub target: u32,
    pub tokens: Option<TokenUsage>,
    /// How old it is.
    pub age: Duration,
    /// How long it is kept still.
    pub left: Duration,
}

struct Held {
    entry: Entry,
    bytes: u64,
    made: u64,
    ends: u64,
    /// When it was used last, as the number of that use.
    used: u64,
}

/// All answers.
pub(super) struct Entries {
    bounds: Bounds,
    held: HashMap<Key, Held>,
    bytes: u64,
    uses: u64,
    /// By when they were used last.
    order: BTreeMap<u64, Key>,
    /// By when they end.
    ends: BTreeSet<(u64, Key)>,
    /// By whose they are: a change of the configuration costs by owners, not by answers.
    owners: HashMap<Owner, HashSet<Key>>,
    /// Those whose questions are compared.
    alike: HashMap<Key, BTreeSet<Key>>,
    /// The models that keep answers, as they are configured.
    models: HashSet<Key>,
}

impl Entries {
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            held: HashMap::new(),
            bytes: 0,
            uses: 0,
            order: BTreeMap::new(),
            ends: BTreeSet::new(),
            owners: HashMap::new(),
            alike: HashMap::new(),
            models: HashSet::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets go of what is not of this configuration.
    pub fn in_force(&mut self, snapshot: &Snapshot) {
        self.retain(snapshot.cached_models(), |owner| {
            owner.application.as_ref().is_none_or(|name| snapshot.has_application(name))
                && owner.key.is_none_or(|key| snapshot.keys.application_of(key).is_some())
        });
    }

    fn retain(&mut self, models: impl Iterator<Item = Key>, is_there: impl Fn(&Owner) -> bool) {
        self.models = models.collect();
        let gone = |owner: &Owner| !self.models.contains(&owner.model) || !is_there(owner);
        let gone = self.owners.iter().filter(|(owner, _)| gone(owner));
        let gone: Vec<Key> = gone.flat_map(|(_, keys)| keys.iter().copied()).collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// Lets go of what is over.
    pub fn expire(&mut self, now: u64) {
        while let Some((ends, key)) = self.ends.first().copied()
            && ends <= now
        {
            self.remove(&key);
        }
    }

    pub fn find(&mut self, key: &Key, youngest: Option<Duration>, now: u64) -> Option<Found> {
        self.expire(now);
        let Self { held, order, uses, .. } = self;
        let held = held.get_mut(key)?;
        let age = Duration::from_millis(now.saturating_sub(held.made));
        if youngest.is_some_and(|youngest| age > youngest) {
            return None;
        }
        order.remove(&held.used);
        *uses += 1;
        held.used = *uses;
        order.insert(held.used, *key);
        let Entry { body, content_type, target, tokens, .. } = &held.entry;
        Some(Found {
            body: body.clone(),
            content_type: content_type.clone(),
            target: *target,
            tokens: *tokens,
            age,
            left: Duration::from_millis(held.ends - now),
        })
    }

    /// The answer to the nearest question that is near enough.
    pub fn similar(&mut self, similar: &Similar, now: u64) -> Option<Found> {
        self.expire(now);
        let near = |key: &Key| {
            let (_, vector) = self.held.get(key)?.entry.question.as_ref()?;
            let cosine = (vector.len() == similar.vector.len()).then(|| product(vector, &similar.vector))?;
            // What is the same may be a little less than one by its rounding.
            (cosine + 1e-6 >= similar.threshold).then_some((cosine, *key))
        };
        let all = self.alike.get(&similar.bucket)?.iter().filter_map(near);
        let young = |key: &Key| {
            let age = |held: &Held| Duration::from_millis(now.saturating_sub(held.made));
            self.held.get(key).is_some_and(|held| similar.youngest.is_none_or(|youngest| age(held) <= youngest))
        };
        let (_, key) = all.filter(|(_, key)| young(key)).max_by(|a, b| a.0.total_cmp(&b.0))?;
        self.find(&key, None, now)
    }

    /// Keeps an answer in place of what was kept under its key. One of a model that is configured otherwise by now, and
    /// one for which there is no room at all, is let go.
    pub fn keep(&mut self, key: Key, mut entry: Entry, now: u64) {
        self.expire(now);
        if entry.question.is_none() {
            // The same call asks the same: who wanted a new answer to it has no embedding made.
            entry.question = self.held.get(&key).and_then(|held| held.entry.question.clone());
        }
        let bytes = entry.bytes();
        if !self.models.contains(&entry.owner.model) || bytes > self.bounds.bytes {
            return;
        }
        self.remove(&key);
        if let Some((bucket, _)) = &entry.question {
            let crowd = self.alike.get(bucket).filter(|alike| alike.len() >= MOST_ALIKE);
            let oldest =
                crowd.and_then(|alike| alike.iter().min_by_key(|key| self.held.get(*key).map(|held| held.used)));
            if let Some(oldest) = oldest.copied() {
                self.remove(&oldest);
            }
            self.alike.entry(*bucket).or_default().insert(key);
        }
        while self.bytes + bytes > self.bounds.bytes
            && let Some((_, oldest)) = self.order.first_key_value().map(|(used, key)| (*used, *key))
        {
            self.remove(&oldest);
        }
        self.uses += 1;
        let ttl = u64::try_from(entry.ttl.as_millis()).unwrap_or(u64::MAX);
        let held = Held { entry, bytes, made: now, ends: now.saturating_add(ttl), used: self.uses };
        self.bytes += bytes;
        self.order.insert(held.used, key);
        self.ends.insert((held.ends, key));
        self.owners.entry(held.entry.owner.clone()).or_default().insert(key);
        self.held.insert(key, held);
    }

    fn remove(&mut self, key: &Key) {
        let Some(held) = self.held.remove(key) else { return };
        self.bytes -= held.bytes;
        self.order.remove(&held.used);
        self.ends.remove(&(held.ends, *key));
        if let Some(keys) = self.owners.get_mut(&held.entry.owner) {
            keys.remove(key);
            if keys.is_empty() {
                self.owners.remove(&held.entry.owner);
            }
        }
        if let Some((bucket, _)) = &held.entry.question
            && let Some(alike) = self.alike.get_mut(bucket)
        {
            alike.remove(key);
            if alike.is_empty() {
                self.alike.remove(bucket);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const MODEL: Key = [7; 32];

    fn key(n: u8) -> Key {
        [n; 32]
    }

    fn entry(bytes: usize, ttl: u64) -> Entry {
        Entry {
            body: Arc::new(SecretValue::new(vec![b'x'; bytes])),
            content_type: Box::default(),
            owner: Owner { model: MODEL, application: Some("app".into()), key: None },
            target: 0,
            tokens: None,
            ttl: Duration::from_millis(ttl),
            question: None,
        }
    }

    fn of_question(bucket: u8, vector: &[f32]) -> Entry {
        Entry { question: Some((key(bucket), vector.into())), ..entry(1, 1000) }
    }

    fn entries(bytes: u64) -> Entries {
        let mut entries = Entries::new(Bounds { bytes });
        entries.models.insert(MODEL);
        entries
    }

    fn there(entries: &mut Entries, n: u8, now: u64) -> bool {
        entries.find(&key(n), None, now).is_some()
    }

    #[test]
    fn an_answer_is_given_until_its_time_is_over() {
        let mut all = entries(1 << 20);
        all.keep(key(1), entry(10, 100), 1000);
        let found = all.find(&key(1), None, 1040).unwrap();
        assert_eq!((found.age, found.left), (Duration::from_millis(40), Duration::from_millis(60)));
        assert!(all.find(&key(1), Some(Duration::from_millis(39)), 1040).is_none(), "a younger one is wanted");
        assert!(all.find(&key(1), Some(Duration::from_millis(40)), 1040).is_some());
        assert!(there(&mut all, 1, 1099) && !there(&mut all, 1, 1100));
        assert_eq!((all.len(), all.bytes()), (0, 0), "and nobody holds it longer");
    }

    #[test]
    fn what_was_used_longest_ago_makes_room() {
        let mut all = entries(3 * (BESIDE + 100));
        for n in 1..=3 {
            all.keep(key(n), entry(100, 1000), 0);
        }
        assert!(there(&mut all, 1, 1));
        all.keep(key(4), entry(100, 1000), 2);
        assert!(there(&mut all, 1, 3) && !there(&mut all, 2, 3) && there(&mut all, 3, 3) && there(&mut all, 4, 3));
        all.keep(key(5), entry(1 << 20, 1000), 4);
        assert_eq!(all.len(), 3, "what does not fit at all drives nothing out");
    }

    #[test]
    fn what_is_no_longer_in_force_is_let_go() {
        let mut all = entries(1 << 20);
        all.keep(key(1), entry(1, 1000), 0);
        let other = Owner { model: MODEL, application: Some("other".into()), key: None };
        all.keep(key(2), Entry { owner: other, ..entry(1, 1000) }, 0);
        all.retain([MODEL].into_iter(), |owner| owner.application.as_deref() == Some("app"));
        assert!(there(&mut all, 1, 1) && !there(&mut all, 2, 1), "its application is gone");
        all.retain([[8; 32]].into_iter(), |_| true);
        assert_eq!((all.len(), all.bytes()), (0, 0), "its model is configured otherwise");
        all.keep(key(1), entry(1, 1000), 2);
        assert_eq!(all.len(), 0, "what ran then is not kept any more");
    }

    #[test]
    fn the_nearest_question_answers_where_it_is_near_enough() {
        let mut all = entries(1 << 20);
        all.keep(key(1), of_question(1, &[1.0, 0.0]), 0);
        all.keep(key(2), of_question(1, &[0.6, 0.8]), 0);
        all.keep(key(3), of_question(2, &[0.8, 0.6]), 0);
        let mut near = |bucket: u8, vector: &[f32], threshold: f32| {
            let similar = Similar { bucket: key(bucket), vector: vector.into(), threshold, youngest: None };
            let found = all.similar(&similar, 1);
            // The one that was used last.
            found.map(|_| all.order.last_key_value().unwrap().1[0])
        };
        assert_eq!(near(1, &[0.8, 0.6], 0.9), Some(2));
        assert_eq!(near(1, &[0.8, 0.6], 0.97), None);
        assert_eq!(near(1, &[1.0, 0.0], 1.0), Some(1));
        assert_eq!(near(2, &[0.8, 0.6], 1.0), Some(3), "rounding does not matter");
        assert_eq!(near(3, &[1.0, 0.0], 0.5), None);
        assert_eq!(near(1, &[1.0, 0.0, 0.0], 0.5), None, "embeddings of another model");
    }

    #[test]
    fn a_new_answer_to_a_question_is_found_as_the_old_one_was() {
        let mut all = entries(1 << 20);
        all.keep(key(1), of_question(1, &[1.0, 0.0]), 0);
        all.keep(key(1), entry(7, 1000), 1);
        let similar = Similar { bucket: key(1), vector: [1.0, 0.0].into(), threshold: 0.9, youngest: None };
        assert_eq!(all.similar(&similar, 2).unwrap().body.len(), 7);
        assert_eq!(all.bytes(), BESIDE + 7 + 8, "and is counted with it");
    }

    #[test]
    fn a_crowd_of_questions_has_an_end() {
        let mut all = entries(1 << 30);
        for n in 0..(MOST_ALIKE as u64 + 9) {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&n.to_be_bytes());
            all.keep(key, Entry { ttl: Duration::from_secs(60), ..of_question(1, &[1.0]) }, n);
        }
        assert_eq!((all.len(), all.alike[&key(1)].len()), (MOST_ALIKE, MOST_ALIKE));
    }

    proptest! {
        /// Whatever happens: the bound holds, and all lists tell of the same answers.
        #[test]
        fn the_lists_agree(steps in proptest::collection::vec((0u8..6, 0u8..4, 0usize..2000, 1u64..50), 1..200)) {
            let mut all = entries(6000);
            for (now, (what, n, size, ttl)) in steps.into_iter().enumerate() {
                match what {
                    0 => drop(all.find(&key(n), None, now as u64)),
                    1 => all.retain([MODEL].into_iter(), |_| n != 0),
                    2 => all.keep(key(n), Entry { ttl: Duration::from_millis(ttl), ..of_question(n % 2, &[1.0]) }, now as u64),
                    _ => all.keep(key(n), entry(size, ttl), now as u64),
                }
                prop_assert!(all.bytes() <= 6000);
                prop_assert_eq!(all.bytes(), all.held.values().map(|held| held.bytes).sum::<u64>());
                prop_assert_eq!((all.order.len(), all.ends.len()), (all.len(), all.len()));
                prop_assert_eq!(all.owners.values().map(HashSet::len).sum::<usize>(), all.len());
                prop_assert!(all.owners.values().all(|keys| !keys.is_empty()));
                let alike: usize = all.alike.values().map(BTreeSet::len).sum();
                prop_assert_eq!(alike, all.held.values().filter(|held| held.entry.question.is_some()).count());
            }
        }
    }
}
