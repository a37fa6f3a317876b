//! The models of the built-in sandbox. Their prices are made up, so that try-outs show a cost.

use super::{
    Capability::{Embeddings, Tools},
    KnownModel, Source, offered, price, rates,
};

const OURS: Source = Source::ours("sandbox://models", "2025-01-01");
const OFFERED: KnownModel = offered(OURS);

pub(super) const MODELS: &[KnownModel] = &[
    KnownModel {
        name: "sandbox-chat",
        can: &[Tools],
        prices: &[price("2025-01-01", rates("0.25", "2").cached("0.025"), OURS)],
        ..OFFERED
    },
    KnownModel {
        name: "sandbox-embedding",
        can: &[Embeddings],
        prices: &[price("2025-01-01", rates("0.02", "0"), OURS)],
        ..OFFERED
    },
    KnownModel {
        name: "sandbox-large",
        can: &[Tools],
        prices: &[price("2025-01-01", rates("2.5", "10").cached("0.25"), OURS)],
        ..OFFERED
    },
];
