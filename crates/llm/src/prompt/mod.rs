//! Prompts: what is said to a model, with places for what callers hand in; read once, filled in for each call.
//!
//! A caller's call that names one becomes an ordinary call of its dialect ([`call`]); a route that publishes one makes a
//! call of the body that it is sent, and an answer of its own of what the model says ([`published`], and [`streamed`] while it
//! says it). Values are put into texts before those are written as JSON, so no value can become anything else than a part of
//! its text.

pub mod call;
pub mod published;
pub mod streamed;
pub mod verdict;
pub mod wanted;
mod write;

#[cfg(test)]
mod tests;

use crate::{guardrail::json_schema, openai::responses::Each};
use credentialflow_model::{
    resource::{Prompt, PromptParameters, PromptRole, PromptVariable, VariableType},
    template::{Piece, Template},
};
use serde::Deserializer as _;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, OnceLock},
};

/// A prompt as it is used.
#[derive(Debug)]
pub struct Compiled {
    name: Arc<str>,
    source: Prompt,
    versions: HashMap<u32, Version>,
}

/// A version of a prompt as it is used.
pub struct Version {
    number: u32,
    tag: Arc<str>,
    model: Arc<str>,
    system: Option<Template>,
    messages: Vec<(PromptRole, Template)>,
    parameters: PromptParameters,
    schema: Option<Schema>,
}

/// What the answer is to be.
struct Schema {
    value: serde_json::Value,
    text: Box<str>,
    /// Built when the first answer is looked at: most versions are never published, and building takes long.
    built: OnceLock<Option<json_schema::JsonSchema>>,
}

/// Which version of a prompt is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which<'a> {
    /// This one.
    Version(u32),
    /// That of a label.
    Label(&'a str),
}

impl<'a> Which<'a> {
    /// Reads a word: digits are a version, anything else is a label.
    pub fn parse(word: &'a str) -> Self {
        match word.parse() {
            Ok(number) if word.bytes().all(|b| b.is_ascii_digit()) => Self::Version(number),
            _ => Self::Label(word),
        }
    }
}

/// Why a call with a prompt cannot be made. Holds nothing that a caller sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub String);

impl Unfit {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// What is put into the places of variables, by name.
pub type Values<'p> = HashMap<&'p str, String>;

impl Compiled {
    /// Of a prompt that passed its check. A text that cannot be read all the same leaves its version out.
    pub fn of(prompt: &Prompt) -> Self {
        let version = |version: &credentialflow_model::resource::PromptVersion| {
            let read = |text: &String| Template::parse(text).ok();
            let system = match &version.system {
                Some(text) => Some(read(text)?),
                None => None,
            };
            let messages = version.messages.iter().map(|m| Some((m.role, read(&m.content)?))).collect::<Option<_>>()?;
            let schema = version.answer_schema.as_ref().map(|schema| Schema {
                text: schema.to_string().into(),
                value: schema.clone(),
                built: OnceLock::new(),
            });
            let model = version.model.as_ref().unwrap_or(&prompt.model).shared();
            let (number, parameters) = (version.version, version.parameters.clone());
            let tag = format!("{}/{number}", prompt.name).into();
            Some((number, Version { number, tag, model, system, messages, parameters, schema }))
        };
        Self {
            name: prompt.name.shared(),
            source: prompt.clone(),
            versions: prompt.versions.iter().filter_map(version).collect(),
        }
    }

    /// Its name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it was made of.
    pub const fn source(&self) -> &Prompt {
        &self.source
    }

    /// A version of it; `None` where there is none so numbered or labelled.
    pub fn version(&self, which: Which<'_>) -> Option<&Version> {
        let number = match which {
            Which::Version(number) => number,
            Which::Label(label) => self.source.labelled(label)?,
        };
        self.versions.get(&number)
    }

    /// Whether callers and routes may have a version, as [`Prompt::is_in_use`] tells.
    pub fn is_in_use(&self, version: &Version) -> bool {
        self.source.is_in_use(version.number)
    }

    /// What callers hand in.
    pub const fn variables(&self) -> &BTreeMap<String, PromptVariable> {
        &self.source.variables
    }

    /// What stands in the places of variables, of what a caller hands in: an object, or nothing.
    ///
    /// # Errors
    /// [`Unfit`] where something is missing, unknown, given twice or of another type.
    pub fn values(&self, given: Option<&RawValue>) -> Result<Values<'_>, Unfit> {
        let (mut values, mut wrong) = (Values::new(), None);
        let given = given.map(RawValue::get).filter(|text| *text != "null");
        if given.is_some_and(|text| !text.starts_with('{')) {
            return Err(Unfit::new("the variables are no object"));
        }
        let read = serde_json::Deserializer::from_str(given.unwrap_or("{}")).deserialize_map(Each(
            |name: &str, value: &RawValue| {
                if wrong.is_some() {
                    return;
                }
                let Some((name, variable)) = self.variables().get_key_value(name) else {
                    wrong = Some(self.unknown_variable());
                    return;
                };
                if value.get() == "null" && !variable.is_required() {
                    return;
                }
                match text(name, variable, value.get()) {
                    Err(why) => wrong = Some(why),
                    Ok(text) => {
                        let twice = || Unfit(format!("the variable `{name}` is given twice"));
                        wrong = values.insert(name, text).map(|_| twice());
                    }
                }
            },
        ));
        if let Some(why) = wrong {
            return Err(why);
        }
        read.map_err(|_| Unfit::new("the variables cannot be read"))?;
        for (name, variable) in self.variables() {
            if values.contains_key(name.as_str()) {
                continue;
            }
            if variable.is_required() {
                return Err(Unfit(format!("the variable `{name}` is missing")));
            }
            let default = variable.default.as_ref().map_or_else(String::new, plain);
            values.insert(name, default);
        }
        Ok(values)
    }

    fn unknown_variable(&self) -> Unfit {
        let known: Vec<_> = self.variables().keys().map(|name| format!("`{name}`")).collect();
        Unfit(match known.is_empty() {
            true => "a variable is given, and the prompt has none".to_owned(),
            false => format!("a variable is given that the prompt does not have; it has {}", known.join(", ")),
        })
    }
}

/// A default as text.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What stands in the place of a variable.
fn text(name: &str, variable: &PromptVariable, json: &str) -> Result<String, Unfit> {
    let wrong = |what: &str| Unfit(format!("the variable `{name}` is to be {what}"));
    match variable.kind {
        VariableType::String => {
            let text: String = serde_json::from_str(json).map_err(|_| wrong("a text"))?;
            let most = variable.most_characters() as usize;
            if text.chars().nth(most).is_some() {
                return Err(Unfit(format!("the variable `{name}` has more than {most} characters")));
            }
            Ok(text)
        }
        VariableType::Enum => {
            let text: String = serde_json::from_str(json).map_err(|_| wrong("a text"))?;
            let known = variable.values.contains(&text);
            if known { Ok(text) } else { Err(wrong(&format!("one of {}", variable.values.join(", ")))) }
        }
        VariableType::Boolean if matches!(json, "true" | "false") => Ok(json.to_owned()),
        VariableType::Boolean => Err(wrong("`true` or `false`")),
        VariableType::Integer => {
            let number: i64 = serde_json::from_str(json).map_err(|_| wrong("a whole number of 64 bits"))?;
            Ok(number.to_string())
        }
        // As it was written: what a float would make of its digits is not what the caller said.
        VariableType::Number if json.len() <= 64 && serde_json::from_str::<serde_json::Number>(json).is_ok() => {
            Ok(json.to_owned())
        }
        VariableType::Number => Err(wrong("a number")),
    }
}

impl Version {
    /// Its number.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// Prompt and version, as records tell them: `sentiment/3`.
    pub const fn tag(&self) -> &Arc<str> {
        &self.tag
    }

    /// The model that it is said to where the caller names none.
    pub const fn model(&self) -> &Arc<str> {
        &self.model
    }

    /// The JSON Schema of its answer.
    pub fn schema(&self) -> Option<&serde_json::Value> {
        self.schema.as_ref().map(|schema| &schema.value)
    }

    /// Whether an answer is what its schema allows; `None` where it has none, and an error where that cannot be used.
    fn allows(&self, value: &serde_json::Value) -> Option<Result<bool, Unfit>> {
        let schema = self.schema.as_ref()?;
        let built = schema.built.get_or_init(|| json_schema::of(Some(&schema.value)).ok());
        Some(match built {
            Some(built) => Ok(built.allows(value)),
            None => Err(Unfit::new("the schema of the prompt's answer cannot be used")),
        })
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version").field("number", &self.number).field("model", &self.model).finish_non_exhaustive()
    }
}

/// A text with its places filled in.
fn filled(template: &Template, values: &Values<'_>) -> String {
    let mut out = String::new();
    for piece in template.pieces() {
        match piece {
            Piece::Text(text) => out.push_str(text),
            // The check found a declaration for each of them.
            Piece::Variable(name) => out.push_str(values.get(&**name).map_or("", String::as_str)),
        }
    }
    out
}
