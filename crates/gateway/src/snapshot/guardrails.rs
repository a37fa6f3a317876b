//! Guardrails of models, built once: a snapshot whose rules are those of another one that is still there shares them with
//! it, and so do models with the same rules. Expressions take long to build and much memory, and most changes of a
//! configuration change none of them.

use credentialflow_llm::guardrail::Guardrails;
use credentialflow_model::resource::Guardrail;
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

/// What is built, by the text of its rules; gone with the last snapshot that has it.
static BUILT: LazyLock<Mutex<HashMap<String, Weak<Guardrails>>>> = LazyLock::new(Mutex::default);

/// The rules of a model, built now or before.
///
/// # Errors
/// A sentence on the first rule that cannot be built.
pub(super) fn built(rules: &[Guardrail]) -> Result<Arc<Guardrails>, String> {
    let text = serde_json::to_string(rules).map_err(|e| e.to_string())?;
    let known = || BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(built) = known().get(&text).and_then(Weak::upgrade) {
        return Ok(built);
    }
    let built = Arc::new(Guardrails::build(rules)?);
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

    fn rules(pattern: &str) -> Vec<Guardrail> {
        serde_json::from_value(json!([{ "detect": "pattern", "action": "block", "pattern": pattern }])).unwrap()
    }

    #[test]
    fn what_is_built_is_shared_until_nobody_has_it() {
        let first = built(&rules("shared-1")).unwrap();
        assert!(Arc::ptr_eq(&first, &built(&rules("shared-1")).unwrap()));
        let other = built(&rules("shared-2")).unwrap();
        assert!(!Arc::ptr_eq(&first, &other));
        assert!(built(&rules("(")).is_err());
        let text = serde_json::to_string(&rules("shared-1")).unwrap();
        drop(first);
        let _third = built(&rules("shared-3")).unwrap();
        let known = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(!known.contains_key(&text), "nothing is left of it");
    }
}
