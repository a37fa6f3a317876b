use super::{Limit, PooledCredential, Target, Upstream};
use crate::Name;
use serde::{Deserialize, Serialize};

/// One of an upstream's credentials for models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamCredential {
    /// The credential.
    pub name: Name,
    /// Share of calls relative to the others that may be used for the same model, 1 to 1000. 1 unless set.
    #[serde(default = "one")]
    pub weight: u32,
    /// How much its provider takes with it, in some time and at once, whatever the model; calls for which it has no room go
    /// with the next one. Counted for this credential wherever it stands with the same limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The provider's names of the models that it may be used for, whole or with a `*` at the end. All unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(examples("gpt-5*", "text-embedding-3-small"))]
    pub models: Option<Vec<String>>,
}

impl UpstreamCredential {
    /// Names of models in its list, at most.
    pub const MOST_MODELS: usize = 256;

    /// Whether it may be used for a model of its provider's.
    pub fn serves(&self, model: &str) -> bool {
        let fits = |known: &String| match known.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => known == model,
        };
        self.models.as_ref().is_none_or(|models| models.iter().any(fits))
    }

    /// As a target has it whose model it may be used for.
    pub fn of_target(&self) -> TargetCredential<'_> {
        TargetCredential { name: &self.name, weight: self.weight, limit: self.limit.as_ref() }
    }
}

impl PooledCredential {
    /// As its target has it.
    pub fn of_target(&self) -> TargetCredential<'_> {
        TargetCredential { name: &self.name, weight: self.weight, limit: self.limit.as_ref() }
    }
}

const fn one() -> u32 {
    1
}

/// A credential with which calls to a target may go, wherever it is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetCredential<'s> {
    /// The credential.
    pub name: &'s Name,
    /// Share of calls relative to the others.
    pub weight: u32,
    /// How much its provider takes with it.
    pub limit: Option<&'s Limit>,
}

impl Target {
    /// The credentials one of which is injected, in order: its own, else those of its upstream that may be used for its
    /// model. Where there are none, it is what its upstream injects. `upstream`: the declared one that its `provider` names.
    pub fn pool<'s>(&'s self, upstream: Option<&'s Upstream>) -> impl Iterator<Item = TargetCredential<'s>> {
        let one = self.credential.iter().map(|name| TargetCredential { name, weight: 1, limit: None });
        let several = self.credentials.iter().map(PooledCredential::of_target);
        let shared = upstream.filter(|_| self.own_credentials().next().is_none()).map_or(&[][..], |u| &u.credentials);
        let shared =
            shared.iter().filter(|credential| credential.serves(&self.model)).map(UpstreamCredential::of_target);
        one.chain(several).chain(shared)
    }
}
