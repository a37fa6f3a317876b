//! What tokens cost: exact decimal prices with effective dates.
//!
//! The table is built once per configuration; the request path holds a [`PriceHandle`] and looks nothing up
//! by name. What providers usually ask stands in the [catalogue](crate::catalogue). It reads no clock and knows no budget. A price nobody stated is [`Cost::UnknownPrice`], never zero.

use crate::{
    bound::Bound,
    catalogue::{self, KnownPrice},
    task::units::Units,
    tier::{Asked, Served, Tier},
};
use credentialflow_model::{
    Price, Timestamp,
    resource::{LongContext, PriceEntry, Target, TierPrice, TierPrices},
    usage::{Cost, TokenUsage},
};
use rust_decimal::Decimal;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// What the targets of a configuration say of prices, by provider and the provider's model name, for those that say
/// nothing themselves.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    said: HashMap<Box<str>, HashMap<Box<str>, Said>>,
}

/// What targets of the same provider and model say.
#[derive(Clone, Debug)]
enum Said {
    /// All of them this.
    Same(Vec<PriceEntry>),
    /// Not the same, as those of two contracts.
    Different,
}

/// The prices of one model, oldest first, and those of its tiers. Cheap to clone; empty when none are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceHandle(Option<Arc<Prices>>);

#[derive(Debug, PartialEq, Eq)]
struct Prices {
    usual: Box<[PriceEntry]>,
    /// Those that have prices of their own.
    tiers: Box<[(Tier, PriceHandle)]>,
}

impl PriceTable {
    /// Of these targets.
    pub fn new<'a>(targets: impl IntoIterator<Item = &'a Target>) -> Self {
        let mut said: HashMap<Box<str>, HashMap<Box<str>, Said>> = HashMap::new();
        for target in targets.into_iter().filter(|target| !target.prices.is_empty()) {
            let models = said.entry(target.provider.as_str().into()).or_default();
            let own = Said::Same(sorted(&target.prices));
            match models.entry(target.model.as_str().into()) {
                Entry::Vacant(place) => _ = place.insert(own),
                Entry::Occupied(mut place) => match (place.get(), &own) {
                    (Said::Same(one), Said::Same(other)) if one == other => {}
                    _ => _ = place.insert(Said::Different),
                },
            }
        }
        Self { said }
    }

    /// The prices of a target: its own, and before the first of them those of the catalogue. One that has none costs what
    /// the catalogue says, and where that says nothing, what others of the same provider and model say, if they all say the
    /// same. `home` is the built-in provider at whose own address it is reached: what the catalogue knows counts there and
    /// nowhere else. Done once per target, not per request.
    pub fn resolve(&self, target: &Target, home: Option<&str>) -> PriceHandle {
        let known = known(target, home).iter().filter_map(KnownPrice::entry).collect();
        followed(known, self.said(target, home)).into()
    }

    /// The prices of a target in batches. Those of a configuration are those of other calls where they say nothing of
    /// batches; what the catalogue knows of batches ends where a later price of it says nothing of them.
    pub fn resolve_batch(&self, target: &Target, home: Option<&str>) -> PriceHandle {
        let known: Vec<_> = known(target, home).iter().map(KnownPrice::batch_entry).collect();
        let told = known.iter().rev().take_while(|entry| entry.is_some()).count();
        let known = known[known.len() - told..].iter().flatten().cloned().collect();
        followed(known, self.said(target, home).iter().map(in_batch).collect()).into()
    }

    /// What the configuration says of a target's prices, oldest first.
    fn said(&self, target: &Target, home: Option<&str>) -> Vec<PriceEntry> {
        let others = || self.said.get(target.provider.as_str())?.get(&*target.model);
        if !target.prices.is_empty() {
            return sorted(&target.prices);
        }
        match others() {
            Some(Said::Same(said)) if known(target, home).is_empty() => said.clone(),
            _ => Vec::new(),
        }
    }
}

/// Those that are known, until the first that somebody says.
fn followed(mut known: Vec<PriceEntry>, said: Vec<PriceEntry>) -> Vec<PriceEntry> {
    known.retain(|entry| said.first().is_none_or(|first| entry.from < first.from));
    known.extend(said);
    known
}

/// Oldest first.
fn sorted(prices: &[PriceEntry]) -> Vec<PriceEntry> {
    let mut sorted = prices.to_vec();
    sorted.sort_by_key(|entry| entry.from);
    sorted
}

/// What the catalogue knows of a target's prices.
fn known(target: &Target, home: Option<&str>) -> &'static [KnownPrice] {
    home.and_then(|home| catalogue::find(home, &target.model)).map_or(&[], |known| known.prices)
}

impl From<PriceEntry> for PriceHandle {
    fn from(entry: PriceEntry) -> Self {
        vec![entry].into()
    }
}

/// Of entries that begin one after the other.
impl From<Vec<PriceEntry>> for PriceHandle {
    fn from(usual: Vec<PriceEntry>) -> Self {
        if usual.is_empty() {
            return Self(None);
        }
        let tiers = Tier::ALL.into_iter().filter_map(|tier| {
            let entries: Vec<_> = usual.iter().filter_map(|entry| in_tier(entry, tier)).collect();
            (!entries.is_empty()).then(|| (tier, entries.into()))
        });
        let tiers = tiers.collect();
        Self(Some(Arc::new(Prices { usual: usual.into(), tiers })))
    }
}

/// The prices of a tier in place of the usual ones.
fn in_tier(entry: &PriceEntry, tier: Tier) -> Option<PriceEntry> {
    let TierPrices { priority, flex, ultrafast, fast, us } = entry.tiers.as_deref()?;
    let own = match tier {
        Tier::Priority => priority,
        Tier::Flex => flex,
        Tier::Ultrafast => ultrafast,
        Tier::Fast => fast,
        Tier::Us => us,
    };
    Some(instead(entry, (*own)?))
}

/// The prices of batches in place of the usual ones, where there are any.
fn in_batch(entry: &PriceEntry) -> PriceEntry {
    entry.batch.as_deref().map_or_else(|| entry.clone(), |own| instead(entry, *own))
}

/// Other prices of tokens in place of the usual ones. What sound and images cost there nobody says.
fn instead(entry: &PriceEntry, own: TierPrice) -> PriceEntry {
    let TierPrice { input, cached_input, cache_write, cache_write_1h, output, long_context } = own;
    PriceEntry {
        input,
        cached_input,
        cache_write,
        cache_write_1h,
        output,
        long_context,
        image_input: None,
        audio_input: None,
        cached_image_input: None,
        cached_audio_input: None,
        audio_output: None,
        tiers: None,
        batch: None,
        ..entry.clone()
    }
}

impl PriceHandle {
    /// Every entry, oldest first.
    pub fn entries(&self) -> &[PriceEntry] {
        self.0.as_deref().map_or(&[], |prices| &prices.usual)
    }

    /// The prices of a tier, where it has any at this moment: what is known of it ends where a later price says nothing of
    /// it.
    pub fn in_tier(&self, tier: Tier, at: Timestamp) -> Option<&Self> {
        let tiers = self.0.as_deref().map_or(&[][..], |prices| &prices.tiers);
        let (_, price) = tiers.iter().find(|(known, _)| *known == tier)?;
        (price.at(at)?.from == self.at(at)?.from).then_some(price)
    }

    /// The field by which a call asks for what costs more than any price that is known.
    pub fn lacks_tier(&self, at: Timestamp, asked: Asked) -> Option<&'static str> {
        match asked {
            Asked::Usual | Asked::Auto | Asked::Cheaper | Asked::Tier(Tier::Flex, _) => None,
            Asked::Tier(tier, field) => self.in_tier(tier, at).is_none().then_some(field),
            Asked::Dearer(field) => Some(field),
        }
    }

    /// The prices by which a call is estimated that asks to be served so: those of the tier, where that is dearer.
    pub fn asked_for(&self, at: Timestamp, asked: Asked) -> Self {
        match asked {
            _ if self.lacks_tier(at, asked).is_some() => Self::default(),
            Asked::Usual | Asked::Auto | Asked::Cheaper | Asked::Dearer(_) | Asked::Tier(Tier::Flex, _) => self.clone(),
            Asked::Tier(tier, _) => self.in_tier(tier, at).cloned().unwrap_or_default(),
        }
    }

    /// The most that a call can cost that asks to be served so, as [`Self::most_of`]. It may be served as usual all the
    /// same, and where the account's settings choose, in any tier that they can name.
    pub fn most_in(&self, at: Timestamp, asked: Asked, bound: &Bound, units: &Units) -> Option<Decimal> {
        let usual = self.most_of(at, bound, units)?;
        if self.lacks_tier(at, asked).is_some() {
            return None;
        }
        let may_be: &[Tier] = match &asked {
            Asked::Usual | Asked::Cheaper | Asked::Dearer(_) => &[],
            Asked::Auto => &[Tier::Priority, Tier::Ultrafast],
            Asked::Tier(tier, _) => std::slice::from_ref(tier),
        };
        let mut most = usual;
        for price in may_be.iter().filter_map(|tier| self.in_tier(*tier, at)) {
            let entry = self.at(at)?;
            if entry.audio_input.is_some() && units.audio_tokens > 0
                || entry.audio_output.is_some() && units.audio_output_tokens > 0
            {
                return None;
            }
            most = most.max(price.most_of(at, bound, units)?);
        }
        Some(most)
    }

    /// What a call cost that asked to be served so, by what its answer tells of how it was; as [`Self::cost_of`]. An
    /// estimate where the answer does not tell, or where only what it may have cost is known; [`Cost::UnknownPrice`] where
    /// it asked for what is dearer than any price.
    pub fn cost_in(
        &self,
        at: Timestamp,
        (asked, served): (Asked, Option<Served>),
        tokens: Option<&TokenUsage>,
        units: &Units,
    ) -> Cost {
        let Some((price, is_exact)) = self.counted(at, asked, served) else {
            return match self.cost_of(at, tokens, units) {
                // Free is free, however fast.
                Cost::Known(usd) if !usd.is_zero() => Cost::UnknownPrice,
                cost => cost,
            };
        };
        match price.cost_of(at, tokens, units) {
            // What has no price of its own is counted as if it were text.
            Cost::Known(usd) if !usd.is_zero() && (!is_exact || price.lacks_price_of(at, units)) => {
                Cost::Estimated(usd)
            }
            cost => cost,
        }
    }

    /// The prices that count, and whether they certainly do.
    fn counted(&self, at: Timestamp, asked: Asked, served: Option<Served>) -> Option<(&Self, bool)> {
        let by_asked = || match asked {
            Asked::Usual => Some((self, true)),
            Asked::Auto => {
                let may_be = [Tier::Priority, Tier::Ultrafast].into_iter().any(|tier| self.in_tier(tier, at).is_some());
                Some((self, !may_be))
            }
            Asked::Cheaper => Some((self, false)),
            Asked::Tier(tier, _) => match self.in_tier(tier, at) {
                Some(price) => Some((price, false)),
                None => (tier == Tier::Flex).then_some((self, false)),
            },
            Asked::Dearer(_) => None,
        };
        match served.filter(|served| asked.is_answered_by(*served)) {
            None => by_asked(),
            Some(Served::Usual | Served::UsualSpeedAndPlace) => Some((self, true)),
            Some(Served::Cheaper) => Some((self, false)),
            Some(Served::Tier(tier)) => match self.in_tier(tier, at) {
                Some(price) => Some((price, true)),
                None if tier == Tier::Flex => Some((self, false)),
                None => by_asked().map(|(price, _)| (price, false)),
            },
            Some(Served::Dearer) => by_asked().map(|(price, _)| (price, false)),
        }
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

impl PriceHandle {
    /// What a call cost at this moment: its tokens, where they were told, and what else has a price of its own. What was
    /// told neither in tokens nor in anything that has a price is [`Cost::UnknownUsage`].
    pub fn cost_of(&self, at: Timestamp, tokens: Option<&TokenUsage>, units: &Units) -> Cost {
        let Some(price) = self.at(at) else { return Cost::UnknownPrice };
        let none = TokenUsage::default();
        match (tokens, of_units(price, units)) {
            (None, Some((false, _))) if !is_free(price) => Cost::UnknownUsage,
            (tokens, Some((_, more))) => {
                let read = amount(price, tokens.unwrap_or(&none));
                read.and_then(|cost| cost.checked_add(more))
                    .map_or(Cost::UnknownPrice, |cost| Cost::Known(cost.normalize()))
            }
            (_, None) => Cost::UnknownPrice,
        }
    }

    /// Whether some of these tokens may cost more than the price for text, by which they are counted where they have none
    /// of their own.
    pub fn lacks_price_of(&self, at: Timestamp, units: &Units) -> bool {
        let Some(price) = self.at(at) else { return false };
        let lacks = |tokens: u64, own: Option<Price>| tokens > 0 && own.is_none();
        !is_free(price)
            && (lacks(units.audio_tokens, price.audio_input)
                || lacks(units.audio_output_tokens, price.audio_output)
                || units.image_output_tokens > 0)
    }

    /// The most that a call can cost at this moment, as [`Self::most`].
    pub fn most_of(&self, at: Timestamp, bound: &Bound, units: &Units) -> Option<Decimal> {
        let most = self.most(at, bound.input, bound.output)?;
        let price = self.at(at)?;
        // Tokens that may turn out to be none of an image make nothing cheaper.
        let dearer = |own: Option<Price>, tokens| {
            if own.is_some_and(|own| own.usd_per_million() > price.input.usd_per_million()) { tokens } else { 0 }
        };
        let more = price.audio_output.is_some_and(|own| own.usd_per_million() > price.output.usd_per_million());
        let units = Units {
            image_tokens: dearer(price.image_input, units.image_tokens),
            audio_tokens: dearer(price.audio_input, units.audio_tokens),
            audio_output_tokens: if more { units.audio_output_tokens } else { 0 },
            ..*units
        };
        let (_, more) = of_units(price, &units)?;
        Some(most.checked_add(more)?.normalize())
    }

    /// The most that so many tokens can cost at this moment: each input token at the dearest of the prices for input.
    /// `None` where no price is known.
    pub fn most(&self, at: Timestamp, input: u64, output: u64) -> Option<Decimal> {
        let price = self.at(at)?;
        let usual = Rates::from(price);
        let long = price.long_context.as_ref().filter(|long| input > long.above).map(Rates::from);
        // The prompt may turn out shorter than it can be at most, and then the usual prices count.
        let dearest = |of: fn(&Rates) -> Decimal| long.iter().map(of).fold(of(&usual), Ord::max);
        let read = Decimal::from(input).checked_mul(dearest(Rates::dearest_input))?;
        let written = Decimal::from(output).checked_mul(dearest(|rates| rates.output))?;
        Some(read.checked_add(written)?.checked_mul(Decimal::new(1, 6))?.normalize())
    }
}

/// What each kind of token costs, in US dollars per million.
struct Rates {
    input: Decimal,
    cached: Decimal,
    write: Decimal,
    write_1h: Decimal,
    output: Decimal,
}

impl Rates {
    fn of(input: Price, cached: Option<Price>, write: Option<Price>, write_1h: Option<Price>, output: Price) -> Self {
        let usd = Price::usd_per_million;
        let input = usd(input);
        let write = write.map_or(input, usd);
        let (cached, write_1h) = (cached.map_or(input, usd), write_1h.map_or(write, usd));
        Self { input, cached, write, write_1h, output: usd(output) }
    }

    fn dearest_input(&self) -> Decimal {
        self.input.max(self.cached).max(self.write).max(self.write_1h)
    }
}

impl From<&PriceEntry> for Rates {
    fn from(p: &PriceEntry) -> Self {
        Self::of(p.input, p.cached_input, p.cache_write, p.cache_write_1h, p.output)
    }
}

impl From<&LongContext> for Rates {
    fn from(p: &LongContext) -> Self {
        Self::of(p.input, p.cached_input, p.cache_write, p.cache_write_1h, p.output)
    }
}

/// Whether calls cost nothing, however they are counted.
fn is_free(price: &PriceEntry) -> bool {
    let rates = Rates::from(price);
    let others = [price.image_input, price.audio_input, price.per_image, price.per_second, price.per_search];
    let of_tokens = [price.cached_input, price.audio_output, price.cached_image_input, price.cached_audio_input];
    let others = others.into_iter().chain([price.per_million_characters]).chain(of_tokens).flatten();
    price.long_context.is_none()
        && others.map(Price::usd_per_million).chain([rates.dearest_input(), rates.output]).all(|price| price.is_zero())
}

/// What is not paid by the token, and what tokens of images and sound cost more than text; and whether anything of it has a
/// price. `None` only when the amount is too large for a decimal.
fn of_units(price: &PriceEntry, units: &Units) -> Option<(bool, Decimal)> {
    let million = Decimal::from(1_000_000);
    let (usual, mut total) = (Rates::from(price), Decimal::ZERO);
    // Those are tokens as well, which have their price already.
    for (tokens, own, usual) in [
        (units.image_tokens, price.image_input, usual.input),
        (units.audio_tokens, price.audio_input, usual.input),
        (units.cached_image_tokens, price.cached_image_input, usual.cached),
        (units.cached_audio_tokens, price.cached_audio_input, usual.cached),
        (units.audio_output_tokens, price.audio_output, usual.output),
    ] {
        if let Some(own) = own {
            let more = own.usd_per_million().checked_sub(usual)?;
            total = total.checked_add(Decimal::from(tokens).checked_mul(more)?)?;
        }
    }
    let mut priced = false;
    let each = |price: Option<Price>| price.map(|price| price.usd_per_million().checked_mul(million));
    for (count, price) in [
        (units.images, each(price.per_image)),
        (units.seconds, each(price.per_second)),
        (units.searches, each(price.per_search)),
        (units.characters, price.per_million_characters.map(|price| Some(price.usd_per_million()))),
    ] {
        if let Some(price) = price
            && count > 0
        {
            priced = true;
            total = total.checked_add(Decimal::from(count).checked_mul(price?)?)?;
        }
    }
    Some((priced, total.checked_mul(Decimal::new(1, 6))?))
}

/// `None` only when the amount is too large for a decimal.
fn amount(price: &PriceEntry, usage: &TokenUsage) -> Option<Decimal> {
    let cached = usage.cached_input.min(usage.input);
    let written = usage.cache_write.min(usage.input - cached);
    let long = usage.cache_write_1h.min(written);
    let rates = match &price.long_context {
        Some(long) if usage.input > long.above => Rates::from(long),
        _ => Rates::from(price),
    };
    let parts = [
        (usage.input - cached - written, rates.input),
        (cached, rates.cached),
        (written - long, rates.write),
        (long, rates.write_1h),
        (usage.output, rates.output),
    ];
    let mut per_million = Decimal::ZERO;
    for (tokens, price) in parts {
        per_million = per_million.checked_add(Decimal::from(tokens).checked_mul(price)?)?;
    }
    Some(per_million.checked_mul(Decimal::new(1, 6))?.normalize())
}

#[cfg(test)]
mod tests;
