//! The models that built-in providers offer, as far as we know them: how much fits into them, what they can do and
//! what they cost.
//!
//! One file per provider, registered in [`PROVIDERS`]. Nothing here is fetched while the server runs, and nothing is
//! needed to use a model: one that is not listed works all the same, and costs what its target's `prices` say.
//!
//! Each figure tells where it stands and when it was read there: on the provider's own [page](Read::Page), or
//! in at least two public [tables](Read::Tables) that name that page and say the same: the one LiteLLM publishes,
//! pydantic's genai-prices, wakamex's model-prices and models.dev. Where they differ, the figure is left out: a size or
//! a capability that is not here is not known, and a model without prices has none on which they agree.
//!
//! Prices are the usual ones of the provider, for text, in US dollars: no rebates, no surcharge for a region, no fees for
//! searches; those of [tiers](KnownTier) stand beside them. Their dates are those from which on a price is known to count.

mod anthropic;
mod bedrock;
mod cerebras;
mod cohere;
mod deepseek;
mod fireworks;
mod gemini;
mod groq;
mod mistral;
mod moonshot;
mod openai;
mod perplexity;
mod sandbox;
mod together;
mod vertex;
mod vertex_anthropic;
mod xai;
mod zai;

use crate::tier::Tier;
use credentialflow_model::{
    Price, Timestamp,
    resource::{LongContext, PriceEntry, TierPrice, TierPrices},
};
use rust_decimal::Decimal;

/// The providers and their models, in the order of their names.
pub const PROVIDERS: &[(&str, &[KnownModel])] = &[
    ("anthropic", anthropic::MODELS),
    ("bedrock", bedrock::MODELS),
    ("cerebras", cerebras::MODELS),
    ("cohere", cohere::MODELS),
    ("deepseek", deepseek::MODELS),
    ("fireworks", fireworks::MODELS),
    ("gemini", gemini::MODELS),
    ("groq", groq::MODELS),
    ("mistral", mistral::MODELS),
    ("moonshot", moonshot::MODELS),
    ("openai", openai::MODELS),
    ("perplexity", perplexity::MODELS),
    ("sandbox", sandbox::MODELS),
    ("together", together::MODELS),
    ("vertex", vertex::MODELS),
    ("vertex-anthropic", vertex_anthropic::MODELS),
    ("xai", xai::MODELS),
    ("zai", zai::MODELS),
];

/// The model of this name in a list that has it, for a provider that offers it too.
const fn named(models: &[KnownModel], name: &str) -> KnownModel {
    let mut i = 0;
    while !is_same(models[i].name.as_bytes(), name.as_bytes()) {
        i += 1;
    }
    models[i]
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut i = 0;
    while i < one.len() && i < other.len() && one[i] == other[i] {
        i += 1;
    }
    i == one.len() && i == other.len()
}

/// Providers that are another one, spoken to in another dialect.
const TWINS: &[(&str, &str)] =
    &[("gemini-openai", "gemini"), ("openai-chat", "openai"), ("openai-responses", "openai")];

/// A model that a provider offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownModel {
    /// The provider's name of it.
    pub name: &'static str,
    /// The provider's other names of the same, such as those with a date.
    pub also: &'static [&'static str],
    /// How many tokens prompt and answer may have together, or the prompt of a model for embeddings. `None`: not known.
    pub context: Option<u32>,
    /// How many tokens its answer may have. `None`: not known, or no limit of its own.
    pub max_output: Option<u32>,
    /// What it can do.
    pub can: &'static [Capability],
    /// Where its sizes and capabilities stand.
    pub source: Source,
    /// What it costs, oldest first. Empty: no price is known.
    pub prices: &'static [KnownPrice],
    /// What one should know of these figures.
    pub note: Option<&'static str>,
}

/// What a model can do beside reading and writing text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Capability {
    /// Images in the prompt.
    Vision,
    /// Calling tools.
    Tools,
    /// Answers that follow a JSON Schema.
    StructuredOutput,
    /// Thinking before it answers.
    Reasoning,
    /// Audio in the prompt.
    AudioInput,
    /// Embeddings, and nothing else.
    Embeddings,
}

impl Capability {
    /// As it is written in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vision => "vision",
            Self::Tools => "tools",
            Self::StructuredOutput => "structured_output",
            Self::Reasoning => "reasoning",
            Self::AudioInput => "audio_input",
            Self::Embeddings => "embeddings",
        }
    }
}

/// Where a figure stands, and how we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The page on which it stands.
    pub url: &'static str,
    /// The day on which it was read.
    pub read: &'static str,
    /// Who read it there.
    pub by: Read,
}

/// Who read a figure on the provider's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// We, in a copy of the page.
    Page,
    /// At least two public tables that name the page and say the same.
    Tables,
    /// Nobody: it is our own.
    Ours,
}

impl Read {
    /// As it is written in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Tables => "tables",
            Self::Ours => "ours",
        }
    }
}

impl Source {
    const fn page(url: &'static str, read: &'static str) -> Self {
        Self { url, read, by: Read::Page }
    }

    const fn tables(url: &'static str, read: &'static str) -> Self {
        Self { url, read, by: Read::Tables }
    }

    const fn ours(url: &'static str, read: &'static str) -> Self {
        Self { url, read, by: Read::Ours }
    }
}

/// Prices from a day on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPrice {
    /// The day, in UTC.
    pub from: &'static str,
    /// The prices.
    pub rates: Rates,
    /// Those instead for every token of a call whose prompt has more tokens than this.
    pub long: Option<(u64, Rates)>,
    /// Those of input and output in the provider's batches.
    pub batch: Option<(&'static str, &'static str)>,
    /// Those of calls that are served faster, later or elsewhere.
    pub tiers: &'static [KnownTier],
    /// Where they stand.
    pub source: Source,
}

/// Prices of calls that are served in a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownTier {
    /// The tier.
    pub tier: Tier,
    /// The prices.
    pub rates: TierRates,
    /// Where they stand.
    pub source: Source,
}

/// What a tier costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "constants of the catalogue, which stay where they are")]
pub enum TierRates {
    /// So many times what is usual, of every kind of token and of long prompts too.
    Times(&'static str),
    /// These prices, however long the prompt is.
    Own(Rates),
    /// These, and those for every token of a call whose prompt has more tokens than this.
    Long(Rates, u64, Rates),
}

/// US dollars per million tokens, as decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// For input tokens that were not cached.
    pub input: &'static str,
    /// For those read from a cache.
    pub cached_input: Option<&'static str>,
    /// For those written into a cache.
    pub cache_write: Option<&'static str>,
    /// For those of them that are kept for an hour.
    pub cache_write_1h: Option<&'static str>,
    /// For output tokens.
    pub output: &'static str,
    /// What is paid in another way.
    pub other: Other,
}

/// Prices of what is no token of a text, as decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Other {
    /// For input tokens of images, in US dollars per million.
    pub image_input: Option<&'static str>,
    /// For input tokens of sound, in US dollars per million.
    pub audio_input: Option<&'static str>,
    /// For those of images that were read from a cache.
    pub cached_image_input: Option<&'static str>,
    /// For those of sound that were read from a cache.
    pub cached_audio_input: Option<&'static str>,
    /// For output tokens of sound, in US dollars per million.
    pub audio_output: Option<&'static str>,
    /// For each image that is made, in US dollars.
    pub per_image: Option<&'static str>,
    /// For each second of sound that is heard, in US dollars.
    pub per_second: Option<&'static str>,
    /// For each search, in US dollars.
    pub per_search: Option<&'static str>,
    /// For a million characters that are spoken, in US dollars.
    pub per_million_characters: Option<&'static str>,
}

impl Other {
    const NONE: Self = Self {
        image_input: None,
        audio_input: None,
        cached_image_input: None,
        cached_audio_input: None,
        audio_output: None,
        per_image: None,
        per_second: None,
        per_search: None,
        per_million_characters: None,
    };
}

/// What rows of a provider's file start from.
const fn offered(source: Source) -> KnownModel {
    KnownModel { name: "", also: &[], context: None, max_output: None, can: &[], source, prices: &[], note: None }
}

const fn rates(input: &'static str, output: &'static str) -> Rates {
    Rates { input, cached_input: None, cache_write: None, cache_write_1h: None, output, other: Other::NONE }
}

const fn price(from: &'static str, rates: Rates, source: Source) -> KnownPrice {
    KnownPrice { from, rates, long: None, batch: None, tiers: &[], source }
}

/// A tier that costs so many times what is usual.
const fn times(tier: Tier, factor: &'static str, source: Source) -> KnownTier {
    KnownTier { tier, rates: TierRates::Times(factor), source }
}

impl Rates {
    const fn cached(self, price: &'static str) -> Self {
        Self { cached_input: Some(price), ..self }
    }

    const fn written(self, price: &'static str) -> Self {
        Self { cache_write: Some(price), ..self }
    }

    const fn and(self, other: Other) -> Self {
        Self { other, ..self }
    }

    const fn written_1h(self, price: &'static str) -> Self {
        Self { cache_write_1h: Some(price), ..self }
    }
}

impl Rates {
    /// What costs nothing by the token.
    const fn other(other: Other) -> Self {
        Self { other, ..rates("0", "0") }
    }
}

impl KnownPrice {
    const fn long(self, above: u64, rates: Rates) -> Self {
        Self { long: Some((above, rates)), ..self }
    }

    const fn batch(self, input: &'static str, output: &'static str) -> Self {
        Self { batch: Some((input, output)), ..self }
    }

    const fn tiers(self, tiers: &'static [KnownTier]) -> Self {
        Self { tiers, ..self }
    }

    /// Its prices in batches, where they are known, as a configuration would say them: long prompts cost what they cost
    /// elsewhere, as nobody tells otherwise, and what comes out of a cache costs what other input does.
    pub fn batch_entry(&self) -> Option<PriceEntry> {
        let (input, output) = self.batch?;
        Self { rates: rates(input, output), tiers: &[], ..*self }.entry()
    }

    /// As a configuration would say it. `None` where a date or a number does not parse, which no row's does.
    pub fn entry(&self) -> Option<PriceEntry> {
        let price = |text: &str| text.parse::<Price>().ok();
        let some = |text: Option<&str>| text.map_or(Some(None), |text| price(text).map(Some));
        let long_context = match &self.long {
            None => None,
            Some((above, rates)) => Some(long(*above, rates, Decimal::ONE)?),
        };
        let mut tiers = TierPrices::default();
        for known in self.tiers {
            let place = match known.tier {
                Tier::Priority => &mut tiers.priority,
                Tier::Flex => &mut tiers.flex,
                Tier::Ultrafast => &mut tiers.ultrafast,
                Tier::Fast => &mut tiers.fast,
                Tier::Us => &mut tiers.us,
            };
            *place = Some(self.tier(known)?);
        }
        Some(PriceEntry {
            from: format!("{}T00:00:00Z", self.from).parse::<Timestamp>().ok()?,
            input: price(self.rates.input)?,
            cached_input: some(self.rates.cached_input)?,
            cache_write: some(self.rates.cache_write)?,
            cache_write_1h: some(self.rates.cache_write_1h)?,
            output: price(self.rates.output)?,
            image_input: some(self.rates.other.image_input)?,
            audio_input: some(self.rates.other.audio_input)?,
            cached_image_input: some(self.rates.other.cached_image_input)?,
            cached_audio_input: some(self.rates.other.cached_audio_input)?,
            audio_output: some(self.rates.other.audio_output)?,
            per_image: some(self.rates.other.per_image)?,
            per_second: some(self.rates.other.per_second)?,
            per_search: some(self.rates.other.per_search)?,
            per_million_characters: some(self.rates.other.per_million_characters)?,
            long_context,
            tiers: (!self.tiers.is_empty()).then(|| Box::new(tiers)),
            batch: None,
        })
    }

    fn tier(&self, known: &KnownTier) -> Option<TierPrice> {
        let (rates, above, factor) = match &known.rates {
            TierRates::Times(factor) => (&self.rates, self.long.as_ref(), factor.parse().ok()?),
            TierRates::Own(rates) => (rates, None, Decimal::ONE),
            TierRates::Long(rates, above, dearer) => {
                return Some(TierPrice {
                    long_context: Some(long(*above, dearer, Decimal::ONE)?),
                    ..tier(rates, Decimal::ONE)?
                });
            }
        };
        let long_context = match above {
            None => None,
            Some((above, dearer)) => Some(long(*above, dearer, factor)?),
        };
        Some(TierPrice { long_context, ..tier(rates, factor)? })
    }
}

fn tier(rates: &Rates, factor: Decimal) -> Option<TierPrice> {
    let LongContext { input, cached_input, cache_write, cache_write_1h, output, .. } = long(0, rates, factor)?;
    Some(TierPrice { input, cached_input, cache_write, cache_write_1h, output, long_context: None })
}

/// So many times these.
fn long(above: u64, rates: &Rates, factor: Decimal) -> Option<LongContext> {
    let price = |text: &str| {
        let usd = text.parse::<Decimal>().ok()?.checked_mul(factor)?.normalize();
        usd.to_string().parse::<Price>().ok()
    };
    let some = |text: Option<&str>| text.map_or(Some(None), |text| price(text).map(Some));
    Some(LongContext {
        above,
        input: price(rates.input)?,
        cached_input: some(rates.cached_input)?,
        cache_write: some(rates.cache_write)?,
        cache_write_1h: some(rates.cache_write_1h)?,
        output: price(rates.output)?,
    })
}

impl KnownModel {
    /// Its prices as a configuration would say them, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = PriceEntry> {
        self.prices.iter().filter_map(KnownPrice::entry)
    }
}

/// The models of a built-in provider; those of the same provider in another dialect are its own.
pub fn models(provider: &str) -> &'static [KnownModel] {
    let provider = TWINS.iter().find(|(twin, _)| *twin == provider).map_or(provider, |(_, offers)| offers);
    PROVIDERS.iter().find(|(name, _)| *name == provider).map_or(&[], |(_, models)| models)
}

/// What is known of a provider's model, by any of its names.
pub fn find(provider: &str, model: &str) -> Option<&'static KnownModel> {
    models(provider).iter().find(|known| known.name == model || known.also.contains(&model))
}

#[cfg(test)]
mod tests;
