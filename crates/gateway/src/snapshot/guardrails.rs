//! Guardrails of models, built once: a snapshot whose rules are those of another one that is still there shares them with
//! it, and so do models with the same rules. Expressions take long to build and much memory, and most changes of a
//! configuration change none of them.

use super::{models::ModelPlans, topics::Examples};
use credentialflow_llm::{
    guardrail::{Guardrails, remote::To},
    task::Task,
};
use credentialflow_model::{Name, resource::Guardrail};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

/// What is built, by the text of its rules; gone with the last snapshot that has it.
static BUILT: LazyLock<Mutex<HashMap<String, Weak<Guardrails>>>> = LazyLock::new(Mutex::default);

/// The routes on which guardrails and caches ask others; callers find none of them.
#[derive(Default)]
pub(crate) struct Asks {
    /// For models that moderate.
    pub moderation: u32,
    /// For models that make embeddings, which caches compare questions by.
    pub embeddings: u32,
    /// For those that guardrails compare texts with topics by.
    pub topics: u32,
    /// What they compare them with, by the marks of the rules.
    pub examples: HashMap<u64, Arc<Examples>>,
    /// For webhooks, by their upstream.
    pub webhooks: HashMap<String, u32>,
    /// The route behind the last of them; that for models that moderate is the first.
    pub end: u32,
}

impl Asks {
    /// Whether a route is one of them.
    pub const fn has(&self, route: u32) -> bool {
        self.moderation <= route && route < self.end
    }
}

/// What guardrails of a model need and is not there; those that it concerns are told of.
pub(super) fn without_what_is_asked(models: &mut ModelPlans) -> Vec<(Arc<str>, String)> {
    let offers = |name: &Name, task: Task| {
        let plan = models.by_name.get(name.as_str()).map(|index| &models.list[*index as usize]);
        plan.is_some_and(|plan| plan.targets.iter().any(|target| target.tasks.has(task)))
    };
    let lacks = |built: &Guardrails| {
        built.remotes().iter().find_map(|rule| match rule.to() {
            To::Moderation { model, .. } if !offers(model, Task::Moderations) => {
                Some(format!("no provider of the model {model} offers moderation"))
            }
            To::Topics(topics) if !offers(topics.model(), Task::Embeddings) => {
                Some(format!("no provider of the model {} offers embeddings", topics.model()))
            }
            _ => None,
        })
    };
    let problem = |plan: &super::models::ModelPlan| lacks(plan.guardrails.as_ref()?.as_ref().ok()?);
    let problems: Vec<_> = models.list.iter().map(problem).collect();
    let mut told = Vec::new();
    for (plan, problem) in models.list.iter_mut().zip(problems) {
        if let Some(problem) = problem {
            plan.guardrails = Some(Err(problem.clone()));
            told.push((plan.name.clone(), problem));
        }
    }
    told
}

/// The rules that these names of sets and rules of one's own lead to, built; `None` where there are none.
pub(super) fn of(
    sets: &hashbrown::HashMap<&str, &[Guardrail]>,
    uses: &[Name],
    rules: &[(Option<&Name>, &Guardrail)],
) -> Option<Result<Arc<Guardrails>, String>> {
    match uses.iter().find(|name| !sets.contains_key(name.as_str())) {
        Some(name) => Some(Err(format!("there are no guardrails {name}"))),
        None => (!rules.is_empty()).then(|| built(rules)),
    }
}

/// The rules of a model, each with the set that it is of, built now or before.
///
/// # Errors
/// A sentence on the first rule that cannot be built.
fn built(rules: &[(Option<&Name>, &Guardrail)]) -> Result<Arc<Guardrails>, String> {
    let text = serde_json::to_string(rules).map_err(|e| e.to_string())?;
    let known = || BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = known().get(&text).and_then(Weak::upgrade) {
        return Ok(built);
    }
    let built = Arc::new(Guardrails::build(rules.iter().copied())?);
    let mut known = known();
    known.retain(|_, other| other.strong_count() > 0);
    known.insert(text, Arc::downgrade(&built));
    Ok(built)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn rule(pattern: &str) -> Guardrail {
        serde_json::from_value(json!({ "detect": "pattern", "action": "block", "pattern": pattern })).unwrap()
    }

    fn own(pattern: &str) -> Result<Arc<Guardrails>, String> {
        built(&[(None, &rule(pattern))])
    }

    #[test]
    fn what_is_built_is_shared_until_nobody_has_it() {
        let first = own("shared-1").unwrap();
        assert!(Arc::ptr_eq(&first, &own("shared-1").unwrap()));
        let other = own("shared-2").unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(own("(").is_err());
        // What is found is told with the name of its set.
        let set: Name = "company".parse().unwrap();
        assert!(!Arc::ptr_eq(&first, &built(&[(Some(&set), &rule("shared-1"))]).unwrap()));
        let text = serde_json::to_string(&[(None::<&Name>, &rule("shared-1"))]).unwrap();
        assert!(BUILT.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&text));
        drop(first);
        let _third = own("shared-3").unwrap();
        let known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!known.contains_key(&text), "nothing is left of it");
    }
}
