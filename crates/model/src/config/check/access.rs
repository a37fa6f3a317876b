//! Checks of who may call what: applications, keys, models.

use super::Checker;
use crate::{
    config::{report::nearest, report::shown, source::ItemId},
    key::is_label,
    resource::{Allow, Application, Key, Kind, Model, Target},
};

impl Checker<'_> {
    pub(super) fn application(&mut self, id: ItemId, application: &Application) {
        self.description(id, application.description.as_deref());
        if let Some(team) = &application.team {
            self.refers(id, "team", Kind::Teams, team);
        }
        self.allow(id, &application.allow);
        self.limit(id, application.limit.as_ref());
    }

    pub(super) fn key(&mut self, id: ItemId, key: &Key) {
        self.description(id, key.description.as_deref());
        self.refers(id, "application", Kind::Applications, &key.application);
        if !is_label(key.environment.as_bytes()) {
            let detail = "an environment has 1 to 12 characters from a-z and 0-9";
            self.problem(id, "environment", "invalid_value", detail, "as in live or test");
        }
        if let (Some(from), Some(to)) = (key.not_before, key.expires)
            && from >= to
        {
            let detail = "the key expires before it begins to be valid";
            self.problem(id, "not_before", "contradiction", detail, "put not_before before expires");
        }
        if let Some(allow) = &key.allow {
            self.allow(id, allow);
        }
        self.limit(id, key.limit.as_ref());
        self.metadata(id, &key.metadata);
    }

    fn allow(&mut self, id: ItemId, allow: &Allow) {
        for (index, route) in allow.routes.iter().enumerate() {
            self.refers(id, &format!("allow.routes[{index}]"), Kind::Routes, route);
        }
        for (index, model) in allow.models.iter().enumerate() {
            self.refers(id, &format!("allow.models[{index}]"), Kind::Models, model);
        }
    }

    pub(super) fn model(&mut self, id: ItemId, model: &Model) {
        self.description(id, model.description.as_deref());
        if model.targets.is_empty() {
            let hint = "write at least one `- { provider: …, model: … }`";
            self.problem(id, "targets", "empty", "a model needs a target", hint);
        }
        for (index, target) in model.targets.iter().enumerate() {
            self.target(id, &format!("targets[{index}]"), target);
        }
    }

    fn target(&mut self, id: ItemId, path: &str, target: &Target) {
        let provider = target.provider.as_str();
        if !self.source.incomplete
            && !self.context.providers.contains(&provider)
            && !self.upstream_providers.contains(provider)
        {
            let known = self.context.providers.iter().chain(&self.upstream_providers).copied();
            let hint = match nearest(provider, known) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    format!("built in: {}; or declare an upstream with `provider`", self.context.providers.join(", "))
                }
            };
            let detail = format!("{} is no built-in provider and no upstream with a provider", shown(provider));
            self.problem(id, &format!("{path}.provider"), "unknown_name", detail, &hint);
        }
        if let Some(credential) = &target.credential {
            self.injects(id, &format!("{path}.credential"), credential);
        }
        if target.model.is_empty() || target.model.len() > 256 || target.model.chars().any(char::is_control) {
            let detail = "the provider's name of the model has 1 to 256 characters";
            self.problem(id, &format!("{path}.model"), "invalid_value", detail, "as the provider writes it");
        }
        if !(1..=1000).contains(&target.weight) {
            let hint = "remove the target to give it no calls";
            self.problem(id, &format!("{path}.weight"), "out_of_bounds", "a weight is 1 to 1000", hint);
        }
        for (index, pair) in target.prices.windows(2).enumerate() {
            if pair[0].from >= pair[1].from {
                let path = format!("{path}.prices[{}].from", index + 1);
                let detail = "prices are listed from the earliest date to the latest, each date once";
                self.problem(id, &path, "unsorted", detail, "sort the entries by `from`");
            }
        }
    }
}
