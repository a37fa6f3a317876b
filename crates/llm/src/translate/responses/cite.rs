//! Citations of Responses: `annotations` beside the text of a message, counted in its characters.

use super::super::{
    answer::MAX_BLOCKS,
    chat::cite::{UrlCitation, members},
    cite::{Citation, MAX_CITATIONS},
    read::{Text, list, present},
    write::Object,
};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: Text<'a>,
}

/// The citations of a text, before which so many characters of the answer's words stand. Files are left out, which only
/// their provider has.
pub(super) fn annotations(raw: Option<&RawValue>, before: u64) -> Vec<Citation<'_>> {
    let told: Vec<&RawValue> = present(raw).and_then(|raw| list(raw, "", MAX_BLOCKS, "").ok()).unwrap_or_default();
    told.into_iter().filter_map(|raw| annotation(raw, before)).take(MAX_CITATIONS).collect()
}

/// One of them.
pub(super) fn annotation(raw: &RawValue, before: u64) -> Option<Citation<'_>> {
    let Kind { r#type } = serde_json::from_str(raw.get()).ok()?;
    let told: UrlCitation<'_> = serde_json::from_str(raw.get()).ok().filter(|_| &*r#type == "url_citation")?;
    told.within(before)
}

/// Writes one, as it stands beside a text and in an event of a stream; its place is one in that text.
pub(super) fn write(out: &mut Vec<u8>, cited: &Citation<'_>) {
    let mut to = Object::new(out);
    to.json("type", "\"url_citation\"");
    members(&mut to, &cited.span, cited.url().unwrap_or_default(), cited.title.as_deref());
    to.end();
}
