//! Which secrets a set asks for, and their resolution by a function of the caller. Reads no
//! environment and no file itself.

use super::{SourceMap, report::Report, source::ItemId};
use crate::{Name, Problems, ResourceSet, SecretReference, SecretValue, resource::Kind};
use std::collections::HashMap;

/// One place that asks for a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceUse<'a> {
    /// The credential whose value it is.
    pub credential: &'a Name,
    /// Its index in the list of credentials.
    pub index: usize,
    /// What is asked for.
    pub reference: &'a SecretReference,
}

/// Every secret reference of a set, in its order.
pub fn references(set: &ResourceSet) -> Vec<ReferenceUse<'_>> {
    let credentials = set.credentials.iter().enumerate();
    credentials
        .filter_map(|(index, credential)| {
            let reference = credential.value.as_ref()?;
            Some(ReferenceUse { credential: &credential.name, index, reference })
        })
        .collect()
}

/// Looks every reference up. `lookup` answers with the value, or says in words for people why there is
/// none (never with a part of a value). An empty value is refused: it would be no secret.
pub fn resolve(
    set: &ResourceSet,
    source: &SourceMap,
    mut lookup: impl FnMut(&SecretReference) -> Result<SecretValue, String>,
) -> (HashMap<Name, SecretValue>, Problems) {
    let mut values = HashMap::new();
    let mut report = Report::default();
    for ReferenceUse { credential, index, reference } in references(set) {
        let (detail, hint) = match lookup(reference) {
            Ok(value) if !value.is_empty() => {
                values.insert(credential.clone(), value);
                continue;
            }
            Ok(_) => (format!("{reference} is empty"), "give it a value"),
            Err(why) => (
                format!("{reference} cannot be resolved: {why}"),
                "a reference that leads nowhere is never taken as text",
            ),
        };
        let id = ItemId { kind: Kind::Credentials, index, partial: false };
        if let Some(found) = source.find(id, "value") {
            let path = format!("{}.value", found.item);
            report.add(found.file, found.at, path, "unresolved_reference", detail, Some(hint.to_owned()));
        }
    }
    (values, report.finish())
}
