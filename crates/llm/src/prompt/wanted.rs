//! How a call names a prompt: the field `prompt` with `id`, `version` and `variables`, as OpenAI's Responses has it.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/responses/create#responses-create-prompt>.

use super::{Unfit, Which};
use crate::openai::responses::Each;
use credentialflow_model::resource::Prompt;
use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Whether a body may name a prompt: where this is false, it does not.
pub fn is_likely(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"\"prompt\"").is_some()
}

/// The members of a call's body, in order.
pub struct Members<'b>(Vec<(String, &'b RawValue)>);

/// Which prompt a call wants.
#[derive(Debug)]
pub struct Wanted<'b> {
    /// Its name.
    pub id: Cow<'b, str>,
    version: Option<Cow<'b, str>>,
    /// What is handed in.
    pub variables: Option<&'b RawValue>,
    /// What a run of its tests shows, to have a version that is not in use.
    pub test: Option<Cow<'b, str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'b> {
    #[serde(borrow)]
    id: Cow<'b, str>,
    #[serde(borrow, default)]
    version: Option<&'b RawValue>,
    #[serde(borrow, default)]
    variables: Option<&'b RawValue>,
    #[serde(borrow, default)]
    test: Option<Cow<'b, str>>,
}

impl<'b> Members<'b> {
    /// Of a body; `None` where it is no JSON object, which whoever reads it next tells.
    pub fn of(body: &'b [u8]) -> Option<Self> {
        let mut members = Vec::new();
        let mut de = serde_json::Deserializer::from_slice(body);
        de.deserialize_map(Each(|name: &str, value: &'b RawValue| members.push((name.to_owned(), value)))).ok()?;
        de.end().ok()?;
        Some(Self(members))
    }

    /// None.
    pub const fn none() -> Self {
        Self(Vec::new())
    }

    /// All of them, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &'b RawValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }

    /// One of them, unless it is null.
    ///
    /// # Errors
    /// [`Unfit`] where it stands more than once.
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&'b RawValue>, Unfit> {
        let mut found = self.all().filter(|(other, _)| *other == name).map(|(_, value)| value);
        let first = found.next();
        match found.next() {
            Some(_) => Err(Unfit(format!("the field `{name}` stands more than once"))),
            None => Ok(first.filter(|value| value.get() != "null")),
        }
    }

    /// The model that the call names itself.
    pub fn model(&self) -> Option<String> {
        let raw = self.one("model").ok().flatten()?;
        serde_json::from_str(raw.get()).ok()
    }

    /// The prompt that the call wants; `None` where it wants none of ours.
    ///
    /// # Errors
    /// [`Unfit`] where it cannot be read.
    pub fn wanted(&self) -> Result<Option<Wanted<'b>>, Unfit> {
        let Some(raw) = self.one("prompt")?.filter(|raw| raw.get().starts_with('{')) else { return Ok(None) };
        let unfit = || Unfit::new("`prompt` has an `id`, and maybe a `version` and `variables`");
        let Fields { id, version, variables, test } = serde_json::from_str(raw.get()).map_err(|_| unfit())?;
        let version = match version.map(RawValue::get) {
            None | Some("null") => None,
            // Of OpenAI's a version is a text, and people write numbers.
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => Some(Cow::Borrowed(text)),
            Some(text) => Some(serde_json::from_str(text).map_err(|_| unfit())?),
        };
        Ok(Some(Wanted { id, version, variables, test }))
    }
}

impl Wanted<'_> {
    /// Which version.
    pub fn which(&self) -> Which<'_> {
        self.version.as_deref().map_or(Which::Label(Prompt::LABEL), Which::parse)
    }

    /// Whether it looks like one that OpenAI keeps.
    pub fn is_of_openai(&self) -> bool {
        self.id.starts_with("pmpt_")
    }
}
