//! What guardrails compare texts with: the embeddings of the examples of topics. They are made when a call first needs them,
//! and kept as long as the model that made them stays as it is configured: a snapshot shares them with the one before.

use super::{
    cache::{digest, identity},
    models::ModelPlans,
};
use crate::cache::Key;
use credentialflow_llm::guardrail::remote::{To, topics::Topics};
use credentialflow_model::{Name, ResourceSet};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak},
};

/// All that are in force, by the model and the examples; gone with the last snapshot that has them.
static KNOWN: LazyLock<Mutex<HashMap<Key, Weak<Examples>>>> = LazyLock::new(Mutex::default);

/// The embeddings of the examples of a rule, in their order, each of length one; empty until somebody needed them.
#[derive(Default)]
pub(crate) struct Examples(OnceLock<Vec<Vec<f32>>>);

impl Examples {
    /// The embeddings, where they were made.
    pub fn made(&self) -> Option<&[Vec<f32>]> {
        self.0.get().map(Vec::as_slice)
    }

    /// Keeps those that were made. Where others were first, these stay.
    pub fn keep(&self, made: Vec<Vec<f32>>) -> &[Vec<f32>] {
        self.0.get_or_init(|| made)
    }
}

/// Those of all rules, by the marks of their topics; `written` tells how often each model was written.
pub(super) fn compile(
    set: &ResourceSet,
    models: &ModelPlans,
    written: &HashMap<Name, u64>,
) -> HashMap<u64, Arc<Examples>> {
    let built = models.list.iter().filter_map(|plan| plan.guardrails.as_ref()?.as_ref().ok());
    let topics = built.flat_map(|built| built.remotes()).filter_map(|rule| match rule.to() {
        To::Topics(topics) => Some(topics),
        _ => None,
    });
    let mut all: HashMap<u64, Arc<Examples>> = HashMap::new();
    for topics in topics {
        if !all.contains_key(&topics.mark())
            && let Some(model) = set.models.iter().find(|model| model.name == *topics.model())
        {
            let identity = identity(set, model, written.get(&model.name).copied().unwrap_or(0));
            all.insert(topics.mark(), known(&identity, topics));
        }
    }
    all
}

fn known(identity: &Key, topics: &Topics) -> Arc<Examples> {
    let examples = topics.examples();
    let key = digest(std::iter::once(&identity[..]).chain(examples.iter().map(|example| example.as_bytes())));
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(examples) = known.get(&key).and_then(Weak::upgrade) {
        return examples;
    }
    known.retain(|_, other| other.strong_count() > 0);
    let new = Arc::<Examples>::default();
    known.insert(key, Arc::downgrade(&new));
    new
}
