//! What tokens cost: exact decimal prices with effective dates.
//!
//! The table is built once per configuration; the request path holds a [`PriceHandle`] and looks nothing up
//! by name. It reads no clock and knows no budget. A price nobody stated is [`Cost::UnknownPrice`], never zero.

mod built_in;

use credentialflow_model::{
    Price, Timestamp,
    resource::{PriceEntry, Target},
    usage::{Cost, TokenUsage},
};
use rust_decimal::Decimal;
use std::{collections::HashMap, sync::Arc};

/// Prices by provider and the provider's model name.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    entries: HashMap<Box<str>, HashMap<Box<str>, PriceHandle>>,
}

/// The prices of one model, oldest first. Cheap to clone; empty when none are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceHandle(Option<Arc<[PriceEntry]>>);

impl PriceTable {
    /// The built-in prices, corrected and extended by those of the targets. A target's prices rule from
    /// its first entry on: built-in entries that begin then or later are set aside. Targets of the same
    /// provider and model share their prices; where two begin at the same moment, the later target's count.
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Self {
        let mut configured: HashMap<(&str, &str), Vec<PriceEntry>> = HashMap::new();
        for target in targets {
            if !target.prices.is_empty() {
                configured.entry((target.provider.as_str(), &target.model)).or_default().extend(&target.prices);
            }
        }
        let mut table = Self::default();
        for (provider, model, entries) in built_in::entries() {
            table.insert(provider, model, entries);
        }
        for ((provider, model), mut own) in configured {
            own.reverse(); // of equal dates the last given comes first, and the stable sort keeps it there
            own.sort_by_key(|e| e.from);
            own.dedup_by_key(|e| e.from);
            let first = own[0].from;
            let before = table.resolve(provider, model);
            let mut all: Vec<_> = before.entries().iter().filter(|e| e.from < first).copied().collect();
            all.append(&mut own);
            table.insert(provider, model, all);
        }
        table
    }

    /// The prices of a provider's model. Done once per target, not per request.
    pub fn resolve(&self, provider: &str, model: &str) -> PriceHandle {
        self.entries.get(provider).and_then(|models| models.get(model)).cloned().unwrap_or_default()
    }

    /// What these tokens cost at this moment; [`PriceHandle::cost`] by name.
    pub fn cost(&self, provider: &str, model: &str, at: Timestamp, usage: &TokenUsage) -> Cost {
        self.resolve(provider, model).cost(at, usage)
    }

    fn insert(&mut self, provider: &str, model: &str, entries: Vec<PriceEntry>) {
        let handle = PriceHandle(Some(entries.into()));
        self.entries.entry(provider.into()).or_default().insert(model.into(), handle);
    }
}

impl PriceHandle {
    /// Every entry, oldest first.
    pub fn entries(&self) -> &[PriceEntry] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The newest entry that is valid at this moment.
    pub fn at(&self, at: Timestamp) -> Option<&PriceEntry> {
        self.entries().iter().rev().find(|e| e.from <= at)
    }

    /// What these tokens cost at this moment, exactly: input that has nothing to do with a cache, input read from
    /// one, input written into one (for long or not) and output, each at its price per million.
    pub fn cost(&self, at: Timestamp, usage: &TokenUsage) -> Cost {
        self.at(at).and_then(|price| amount(price, usage)).map_or(Cost::UnknownPrice, Cost::Known)
    }
}

/// `None` only when the amount is too large for a decimal.
fn amount(price: &PriceEntry, usage: &TokenUsage) -> Option<Decimal> {
    let cached = usage.cached_input.min(usage.input);
    let written = usage.cache_write.min(usage.input - cached);
    let long = usage.cache_write_1h.min(written);
    let input = price.input.usd_per_million();
    let or = |price: Option<Price>, other| price.map_or(other, Price::usd_per_million);
    let write = or(price.cache_write, input);
    let parts = [
        (usage.input - cached - written, input),
        (cached, or(price.cached_input, input)),
        (written - long, write),
        (long, or(price.cache_write_1h, write)),
        (usage.output, price.output.usd_per_million()),
    ];
    let mut per_million = Decimal::ZERO;
    for (tokens, price) in parts {
        per_million = per_million.checked_add(Decimal::from(tokens).checked_mul(price)?)?;
    }
    Some(per_million.checked_mul(Decimal::new(1, 6))?.normalize())
}

#[cfg(test)]
mod tests;
