//! What a credential opens, who holds it, and what would have broken had it been revoked before recent requests.
//!
//! The last part is a replay: every recorded request that carried the credential is judged by what is declared now.
//! One that was served and would carry it again breaks; one whose route or model uses something else by now survives;
//! one that was refused anyway does not count. So the answer is a number of real requests, not a guess.

use crate::{CredentialKind, EntryState, Graph, Observed, Reach, Seen, Tally};
use credentialflow_model::{KeyId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    sync::Arc,
};

/// Different callers told apart; further ones are only counted.
const MAX_CALLERS: usize = 100_000;
/// Most lines of a list in the answer; the busiest.
const SHOWN: usize = 100;

/// Some name and its share of the requests that would break.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Share {
    /// An application, a route, a model, a key's id, or a source address.
    pub name: String,
    /// How many requests.
    pub requests: u64,
    /// When the last one began.
    pub last: Timestamp,
}

/// Requests that would break, of one caller over one way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Caller {
    /// The application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application: Option<String>,
    /// The key, by id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The source address.
    pub source: String,
    /// How many requests.
    pub requests: u64,
    /// When the last one began.
    pub last: Timestamp,
}

/// Recorded requests that would not break, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Surviving {
    /// Why.
    pub because: String,
    /// How many requests.
    pub requests: u64,
}

/// Recent traffic, judged as if the credential were revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Replayed {
    /// Which part of the call log was looked at; its `requests` are those that carried the credential.
    pub observed: Observed,
    /// Requests that were served and would be refused.
    pub breaks: u64,
    /// The same for an hour, on average over the time looked at.
    pub breaks_per_hour: u64,
    /// When the last of them began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// Requests that were not served anyway.
    pub failing_already: u64,
    /// Requests that were served and would be served again.
    pub survives: Vec<Surviving>,
    /// Applications that would notice, busiest first.
    pub applications: Vec<Share>,
    /// Routes over which they would.
    pub routes: Vec<Share>,
    /// Models.
    pub models: Vec<Share>,
    /// Keys, by id.
    pub keys: Vec<Share>,
    /// Source addresses.
    pub sources: Vec<Share>,
    /// Who calls what from where, the busiest hundred.
    pub callers: Vec<Caller>,
}

/// An application that may use the credential, whether it does or not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Holder {
    /// The application.
    pub application: String,
    /// Its team.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Keys of it that work and are allowed one of the routes or models.
    pub keys: u64,
    /// Their names, at most twenty.
    pub key_names: Vec<String>,
    /// Requests that would break. None: it has access and does not use it.
    pub requests: u64,
}

/// Something that stops beside requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Consequence {
    /// What it happens to, as in `credentials/orders-db`.
    pub subject: String,
    /// What happens.
    pub what: String,
}

/// What revoking a credential would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BlastRadius {
    /// What kind of credential.
    pub kind: CredentialKind,
    /// Its name.
    pub name: String,
    /// Whether it can be used now.
    pub state: EntryState,
    /// The answer in a sentence.
    pub verdict: String,
    /// Whether nothing would break, and everything was looked at: never where calls were left out, or other nodes have
    /// call logs of their own.
    pub quiet: bool,
    /// Requests that carry it at this moment; absent for keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u64>,
    /// When it was last used, on any node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Timestamp>,
    /// What it opens.
    pub opens: Reach,
    /// Who may use it.
    pub holders: Vec<Holder>,
    /// What recent traffic says.
    pub replay: Replayed,
    /// What else stops.
    pub consequences: Vec<Consequence>,
}

impl BlastRadius {
    /// The sentence over everything else. Call it when the rest is filled in.
    pub fn verdict(&self, told: &str) -> String {
        let replay = &self.replay;
        let (breaks, mut text) = (replay.breaks, String::new());
        if self.state == EntryState::Revoked || self.state == EntryState::Expired {
            text.push_str("It cannot be used any more. ");
        }
        if breaks == 0 {
            text.push_str(&format!("No request of the last {told} would break"));
        } else {
            let many = |n: usize, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
            let ways = replay.routes.len() + replay.models.len();
            let pace = match replay.breaks_per_hour {
                0 => String::new(),
                pace => format!(" ({pace} an hour)"),
            };
            text.push_str(&format!(
                "{} of the last {told} would be refused{pace}, of {} from {} over {}",
                if breaks == 1 { "1 request".to_owned() } else { format!("{breaks} requests") },
                many(replay.applications.len(), "application"),
                many(replay.sources.len(), "address").replace("addresss", "addresses"),
                many(ways, "route or model").replace("route or models", "routes and models"),
            ));
        }
        if !self.consequences.is_empty() {
            let more = if self.consequences.len() == 1 {
                "1 other thing stops".to_owned()
            } else {
                format!("{} other things stop", self.consequences.len())
            };
            text.push_str(&format!("; {more}"));
        }
        if !replay.observed.complete {
            text.push_str("; older requests were not looked at");
        }
        if !replay.observed.other_nodes.is_empty() {
            text.push_str("; the call logs of other nodes were not looked at");
        }
        text.push('.');
        text
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Way {
    application: Option<Arc<str>>,
    key: Option<KeyId>,
    route: Option<Arc<str>>,
    model: Option<Arc<str>>,
    source: std::net::IpAddr,
}

/// Whose revocation is replayed.
enum Subject {
    Credential(Box<str>),
    Key,
}

/// Adds up recorded requests that carried one credential.
pub struct Replay<'g, 's> {
    graph: &'g Graph<'s>,
    subject: Subject,
    breaking: HashMap<Way, Tally>,
    breaks: Tally,
    requests: u64,
    failing_already: u64,
    survives: BTreeMap<&'static str, u64>,
}

impl<'g, 's> Replay<'g, 's> {
    /// Of a credential we hold.
    pub fn of_credential(graph: &'g Graph<'s>, name: &str) -> Self {
        Self::new(graph, Subject::Credential(name.into()))
    }

    /// Of a key we issued; requests of other keys must not be handed in.
    pub fn of_key(graph: &'g Graph<'s>) -> Self {
        Self::new(graph, Subject::Key)
    }

    fn new(graph: &'g Graph<'s>, subject: Subject) -> Self {
        Self {
            graph,
            subject,
            breaking: HashMap::new(),
            breaks: Tally::default(),
            requests: 0,
            failing_already: 0,
            survives: BTreeMap::new(),
        }
    }

    /// Judges one request.
    pub fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        if !seen.served {
            self.failing_already += 1;
            return;
        }
        let (route, model) = (seen.route.as_deref(), seen.model.as_deref());
        let judged = match &self.subject {
            Subject::Credential(name) => self.graph.carries(name, route, model),
            Subject::Key if route.is_some_and(|route| self.graph.is_open(route)) => {
                Err("its route lets everybody pass, with a key or without")
            }
            Subject::Key => Ok(()),
        };
        if let Err(because) = judged {
            *self.survives.entry(because).or_default() += 1;
            return;
        }
        self.breaks.add(seen.time, true);
        let way = Way {
            application: seen.application.clone(),
            key: seen.key,
            route: seen.route.clone(),
            model: seen.model.clone(),
            source: seen.source,
        };
        if let Some(tally) = self.breaking.get_mut(&way) {
            tally.add(seen.time, true);
        } else if self.breaking.len() < MAX_CALLERS {
            let mut tally = Tally::default();
            tally.add(seen.time, true);
            self.breaking.insert(way, tally);
        }
    }

    /// Requests of an application that would break.
    pub fn of_application(&self, name: &str) -> u64 {
        let mine = self.breaking.iter().filter(|(way, _)| way.application.as_deref() == Some(name));
        mine.map(|(_, tally)| tally.requests).sum()
    }

    /// The answer, over the part of the call log that was looked at.
    pub fn finish(self, mut observed: Observed) -> Replayed {
        observed.requests = self.requests;
        let micros = u64::try_from(observed.until.micros() - observed.since.micros()).unwrap_or(0).max(1);
        let per_hour = u128::from(self.breaks.requests) * 3_600_000_000 / u128::from(micros);
        let applications = shares(&self.breaking, |way| way.application.as_ref().map(ToString::to_string));
        let routes =
            shares(&self.breaking, |way| way.route.as_ref().filter(|_| way.model.is_none()).map(ToString::to_string));
        let models = shares(&self.breaking, |way| way.model.as_ref().map(ToString::to_string));
        let keys = shares(&self.breaking, |way| way.key.map(|key| key.to_string()));
        let sources = shares(&self.breaking, |way| Some(way.source.to_string()));
        let mut callers: Vec<_> = self.breaking.into_iter().map(|(way, tally)| caller(&way, &tally)).collect();
        callers.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| b.last.cmp(&a.last)));
        callers.truncate(SHOWN);
        Replayed {
            observed,
            breaks: self.breaks.requests,
            breaks_per_hour: u64::try_from(per_hour).unwrap_or(u64::MAX),
            last: self.breaks.last,
            failing_already: self.failing_already,
            survives: self
                .survives
                .into_iter()
                .map(|(because, requests)| Surviving { because: because.to_owned(), requests })
                .collect(),
            applications,
            routes,
            models,
            keys,
            sources,
            callers,
        }
    }
}

fn caller(way: &Way, tally: &Tally) -> Caller {
    let text = |name: &Option<Arc<str>>| name.as_ref().map(ToString::to_string);
    Caller {
        application: text(&way.application),
        key: way.key,
        route: text(&way.route),
        model: text(&way.model),
        source: way.source.to_string(),
        requests: tally.requests,
        last: tally.last.unwrap_or_default(),
    }
}

fn shares(ways: &HashMap<Way, Tally>, name: impl Fn(&Way) -> Option<String>) -> Vec<Share> {
    let mut sums: HashMap<String, Tally> = HashMap::new();
    for (way, tally) in ways {
        let Some(name) = name(way) else { continue };
        let sum = sums.entry(name).or_default();
        sum.requests += tally.requests;
        sum.last = sum.last.max(tally.last);
    }
    let shares =
        sums.into_iter().map(|(name, t)| Share { name, requests: t.requests, last: t.last.unwrap_or_default() });
    let mut all: Vec<_> = shares.collect();
    all.sort_by(|a, b| b.requests.cmp(&a.requests).then_with(|| a.name.cmp(&b.name)));
    all.truncate(SHOWN);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, days_ago, world};
    use std::net::Ipv4Addr;

    fn seen(application: &str, route: &str, source: u8, served: bool) -> Seen {
        Seen {
            time: Timestamp::from_secs(NOW - i64::from(source)),
            application: Some(application.into()),
            key: Some(KeyId::from_bits(1)),
            route: Some(route.into()),
            model: None,
            credential: Some(("orders-token".into(), 1)),
            source: Ipv4Addr::new(10, 0, 0, source).into(),
            served,
        }
    }

    fn observed() -> Observed {
        Observed {
            since: days_ago(1),
            until: days_ago(0),
            requests: 0,
            complete: true,
            begins: None,
            other_nodes: Vec::new(),
        }
    }

    #[test]
    fn served_requests_break_and_others_do_not_count() {
        let set = world();
        let graph = Graph::new(&set);
        let mut replay = Replay::of_credential(&graph, "orders-token");
        for n in 0..48 {
            replay.add(&seen("checkout", "orders", n % 2, true));
        }
        replay.add(&seen("billing", "orders", 9, true));
        replay.add(&seen("billing", "orders", 9, false));
        replay.add(&seen("billing", "deleted-route", 9, true));
        assert_eq!((replay.of_application("checkout"), replay.of_application("nobody")), (48, 0));
        let done = replay.finish(observed());
        assert_eq!((done.observed.requests, done.breaks, done.failing_already), (51, 49, 1));
        assert_eq!(done.breaks_per_hour, 2);
        assert_eq!(done.last, Some(Timestamp::from_secs(NOW)));
        let names: Vec<_> = done.applications.iter().map(|s| (s.name.as_str(), s.requests)).collect();
        assert_eq!(names, [("checkout", 48), ("billing", 1)]);
        assert_eq!((done.routes.len(), done.sources.len(), done.callers.len()), (1, 3, 3));
        assert_eq!(done.survives, [Surviving { because: "its route is no longer declared".into(), requests: 1 }]);
    }

    #[test]
    fn a_key_is_not_missed_where_everybody_passes() {
        let set = world();
        let graph = Graph::new(&set);
        let mut replay = Replay::of_key(&graph);
        replay.add(&seen("checkout", "public", 1, true));
        replay.add(&seen("checkout", "orders", 1, true));
        let done = replay.finish(observed());
        assert_eq!((done.breaks, done.survives[0].requests), (1, 1));
    }

    #[test]
    fn the_verdict_is_a_sentence_with_numbers() {
        let set = world();
        let graph = Graph::new(&set);
        let mut replay = Replay::of_credential(&graph, "orders-token");
        for n in 0..48 {
            replay.add(&seen("checkout", "orders", n % 2, true));
        }
        let mut radius = BlastRadius {
            kind: CredentialKind::Credential,
            name: "orders-token".into(),
            state: EntryState::Active,
            verdict: String::new(),
            quiet: false,
            in_flight: None,
            last_used: None,
            opens: graph.of_credential("orders-token"),
            holders: Vec::new(),
            replay: replay.finish(observed()),
            consequences: Vec::new(),
        };
        assert_eq!(
            radius.verdict("24 hours"),
            "48 requests of the last 24 hours would be refused (2 an hour), of 1 application from 2 addresses over 1 route or model."
        );
        radius.replay.breaks = 1;
        radius.replay.breaks_per_hour = 0;
        radius.consequences.push(Consequence { subject: "targets/pg".into(), what: "stops".into() });
        assert_eq!(
            radius.verdict("24 hours"),
            "1 request of the last 24 hours would be refused, of 1 application from 2 addresses over 1 route or model; 1 other thing stops."
        );
        radius.consequences.clear();
        radius.replay = Replay::of_credential(&graph, "orders-token").finish(observed());
        radius.replay.observed.complete = false;
        assert_eq!(
            radius.verdict("24 hours"),
            "No request of the last 24 hours would break; older requests were not looked at."
        );
    }
}
