//! What is particular about prompts: what is stored of them stays, and labels move only to what passed its tests.

mod run;

pub(crate) use run::test;

use crate::{
    AdminState,
    api::{
        answer::Item,
        prompts::{PromptRun, PromptTestResult},
        request::{if_match, one_line},
    },
    catalogue,
    error::ApiError,
    resources::{Declared, Replacement},
    write::{at_revision, begin, check_with},
};
use aws_lc_rs::digest;
use credentialflow_model::{
    Actor, Location, Name, Problem, Problems, ResourceSet,
    resource::{Kind, Prompt, PromptVersion, Resource},
    template::Template,
};
use credentialflow_store::{PromptRunRow, WriteTx};
use http::HeaderMap;
use serde_json::json;

/// Something that a prompt may not become, at a place in it.
pub(crate) struct Forbidden {
    pub path: String,
    code: &'static str,
    detail: String,
    hint: String,
}

impl Forbidden {
    /// As a problem; whoever knows where the prompt stood adds that.
    pub(crate) fn problem(self, prefix: &str) -> Problem {
        Problem {
            file: None,
            at: Location::default(),
            path: format!("{prefix}{}", self.path),
            code: self.code.to_owned(),
            detail: self.detail,
            hint: Some(self.hint),
        }
    }
}

/// Looks at a prompt that is about to be stored: takes over the labels that it says nothing of, tells in the audit log
/// which ones move, why, and which versions come and go, and finds what it may not become.
pub(crate) async fn settle(
    tx: &mut WriteTx,
    before: &ResourceSet,
    prompt: &mut Prompt,
    reason: Option<&str>,
) -> Result<Vec<Forbidden>, ApiError> {
    let moved = |label: &Name, version: Option<u32>, from: Option<u32>| {
        let mut detail = json!({ "label": label, "version": version, "from": from });
        if let Some(reason) = reason {
            detail["reason"] = json!(reason);
        }
        detail
    };
    let stored = before.prompts.iter().find(|stored| stored.name == prompt.name);
    if prompt.labels.is_none() {
        prompt.labels = stored.and_then(|stored| stored.labels.clone());
    }
    let only_in = |one: &Prompt, other: Option<&Prompt>| {
        let is_new = |number: &u32| other.is_none_or(|other| other.version(*number).is_none());
        one.versions.iter().map(|version| version.version).filter(is_new).collect::<Vec<_>>()
    };
    let added = only_in(prompt, stored);
    let removed = stored.map_or_else(Vec::new, |stored| only_in(stored, Some(prompt)));
    if !(added.is_empty() && removed.is_empty()) {
        let subject = format!("prompts/{}", prompt.name);
        tx.audit("prompt.version", &subject, json!({ "added": added, "removed": removed }));
    }
    let mut found = stored.map_or_else(Vec::new, |stored| changed_versions(stored, prompt));
    for (label, number) in prompt.labels.iter().flatten() {
        let from = stored.and_then(|stored| stored.labelled(label.as_str()));
        let moves = from != Some(*number);
        // One that is not there is told by the check.
        let Some(version) = prompt.version(*number) else { continue };
        let changed = stored.filter(|_| !moves).and_then(|stored| changed_beside(stored, prompt, version));
        if !moves && changed.is_none() {
            continue;
        }
        let why = match prompt.tests.is_empty() {
            true => None,
            false => match tx.prompt_passed(prompt.name.as_str(), *number, &digest_of(prompt, version)).await? {
                Some(true) => None,
                Some(false) => Some("failed the last run of the present tests"),
                None => Some("has no run of the present tests"),
            },
        };
        let (path, hint) = match changed {
            None => {
                let run = format!("run them: credentialflow prompt test {} --version {number}", prompt.name);
                (format!("labels.{label}"), run)
            }
            Some((path, hint)) => (path, hint.to_owned()),
        };
        if let Some(why) = why {
            let detail = match moves {
                true => format!("version {number} {why}"),
                false => format!("this changes what version {number} is, for which `{label}` stands, and it {why}"),
            };
            found.push(Forbidden { path, code: "tests_not_passed", detail, hint });
        }
        if !moves {
            continue;
        }
        let subject = format!("prompts/{}", prompt.name);
        tx.audit("prompt.label", &subject, moved(label, Some(*number), from));
    }
    for (label, from) in stored.iter().flat_map(|stored| stored.labels.iter().flatten()) {
        if prompt.labelled(label.as_str()).is_none() {
            let subject = format!("prompts/{}", prompt.name);
            tx.audit("prompt.label", &subject, moved(label, None, Some(*from)));
        }
    }
    Ok(found)
}

/// Versions that are stored and would change, go although they are the newest, or come with an old number.
fn changed_versions(stored: &Prompt, prompt: &Prompt) -> Vec<Forbidden> {
    let newest = stored.versions.iter().map(|version| version.version).max().unwrap_or(0);
    let mut found = Vec::new();
    let mut forbid = |path: String, detail: String, hint: &str| {
        found.push(Forbidden { path, code: "version_stays", detail, hint: hint.to_owned() });
    };
    for (index, version) in prompt.versions.iter().enumerate() {
        let number = version.version;
        match stored.version(number) {
            Some(same) if same == version => {}
            Some(_) => {
                let detail = format!("version {number} is stored, and a version never changes");
                forbid(format!("versions[{index}]"), detail, "add what is new as a new version");
            }
            None if number < newest => {
                let detail = format!("{number} is below {newest}, the newest version there was");
                forbid(
                    format!("versions[{index}].version"),
                    detail,
                    "a new version has a higher number than all before",
                );
            }
            None => {}
        }
    }
    if prompt.version(newest).is_none() {
        let detail = format!("version {newest} is the newest that is stored, and stays");
        forbid("versions".to_owned(), detail, "keep it, and let labels stand for another one");
    }
    found
}

/// What outside of a stored version changes what it says, or to whom: a place in the prompt, and what to do instead.
fn changed_beside(stored: &Prompt, prompt: &Prompt, version: &PromptVersion) -> Option<(String, &'static str)> {
    if version.model.is_none() && stored.model != prompt.model {
        let hint = "add a version that names its `model` itself, run its tests, and let the label stand for it";
        return Some(("model".to_owned(), hint));
    }
    // What stands in a text where nobody hands it in; without a default that is nothing.
    let unset = |prompt: &Prompt, name: &str| {
        let variable = prompt.variables.get(name).filter(|variable| !variable.is_required())?;
        Some(variable.default.clone().unwrap_or_else(|| "".into()))
    };
    let texts = version.system.iter().chain(version.messages.iter().map(|message| &message.content));
    let templates: Vec<_> = texts.filter_map(|text| Template::parse(text).ok()).collect();
    let other = |name: &&str| {
        let (before, now) = (unset(stored, name), unset(prompt, name));
        before.is_some() && now.is_some() && before != now
    };
    let name = templates.iter().flat_map(Template::variables).find(other)?;
    let hint = "add a version with a variable of another name, run its tests, and let the label stand for it";
    Some((format!("variables.{name}.default"), hint))
}

/// What a run tests, in short: another text, model, variable or test makes another digest.
fn digest_of(prompt: &Prompt, version: &PromptVersion) -> String {
    let text = PromptVersion { description: None, ..version.clone() };
    let model = version.model.as_ref().unwrap_or(&prompt.model);
    let all = json!({ "model": model, "variables": prompt.variables, "version": text, "tests": prompt.tests });
    let digest = digest::digest(&digest::SHA256, all.to_string().as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// [`settle`] for one resource of any kind; of other kinds there is nothing to look at.
pub(crate) async fn settle_one<T: Resource>(
    tx: &mut WriteTx,
    before: &ResourceSet,
    declared: &mut Declared<T>,
    reason: Option<&str>,
) -> Result<(), ApiError> {
    if T::KIND != Kind::Prompts {
        return Ok(());
    }
    let mut alone = ResourceSet::default();
    T::list_mut(&mut alone).push(declared.resource.clone());
    let Some(prompt) = alone.prompts.first_mut() else { return Ok(()) };
    let found = settle(tx, before, prompt, reason).await?;
    if let Some(resource) = T::list_mut(&mut alone).pop() {
        declared.resource = resource;
    }
    if found.is_empty() {
        return Ok(());
    }
    let at = |path: &str| declared.source.as_ref().and_then(|source| source.locate(T::KIND, 0, path));
    let place = |forbidden: Forbidden| {
        let at = at(&forbidden.path).map(|(_, at)| at).unwrap_or_default();
        Problem { at, ..forbidden.problem("") }
    };
    Err(Problems(found.into_iter().map(place).collect()).into())
}

/// Lets a label stand for a version, for a reason that the audit log tells.
pub(crate) async fn promote(
    state: &AdminState,
    actor: &Actor,
    (name, headers): (&str, &HeaderMap),
    (label, version): (Name, u32),
    reason: Option<String>,
) -> Result<Item<Prompt>, ApiError> {
    one_line(reason.as_deref())?;
    let seen = if_match(headers)?;
    let mut draft = begin(state, actor).await?;
    let row = draft.tx.resource(Kind::Prompts, name).await?;
    let row = row.ok_or_else(|| ApiError::not_found(Kind::Prompts.as_str(), name))?;
    at_revision(seen, row.revision)?;
    let mut resource: Prompt = catalogue::parse(&row.body)?;
    resource.labels.get_or_insert_default().insert(label, version);
    let mut declared = Declared { resource, source: None };
    settle_one(&mut draft.tx, &draft.set, &mut declared, reason.as_deref()).await?;
    check_with(state, &draft.set, &declared).await?;
    Replacement { tx: draft.tx, resource: declared.resource, stored: Some(row) }.finish(state).await
}

/// Runs of a prompt, the newest first.
pub(crate) async fn runs(
    state: &AdminState,
    name: &str,
    version: Option<u32>,
    limit: u32,
) -> Result<Vec<PromptRun>, ApiError> {
    let prompt: Item<Prompt> = crate::resources::get(state, name).await?;
    let rows = state.store.prompt_runs(name, version, limit).await?;
    rows.iter().map(|row| view(row, &prompt.spec)).collect()
}

fn view(row: &PromptRunRow, prompt: &Prompt) -> Result<PromptRun, ApiError> {
    let unreadable = |error: serde_json::Error| ApiError::internal("a run of a prompt cannot be read", &error);
    let tests: Vec<PromptTestResult> = serde_json::from_str(&row.body).map_err(unreadable)?;
    let present = prompt.version(row.version).is_some_and(|version| digest_of(prompt, version) == row.digest);
    Ok(PromptRun {
        prompt: row.prompt.clone(),
        version: row.version,
        run: row.run,
        passed: row.passed,
        present,
        time: row.time,
        actor: row.actor.clone(),
        tests,
    })
}
