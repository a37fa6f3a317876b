//! Public models and what serves them, compiled.

use super::InjectPlan;
use credentialflow_llm::{
    price::PriceHandle,
    provider::{Dialect, LimitField},
};
use credentialflow_model::resource::SecretsInRequests;
use hashbrown::HashMap;
use std::sync::Arc;

/// All models of a snapshot.
#[derive(Default)]
pub(crate) struct ModelPlans {
    pub by_name: HashMap<Arc<str>, u32>,
    pub list: Vec<ModelPlan>,
}

/// One public model.
pub(crate) struct ModelPlan {
    pub name: Arc<str>,
    pub targets: Vec<TargetPlan>,
    pub total_weight: u32,
    /// What happens to calls with live secrets of ours.
    pub secrets: SecretsInRequests,
}

/// One way to serve it.
pub(crate) struct TargetPlan {
    pub provider: Arc<str>,
    pub provider_model: Arc<str>,
    pub upstream: u32,
    /// The target's own credential; else the upstream's.
    pub inject: Option<InjectPlan>,
    pub weight: u32,
    /// What its provider speaks.
    pub dialect: Dialect,
    pub ask_usage: bool,
    /// Its field for the limit of an answer, in OpenAI's dialect.
    pub limit: LimitField,
    pub price: PriceHandle,
}

impl ModelPlan {
    /// Which target serves the `n`-th call: they are taken in turn, each as often as its weight says.
    pub fn target_index(&self, n: u32) -> u32 {
        let mut at = n % self.total_weight.max(1);
        for (i, target) in self.targets.iter().enumerate() {
            if at < target.weight {
                return i as u32;
            }
            at -= target.weight;
        }
        0
    }

    /// Which target serves the `n`-th call among those that speak a dialect; `None` where none does.
    pub fn target_speaking(&self, dialect: Dialect, n: u32) -> Option<u32> {
        let speaking = || self.targets.iter().enumerate().filter(|(_, target)| target.dialect == dialect);
        let total: u32 = speaking().map(|(_, target)| target.weight).sum();
        let mut at = n.checked_rem(total)?;
        for (i, target) in speaking() {
            if at < target.weight {
                return Some(i as u32);
            }
            at -= target.weight;
        }
        None
    }
}
