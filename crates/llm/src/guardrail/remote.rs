//! Rules that others judge by: a moderation endpoint of a provider, a webhook, a service of one's own, or the topics that
//! embeddings tell.
//!
//! Good for what has no form: topics, tone, names, rules of the own house. Only as good as whoever is asked, and each call
//! waits for it. Here is what they are sent ([`Remote::question`]), how their answer is read ([`Remote::read`]) and what
//! becomes of it ([`Judgement`]); asking them is the gateway's. What is no answer in this form is an error, never a pass.

mod moderation;
mod said;
pub mod topics;
mod webhook;

pub use said::{Said, said_in_answer, said_in_call};

use super::{
    Masks, Met, UNSEEN, edited_texts,
    text::{self, Of, Origin, Unreadable},
};
use credentialflow_model::{
    Name,
    resource::{Detect, Guardrail, GuardrailAction, GuardrailOn, OnError},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};
use topics::Topics;

/// Larger answers are not read, in bytes.
pub const MOST_ANSWER: usize = 1 << 20;
/// What others call what they found, in bytes.
const LONGEST_LABEL: usize = 64;

/// A rule that others judge by.
pub struct Remote {
    set: Option<Arc<str>>,
    detect: Detect,
    action: GuardrailAction,
    on: GuardrailOn,
    to: To,
    timeout: Duration,
    on_error: OnError,
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum To {
    /// A declared model that moderates, and from which score on a category counts; none: what its provider flags.
    Moderation {
        /// Its name.
        model: Name,
        /// The categories.
        categories: BTreeMap<String, f64>,
    },
    /// A declared model that makes embeddings, in questions of their own.
    Topics(Topics),
    /// A path at a declared upstream.
    Webhook {
        /// Its name.
        upstream: Name,
        /// The path.
        path: String,
    },
}

/// What is told of a call to a webhook, beside its texts.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Whether the texts are those of an answer.
    pub answer: bool,
    /// The model that was asked for.
    pub model: &'a str,
    /// The application that asked.
    pub application: Option<&'a str>,
    /// The call's id, as its caller is told.
    pub request: &'a str,
}

/// What others found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether there is anything.
    found: bool,
    /// What they call it.
    labels: Vec<Box<str>>,
    /// Where: the number of the text, bytes in it, and what is to stand there.
    places: Vec<(usize, Range<usize>, String)>,
}

/// What came is no answer in the form that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(&'static str);

impl Unusable {
    /// For this reason.
    pub const fn of(why: &'static str) -> Self {
        Self(why)
    }
}

/// What became of texts that others judged.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What was found, and what happened.
    pub met: Vec<Met>,
    /// What it is refused for.
    pub blocked: Option<Detect>,
    /// What it was found for that goes to internal targets only.
    pub routed: Option<Detect>,
    /// What is to stand in texts, and where.
    places: Vec<Place>,
}

/// What is to stand somewhere.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The number of the text, and bytes in it.
    text: usize,
    range: Range<usize>,
    with: String,
    /// Whether a name stands there, of the kind that `with` tells, and becomes again what was there.
    masks: bool,
}

impl Remote {
    /// A rule, with the set that it is of.
    ///
    /// # Errors
    /// A sentence on what is missing.
    pub(super) fn of(set: Option<Arc<str>>, rule: &Guardrail) -> Result<Self, String> {
        let to = match rule.detect {
            Detect::Moderation => To::Moderation {
                model: rule.model.clone().ok_or("the model that moderates is missing")?,
                categories: rule.categories.clone(),
            },
            Detect::Topics => To::Topics(Topics::of(rule)?),
            _ => To::Webhook {
                upstream: rule.upstream.clone().ok_or("the upstream of the webhook is missing")?,
                path: rule.path.clone().unwrap_or_else(|| "/".into()),
            },
        };
        let Guardrail { detect, action, on, timeout, on_error, .. } = rule;
        let timeout = timeout.unwrap_or(Guardrail::TIMEOUT).as_duration();
        let on_error = on_error.unwrap_or_default();
        Ok(Self { set, detect: *detect, action: *action, on: *on, to, timeout, on_error })
    }

    /// Who is asked.
    pub const fn to(&self) -> &To {
        &self.to
    }

    /// What happens where it finds something.
    pub const fn action(&self) -> GuardrailAction {
        self.action
    }

    /// Where it looks.
    pub const fn on(&self) -> GuardrailOn {
        self.on
    }

    /// How long an answer is waited for.
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// What it is about.
    pub const fn detect(&self) -> Detect {
        self.detect
    }

    /// Whether what nobody judged may pass.
    pub const fn may_fail(&self) -> bool {
        matches!(self.on_error, OnError::Allow)
    }

    /// The body of the request that asks about these texts; `None` where there is nothing in them to ask about, or they are
    /// compared with [`Topics`], which takes more than one question.
    pub fn question(&self, said: &[Said], about: &About<'_>) -> Option<Vec<u8>> {
        let asked = match &self.to {
            To::Moderation { model, .. } => {
                let inputs = Some(moderation::inputs(said)).filter(|inputs| !inputs.is_empty())?;
                json!({ "model": model.as_str(), "input": inputs })
            }
            To::Webhook { .. } if !said.is_empty() => {
                let texts: Vec<Value> =
                    said.iter().map(|said| json!({ "text": said.text, "role": role(said.origin) })).collect();
                json!({
                    "version": 1,
                    "guardrails": self.set,
                    "on": if about.answer { "answer" } else { "prompt" },
                    "model": about.model,
                    "application": about.application,
                    "request_id": about.request,
                    "texts": texts,
                })
            }
            To::Webhook { .. } | To::Topics(_) => return None,
        };
        Some(asked.to_string().into_bytes())
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is none.
    pub fn read(&self, said: &[Said], body: &[u8]) -> Result<Verdict, Unusable> {
        match &self.to {
            To::Moderation { categories, .. } => moderation::read(moderation::inputs(said).len(), categories, body),
            To::Webhook { .. } => webhook::read(said, body),
            To::Topics(_) => Err(Unusable("embeddings are compared, and say nothing by themselves")),
        }
    }

    /// What it says of a call with something that nobody looks at, where what it finds goes to internal targets only.
    pub(super) fn routes_unseen(&self) -> Option<Met> {
        let routes = self.action == GuardrailAction::Route && self.on.prompts();
        routes.then(|| self.met(GuardrailAction::Route, Some(UNSEEN.into()), 0))
    }

    fn met(&self, action: GuardrailAction, label: Option<Box<str>>, count: usize) -> Met {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Met { set: self.set.clone(), detect: self.detect, action, label, count }
    }
}

impl Judgement {
    /// Takes what a rule's answer says. What comes after one that blocks changes nothing.
    pub fn take(&mut self, rule: &Remote, verdict: Verdict) {
        use GuardrailAction as Action;
        if !verdict.found || self.blocked.is_some() {
            return;
        }
        let replaces = matches!(rule.action, Action::Redact | Action::Mask) && !verdict.places.is_empty();
        let action = match rule.action {
            // It says that there is something, and not where.
            Action::Redact | Action::Mask if !replaces => Action::Block,
            action => action,
        };
        let count = if replaces { verdict.places.len() } else { 0 };
        match verdict.labels.is_empty() {
            true => self.met.push(rule.met(action, None, count)),
            false => self.met.extend(verdict.labels.into_iter().map(|label| rule.met(action, Some(label), count))),
        }
        match action {
            Action::Block => self.blocked = Some(rule.detect),
            Action::Route => self.routed = self.routed.or(Some(rule.detect)),
            Action::Redact | Action::Mask => {
                let masks = action == Action::Mask;
                let place = |(text, range, with)| Place { text, range, with, masks };
                self.places.extend(verdict.places.into_iter().map(place));
            }
            Action::Flag => {}
        }
    }

    /// Nobody answered a rule that lets pass what nobody judged.
    pub fn unanswered(&mut self, rule: &Remote) {
        self.met.push(rule.met(GuardrailAction::Flag, Some(UNANSWERED.into()), 0));
    }

    /// What is found where nobody answered a rule that lets nothing pass then.
    pub fn failed(&mut self, rule: &Remote) {
        self.met.push(rule.met(GuardrailAction::Block, Some(UNANSWERED.into()), 0));
    }

    /// Whether something is to stand in the place of something else.
    pub const fn changes(&self) -> bool {
        !self.places.is_empty()
    }

    /// The body of a whole answer with what is to stand in it; `said` is what was judged.
    ///
    /// # Errors
    /// Something that is to go stands where it cannot be taken out.
    pub fn replaced(&self, body: &[u8], said: &[Said]) -> Result<Vec<u8>, Unreadable> {
        self.put(body, Of::Answer, said, &mut None)
    }

    /// The body of a call with what is to stand in it, and what all names in it stand for: those that were masked before,
    /// and those that are now.
    ///
    /// # Errors
    /// As [`Self::replaced`]; or more is masked than may be.
    pub fn masked(
        &self,
        body: &[u8],
        said: &[Said],
        mut masks: Option<Masks>,
    ) -> Result<(Vec<u8>, Option<Masks>), Unreadable> {
        if masks.is_none() && self.places.iter().any(|place| place.masks) {
            let (texts, _) = text::texts_of(body, Of::Call)?;
            masks = Some(Masks::beside(&text::flattened(&texts)?));
        }
        let body = self.put(body, Of::Call, said, &mut masks)?;
        Ok((body, masks))
    }

    fn put(&self, body: &[u8], of: Of, said: &[Said], masks: &mut Option<Masks>) -> Result<Vec<u8>, Unreadable> {
        let mut of_text: HashMap<&str, Vec<&Place>> = HashMap::new();
        for place in &self.places {
            of_text.entry(said[place.text].text.as_str()).or_default().push(place);
        }
        // Names are given in the order of the texts.
        let mut new = HashMap::new();
        for Said { text, .. } in said {
            if let Some(places) = of_text.remove(text.as_str()) {
                new.insert(text.as_str(), with_places(text, places, masks).ok_or(Unreadable::TooMany)?);
            }
        }
        edited_texts(body, of, &new)
    }
}

/// What a finding is called where nobody answered.
const UNANSWERED: &str = "unanswered";

const fn role(origin: Origin) -> &'static str {
    match origin {
        Origin::Caller => "user",
        Origin::Tool => "tool",
        Origin::Model => "assistant",
        Origin::Application => "system",
    }
}

impl Verdict {
    /// Notes what they call what they found, in the letters that the call log has for it; each once.
    fn call(&mut self, name: &str) {
        self.found = true;
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        let label: String = name.chars().take(LONGEST_LABEL).map(plain).collect();
        if self.labels.len() < 16 && !self.labels.iter().any(|known| **known == *label) {
            self.labels.push(label.into());
        }
    }

    /// With what was found in more of the same texts.
    #[must_use]
    pub fn with(mut self, other: Self) -> Self {
        self.found |= other.found;
        other.labels.iter().for_each(|label| self.call(label));
        self.places.extend(other.places);
        self
    }
}

/// A text with these at their places; `None` where more is masked than may be. What overlaps becomes one, and what is
/// redacted wins. Where a name stands already, all of it goes, so that nothing of it is left that means nothing.
fn with_places(text: &str, mut places: Vec<&Place>, masks: &mut Option<Masks>) -> Option<String> {
    let mut names = Vec::new();
    if let Some(masks) = masks.as_ref() {
        masks.find(text, |range, _| names.push(range));
    }
    let whole = |range: &Range<usize>| {
        let first = names.partition_point(|name| name.end <= range.start);
        let touched = names[first..].iter().take_while(|name| name.start < range.end);
        touched.fold(range.clone(), |all, name| all.start.min(name.start)..all.end.max(name.end))
    };
    places.sort_by_key(|place| (place.range.start, std::cmp::Reverse(place.range.end)));
    let mut merged: Vec<(Range<usize>, &Place)> = Vec::with_capacity(places.len());
    for place in places {
        let range = whole(&place.range);
        match merged.last_mut().filter(|(last, _)| range.start < last.end) {
            Some((last, by)) => {
                last.end = last.end.max(range.end);
                if by.masks && !place.masks {
                    *by = place;
                }
            }
            None => merged.push((range, place)),
        }
    }
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (range, Place { with, masks: is_name, .. }) in merged {
        out.push_str(&text[copied..range.start]);
        match masks.as_mut().filter(|_| *is_name) {
            // What others find in names is what those stand for.
            Some(masks) => {
                let value = masks.restored(&text[range.clone()]);
                out.push_str(&masks.name(with, &value)?);
            }
            None => out.push_str(with),
        }
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    Some(out)
}

#[cfg(test)]
mod tests;
