//! Checks of the credentials that take turns: of a target, and of an upstream for all targets that have none of their own.

use super::Checker;
use crate::{
    config::{report::shown, source::ItemId},
    resource::{Model, PooledCredential, Target, TargetCredential, Upstream, UpstreamCredential},
};

impl Checker<'_> {
    /// The credentials that a target takes turns with.
    pub(super) fn pool(&mut self, id: ItemId, path: &str, target: &Target) {
        let at = format!("{path}.credentials");
        if target.credential.is_some() && !target.credentials.is_empty() {
            let detail = "a target has one `credential` or several `credentials`, not both";
            self.problem(id, &at, "conflict", detail, "write them all in `credentials`");
        }
        if target.credentials.len() > Model::MOST_TARGETS {
            let detail = format!("a target has at most {} credentials", Model::MOST_TARGETS);
            self.problem(id, &at, "out_of_bounds", detail, "declare another target");
        }
        self.pooled(id, &at, &target.credentials.iter().map(PooledCredential::of_target).collect::<Vec<_>>());
        let provider = target.provider.as_str();
        let shared = self.upstream_providers.get(provider).copied().unwrap_or_default();
        let without = target.own_credentials().next().is_none() && !shared.is_empty();
        if without && !shared.iter().any(|credential| credential.serves(&target.model)) {
            let detail = format!(
                "no credential of the upstream {} may be used for the model {}",
                shown(provider),
                shown(&target.model)
            );
            let hint = "name it in `models` of one of them, or give the target a `credential` of its own";
            self.problem(id, &format!("{path}.model"), "contradiction", detail, hint);
        }
    }

    /// The credentials that an upstream's models share.
    pub(super) fn upstream_pool(&mut self, id: ItemId, upstream: &Upstream) {
        let all = &upstream.credentials;
        if !all.is_empty() && upstream.provider.is_none() {
            let hint = "write `inject` for requests of routes, or say what its models speak, as in `provider: openai`";
            let detail = "an upstream without `provider` serves no models, and these credentials are for models";
            self.problem(id, "credentials", "contradiction", detail, hint);
        }
        if all.len() > Model::MOST_TARGETS {
            let detail = format!("an upstream has at most {} credentials", Model::MOST_TARGETS);
            self.problem(id, "credentials", "out_of_bounds", detail, "declare another upstream");
        }
        self.pooled(id, "credentials", &all.iter().map(UpstreamCredential::of_target).collect::<Vec<_>>());
        for (index, credential) in all.iter().enumerate() {
            self.served(id, &format!("credentials[{index}].models"), credential);
        }
    }

    /// The models that a credential may be used for.
    fn served(&mut self, id: ItemId, path: &str, credential: &UpstreamCredential) {
        let Some(models) = &credential.models else { return };
        if models.is_empty() {
            let detail = "it may be used for no model";
            self.problem(id, path, "empty", detail, "leave `models` out for all, or remove the credential");
        }
        if models.len() > UpstreamCredential::MOST_MODELS {
            let detail = format!("a credential has at most {} names of models", UpstreamCredential::MOST_MODELS);
            self.problem(id, path, "out_of_bounds", detail, "end names with `*`, as in gpt-5*");
        }
        for (index, name) in models.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let start = name.strip_suffix('*').unwrap_or(name);
            if name.is_empty() || name.len() > 256 || name.chars().any(char::is_control) {
                let detail = "the provider's name of a model has 1 to 256 characters";
                self.problem(id, &path, "invalid_value", detail, "as the provider writes it");
            } else if start.contains('*') {
                let detail = "a `*` stands at the end and nowhere else";
                self.problem(id, &path, "invalid_value", detail, "as in gpt-5*");
            } else if models[..index].contains(name) {
                let detail = format!("{} stands here twice", shown(name));
                self.problem(id, &path, "duplicate", detail, "remove one of them");
            }
        }
    }

    /// Credentials that take turns.
    fn pooled(&mut self, id: ItemId, path: &str, all: &[TargetCredential<'_>]) {
        for (index, pooled) in all.iter().enumerate() {
            let path = format!("{path}[{index}]");
            self.injects(id, &format!("{path}.name"), pooled.name);
            if all[..index].iter().any(|other| other.name == pooled.name) {
                let detail = format!("{} stands here twice", shown(pooled.name.as_str()));
                self.problem(id, &format!("{path}.name"), "duplicate", detail, "give it a larger `weight` instead");
            }
            self.limit_at(id, &format!("{path}.limit"), pooled.limit);
            if !(1..=1000).contains(&pooled.weight) {
                let hint = "remove the credential to give it no calls";
                self.problem(id, &format!("{path}.weight"), "out_of_bounds", "a weight is 1 to 1000", hint);
            }
        }
    }
}
