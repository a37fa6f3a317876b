//! Checks of credentials: where values come from, how they are made, rotated and tried.

use super::Checker;
use crate::{
    Name, ResourceSet, SecretReference,
    config::{report::shown, source::ItemId},
    resource::{Credential, Engine, GenerateRule, Kind, Overlap, RotateRule},
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
            Engine::Static => {
                if credential.generate.is_some() {
                    let hint = "write engine: generated, or remove it";
                    self.problem(id, "generate", "not_here", "`generate` is for generated credentials", hint);
                }
            }
            Engine::Generated | Engine::Database | Engine::Certificate | Engine::CertificateAuthority => {
                if credential.value.is_some() {
                    let hint = "write engine: static, or remove it";
                    self.problem(id, "value", "not_here", "`value` is for static credentials", hint);
                }
                if credential.engine == Engine::Database && credential.generate.is_some() {
                    let detail = "a database credential's password is 32 letters and digits";
                    self.problem(id, "generate", "not_here", detail, "remove it");
                }
                if credential.engine.is_certificate() && credential.generate.is_some() {
                    let detail = "a certificate's key is always ECDSA on P-256";
                    self.problem(id, "generate", "not_here", detail, "remove it");
                }
            }
        }
        self.database(id, credential);
        self.certificate(id, credential);
        self.places(id, credential);
        if let Some(SecretReference::Credential(name)) = &credential.value {
            self.injects(id, "value", name);
        }
        if let Some(rule) = &credential.generate {
            self.generate(id, rule);
        }
        if let Some(rule) = &credential.rotate {
            self.rotate(id, rule);
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
