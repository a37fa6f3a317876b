//! Checks of the caches of models.

use super::Checker;
use crate::{
    Period,
    config::source::ItemId,
    resource::{Cache, CacheMode, Kind, Model},
};

/// The longest time for which an answer is kept.
const LONGEST: Period = Period::from_secs(30 * 86_400);

impl Checker<'_> {
    pub(super) fn cache(&mut self, id: ItemId, model: &Model) {
        let Some(cache) = &model.cache else { return };
        if let Some(ttl) = cache.ttl
            && !(Period::from_secs(1)..=LONGEST).contains(&ttl)
        {
            self.problem(id, "cache.ttl", "out_of_bounds", "the time is 1 s to 30 d", "as in 1h");
        }
        if let Some(size) = cache.max_entry
            && !(1 << 10..=16 << 20).contains(&size.as_bytes())
        {
            self.problem(id, "cache.max_entry", "out_of_bounds", "the size is 1 KiB to 16 MiB", "as in 1MiB");
        }
        if cache.headers.len() > Cache::MOST_HEADERS {
            let detail = format!("a cache looks at {} headers at most", Cache::MOST_HEADERS);
            self.problem(id, "cache.headers", "out_of_bounds", detail, "name only those that change answers");
        }
        for (index, name) in cache.headers.iter().enumerate() {
            let path = format!("cache.headers[{index}]");
            let is_part = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
            if name.is_empty() || name.len() > 128 || !name.bytes().all(is_part) {
                self.problem(id, &path, "invalid_value", "this is no name of a header", "as in x-tenant");
            } else if cache.headers[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
                self.problem(id, &path, "duplicate", "it stands here twice", "remove one of them");
            }
        }
        match (cache.mode, &cache.embedding_model) {
            (CacheMode::Semantic, None) => {
                let hint = "name a model whose provider makes embeddings, as in { mode: semantic, embedding_model: … }";
                self.problem(id, "cache", "missing_field", "`mode: semantic` needs `embedding_model`", hint);
            }
            (CacheMode::Semantic, Some(name)) if *name == model.name => {
                let detail = "a model cannot make the embeddings for its own cache";
                self.problem(id, "cache.embedding_model", "contradiction", detail, "declare a model for embeddings");
            }
            (CacheMode::Semantic, Some(name)) => self.refers(id, "cache.embedding_model", Kind::Models, name),
            (CacheMode::Exact, Some(_)) => {
                let detail = "`embedding_model` belongs to `mode: semantic`";
                self.problem(
                    id,
                    "cache.embedding_model",
                    "invalid_value",
                    detail,
                    "remove it, or write mode: semantic",
                );
            }
            (CacheMode::Exact, None) => {}
        }
        match (cache.mode, cache.threshold) {
            (CacheMode::Exact, Some(_)) => {
                let detail = "`threshold` belongs to `mode: semantic`";
                self.problem(id, "cache.threshold", "invalid_value", detail, "remove it, or write mode: semantic");
            }
            (_, Some(threshold)) if !(0.5..=1.0).contains(&threshold) => {
                self.problem(id, "cache.threshold", "out_of_bounds", "a threshold is 0.5 to 1", "as in 0.95");
            }
            _ => {}
        }
    }
}
