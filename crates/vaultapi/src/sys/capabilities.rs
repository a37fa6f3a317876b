//! What a token may do on which path.

use super::Context;
use crate::{
    answer::Answer,
    error::{ApiError, Result},
    request::Verb,
};
use credentialflow_identity::acl::Acl;
use credentialflow_secrets::fields;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

/// Most paths in one question.
const MOST: usize = 1000;

pub(super) async fn own(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    told(cx, cx.caller.acl())
}

pub(super) async fn of_token(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    let token = fields::text(&cx.request.data, "token")?.ok_or_else(|| ApiError::invalid("missing token"))?;
    let token = Zeroizing::new(token);
    told(cx, &*cx.ready.identity.acl_of_token(&token).await?)
}

pub(super) async fn of_accessor(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Write])?;
    let accessor = fields::text(&cx.request.data, "accessor")?.ok_or_else(|| ApiError::invalid("missing accessor"))?;
    told(cx, &*cx.ready.identity.acl_of_accessor(&accessor).await?)
}

fn told(cx: &Context<'_>, acl: &Acl) -> Result<Answer> {
    let data = &cx.request.data;
    let paths = fields::list(data, "paths")?.or(fields::list(data, "path")?).unwrap_or_default();
    if paths.is_empty() {
        return Err(ApiError::invalid("paths must be supplied"));
    }
    if paths.len() > MOST {
        return Err(ApiError::invalid("too many paths in one question"));
    }
    let mut found: Map<String, Value> =
        paths.iter().map(|path| (path.clone(), json!(acl.capabilities(path.trim_start_matches('/'))))).collect();
    if let [only] = paths.as_slice() {
        let words = found.get(only).cloned().unwrap_or_default();
        found.insert("capabilities".to_owned(), words);
    }
    Ok(Answer::flat(Value::Object(found)))
}

/// Every pattern the caller has something on.
pub(super) fn resultant(cx: &Context<'_>) -> Result<Answer> {
    cx.only(&[Verb::Read])?;
    let (mut exact, mut glob) = (Map::new(), Map::new());
    for (path, is_prefix, words) in cx.caller.acl().grants() {
        let list = if is_prefix { &mut glob } else { &mut exact };
        list.insert(path.to_owned(), json!({ "capabilities": words }));
    }
    Ok(Answer::data(json!({ "exact_paths": exact, "glob_paths": glob, "root": cx.caller.acl().is_root() })))
}
