//! Checks of credentials: where values come from, how they are made, rotated and tried.

use super::Checker;
use crate::{
    Name, ResourceSet, SecretReference,
    config::{report::shown, source::ItemId},
    resource::{Credential, Engine, GenerateRule, Kind, Overlap, RotateRule, Team},
};
use std::collections::{HashMap, HashSet};

const DAY: u64 = 86_400_000;

impl Checker<'_> {
    pub(super) fn credential(&mut self, id: ItemId, credential: &Credential) {
        self.description(id, credential.description.as_deref());
        if let Some(owner) = &credential.owner {
            self.refers(id, "owner", Kind::Teams, owner);
        }
        self.tags(id, &credential.tags);
        match credential.engine {
            Engine::Static | Engine::OauthToken | Engine::GoogleServiceAccount => {
                if credential.generate.is_some() {
                    let hint = "write engine: generated, or remove it";
                    self.problem(id, "generate", "not_here", "`generate` is for generated credentials", hint);
                }
            }
            Engine::Generated
            | Engine::Database
            | Engine::Provider
            | Engine::Certificate
            | Engine::CertificateAuthority
            | Engine::Key => {
                if credential.value.is_some() {
                    let hint = "write engine: static, or remove it";
                    self.problem(id, "value", "not_here", "`value` is for static credentials", hint);
                }
                let detail = match credential.engine {
                    Engine::Database => "a database credential's password is 32 letters and digits",
                    Engine::Provider => "a provider makes its keys itself",
                    Engine::Key => "a key's secret is 190 random bits",
                    _ => "a certificate's key is always ECDSA on P-256",
                };
                if credential.engine != Engine::Generated && credential.generate.is_some() {
                    self.problem(id, "generate", "not_here", detail, "remove it");
                }
            }
        }
        self.database(id, credential);
        self.provider(id, credential);
        self.token(id, credential);
        self.certificate(id, credential);
        self.places(id, credential);
        self.held_key(id, credential);
        if let Some(SecretReference::Credential(name)) = &credential.value {
            self.opens(id, "value", name);
        }
        if let Some(rule) = &credential.generate {
            self.generate(id, rule);
        }
        if let Some(rule) = &credential.rotate {
            self.rotate(id, rule);
            let alone = credential.database.as_ref().is_some_and(|rule| !rule.alternate);
            if rule.canary.is_some() && alone {
                let detail = "one login has one password: no part of the traffic can go on with the old one";
                self.problem(id, "rotate.canary", "contradiction", detail, "write alternate: true, or remove it");
            }
            if rule.canary.is_some() && credential.engine.is_certificate() {
                let detail = "a certificate is shown by connections, not by requests";
                self.problem(id, "rotate.canary", "not_here", detail, "remove it");
            }
            if let Some(deliver) = &rule.deliver {
                if !credential.engine.is_received() || credential.source().is_some() {
                    let detail = "this is for values that somebody else issues";
                    self.problem(id, "rotate.deliver", "not_here", detail, "remove it");
                }
                self.webhook(id, "rotate.deliver.url", &deliver.url);
                self.refers(id, "rotate.deliver.secret", Kind::Credentials, &deliver.secret);
            }
            if rule.every.is_some() && credential.source().is_some() {
                let detail = "a value that comes from a store is rotated there";
                self.problem(id, "rotate.every", "not_here", detail, "remove it");
            }
        }
        if let Some(verify) = &credential.verify {
            self.refers(id, "verify.upstream", Kind::Upstreams, &verify.upstream);
            let plain = verify.path.starts_with('/') && verify.path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
            if !plain || verify.path.len() > 2048 {
                let hint = "as in /v1/models or /me?fields=id";
                self.problem(id, "verify.path", "invalid_path", "this is no path with query", hint);
            }
        }
    }

    /// A key whose secret is held here: the application must find it somewhere, and only callers show it.
    fn held_key(&mut self, id: ItemId, credential: &Credential) {
        if credential.engine != Engine::Key {
            if credential.rotate.as_ref().is_some_and(|rule| rule.quiet.is_some()) {
                let detail = "only callers of ours can be seen to be quiet: this is for keys";
                self.problem(id, "rotate.quiet", "not_here", detail, "remove it");
            }
            return;
        }
        if credential.sync.is_empty() {
            let detail = "nobody could fetch the next secret, and the old one would end";
            self.problem(id, "sync", "missing", detail, "name the store in which the application finds its key");
        }
        let rule = credential.rotate.clone().unwrap_or_default();
        let choose = "callers choose which of a key's secrets they show";
        let given = [
            (credential.verify.is_some(), "verify", "every worker accepts a new secret before anybody is told of it"),
            (credential.expires.is_some(), "expires", "the key itself says when it ends"),
            (rule.canary.is_some(), "rotate.canary", choose),
        ];
        for (_, field, detail) in given.into_iter().filter(|(given, ..)| *given) {
            self.problem(id, field, "not_here", detail, "remove it");
        }
        if let Some(quiet) = rule.quiet {
            self.at_most(id, "rotate.quiet", quiet, 30 * DAY, "30 days");
            if quiet.as_millis() < 10_000 {
                self.problem(id, "rotate.quiet", "out_of_bounds", "this is at least 10s", "one hour is usual");
            }
        }
    }

    /// Who of a team is told.
    pub(super) fn notify(&mut self, id: ItemId, team: &Team) {
        let Some(rule) = &team.notify else { return };
        if rule.emails.len() + rule.webhooks.len() > 32 {
            self.problem(id, "notify", "too_large", "these are more than 32 places", "use a list or a relay");
        }
        for (index, email) in rule.emails.iter().enumerate() {
            let sides =
                email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains(|c: char| c != '.'));
            let plain = email.len() <= 254 && email.chars().all(|c| !c.is_control() && !c.is_whitespace() && c != '<');
            if !sides || !plain {
                let path = format!("notify.emails[{index}]");
                self.problem(id, &path, "invalid_value", "this is no address of e-mail", "as in payments@example.com");
            }
        }
        for (index, webhook) in rule.webhooks.iter().enumerate() {
            self.webhook(id, &format!("notify.webhooks[{index}].url"), &webhook.url);
            self.refers(id, &format!("notify.webhooks[{index}].secret"), Kind::Credentials, &webhook.secret);
        }
    }

    /// An address that events are sent to.
    pub(super) fn webhook(&mut self, id: ItemId, field: &str, url: &str) {
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let plain = url.len() <= 2048 && url.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !plain || host.is_empty() || host.contains('@') {
            let hint = "as in https://hooks.example.com/credentials";
            self.problem(id, field, "invalid_value", "this is no address of a webhook", hint);
        } else if url.starts_with("http://") && !matches!(name, "localhost" | "127.0.0.1" | "[::1]") {
            self.problem(id, field, "insecure", "this is sent in clear", "write https://");
        }
    }

    fn rotate(&mut self, id: ItemId, rule: &RotateRule) {
        if rule.every.is_some_and(|every| every.as_millis() < 60_000) {
            self.problem(id, "rotate.every", "out_of_bounds", "this is at least 1m", "as in 90d");
        }
        if let Overlap::For(period) = rule.overlap {
            self.at_most(id, "rotate.overlap", period, 365 * DAY, "365 days");
        }
        if let Some(limit) = rule.limit {
            self.at_most(id, "rotate.limit", limit, 365 * DAY, "365 days");
            if rule.overlap == Overlap::OnlyWhenDrained {
                let detail = "an overlap that ends only when drained has no limit";
                self.problem(id, "rotate.limit", "contradiction", detail, "write overlap: until-drained, or remove it");
            }
        }
        if let Some(canary) = &rule.canary {
            if !(1..=99).contains(&canary.percent) {
                self.problem(id, "rotate.canary.percent", "out_of_bounds", "this is 1 to 99", "5 is usual");
            }
            if !(1..=1_000_000).contains(&canary.answers) {
                self.problem(id, "rotate.canary.answers", "out_of_bounds", "this is 1 to 1000000", "100 is usual");
            }
            self.at_most(id, "rotate.canary.within", canary.within, 30 * DAY, "30 days");
        }
        for (there, field) in [
            (rule.jitter.is_some(), "rotate.jitter"),
            (rule.window.is_some(), "rotate.window"),
            (rule.approval, "rotate.approval"),
        ] {
            if there && rule.every.is_none() {
                let detail = "this is for rotations that are due by themselves";
                self.problem(id, field, "not_here", detail, "give `every`, or remove it");
            }
        }
        if let (Some(jitter), Some(every)) = (rule.jitter, rule.every)
            && jitter > every
        {
            let detail = "this is longer than the time between two rotations";
            self.problem(id, "rotate.jitter", "out_of_bounds", detail, "a tenth of `every` is usual");
        }
        if let Some(window) = &rule.window
            && !crate::schedule::is_zone(&window.zone)
        {
            let detail = format!("{} is no time zone", shown(&window.zone));
            let hint = "a name of the IANA database, as in Europe/Berlin";
            self.problem(id, "rotate.window.zone", "invalid_value", detail, hint);
        }
    }

    fn tags(&mut self, id: ItemId, tags: &[String]) {
        if tags.len() > 64 {
            self.problem(id, "tags", "too_large", "there are more than 64 tags", "keep words to find it by");
        }
        for (index, tag) in tags.iter().enumerate() {
            let path = format!("tags[{index}]");
            if tag.is_empty() || tag.chars().count() > 64 || tag.chars().any(char::is_control) {
                self.problem(id, &path, "invalid_value", "a tag has 1 to 64 characters", "shorten it");
            } else if tags[..index].contains(tag) {
                self.problem(id, &path, "duplicate", "this tag is given twice", "remove one of them");
            }
        }
    }

    fn generate(&mut self, id: ItemId, rule: &GenerateRule) {
        if !(8..=1024).contains(&rule.length) {
            self.problem(id, "generate.length", "out_of_bounds", "a length is 8 to 1024 characters", "32 is usual");
            return;
        }
        let characters = rule.alphabet.characters().len();
        let per_character = f64::from(u32::try_from(characters).unwrap_or(2)).log2();
        let needed = (f64::from(rule.entropy) / per_character).ceil();
        if needed > f64::from(rule.length) {
            let detail = format!("{} of these characters cannot hold {} bits", rule.length, rule.entropy);
            let hint = format!("length {needed} would do, or take a richer alphabet");
            self.problem(id, "generate.entropy", "out_of_bounds", detail, &hint);
        }
    }

    /// A value may come from another credential, but in the end from somewhere.
    pub(super) fn credential_cycles(&mut self, set: &ResourceSet) {
        let next: HashMap<&Name, &Name> = set
            .credentials
            .iter()
            .filter_map(|c| match &c.value {
                Some(SecretReference::Credential(from)) => Some((&c.name, from)),
                // To read there, what lets us in must have a value first.
                Some(SecretReference::Store(place)) => {
                    let store = set.stores.iter().find(|s| s.name == place.store)?;
                    store.credential.as_ref().map(|from| (&c.name, from))
                }
                _ => None,
            })
            .collect();
        let mut settled: HashSet<&Name> = HashSet::new();
        for (index, credential) in set.credentials.iter().enumerate() {
            let mut way = Vec::new();
            let mut on_way = HashSet::new();
            let mut here = &credential.name;
            while !settled.contains(here) && on_way.insert(here) {
                way.push(here);
                match next.get(here) {
                    Some(from) => here = from,
                    None => break,
                }
            }
            // Each cycle is told once, at the credential where it is first met.
            if next.contains_key(here) && !settled.contains(here) && way.contains(&here) {
                let cycle: Vec<_> = way.iter().skip_while(|n| **n != here).take(8).map(|n| n.as_str()).collect();
                let detail = format!("its value leads back to itself: {}", cycle.join(" → "));
                let at = set.credentials.iter().position(|c| c.name == *here).unwrap_or(index);
                let id = ItemId { kind: Kind::Credentials, index: at, partial: false };
                self.problem(id, "value", "cycle", detail, "let one of them have a value of its own");
            }
            settled.extend(way);
        }
    }
}
