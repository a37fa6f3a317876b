//! Checks of stores that are not ours, and of the places where credentials come from and go to.

use super::Checker;
use crate::{
    SecretReference,
    config::source::ItemId,
    resource::{Credential, Kind, SecretStore, StoreKind},
};

/// Which fields a kind of store takes; `true` where it needs the field.
const FIELDS: &[(StoreKind, &[(&str, bool)])] = &[
    (
        StoreKind::Vault,
        &[
            ("address", true),
            ("credential", true),
            ("identity", false),
            ("login", false),
            ("mount", false),
            ("namespace", false),
        ],
    ),
    (StoreKind::Aws, &[("address", false), ("credential", false), ("identity", false), ("region", true)]),
    (
        StoreKind::Azure,
        &[("address", true), ("credential", true), ("identity", true), ("login", false), ("tenant", true)],
    ),
    (StoreKind::Google, &[("address", false), ("credential", true), ("login", false), ("project", true)]),
    (StoreKind::Kubernetes, &[("address", false), ("credential", false), ("namespace", false)]),
    (StoreKind::Files, &[("address", true)]),
];

impl Checker<'_> {
    pub(super) fn store(&mut self, id: ItemId, store: &SecretStore) {
        self.description(id, store.description.as_deref());
        // What stands in for an unreadable kind says nothing about the other fields.
        if self.source.find(id, "kind").is_some() {
            self.store_fields(id, store);
            if store.kind != StoreKind::Files {
                self.store_url(id, store);
            }
        }
        if let Some(credential) = &store.credential {
            self.opens(id, "credential", credential);
        }
        let authority = match store.kind {
            StoreKind::Azure => {
                Some(("the client secret is sent to this authority", "https://login.microsoftonline.us"))
            }
            StoreKind::Google => Some(("tokens are asked for at this address", "https://oauth2.googleapis.com/token")),
            _ => None,
        };
        if let Some((detail, example)) = authority
            && let Some(login) = &store.login
            && !login.starts_with("https://")
            && !is_here(login)
            && !(store.plaintext && store.kind == StoreKind::Google)
        {
            self.problem(id, "login", "insecure", detail, &format!("as in {example}"));
        }
        if let Some(refresh) = store.refresh {
            if refresh.as_millis() < 1000 {
                self.problem(id, "refresh", "out_of_bounds", "this is at least 1s", "as in 5m");
            }
            self.at_most(id, "refresh", refresh, 30 * 86_400_000, "30 days");
        }
    }

    fn store_fields(&mut self, id: ItemId, store: &SecretStore) {
        let given = [
            ("address", store.address.as_deref()),
            ("credential", store.credential.as_ref().map(|c| c.as_str())),
            ("identity", store.identity.as_deref()),
            ("login", store.login.as_deref()),
            ("tenant", store.tenant.as_deref()),
            ("mount", store.mount.as_deref()),
            ("namespace", store.namespace.as_deref()),
            ("region", store.region.as_deref()),
            ("project", store.project.as_deref()),
        ];
        let taken = FIELDS.iter().find(|(kind, _)| *kind == store.kind).map_or(&[][..], |(_, fields)| fields);
        let word = serde_json::to_value(store.kind).unwrap_or_default();
        let word = word.as_str().unwrap_or_default().to_owned();
        for (field, value) in given {
            match (taken.iter().find(|(name, _)| *name == field), value) {
                (None, Some(_)) => {
                    self.problem(
                        id,
                        field,
                        "not_here",
                        format!("a store of the kind {word} has no `{field}`"),
                        "remove it",
                    );
                }
                (Some((_, true)), None) => {
                    self.problem(id, field, "missing", format!("a store of the kind {word} needs `{field}`"), "add it");
                }
                (Some(_), Some(value)) if !is_plain(value) => {
                    let hint = "write it as the store knows it";
                    self.problem(id, field, "invalid_value", "this has 1 to 512 printable characters", hint);
                }
                _ => {}
            }
        }
        let pair = "an access key is `identity` with `credential`, its secret";
        match (store.kind, &store.identity, &store.credential) {
            (StoreKind::Aws, Some(_), None) => self.problem(id, "credential", "missing", pair, "add it"),
            (StoreKind::Aws, None, Some(_)) => self.problem(id, "identity", "missing", pair, "add it"),
            _ => {}
        }
        // What the server's own surroundings give is sent only where they say.
        let own = matches!(store.kind, StoreKind::Aws | StoreKind::Kubernetes) && store.credential.is_none();
        if own && store.address.is_some() {
            let detail = "the server's own access is not sent to an address that is written here";
            self.problem(id, "address", "not_here", detail, "add `credential`, or remove the address");
        }
        if store.kind == StoreKind::Kubernetes && store.credential.is_some() && store.address.is_none() {
            let hint = "as in https://10.0.0.1:6443";
            self.problem(id, "address", "missing", "with a credential of its own it needs `address`", hint);
        }
        if store.kind == StoreKind::Kubernetes && store.credential.is_some() && store.namespace.is_none() {
            let detail = "with a credential of its own it needs `namespace`";
            self.problem(id, "namespace", "missing", detail, "as in namespace: apps");
        }
        if store.kind == StoreKind::Files && (store.tls.is_some() || store.plaintext) {
            let field = if store.tls.is_some() { "tls" } else { "plaintext" };
            self.problem(id, field, "not_here", "files need no network", "remove it");
        }
    }

    fn store_url(&mut self, id: ItemId, store: &SecretStore) {
        let Some(url) = &store.address else { return };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        if !rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' ']))
        {
            let hint = "as in https://vault.internal:8200";
            return self.problem(id, "address", "invalid_value", "this is no address of a server", hint);
        }
        if url.starts_with("http://") && !is_here(url) && !store.plaintext {
            let hint = "write https://, or plaintext: true where the network is protected";
            self.problem(id, "address", "insecure", "secrets would cross the network in clear", hint);
        }
    }

    /// Where a credential's values come from and go to outside.
    pub(super) fn places(&mut self, id: ItemId, credential: &Credential) {
        let source = match &credential.value {
            Some(SecretReference::Store(place)) => {
                self.refers(id, "value", Kind::Stores, &place.store);
                Some(place)
            }
            _ => None,
        };
        if credential.sync.len() > 32 {
            self.problem(id, "sync", "too_large", "there are more than 32 places", "make a second credential of it");
        }
        for (index, rule) in credential.sync.iter().enumerate() {
            self.refers(id, &format!("sync[{index}].store"), Kind::Stores, &rule.store);
            let place = rule.place();
            let path = format!("sync[{index}].path");
            if !place.is_plain() {
                let hint = "as in apps/orders, with a field apart";
                self.problem(id, &path, "invalid_value", "this is no place in a store", hint);
            } else if source == Some(&place) {
                let hint = "name another place";
                self.problem(id, &path, "cycle", "its value comes from there", hint);
            } else if credential.sync[..index].contains(rule) {
                self.problem(id, &path, "duplicate", "this place is given twice", "remove one of them");
            }
        }
    }
}

fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.len() <= 512 && value.chars().all(|c| !c.is_control() && c != ' ')
}

/// Whether a URL leads to this machine.
fn is_here(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|a: std::net::IpAddr| a.is_loopback())
}
