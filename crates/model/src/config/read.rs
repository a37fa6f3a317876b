//! Texts to a [`ResourceSet`]: each document to a tree, each item of a tree to a resource.

use super::{
    MAX_TEXT, SourceMap,
    decode::{Decoded, decode},
    json,
    node::{Node, Value},
    report::{Report, known_words, shown},
    yaml,
};
use crate::{
    Location, Problems, ResourceSet,
    resource::{
        Application, Credential, GuardrailSet, Key, Kind, LeakResponse, Model, Prompt, Resource, Route, SecretStore,
        System, Team, Upstream,
    },
};
use std::sync::Arc;

/// Reads one YAML (or JSON) document. The set holds the resources that read without a problem; the
/// source map says where they stood. Apply nothing unless the problems, also those of
/// [`check`](super::check), are empty.
pub fn read(file: &str, text: &str) -> (ResourceSet, SourceMap, Problems) {
    read_many(&[(file, text)])
}

/// [`read`], for bytes that may not even be text.
pub fn read_bytes(file: &str, bytes: &[u8]) -> (ResourceSet, SourceMap, Problems) {
    if bytes.len() > MAX_TEXT {
        let mut report = Report::default();
        too_large(file, &mut report);
        return (ResourceSet::default(), SourceMap::default(), report.finish());
    }
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return read(file, text),
        Err(error) => error,
    };
    let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let line = valid.rsplit('\n').next().unwrap_or_default();
    let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let at = Location { line: bounded(valid.matches('\n').count() + 1), column: bounded(line.chars().count() + 1) };
    let mut report = Report::default();
    let hint = Some("save the file as UTF-8".to_owned());
    report.add(Some(file), at, "", "not_utf8", "the text is not UTF-8", hint);
    (ResourceSet::default(), SourceMap::default(), report.finish())
}

/// Reads several documents, given as `(file, text)`, as one set.
pub fn read_many(documents: &[(&str, &str)]) -> (ResourceSet, SourceMap, Problems) {
    let mut reader = Reader { set: ResourceSet::default(), source: SourceMap::default(), report: Report::default() };
    let mut size = 0usize;
    for (file, text) in documents {
        size = size.saturating_add(text.len());
        if size > MAX_TEXT {
            too_large(file, &mut reader.report);
            reader.source.incomplete = true;
            break;
        }
        if let Some(root) = yaml::parse(file, text, &mut reader.report) {
            reader.document(&Arc::from(*file), &root);
        } else {
            reader.source.incomplete = true;
        }
    }
    (reader.set, reader.source, reader.report.finish())
}

/// Reads one resource from JSON, as the admin API takes it. Its own fields are checked for their form;
/// what it refers to is the matter of [`check`](super::check) on the whole set.
pub fn read_resource<T: Resource>(text: &str) -> Result<T, Problems> {
    let mut report = Report::default();
    let decoded =
        json::parse(text, &mut report).and_then(|node| decode::<T>(None, &String::new, &node, &mut report).value);
    let problems = report.finish();
    match decoded {
        Some(resource) if problems.0.is_empty() => Ok(resource),
        _ => Err(problems),
    }
}

/// [`read_resource`], from a YAML document. Problems have places, and so have those of
/// [`check`](super::check), by [`SourceMap::locate`] with this kind and the index 0.
pub fn read_resource_yaml<T: Resource>(text: &str) -> Result<(T, SourceMap), Problems> {
    let mut report = Report::default();
    if text.len() > MAX_TEXT {
        too_large("", &mut report);
        return Err(unnamed(report));
    }
    let Some(root) = yaml::parse("", text, &mut report) else { return Err(unnamed(report)) };
    let decoded = decode::<T>(None, &String::new, &root, &mut report).value;
    match decoded {
        Some(resource) if report.is_empty() => {
            let mut source = SourceMap::default();
            source.add(T::KIND, &Arc::from(""), 0, &root, Vec::new(), false);
            Ok((resource, source))
        }
        _ => Err(unnamed(report)),
    }
}

/// The problems of a text that has no name.
fn unnamed(report: Report) -> Problems {
    let mut problems = report.finish();
    problems.0.iter_mut().for_each(|problem| problem.file = None);
    problems
}

/// Reads one YAML (or JSON) document of settings into any plain type, every problem at its place. An
/// empty document reads as an empty mapping.
pub fn read_settings<T: serde::de::DeserializeOwned>(file: &str, text: &str) -> Result<T, Problems> {
    let mut report = Report::default();
    if text.len() > MAX_TEXT {
        too_large(file, &mut report);
        return Err(report.finish());
    }
    let root = yaml::parse(file, text, &mut report);
    if root.is_none() && !report.is_empty() {
        return Err(report.finish());
    }
    let root = root
        .filter(|node| !node.is_nothing())
        .unwrap_or(Node { at: Location { line: 1, column: 1 }, value: Value::Mapping(Vec::new()) });
    let decoded = decode::<T>(Some(file), &String::new, &root, &mut report).value;
    match decoded {
        Some(settings) if report.is_empty() => Ok(settings),
        _ => Err(report.finish()),
    }
}

fn too_large(file: &str, report: &mut Report) {
    let at = Location { line: 1, column: 1 };
    let hint = Some("divide the configuration; ten thousand routes need about 2 MiB".to_owned());
    report.add(Some(file), at, "", "too_large", "the text is larger than 16 MiB", hint);
}

struct Reader {
    set: ResourceSet,
    source: SourceMap,
    report: Report,
}

impl Reader {
    fn document(&mut self, file: &Arc<str>, root: &Node<'_>) {
        if root.is_nothing() {
            return;
        }
        let Value::Mapping(entries) = &root.value else {
            let detail = format!("expected lists of resources by kind, found {}", root.describe());
            let hint = Some(format!("begin with one of {}", kinds().join(", ")));
            self.report.add(Some(file), root.at, "", "wrong_type", detail, hint);
            self.source.incomplete = true;
            return;
        };
        for entry in entries {
            match &*entry.key {
                "teams" => self.list::<Team>(file, &entry.value),
                "applications" => self.list::<Application>(file, &entry.value),
                "keys" => self.list::<Key>(file, &entry.value),
                "credentials" => self.list::<Credential>(file, &entry.value),
                "targets" => self.list::<System>(file, &entry.value),
                "stores" => self.list::<SecretStore>(file, &entry.value),
                "upstreams" => self.list::<Upstream>(file, &entry.value),
                "routes" => self.list::<Route>(file, &entry.value),
                "guardrails" => self.list::<GuardrailSet>(file, &entry.value),
                "models" => self.list::<Model>(file, &entry.value),
                "prompts" => self.list::<Prompt>(file, &entry.value),
                "leak_responses" => self.list::<LeakResponse>(file, &entry.value),
                other => {
                    let named = shown(other);
                    let path = if named.starts_with('`') { other } else { "?" };
                    let detail = format!("the field {named} is not known here");
                    let hint = Some(known_words(other, &kinds()));
                    self.report.add(Some(file), entry.at, path, "unknown_field", detail, hint);
                    self.source.incomplete = true;
                }
            }
        }
    }

    fn list<T: Resource>(&mut self, file: &Arc<str>, node: &Node<'_>) {
        let Value::Sequence(items) = &node.value else {
            if !node.is_nothing() {
                let detail = format!("expected a list, found {}", node.describe());
                let hint = Some("begin each resource with `- name:`".to_owned());
                self.report.add(Some(file), node.at, T::KIND.as_str(), "wrong_type", detail, hint);
                self.source.incomplete = true;
            }
            return;
        };
        T::list_mut(&mut self.set).reserve(items.len());
        for (index, item) in items.iter().enumerate() {
            let prefix = || format!("{}[{index}]", T::KIND.as_str());
            let Decoded { value, replaced } = decode::<T>(Some(file), &prefix, item, &mut self.report);
            let Some(value) = value else {
                self.remember_unreadable::<T>(item);
                continue;
            };
            let partial = !replaced.is_empty();
            let set = if partial { &mut self.source.partial } else { &mut self.set };
            T::list_mut(set).push(value);
            self.source.add(T::KIND, file, index, item, replaced, partial);
        }
    }

    fn remember_unreadable<T: Resource>(&mut self, item: &Node<'_>) {
        if let Some(Node { value: Value::Scalar(name), .. }) = item.get("name")
            && let Ok(name) = name.text.parse()
        {
            self.source.unreadable.insert((T::KIND, name));
        }
    }
}

fn kinds() -> [&'static str; Kind::ALL.len()] {
    Kind::ALL.map(Kind::as_str)
}
