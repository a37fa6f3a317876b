//! The caches of models, compiled.

use super::{Snapshot, models::ModelPlans};
use crate::cache::Key;
use aws_lc_rs::digest::{Context, SHA256};
use credentialflow_model::{
    Name, ResourceSet,
    resource::{Cache, CacheMode, CacheScope, Guardrail, Model, Upstream},
};
use hashbrown::HashMap;
use std::{collections::HashMap as ByName, sync::Arc, time::Duration};

/// How the answers of a model are kept.
pub(crate) struct CachePlan {
    /// What tells the model from all others, and from itself as it was configured before.
    pub model: Key,
    pub ttl: Duration,
    pub scope: CacheScope,
    /// Bytes of the largest answer that is kept.
    pub max_entry: usize,
    /// Headers whose values matter, in lower case.
    pub headers: Box<[Box<str>]>,
    /// How questions are compared, where they are.
    pub semantic: Option<SemanticPlan>,
}

/// How questions are compared.
pub(crate) struct SemanticPlan {
    /// The model that makes embeddings, in the snapshot.
    pub model: u32,
    /// What tells it from others, as above: embeddings of two models have nothing in common.
    pub identity: Key,
    /// The least cosine of questions that ask the same.
    pub threshold: f32,
}

/// A digest of parts, each with its length, so that no two lists of parts have the same.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// Compiles the caches of all models, once the models are. `written` tells how often each model was written since this
/// process began: writing one empties its cache.
pub(super) fn compile(set: &ResourceSet, plans: &mut ModelPlans, written: &ByName<Name, u64>) {
    let caching = |model: &&Model| model.cache.is_some();
    if !set.models.iter().any(|model| caching(&model)) {
        return;
    }
    let identity = |model: &Model| identity(set, model, written.get(&model.name).copied().unwrap_or(0));
    for model in set.models.iter().filter(caching) {
        let Some(cache) = &model.cache else { continue };
        let embedder = cache.embedding_model.as_ref().filter(|_| cache.mode == CacheMode::Semantic).and_then(|name| {
            let declared = set.models.iter().find(|model| model.name == *name)?;
            Some((*plans.by_name.get(name.as_str())?, identity(declared)))
        });
        let plan = CachePlan {
            model: identity(model),
            ttl: cache.ttl.unwrap_or(Cache::TTL).as_duration(),
            scope: cache.scope,
            max_entry: cache.max_entry.unwrap_or(Cache::MAX_ENTRY).as_bytes() as usize,
            headers: cache.headers.iter().map(|name| name.to_ascii_lowercase().into()).collect(),
            semantic: embedder.map(|(model, identity)| SemanticPlan {
                model,
                identity,
                threshold: cache.threshold.unwrap_or(Cache::THRESHOLD) as f32,
            }),
        };
        let place = plans.by_name.get(model.name.as_str()).copied();
        if let Some(compiled) = place.and_then(|place| plans.list.get_mut(place as usize)) {
            compiled.cache = Some(Arc::new(plan));
        }
    }
    let by_team = |model: &Model| model.cache.as_ref().is_some_and(|cache| cache.scope == CacheScope::Team);
    if set.models.iter().any(by_team) {
        let of = |a: &credentialflow_model::resource::Application| Some((a.name.shared(), a.team.as_ref()?.shared()));
        plans.teams = set.applications.iter().filter_map(of).collect::<HashMap<_, _>>();
    }
}

/// What tells a model as it is configured from all others: all that is declared of it, of its guardrails, and of the
/// upstreams that it leads to.
pub(super) fn identity(set: &ResourceSet, model: &Model, written: u64) -> Key {
    let declared = |name: &Name| set.upstreams.iter().find(|upstream: &&Upstream| upstream.name == *name);
    let upstreams: Vec<_> = model.targets.iter().map(|target| declared(&target.provider)).collect();
    let sets = |name: &Name| set.guardrails.iter().find(|set| set.name == *name).map(|set| set.rules.as_slice());
    let rules: Vec<(Option<&Name>, &Guardrail)> = model.rules(sets).collect();
    // Plain data: serializing does not fail.
    let text = serde_json::to_vec(&(model, upstreams, rules)).unwrap_or_default();
    digest([&text[..], &written.to_be_bytes()])
}

impl Snapshot {
    /// What tells each model that keeps answers from others.
    pub(crate) fn cached_models(&self) -> impl Iterator<Item = Key> {
        self.models.list.iter().filter_map(|plan| plan.cache.as_ref()).map(|cache| cache.model)
    }

    /// Whether there is an application of this name.
    pub(crate) fn has_application(&self, name: &str) -> bool {
        let slot = self.keys.applications().slot(name);
        slot.is_some_and(|slot| self.applications.get(slot).is_some())
    }
}
