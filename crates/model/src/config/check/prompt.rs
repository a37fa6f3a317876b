//! Checks of prompts: what stands in their texts is declared, what is declared fits, and all of it has an end.

use super::Checker;
use crate::{
    Name,
    config::{report::shown, source::ItemId},
    resource::{Guardrail, Kind, Prompt, PromptCheck, PromptTest, PromptVariable, PromptVersion, VariableType},
    template::{Template, is_variable},
};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};

const MOST_VARIABLES: usize = 64;
const MOST_VERSIONS: usize = 500;
const MOST_MESSAGES: usize = 100;
const MOST_TESTS: usize = 50;
const MOST_CHECKS: usize = 20;
const MOST_LABELS: usize = 50;
/// Bytes of all texts of a version together.
const MOST_TEXT: usize = 256 << 10;

impl Checker<'_> {
    pub(super) fn prompt(&mut self, id: ItemId, prompt: &Prompt) {
        self.description(id, prompt.description.as_deref());
        self.refers(id, "model", Kind::Models, &prompt.model);
        self.at_most_of(id, "variables", prompt.variables.len(), MOST_VARIABLES);
        for (name, variable) in &prompt.variables {
            self.variable(id, name, variable);
        }
        if prompt.versions.is_empty() {
            self.problem(id, "versions", "empty", "a prompt has at least one version", "add one with `version: 1`");
        }
        self.at_most_of(id, "versions", prompt.versions.len(), MOST_VERSIONS);
        let mut numbers = HashSet::new();
        for (index, version) in prompt.versions.iter().enumerate() {
            let path = format!("versions[{index}]");
            if version.version == 0 {
                self.problem(id, &format!("{path}.version"), "out_of_bounds", "versions begin with 1", "");
            } else if !numbers.insert(version.version) {
                let detail = format!("there are two versions {}", version.version);
                self.problem(id, &format!("{path}.version"), "duplicate", detail, "give one of them a new number");
            }
            self.prompt_version(id, &path, prompt, version);
        }
        let labels = prompt.labels.iter().flatten();
        self.at_most_of(id, "labels", prompt.labels.as_ref().map_or(0, BTreeMap::len), MOST_LABELS);
        for (label, version) in labels {
            self.label(id, &format!("labels.{label}"), label);
            if !numbers.contains(version) {
                let detail = format!("there is no version {version}");
                self.problem(id, &format!("labels.{label}"), "unknown_version", detail, "add it, or name another one");
            }
        }
        self.at_most_of(id, "tests", prompt.tests.len(), MOST_TESTS);
        let mut names = HashSet::new();
        for (index, test) in prompt.tests.iter().enumerate() {
            let path = format!("tests[{index}]");
            if !names.insert(&test.name) {
                let detail = format!("there are two tests {}", shown(test.name.as_str()));
                self.problem(id, &format!("{path}.name"), "duplicate", detail, "rename one of them");
            }
            self.prompt_test(id, &path, prompt, test);
        }
    }

    fn at_most_of(&mut self, id: ItemId, path: &str, count: usize, most: usize) {
        if count > most {
            self.problem(id, path, "out_of_bounds", format!("there are at most {most}"), "");
        }
    }

    /// A label is never read as the number of a version.
    pub(super) fn label(&mut self, id: ItemId, path: &str, label: &Name) {
        if label.as_str().starts_with(|c: char| c.is_ascii_digit()) {
            let detail = "a label begins with a letter, so that nobody takes it for a version";
            self.problem(id, path, "invalid_value", detail, "as in production");
        }
    }

    fn variable(&mut self, id: ItemId, name: &str, variable: &PromptVariable) {
        let path = format!("variables.{name}");
        if !is_variable(name) {
            let detail = format!("{} cannot be the name of a variable", shown(name));
            self.problem(id, &path, "invalid_value", detail, "1 to 64 letters, digits and _; first no digit");
        }
        let text = variable.description.as_deref().unwrap_or_default();
        if text.chars().count() > 1000 {
            let detail = "the description is longer than 1000 characters";
            self.problem(id, &format!("{path}.description"), "too_long", detail, "shorten it");
        }
        let at = |field: &str| format!("{path}.{field}");
        let is_enum = variable.kind == VariableType::Enum;
        if variable.max_length.is_some_and(|most| most == 0 || most > PromptVariable::MOST_CHARACTERS) {
            let detail = format!("this is 1 to {}", PromptVariable::MOST_CHARACTERS);
            self.problem(id, &at("max_length"), "out_of_bounds", detail, "");
        }
        if variable.max_length.is_some() && variable.kind != VariableType::String {
            self.problem(id, &at("max_length"), "not_here", "only a `string` has a length", "remove it");
        }
        if is_enum == variable.values.is_empty() {
            let detail = if is_enum { "an `enum` says what it may be" } else { "only an `enum` has `values`" };
            let hint = if is_enum { "as in values: [short, long]" } else { "write type: enum, or remove them" };
            self.problem(id, &at("values"), "invalid_value", detail, hint);
        }
        let distinct: HashSet<_> = variable.values.iter().collect();
        if variable.values.len() > 200
            || distinct.len() < variable.values.len()
            || variable.values.iter().any(|value| value.len() > 200)
        {
            let detail = "the values of an `enum` are at most 200, of at most 200 bytes, and none stands twice";
            self.problem(id, &at("values"), "invalid_value", detail, "");
        }
        if let Some(default) = &variable.default {
            if let Err(why) = fits(variable, default) {
                self.problem(id, &at("default"), "invalid_value", why, "a default is what a caller could hand in");
            }
            if variable.required == Some(true) {
                let detail = "what must be handed in needs no default";
                self.problem(id, &at("required"), "contradiction", detail, "remove one of them");
            }
        }
    }

    fn prompt_version(&mut self, id: ItemId, path: &str, prompt: &Prompt, version: &PromptVersion) {
        if let Some(model) = &version.model {
            self.refers(id, &format!("{path}.model"), Kind::Models, model);
        }
        if version.description.as_ref().is_some_and(|d| d.chars().count() > 1000) {
            let detail = "the description is longer than 1000 characters";
            self.problem(id, &format!("{path}.description"), "too_long", detail, "shorten it");
        }
        if version.system.is_none() && version.messages.is_empty() {
            let hint = "add `system` or `messages`";
            self.problem(id, path, "missing_field", "a version says something", hint);
        }
        self.at_most_of(id, &format!("{path}.messages"), version.messages.len(), MOST_MESSAGES);
        let messages = version.messages.iter().enumerate();
        let messages = messages.map(|(index, m)| (format!("{path}.messages[{index}].content"), &m.content));
        let system = version.system.iter().map(|text| (format!("{path}.system"), text));
        let mut size = 0;
        for (at, text) in system.chain(messages) {
            size += text.len();
            if text.trim().is_empty() {
                self.problem(id, &at, "empty", "this says nothing", "write what is said, or remove it");
            }
            let template = match Template::parse(text) {
                Ok(template) => template,
                Err(why) => {
                    let hint = "as in {{text}}; {{{{ stands for {{ itself";
                    self.problem(id, &at, "invalid_value", why.to_string(), hint);
                    continue;
                }
            };
            let unknown: HashSet<_> =
                template.variables().filter(|name| !prompt.variables.contains_key(*name)).collect();
            for name in unknown {
                let detail = format!("{} is none of the prompt's variables", shown(name));
                self.problem(id, &at, "unknown_variable", detail, "declare it under variables");
            }
        }
        if size > MOST_TEXT {
            let detail = format!("the texts of a version have at most {} KiB", MOST_TEXT >> 10);
            self.problem(id, path, "too_large", detail, "shorten them");
        }
        let parameters = &version.parameters;
        let mut bounds = |field: &str, wrong: bool, detail: &str| {
            if wrong {
                self.problem(id, &format!("{path}.parameters.{field}"), "out_of_bounds", detail, "");
            }
        };
        bounds("temperature", parameters.temperature.is_some_and(|t| !(0.0..=2.0).contains(&t)), "this is 0 to 2");
        bounds("top_p", parameters.top_p.is_some_and(|p| !(0.0..=1.0).contains(&p)), "this is 0 to 1");
        bounds("max_tokens", parameters.max_tokens == Some(0), "this is at least 1");
        let stop = &parameters.stop;
        let wrong = stop.len() > 4 || stop.iter().any(|text| text.is_empty() || text.len() > 200);
        bounds("stop", wrong, "there are at most 4 texts of 1 to 200 bytes");
        if let Some(schema) = &version.answer_schema {
            self.usable(id, &format!("{path}.answer_schema"), (None, Some(schema)));
        }
    }

    fn prompt_test(&mut self, id: ItemId, path: &str, prompt: &Prompt, test: &PromptTest) {
        for (name, value) in &test.variables {
            let at = format!("{path}.variables.{name}");
            match prompt.variables.get(name) {
                None => {
                    let detail = format!("{} is none of the prompt's variables", shown(name));
                    self.problem(id, &at, "unknown_variable", detail, "declare it under variables");
                }
                Some(variable) => {
                    if let Err(why) = fits(variable, value) {
                        self.problem(id, &at, "invalid_value", why, "");
                    }
                }
            }
        }
        let missing = |(name, variable): &(&String, &PromptVariable)| {
            variable.is_required() && !test.variables.contains_key(*name)
        };
        for (name, _) in prompt.variables.iter().filter(missing) {
            let detail = format!("the variable {} must be handed in", shown(name));
            self.problem(id, &format!("{path}.variables"), "missing_field", detail, "give it a value");
        }
        if test.checks.is_empty() {
            let hint = "as in - contains: positive";
            self.problem(id, &format!("{path}.checks"), "empty", "a test checks something", hint);
        }
        self.at_most_of(id, &format!("{path}.checks"), test.checks.len(), MOST_CHECKS);
        for (index, check) in test.checks.iter().enumerate() {
            self.prompt_check(id, &format!("{path}.checks[{index}]"), check);
        }
    }

    fn prompt_check(&mut self, id: ItemId, path: &str, check: &PromptCheck) {
        let PromptCheck { contains, not_contains, equals, regex, json_schema, max_length } = check;
        let texts = [contains, not_contains, equals];
        let set = texts.iter().filter(|text| text.is_some()).count()
            + [regex.is_some(), json_schema.is_some(), max_length.is_some()].iter().filter(|set| **set).count();
        if set != 1 {
            let detail = "a check says exactly one thing";
            let hint = "one of contains, not_contains, equals, regex, json_schema, max_length";
            self.problem(id, path, "invalid_value", detail, hint);
        }
        if texts.into_iter().flatten().any(|text| text.is_empty() || text.len() > 10_000) {
            self.problem(id, path, "out_of_bounds", "a text that is compared has 1 to 10000 bytes", "");
        }
        if let Some(pattern) = regex {
            self.usable(id, &format!("{path}.regex"), (Some(pattern), None));
        }
        if let Some(schema) = json_schema {
            self.usable(id, &format!("{path}.json_schema"), (None, Some(schema)));
        }
    }

    /// Whether a pattern or a schema can be used: the same as those of guardrails.
    fn usable(&mut self, id: ItemId, path: &str, (pattern, schema): (Option<&String>, Option<&Value>)) {
        let Some(build) = self.context.guardrail else { return };
        let rule = match pattern {
            Some(pattern) => json!({ "detect": "pattern", "action": "block", "pattern": pattern }),
            None => json!({ "detect": "json_schema", "action": "block", "on": "answer", "schema": schema }),
        };
        // A rule with nothing but what it needs.
        let Ok(rule) = serde_json::from_value::<Guardrail>(rule) else { return };
        if let Err(why) = build(&rule) {
            let hint = match pattern {
                Some(_) => "see the syntax of Rust's `regex`; it looks neither ahead nor back",
                None => "a schema stands for itself: nothing is fetched for it",
            };
            self.problem(id, path, "invalid_value", why, hint);
        }
    }
}

/// Whether a value is one that a caller could hand in. Says why not.
fn fits(variable: &PromptVariable, value: &Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("this is no {what}"));
    match (variable.kind, value) {
        (VariableType::String, Value::String(text)) => {
            let most = variable.most_characters() as usize;
            let is_longer = text.chars().nth(most).is_some();
            if is_longer { Err(format!("this has more than {most} characters")) } else { Ok(()) }
        }
        (VariableType::Enum, Value::String(text)) if variable.values.contains(text) => Ok(()),
        (VariableType::Number, Value::Number(_)) | (VariableType::Boolean, Value::Bool(_)) => Ok(()),
        (VariableType::Integer, Value::Number(number)) if number.is_i64() => Ok(()),
        (VariableType::String, _) => wrong("text"),
        (VariableType::Number, _) => wrong("number"),
        (VariableType::Integer, _) => wrong("whole number of 64 bits"),
        (VariableType::Boolean, _) => wrong("`true` or `false`"),
        (VariableType::Enum, _) => Err("this is none of its values".to_owned()),
    }
}
