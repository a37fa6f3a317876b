//! Prompts, read once: a snapshot whose prompt is that of another one that is still there shares it with it.

use credentialflow_llm::prompt::{Compiled, Version, Which};
use credentialflow_model::resource::{Authenticator, Match, Prompt, Route, RoutePrompt};
use hashbrown::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

/// All prompts of a snapshot.
#[derive(Default)]
pub(crate) struct Prompts {
    by_name: HashMap<Arc<str>, Arc<Compiled>>,
    published: Vec<Published>,
}

/// A prompt that a route publishes.
pub(crate) struct Published {
    prompt: Option<Arc<Compiled>>,
    which: Wanted,
    /// Where it is published.
    pub path: Box<str>,
    /// Whether nobody is asked for a key there.
    pub open: bool,
}

enum Wanted {
    Version(u32),
    Label(Box<str>),
}

impl Published {
    /// The version that is published now; `None` where there is none that may be used.
    pub fn version(&self) -> Option<(&Compiled, &Version)> {
        let prompt = self.prompt.as_deref()?;
        let which = match &self.which {
            Wanted::Version(number) => Which::Version(*number),
            Wanted::Label(label) => Which::Label(label),
        };
        let version = prompt.version(which).filter(|version| prompt.is_in_use(version))?;
        Some((prompt, version))
    }
}

/// The last path segment of a description.
const DESCRIPTION: &str = "openapi.json";

/// What the route of a published prompt takes: calls, and questions for its description.
pub(super) fn matches(declared: &Match) -> [Match; 2] {
    let at = |path: String, method: &str| Match { path, methods: vec![method.to_owned()], ..declared.clone() };
    [at(declared.path.clone(), "POST"), at(format!("{}/{DESCRIPTION}", declared.path), "GET")]
}

/// What was read, by name; gone with the last snapshot that has it.
static READ: LazyLock<Mutex<std::collections::HashMap<Arc<str>, Weak<Compiled>>>> = LazyLock::new(Mutex::default);

fn read(prompt: &Prompt) -> Arc<Compiled> {
    let mut known = READ.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(same) = known.get(prompt.name.as_str()).and_then(Weak::upgrade).filter(|one| one.source() == prompt) {
        return same;
    }
    let read = Arc::new(Compiled::of(prompt));
    known.retain(|_, other| other.strong_count() > 0);
    known.insert(read.name().clone(), Arc::downgrade(&read));
    read
}

impl Prompts {
    /// Reads them all.
    pub fn compile(prompts: &[Prompt]) -> Self {
        let by_name = prompts.iter().map(|prompt| (prompt.name.shared(), read(prompt))).collect();
        Self { by_name, published: Vec::new() }
    }

    /// Takes in what a route publishes, and gives its place. It refuses its calls where it is not usable.
    pub fn publish(&mut self, route: &Route, prompt: &RoutePrompt, usable: bool) -> u32 {
        let which = match (prompt.version, &prompt.label) {
            (Some(number), _) => Wanted::Version(number),
            (None, label) => Wanted::Label(label.as_ref().map_or(Prompt::LABEL, |label| label.as_str()).into()),
        };
        self.published.push(Published {
            prompt: self.by_name.get(prompt.name.as_str()).filter(|_| usable).cloned(),
            which,
            path: route.matches.path.as_str().into(),
            open: route.authenticate.contains(&Authenticator::None),
        });
        self.published.len() as u32 - 1
    }

    /// What stands at a place.
    pub fn published(&self, at: u32) -> &Published {
        &self.published[at as usize]
    }

    /// A prompt.
    pub fn get(&self, name: &str) -> Option<&Arc<Compiled>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn prompt(name: &str, text: &str) -> Prompt {
        serde_json::from_value(json!({ "name": name, "model": "m", "versions": [{ "version": 1, "system": text }] }))
            .unwrap()
    }

    #[test]
    fn a_prompt_that_did_not_change_is_shared() {
        let first = Prompts::compile(&[prompt("shared-a", "a"), prompt("shared-b", "b")]);
        let second = Prompts::compile(&[prompt("shared-a", "a"), prompt("shared-b", "c")]);
        let same = |name| Arc::ptr_eq(first.get(name).unwrap(), second.get(name).unwrap());
        assert!(same("shared-a") && !same("shared-b"));
        drop((first, second));
        let third = Prompts::compile(&[prompt("shared-c", "c")]);
        let known = READ.lock().unwrap();
        assert!(third.get("shared-c").is_some() && !known.contains_key("shared-a"), "nothing is left of it");
    }
}
