//! What would be left dangling if a resource were gone.

use super::{Context, SourceMap, check};
use crate::{
    Name, Problem, Problems, ResourceSet,
    resource::{
        Application, Credential, GuardrailSet, Key, Kind, LeakResponse, Model, Prompt, Resource, Route, SecretStore,
        System, Team, Upstream,
    },
};

/// A place where one resource names another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dependent {
    /// The kind of the resource that names it.
    pub kind: Kind,
    /// The name of the resource that names it.
    pub name: Name,
    /// Where in that resource, as in `allow.routes[0]`.
    pub path: String,
}

/// Checks a set as it would be without a resource. Gives every place that still names it, in the order
/// of the check, and the problems of any other sort. Both empty: it may be deleted.
pub fn without(set: &ResourceSet, kind: Kind, name: &str, context: &Context<'_>) -> (Vec<Dependent>, Problems) {
    let mut set = set.clone();
    match kind {
        Kind::Teams => remove::<Team>(&mut set, name),
        Kind::Credentials => remove::<Credential>(&mut set, name),
        Kind::Targets => remove::<System>(&mut set, name),
        Kind::Stores => remove::<SecretStore>(&mut set, name),
        Kind::Upstreams => remove::<Upstream>(&mut set, name),
        Kind::Routes => remove::<Route>(&mut set, name),
        Kind::Guardrails => remove::<GuardrailSet>(&mut set, name),
        Kind::Models => remove::<Model>(&mut set, name),
        Kind::Prompts => remove::<Prompt>(&mut set, name),
        Kind::Applications => remove::<Application>(&mut set, name),
        Kind::LeakResponses => remove::<LeakResponse>(&mut set, name),
        Kind::Keys => remove::<Key>(&mut set, name),
    }
    let (mut dependents, mut others) = (Vec::new(), Vec::new());
    for problem in check(&set, &SourceMap::default(), context).0 {
        match dependent(&set, &problem) {
            Some(found) => dependents.push(found),
            None => others.push(problem),
        }
    }
    (dependents, Problems(others))
}

fn remove<T: Resource>(set: &mut ResourceSet, name: &str) {
    T::list_mut(set).retain(|resource| resource.name().as_str() != name);
}

/// Who has this problem, if it is a name that leads nowhere.
fn dependent(set: &ResourceSet, problem: &Problem) -> Option<Dependent> {
    if problem.code != "unknown_name" {
        return None;
    }
    let (list, rest) = problem.path.split_once('[')?;
    let (index, path) = rest.split_once(']')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == list)?;
    let index = index.parse().ok()?;
    let name = match kind {
        Kind::Teams => name_at::<Team>(set, index),
        Kind::Credentials => name_at::<Credential>(set, index),
        Kind::Targets => name_at::<System>(set, index),
        Kind::Stores => name_at::<SecretStore>(set, index),
        Kind::Upstreams => name_at::<Upstream>(set, index),
        Kind::Routes => name_at::<Route>(set, index),
        Kind::Guardrails => name_at::<GuardrailSet>(set, index),
        Kind::Models => name_at::<Model>(set, index),
        Kind::Prompts => name_at::<Prompt>(set, index),
        Kind::Applications => name_at::<Application>(set, index),
        Kind::LeakResponses => name_at::<LeakResponse>(set, index),
        Kind::Keys => name_at::<Key>(set, index),
    };
    Some(Dependent { kind, name: name?, path: path.trim_start_matches('.').to_owned() })
}

fn name_at<T: Resource>(set: &ResourceSet, index: usize) -> Option<Name> {
    T::list(set).get(index).map(|resource| resource.name().clone())
}
