//! Guardrails: what is looked for in the texts of model calls and answers, and what becomes of them.
//!
//! Bytes in, bytes out: the rules of a model are built once ([`Guardrails::build`]) and judge the body of a call in whatever
//! dialect it is ([`Guardrails::judge`]), and its answer, whole or as it is streamed ([`answer`]). Every detector is a file of its own, says there what it is good for, and is one
//! line in [`registry`]; its figures are in the guide on guardrails. How much is looked at and taken out has a bound, and what
//! is past it is refused, so that no call takes a thread for long.

pub mod answer;
mod cut;
pub mod jailbreak;
pub(crate) mod json_schema;
mod mask;
pub mod personal;
pub mod registry;
pub mod remote;
mod secrets;
mod size;
pub mod text;
mod unseen;
mod words;

#[cfg(test)]
mod tests;

pub use cut::without;
pub use mask::Masks;
use remote::Remote;

use crate::affinity;
use credentialflow_model::{
    Name,
    resource::{Detect, Guardrail, GuardrailAction, GuardrailOn},
};
use cut::{Cut, Place};
use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};
use text::{Of, Origin, Text, Unreadable};

/// So many findings are taken out of a body.
pub const MOST_FOUND: usize = 20_000;

/// Something that was found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where, in bytes; the whole text where nothing in particular is meant.
    pub range: Range<usize>,
    /// What stands in its place where it is taken out.
    pub placeholder: &'static str,
}

/// How much of a streamed text waits until it is known whether something is found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// So many bytes in any case: no finding with blanks in it is longer, with what follows it and decides about it.
    pub bytes: usize,
    /// What has no blanks in it waits to its end, but not more bytes than this.
    pub row: usize,
}

impl Reach {
    /// What waits for both.
    fn with(self, other: Self) -> Self {
        Self { bytes: self.bytes.max(other.bytes), row: self.row.max(other.row) }
    }
}

/// Finds one kind of thing in texts.
pub trait Detector: Send + Sync {
    /// Whether it looks at what comes from there.
    fn reads(&self, _origin: Origin) -> bool {
        true
    }

    /// What is in a text, in any order; places may overlap.
    fn find(&self, text: &str, found: &mut Vec<Found>);

    /// How much of a streamed text waits for it.
    fn reach(&self) -> Reach {
        Reach { bytes: 96, row: 2048 }
    }

    /// How many characters all texts together may have, where that is what it looks at.
    fn most_characters(&self) -> Option<u64> {
        None
    }

    /// Whether it is in all texts together. Asked instead of [`Self::find`] where no place is meant.
    fn is_in(&self, texts: &[Text<'_>]) -> bool {
        let mut found = Vec::new();
        texts.iter().filter(|text| self.reads(text.origin)).any(|text| {
            self.find(&text.text, &mut found);
            !found.is_empty()
        })
    }
}

/// The rules of a model, built.
pub struct Guardrails {
    rules: Vec<Rule>,
    /// Those that others are asked for.
    remotes: Vec<Remote>,
    /// What stands for them.
    mark: u64,
}

struct Rule {
    /// The set that it is of.
    set: Option<Arc<str>>,
    detect: Detect,
    action: GuardrailAction,
    on: GuardrailOn,
    hold: bool,
    detector: Box<dyn Detector>,
}

impl Rule {
    /// Whether it is in what callers say that stands where it does not look.
    fn is_in_unseen(&self, texts: &[String]) -> bool {
        if self.detector.reads(Origin::Application) {
            return false;
        }
        let mut found = Vec::new();
        texts.iter().any(|text| {
            self.detector.find(text, &mut found);
            !found.is_empty()
        })
    }

    /// What it says of a call with something that nobody looks at, where what it finds goes to internal targets only.
    fn routes_unseen(&self) -> Option<Met> {
        let routes = self.action == GuardrailAction::Route && self.on.prompts() && self.detect != Detect::Size;
        routes.then(|| Met { label: Some(UNSEEN.into()), ..Met::of(self, 0) })
    }
}

/// Something that was found, and what happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Met {
    /// The set of guardrails that the rule is of; none where it is the model's own.
    pub set: Option<Arc<str>>,
    /// What.
    pub detect: Detect,
    /// What happened.
    pub action: GuardrailAction,
    /// What others called it.
    pub label: Option<Box<str>>,
    /// How often it was found, where that was counted; else 0.
    pub count: u32,
}

impl Met {
    /// That this rule found something, so often.
    fn of(rule: &Rule, count: u32) -> Self {
        Self { set: rule.set.clone(), detect: rule.detect, action: rule.action, label: None, count }
    }

    /// Whether the same was found by the same set, and the same happened.
    fn is_as(&self, other: &Self) -> bool {
        let what = |met: &Self| (met.detect, met.action);
        what(self) == what(other) && self.set == other.set && self.label == other.label
    }

    /// Counts more of it among what was met before.
    pub fn add(self, met: &mut Vec<Self>) {
        match met.iter_mut().find(|one| one.is_as(&self)) {
            Some(one) => one.count = one.count.saturating_add(self.count),
            None => met.push(self),
        }
    }
}

/// Whether a rule can be built.
///
/// # Errors
/// A sentence on why it cannot.
pub fn check(rule: &Guardrail) -> Result<(), String> {
    match rule.detect.is_remote() {
        true => Remote::of(None, rule).map(|_| ()),
        false => registry::build(rule).map(|_| ()),
    }
}

/// Why a call goes to internal targets only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// This was found in it.
    Found(Detect),
    /// It may be in what nobody looks at: pictures, sound and files.
    Unseen,
}

/// What a finding is called that may be in what nobody looks at.
const UNSEEN: &str = "unseen";

/// What became of a body.
#[derive(Debug, Default)]
pub struct Judged {
    /// What it is refused for.
    pub blocked: Option<Detect>,
    /// The body to take instead.
    pub body: Option<Vec<u8>>,
    /// What was found, and what happened; each once, in the order of the rules.
    pub met: Vec<Met>,
    /// What was masked, and is put back into the answer.
    pub masks: Option<Masks>,
}

impl Judged {
    /// Why it goes to internal targets only, where it does.
    pub fn routed(&self) -> Option<Routed> {
        let met = self.met.iter().find(|met| met.action == GuardrailAction::Route)?;
        Some(if met.label.as_deref() == Some(UNSEEN) { Routed::Unseen } else { Routed::Found(met.detect) })
    }
}

impl Guardrails {
    /// Builds rules that passed the check of the configuration, each with the set that it is of.
    ///
    /// # Errors
    /// A sentence on the first rule that cannot be built.
    pub fn build<'r>(rules: impl IntoIterator<Item = (Option<&'r Name>, &'r Guardrail)>) -> Result<Self, String> {
        let mut built = Self { rules: Vec::new(), remotes: Vec::new(), mark: 0 };
        for (set, rule) in rules {
            let text = serde_json::to_string(&(built.mark, set, rule)).map_err(|e| e.to_string())?;
            built.mark = affinity::of(text.as_bytes());
            let set = set.map(Name::shared);
            if rule.detect.is_remote() {
                built.remotes.push(Remote::of(set, rule)?);
                continue;
            }
            let detector = registry::build(rule)?;
            let Guardrail { detect, action, on, hold, .. } = rule;
            built.rules.push(Rule { set, detect: *detect, action: *action, on: *on, hold: *hold, detector });
        }
        Ok(built)
    }

    /// A number that stands for the rules: that of others is another one, and every process of a release has the same.
    pub const fn mark(&self) -> u64 {
        self.mark
    }

    /// Whether any rule masks what callers send.
    pub fn masks(&self) -> bool {
        let here = self.rules.iter().map(|rule| rule.action);
        here.chain(self.remotes.iter().map(Remote::action)).any(|action| action == GuardrailAction::Mask)
    }

    /// Whether any rule looks at answers.
    pub fn reads_answers(&self) -> bool {
        self.rules.iter().any(|rule| rule.on.answers()) || self.asks_about_answers()
    }

    /// The rules that others are asked for, in their order.
    pub fn remotes(&self) -> &[Remote] {
        &self.remotes
    }

    /// Whether others are asked about answers.
    pub fn asks_about_answers(&self) -> bool {
        self.remotes.iter().any(|rule| rule.on().answers())
    }

    /// Judges the body of a call.
    ///
    /// # Errors
    /// The body cannot be read, or it is more than is looked at or taken out.
    pub fn judge(&self, body: &[u8]) -> Result<Judged, Unreadable> {
        self.judge_with(body, &[])
    }

    /// [`Self::judge`], where these texts of the caller's stand in the application's own words: what looks at callers, and
    /// not at those, looks at each of them alone.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_with(&self, body: &[u8], unseen: &[String]) -> Result<Judged, Unreadable> {
        let mut judged = self.judge_texts(body, unseen)?;
        if judged.blocked.is_none()
            && judged.routed().is_none()
            && let Some(met) = self.routed_unseen()
            && unseen::is_in(body)
        {
            judged.met.push(met);
        }
        Ok(judged)
    }

    /// Judges an event of a session, of which whoever relays it knows that it holds texts alone.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_event(&self, event: &[u8]) -> Result<Judged, Unreadable> {
        self.judge_texts(event, &[])
    }

    fn judge_texts(&self, body: &[u8], unseen: &[String]) -> Result<Judged, Unreadable> {
        let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.on.prompts()).collect();
        self::judge(&rules, (body, Of::Call), unseen)
    }

    /// What is met in a call with something that nobody looks at, where what a rule finds in it would go to internal
    /// targets only. How long it is tells nothing of that.
    fn routed_unseen(&self) -> Option<Met> {
        let own = self.rules.iter().find_map(Rule::routes_unseen);
        own.or_else(|| self.remotes.iter().find_map(Remote::routes_unseen))
    }

    /// Whether what nobody looks at goes to internal targets only.
    pub fn keeps_unseen_inside(&self) -> bool {
        self.routed_unseen().is_some()
    }

    /// Judges JSON in which all is content: what a tool is called with, or with `answer` what it answers.
    ///
    /// # Errors
    /// As [`Self::judge`].
    pub fn judge_json(&self, json: &[u8], answer: bool) -> Result<Judged, Unreadable> {
        let looks = |rule: &&Rule| if answer { rule.on.answers() } else { rule.on.prompts() };
        let rules: Vec<&Rule> = self.rules.iter().filter(looks).collect();
        self::judge(&rules, (json, Of::Json), &[])
    }
}

/// Judges a body by these rules.
fn judge(rules: &[&Rule], (body, of): (&[u8], Of), unseen: &[String]) -> Result<Judged, Unreadable> {
    if rules.is_empty() {
        return Ok(Judged::default());
    }
    let mut judged = Judged::default();
    let (texts, _) = text::texts_of(body, of)?;
    let flat = text::flattened(&texts)?;
    for rule in rules {
        if rule.detector.is_in(&flat) || rule.is_in_unseen(unseen) {
            Met::of(rule, 0).add(&mut judged.met);
            if rule.action == GuardrailAction::Block {
                judged.blocked = Some(rule.detect);
                return Ok(judged);
            }
        }
    }
    if judged.met.iter().any(|met| takes_out(met.action)) {
        let masks = rules.iter().any(|rule| rule.action == GuardrailAction::Mask).then(|| Masks::beside(&flat));
        let (left, took) = (Some(MOST_FOUND), vec![0; rules.len()]);
        let mut taking = Taking { rules, left, took, masks, restore: None };
        judged.body = text::rewritten(body, &texts, &mut |text| taking.changed(text));
        // What was found and did not go must not pass either.
        let stays = rules
            .iter()
            .zip(&taking.took)
            .any(|(rule, took)| takes_out(rule.action) && *took == 0 && rule.detector.is_in(&flat));
        if taking.left.is_none() || stays {
            return Err(Unreadable::TooMany);
        }
        for (rule, count) in rules.iter().zip(taking.took).filter(|(_, count)| *count > 0) {
            Met::of(rule, count).add(&mut judged.met);
        }
        judged.met.retain(|met| !takes_out(met.action) || met.count > 0);
        judged.masks = taking.masks.filter(|masks| !masks.is_empty());
    }
    Ok(judged)
}

/// A body in which each of these texts is another one, wherever it stands.
///
/// # Errors
/// One of them is not there: what was found in it would pass.
fn edited_texts(body: &[u8], of: text::Of, new: &HashMap<&str, String>) -> Result<Vec<u8>, Unreadable> {
    let (texts, _) = text::texts_of(body, of)?;
    let mut met: HashSet<&str> = HashSet::new();
    let edits = text::edits(body, &texts, &mut |text| {
        let (known, new) = new.get_key_value(&*text.text)?;
        met.insert(known);
        Some(new.clone())
    });
    if met.len() == new.len() { Ok(text::edited(body, &edits)) } else { Err(Unreadable::TooMany) }
}

/// Whether something else stands in the place of what was found.
const fn takes_out(action: GuardrailAction) -> bool {
    matches!(action, GuardrailAction::Redact | GuardrailAction::Mask)
}

/// What is taken out of a body.
struct Taking<'r> {
    rules: &'r [&'r Rule],
    /// How much more may be; `None` where it was too much.
    left: Option<usize>,
    /// How much each rule took.
    took: Vec<u32>,
    /// The names of what is masked.
    masks: Option<Masks>,
    /// The names of what was masked, which become what they stand for.
    restore: Option<&'r Masks>,
}

impl Taking<'_> {
    /// A text without what is to be taken out; `None` where nothing is.
    fn changed(&mut self, text: &Text<'_>) -> Option<String> {
        let mut places = Vec::new();
        let mut found = Vec::new();
        for (rule, took) in self.rules.iter().zip(&mut self.took) {
            if !takes_out(rule.action) || !rule.detector.reads(text.origin) || self.left.is_none() {
                continue;
            }
            rule.detector.find(&text.text, &mut found);
            *took = took.saturating_add(u32::try_from(found.len()).unwrap_or(u32::MAX));
            self.left = self.left.and_then(|left| left.checked_sub(found.len()));
            let masks = rule.action == GuardrailAction::Mask;
            places.extend(found.drain(..).map(|Found { range, placeholder }| match masks {
                true => Place { range, cut: Cut::Mask(placeholder) },
                false => Place { range, cut: Cut::Redact(placeholder) },
            }));
        }
        self.left?;
        // A thought that is signed is changed where it must be, and else goes back as it came.
        if let Some(masks) = self.restore.filter(|_| !text.part.signed) {
            masks.find(&text.text, |range, name| places.push(Place { range, cut: Cut::Restore(name) }));
        }
        let Self { masks, left, restore, .. } = self;
        cut::changed(&text.text, cut::merged(places), |place, text| match place {
            Cut::Mask(placeholder) => match masks.as_mut().and_then(|masks| masks.name(placeholder, text)) {
                Some(name) => Cow::Owned(name),
                None => {
                    *left = None;
                    Cow::Borrowed("")
                }
            },
            Cut::Redact(placeholder) => Cow::Borrowed(*placeholder),
            Cut::Restore(name) => Cow::Borrowed(restore.map_or("", |masks| masks.value(*name))),
        })
    }
}

/// The last place up to here where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The character before a place.
fn before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// The character at a place.
fn after(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}
