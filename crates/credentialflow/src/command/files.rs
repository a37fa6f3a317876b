//! Configuration files on their way to a check or to the server: read, checked, references resolved.

use super::{Outcome, Usage};
use crate::{
    input,
    output::{Output, shown},
};
use anyhow::{Context, bail};
use credentialflow_model::{
    Name, Problems, ResourceSet, SecretReference, SecretValue,
    config::{self, MAX_TEXT, SourceMap},
    resource::Kind,
};
use serde_json::{Map, Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    io::Read,
    path::{Path, PathBuf},
};

/// One configuration out of one or more files.
pub struct Files {
    documents: Vec<(String, String)>,
    /// What reading found.
    pub set: ResourceSet,
    source: SourceMap,
    /// Problems so far.
    pub problems: Problems,
}

impl Files {
    /// Reads files; `-` is standard input. Texts that cannot be read as YAML are problems, files that
    /// cannot be opened are failures.
    pub fn read(paths: &[PathBuf]) -> anyhow::Result<Self> {
        if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
            return Err(Usage("standard input (-) can be named once".to_owned()).into());
        }
        let mut documents: Vec<(String, String)> = Vec::new();
        for path in paths {
            let name = path.display().to_string();
            let bytes = read_bounded(path).with_context(|| format!("{name} cannot be read"))?;
            match String::from_utf8(bytes) {
                Ok(text) => documents.push((name, text)),
                Err(error) => {
                    let (set, source, problems) = config::read_bytes(&name, error.as_bytes());
                    return Ok(Self { documents: Vec::new(), set, source, problems });
                }
            }
        }
        let borrowed: Vec<_> = documents.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (set, source, problems) = config::read_many(&borrowed);
        Ok(Self { documents, set, source, problems })
    }

    /// Checks the files by themselves: every name must lead to something in them.
    pub fn check(&mut self) {
        let context = config::Context {
            providers: credentialflow_llm::provider::NAMES,
            own_address: credentialflow_llm::provider::OWN_ADDRESS,
            guardrail: Some(credentialflow_llm::guardrail::check),
            keys: &[],
        };
        self.problems.0.extend(config::check(&self.set, &self.source, &context).0);
        self.sort();
    }

    /// Looks up every `${env:}` and `${file:}`; what leads nowhere is a problem. `${credential:}` and
    /// `${store:}` are left to the server, which alone can look into its vault and into its stores.
    pub fn resolve(&mut self) -> HashMap<Name, SecretValue> {
        let elsewhere = |reference: &SecretReference| {
            matches!(reference, SecretReference::Credential(_) | SecretReference::Store(_))
        };
        let mut here = self.set.clone();
        for credential in &mut here.credentials {
            if credential.value.as_ref().is_some_and(elsewhere) {
                credential.value = None;
            }
        }
        let (values, problems) = config::resolve(&here, &self.source, input::value_from);
        self.problems.0.extend(problems.0);
        self.sort();
        values
    }

    fn sort(&mut self) {
        self.problems.0.sort_by(|a, b| (&a.file, a.at, &a.path).cmp(&(&b.file, b.at, &b.path)));
    }

    /// How many resources of each kind are declared, in the order of the kinds.
    pub fn counts(&self) -> BTreeMap<&'static str, usize> {
        let set = &self.set;
        Kind::ALL
            .into_iter()
            .map(|kind| {
                let count = match kind {
                    Kind::Teams => set.teams.len(),
                    Kind::Credentials => set.credentials.len(),
                    Kind::Targets => set.targets.len(),
                    Kind::Stores => set.stores.len(),
                    Kind::Upstreams => set.upstreams.len(),
                    Kind::Routes => set.routes.len(),
                    Kind::Guardrails => set.guardrails.len(),
                    Kind::Models => set.models.len(),
                    Kind::Prompts => set.prompts.len(),
                    Kind::Applications => set.applications.len(),
                    Kind::LeakResponses => set.leak_responses.len(),
                    Kind::Keys => set.keys.len(),
                };
                (kind.as_str(), count)
            })
            .collect()
    }

    /// The body for the server, or the refusal when a problem was found before it is asked.
    pub fn body(mut self, prune: bool, output: Output) -> anyhow::Result<Result<Value, Outcome>> {
        let values = self.resolve();
        if !self.problems.0.is_empty() {
            let problem = json!({
                "title": "The resources have problems; nothing was changed", "code": "invalid_resources",
                "detail": "the files have problems; nothing was sent to the server", "problems": self.problems.0,
            });
            let text = format!("{}{}\n", self.problems_text(), self.verdict());
            output.failure(&problem, &text);
            return Ok(Err(Outcome::Refused));
        }
        let mut texts = Map::new();
        for (name, value) in values {
            let Some(text) = value.expose_str() else { bail!("the value of credential {name} is not UTF-8 text") };
            texts.insert(name.to_string(), Value::String(text.to_owned()));
        }
        let documents: Vec<_> =
            self.documents.into_iter().map(|(file, text)| json!({ "file": file, "text": text })).collect();
        Ok(Ok(json!({ "documents": documents, "values": texts, "prune": prune })))
    }

    /// Every problem on a line of its own.
    pub fn problems_text(&self) -> String {
        self.problems.0.iter().map(|problem| format!("{}\n", shown(&problem.to_string()))).collect()
    }

    /// How many problems there are, in words.
    pub fn verdict(&self) -> String {
        match self.problems.0.len() {
            1 => "1 problem; nothing was changed".to_owned(),
            n => format!("{n} problems; nothing was changed"),
        }
    }
}

/// A file's bytes; of one that is too large only enough to say so.
pub(super) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    if path.as_os_str() == "-" {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?;
    } else {
        std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    }
    if bytes.len() > MAX_TEXT {
        // The cut may go through a character; the text is refused for its size, not for that.
        bytes.clear();
        bytes.resize(MAX_TEXT + 1, b' ');
    }
    Ok(bytes)
}

/// What changes, as lines: `+` new, `~` changed with its fields, `-` gone, `↻` a new value, `=` an old value in
/// the files that is left alone.
pub fn changes_text(answer: &Value) -> String {
    let mut out = String::new();
    let changes = answer.get("changes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let text = |value: &Value, name: &str| shown(value.get(name).and_then(Value::as_str).unwrap_or("?"));
    let mut counts = [0; 4];
    for change in changes {
        let (index, sign) = match change.get("action").and_then(Value::as_str) {
            Some("create") => (0, '+'),
            Some("update") => (1, '~'),
            Some("delete") => (2, '-'),
            _ => (3, '↻'),
        };
        counts[index] += 1;
        out.push_str(&format!("{sign} {}/{}\n", text(change, "kind"), text(change, "name")));
        for field in change.get("fields").and_then(Value::as_array).into_iter().flatten() {
            let path = text(field, "path");
            let line = match (field.get("from"), field.get("to")) {
                (Some(from), Some(to)) => format!("    ~ {path}: {from} → {to}\n"),
                (Some(from), None) => format!("    - {path}: {from}\n"),
                (None, to) => format!("    + {path}: {}\n", to.unwrap_or(&Value::Null)),
            };
            out.push_str(&line);
        }
    }
    for kept in answer.get("kept").and_then(Value::as_array).into_iter().flatten() {
        out.push_str(&format!("= credentials/{} kept: {}\n", text(kept, "credential"), text(kept, "detail")));
    }
    let unchanged = answer.get("unchanged").and_then(Value::as_u64).unwrap_or(0);
    let [create, update, delete, rotate] = counts;
    let rotated = if rotate > 0 { format!(", {rotate} new values") } else { String::new() };
    out.push_str(&format!(
        "{create} to create, {update} to update, {delete} to delete{rotated}, {unchanged} unchanged\n"
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_read_as_a_difference() {
        let answer = json!({ "unchanged": 2, "changes": [
            { "action": "create", "kind": "teams", "name": "a" },
            { "action": "update", "kind": "routes", "name": "b", "fields": [
                { "path": "limit.per", "from": "1m", "to": "1s" }, { "path": "retry", "to": { "attempts": 2 } } ] },
            { "action": "rotate", "kind": "credentials", "name": "c" },
        ], "kept": [{ "credential": "d", "version": 1, "detail": "the file's value is version 1, which was rotated away" }]});
        assert_eq!(
            changes_text(&answer),
            "+ teams/a\n~ routes/b\n    ~ limit.per: \"1m\" → \"1s\"\n    + retry: {\"attempts\":2}\n↻ credentials/c\n= credentials/d kept: the file's value is version 1, which was rotated away\n1 to create, 1 to update, 0 to delete, 1 new values, 2 unchanged\n"
        );
    }
}
