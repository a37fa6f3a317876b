//! A small world to test with.
#![allow(clippy::unwrap_used)]

use crate::{CredentialKind, Direction, Entry, EntryState, Facts, Observed, Surroundings, Thresholds};
use credentialflow_model::{ResourceSet, Timestamp};

/// 2026-11-01T12:00:00Z.
pub(crate) const NOW: i64 = 1_793_534_400;
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn days_ago(days: i64) -> Timestamp {
    Timestamp::from_secs(NOW - days * DAY)
}

pub(crate) fn world() -> ResourceSet {
    serde_json::from_str(
        r#"{
        "teams": [{ "name": "payments" }],
        "credentials": [
            { "name": "orders-token", "engine": "static", "owner": "payments" },
            { "name": "orders-copy", "engine": "static", "value": "${credential:orders-token}" },
            { "name": "openai-primary", "engine": "static" },
            { "name": "local-token", "engine": "static" },
            { "name": "pg-admin", "engine": "static" },
            { "name": "vault-token", "engine": "static" },
            { "name": "from-store", "engine": "static", "value": "${store:team-vault/apps/orders#token}" },
            { "name": "orders-db", "engine": "database", "database": { "target": "pg", "username": "orders" } }
        ],
        "targets": [{ "name": "pg", "system": "postgresql", "host": "127.0.0.1", "username": "a", "credential": "pg-admin" }],
        "stores": [{ "name": "team-vault", "kind": "vault", "address": "http://127.0.0.1:8200", "credential": "vault-token" }],
        "upstreams": [
            { "name": "orders", "endpoints": ["http://127.0.0.1:1"], "inject": { "bearer": "orders-token" } },
            { "name": "local", "endpoints": ["http://127.0.0.1:2"], "provider": "openai", "inject": { "bearer": "local-token" } }
        ],
        "routes": [
            { "name": "orders", "match": { "path": "/orders/*" }, "upstream": "orders", "authenticate": ["api_key"] },
            { "name": "public", "match": { "path": "/public/*" }, "upstream": "orders", "authenticate": ["none"] }
        ],
        "models": [
            { "name": "large", "targets": [{ "provider": "openai", "model": "l", "credential": "openai-primary" }] },
            { "name": "small", "targets": [
                { "provider": "openai", "model": "s", "credential": "openai-primary" },
                { "provider": "local", "model": "s" } ] }
        ],
        "applications": [
            { "name": "checkout", "team": "payments", "allow": { "routes": ["orders", "public"], "models": ["small"] } },
            { "name": "billing", "allow": { "routes": ["orders"] } }
        ]
    }"#,
    )
    .unwrap()
}

/// A key in good order: owned, a month old, used a day ago.
pub(crate) fn key() -> Facts {
    let mut entry = Entry::new(CredentialKind::Key, "checkout-live", Direction::Issued, EntryState::Active);
    (entry.owner, entry.team) = (Some("checkout".into()), Some("payments".into()));
    (entry.created, entry.last_used, entry.uses) = (Some(days_ago(30)), Some(days_ago(1)), Some(12));
    Facts { since: Some(days_ago(30)), ..Facts::new(entry) }
}

/// A credential in good order.
pub(crate) fn credential() -> Facts {
    let mut facts = key();
    (facts.entry.kind, facts.entry.direction) = (CredentialKind::Credential, Direction::Held);
    facts.entry.name = "orders-token".into();
    facts.entry.owner = Some("payments".into());
    facts
}

pub(crate) fn surroundings() -> Surroundings {
    Surroundings {
        now: days_ago(0),
        thresholds: Thresholds::default(),
        observed: Observed {
            since: days_ago(14),
            until: days_ago(0),
            requests: 1000,
            complete: true,
            begins: None,
            other_nodes: Vec::new(),
        },
    }
}
