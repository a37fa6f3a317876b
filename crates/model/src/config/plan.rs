//! What must change so that one set becomes another, in an order that never leaves a name dangling.

use crate::{
    Name, ResourceSet,
    resource::{
        Application, Credential, GuardrailSet, Key, Kind, LeakResponse, Model, Prompt, Resource, Route, SecretStore,
        System, Team, Upstream,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::HashMap, fmt};

/// What happens to one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is new.
    Create,
    /// Some of its fields change.
    Update,
    /// It goes.
    Delete,
}

/// One field that changes. Declarations hold references to secrets, never secrets.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FieldChange {
    /// The path in the resource, as in `limit.per`.
    pub path: String,
    /// The value now; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// The value afterwards; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

/// One resource that changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Change {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: Name,
    /// What happens to it.
    pub action: Action,
    /// The fields that change, for updates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldChange>,
}

/// All changes, in the order in which they are safe to make: what is referred to comes before what
/// refers to it; deletions come last, the other way round.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// The changes.
    pub changes: Vec<Change>,
    /// How many resources stay as they are, or are left alone because pruning was not asked for.
    pub unchanged: usize,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// How many resources meet this action.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|c| c.action == action).count()
    }
}

/// Compares two checked sets. With `prune`, resources that are not in `desired` are deleted; without,
/// they are left alone. The order of resources in a list makes no difference.
pub fn plan(current: &ResourceSet, desired: &ResourceSet, prune: bool) -> Plan {
    let mut plan = Plan::default();
    let mut deletions = Vec::new();
    for kind in Kind::ALL {
        let found = match kind {
            Kind::Teams => compare::<Team>(current, desired, &mut plan),
            Kind::Credentials => compare::<Credential>(current, desired, &mut plan),
            Kind::Targets => compare::<System>(current, desired, &mut plan),
            Kind::Stores => compare::<SecretStore>(current, desired, &mut plan),
            Kind::Upstreams => compare::<Upstream>(current, desired, &mut plan),
            Kind::Routes => compare::<Route>(current, desired, &mut plan),
            Kind::Guardrails => compare::<GuardrailSet>(current, desired, &mut plan),
            Kind::Models => compare::<Model>(current, desired, &mut plan),
            Kind::Prompts => compare::<Prompt>(current, desired, &mut plan),
            Kind::Applications => compare::<Application>(current, desired, &mut plan),
            Kind::LeakResponses => compare::<LeakResponse>(current, desired, &mut plan),
            Kind::Keys => compare::<Key>(current, desired, &mut plan),
        };
        deletions.extend(found);
    }
    if prune {
        plan.changes.extend(deletions.into_iter().rev());
    } else {
        plan.unchanged += deletions.len();
    }
    plan
}

/// Adds what is created and updated; answers with what would be deleted.
fn compare<T: Resource>(current: &ResourceSet, desired: &ResourceSet, plan: &mut Plan) -> Vec<Change> {
    let change = |name: &Name, action| Change { kind: T::KIND, name: name.clone(), action, fields: Vec::new() };
    let mut left: HashMap<&Name, &T> = T::list(current).iter().map(|r| (r.name(), r)).collect();
    for wanted in T::list(desired) {
        match left.remove(wanted.name()) {
            None => plan.changes.push(change(wanted.name(), Action::Create)),
            Some(there) if there == wanted => plan.unchanged += 1,
            Some(there) => {
                let fields = differences(there, wanted);
                plan.changes.push(Change { fields, ..change(wanted.name(), Action::Update) });
            }
        }
    }
    let gone = T::list(current).iter().filter(|r| left.contains_key(r.name()));
    gone.map(|r| change(r.name(), Action::Delete)).collect()
}

fn differences<T: Serialize>(before: &T, after: &T) -> Vec<FieldChange> {
    let mut found = Vec::new();
    // Declared resources always serialize: plain structs with text keys.
    if let (Ok(before), Ok(after)) = (serde_json::to_value(before), serde_json::to_value(after)) {
        walk("", Some(&before), Some(&after), &mut found);
    }
    found
}

/// Mappings are compared field by field; lists and everything else as a whole.
fn walk(path: &str, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(Value::Object(b)), Some(Value::Object(a))) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                walk(&super::decode::join(path, key), b.get(key), a.get(key), found);
            }
        }
        (before, after) if before == after => {}
        (before, after) => {
            found.push(FieldChange { path: path.to_owned(), before: before.cloned(), after: after.cloned() });
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let sign = match change.action {
                Action::Create => '+',
                Action::Update => '~',
                Action::Delete => '-',
            };
            writeln!(f, "{sign} {}/{}", change.kind.as_str(), change.name)?;
            for field in &change.fields {
                match (&field.before, &field.after) {
                    (Some(before), Some(after)) => writeln!(f, "    ~ {}: {before} → {after}", field.path)?,
                    (Some(before), None) => writeln!(f, "    - {}: {before}", field.path)?,
                    (None, Some(after)) => writeln!(f, "    + {}: {after}", field.path)?,
                    (None, None) => {}
                }
            }
        }
        let [create, update, delete] = [Action::Create, Action::Update, Action::Delete].map(|a| self.count(a));
        writeln!(f, "{create} to create, {update} to update, {delete} to delete, {} unchanged", self.unchanged)
    }
}
