//! The catalogue: the models that built-in providers offer, with what is known of each.

use crate::{
    AdminState,
    api::{
        answer::Page,
        request::{Query, limited},
    },
    auth::Administrator,
    error::{ApiError, Code},
    resources::{cursor, read_cursor},
};
use axum::Json;
use credentialflow_llm::catalogue::{self, KnownModel, KnownPrice, Source};
use credentialflow_model::{Price, resource::PriceEntry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Which models.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KnownModelQuery {
    /// Only of this provider.
    pub provider: Option<String>,
    /// Only those with a name that contains this text.
    pub q: Option<String>,
    /// Most items on the page, 1 to 1000. 100 unless set.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// Where the page begins: the `next` of the page before.
    pub cursor: Option<String>,
}

/// A model that a built-in provider offers.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KnownModelView {
    /// The provider, as `provider:` of a target names it.
    #[schema(examples("openai"))]
    pub provider: &'static str,
    /// The provider's name of the model, as `model:` of a target names it.
    #[schema(examples("gpt-5-mini"))]
    pub model: &'static str,
    /// The provider's other names of the same.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub also: &'static [&'static str],
    /// How many tokens prompt and answer may have together. Absent where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
    /// How many tokens its answer may have. Absent where it is not known or there is no limit of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output: Option<u32>,
    /// What it can do: `vision`, `tools`, `structured_output`, `reasoning`, `audio_input`, `embeddings`. What is not
    /// here is not known.
    pub capabilities: Vec<&'static str>,
    /// Where sizes and capabilities stand.
    pub source: SourceView,
    /// What it costs, oldest first; empty where no price is known.
    pub prices: Vec<KnownPriceView>,
    /// What one should know of these figures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<&'static str>,
}

/// Prices from a day on, with where they stand.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct KnownPriceView {
    /// The prices, as `prices` of a target take them.
    pub price: PriceEntry,
    /// Those of the provider's batches, which calls through the gateway are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchPriceView>,
    /// Where they stand.
    pub source: SourceView,
    /// Where those of `tiers` stand, by the tier.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tier_sources: BTreeMap<&'static str, SourceView>,
}

/// Prices in batches, in US dollars per million tokens.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct BatchPriceView {
    /// For input tokens.
    pub input: Price,
    /// For output tokens.
    pub output: Price,
}

/// Where figures stand.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct SourceView {
    /// The page.
    pub url: &'static str,
    /// The day on which they were read.
    #[schema(examples("2026-11-23"))]
    pub read: &'static str,
    /// Who read them there: `page` (we, in a copy of it), `tables` (at least two public tables that name it and say
    /// the same), `ours` (they are our own).
    pub by: &'static str,
}

impl From<Source> for SourceView {
    fn from(source: Source) -> Self {
        Self { url: source.url, read: source.read, by: source.by.as_str() }
    }
}

fn price(known: &KnownPrice) -> Option<KnownPriceView> {
    let batch = known
        .batch
        .and_then(|(input, output)| Some(BatchPriceView { input: input.parse().ok()?, output: output.parse().ok()? }));
    let tier_sources = known.tiers.iter().map(|of| (of.tier.as_str(), of.source.into())).collect();
    Some(KnownPriceView { price: known.entry()?, batch, source: known.source.into(), tier_sources })
}

fn view(provider: &'static str, model: &KnownModel) -> KnownModelView {
    KnownModelView {
        provider,
        model: model.name,
        also: model.also,
        context: model.context,
        max_output: model.max_output,
        capabilities: model.can.iter().map(|can| can.as_str()).collect(),
        source: model.source.into(),
        prices: model.prices.iter().filter_map(price).collect(),
        note: model.note,
    }
}

/// List the models that built-in providers offer
#[utoipa::path(get, path = "/api/v1/catalogue/models", tag = "models", params(KnownModelQuery),
    responses((status = 200, description = "By provider, the newest of each first", body = Page<KnownModelView>)))]
async fn list_known_models(
    _: Administrator,
    Query(query): Query<KnownModelQuery>,
) -> Result<Json<Page<KnownModelView>>, ApiError> {
    let limit = limited(query.limit)? as usize;
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let named = |model: &KnownModel| {
        query
            .q
            .as_deref()
            .is_none_or(|text| [&[model.name], model.also].concat().iter().any(|name| name.contains(text)))
    };
    let asked = query.provider.as_deref();
    let all = catalogue::PROVIDERS
        .iter()
        .filter(|(provider, models)| {
            asked.is_none_or(|asked| *provider == asked || catalogue::models(asked) == *models)
        })
        .flat_map(|(provider, models)| models.iter().map(|model| (*provider, model)));
    let place = |provider: &str, model: &KnownModel| format!("{provider}/{}", model.name);
    let mut rest = all.filter(|(_, model)| named(model));
    if let Some(after) = after
        && !rest.any(|(provider, model)| place(provider, model) == after)
    {
        return Err(ApiError::new(Code::InvalidRequest, "the cursor is not valid; begin again without one"));
    }
    // One more than asked for shows that there is a next page.
    let page: Vec<_> = rest.take(limit + 1).collect();
    let more = page.len() > limit;
    let items: Vec<_> = page.iter().take(limit).map(|(provider, model)| view(provider, model)).collect();
    let next = items.last().filter(|_| more).map(|last| cursor(&format!("{}/{}", last.provider, last.model)));
    Ok(Json(Page { items, next }))
}

/// The catalogue.
pub(super) fn endpoints() -> OpenApiRouter<AdminState> {
    OpenApiRouter::new().routes(routes!(list_known_models))
}
