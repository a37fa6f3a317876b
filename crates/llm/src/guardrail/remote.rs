//! Rules that others judge by: a moderation endpoint of a provider, or a webhook, a service of one's own.
//!
//! Good for what has no form: topics, tone, names, rules of the own house. Only as good as whoever is asked, and each call
//! waits for it. Here is what they are sent ([`Remote::question`]), how their answer is read ([`Remote::read`]) and what
//! becomes of it ([`Judgement`]); asking them is the gateway's. What is no answer in this form is an error, never a pass.

use super::{
    Met, edited_texts,
    text::{self, Of, Origin, Unreadable},
};
use crate::sse::{SsePiece, SseReader};
use credentialflow_model::{
    Name,
    resource::{Detect, Guardrail, GuardrailAction, GuardrailOn, OnError},
};
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};

/// Larger answers are not read, in bytes.
pub const MOST_ANSWER: usize = 1 << 20;
/// A moderation endpoint gets so many texts at the most; of more, some that follow each other become one.
const MOST_INPUTS: usize = 100;
/// What a webhook wants to stand in the place of something, in bytes.
const LONGEST_WITH: usize = 1024;
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
    /// A path at a declared upstream.
    Webhook {
        /// Its name.
        upstream: Name,
        /// The path.
        path: String,
    },
}

/// A text that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Who says it.
    pub origin: Origin,
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
    places: Vec<(usize, Range<usize>, String)>,
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

    /// Whether there is anything in these texts that it could be asked about.
    pub fn reads(&self, said: &[Said]) -> bool {
        match self.to {
            To::Moderation { .. } => !inputs(said).is_empty(),
            To::Webhook { .. } => !said.is_empty(),
        }
    }

    /// The body of the request that asks.
    pub fn question(&self, said: &[Said], about: &About<'_>) -> Vec<u8> {
        match &self.to {
            To::Moderation { model, .. } => json!({ "model": model.as_str(), "input": inputs(said) }),
            To::Webhook { .. } => {
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
        }
        .to_string()
        .into_bytes()
    }

    /// Reads the answer.
    ///
    /// # Errors
    /// It is none.
    pub fn read(&self, said: &[Said], body: &[u8]) -> Result<Verdict, Unusable> {
        match &self.to {
            To::Moderation { categories, .. } => moderated(inputs(said).len(), categories, body),
            To::Webhook { .. } => judged(said, body),
        }
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
        let redacts = rule.action == Action::Redact && !verdict.places.is_empty();
        let action = match rule.action {
            // It says that there is something, and not where.
            Action::Redact if !redacts => Action::Block,
            action => action,
        };
        let count = if redacts { verdict.places.len() } else { 0 };
        match verdict.labels.is_empty() {
            true => self.met.push(rule.met(action, None, count)),
            false => self.met.extend(verdict.labels.into_iter().map(|label| rule.met(action, Some(label), count))),
        }
        match action {
            Action::Block => self.blocked = Some(rule.detect),
            Action::Route => self.routed = self.routed.or(Some(rule.detect)),
            Action::Redact => self.places.extend(verdict.places),
            Action::Flag | Action::Mask => {}
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

    /// The body of a call, or of a whole answer, with what is to stand in it; `said` is what was judged.
    ///
    /// # Errors
    /// Something that is to go stands where it cannot be taken out.
    pub fn replaced(&self, body: &[u8], said: &[Said], answer: bool) -> Result<Vec<u8>, Unreadable> {
        let mut of_text: HashMap<&str, Vec<(Range<usize>, &str)>> = HashMap::new();
        for (number, range, with) in &self.places {
            of_text.entry(said[*number].text.as_str()).or_default().push((range.clone(), with));
        }
        let new: HashMap<&str, String> =
            of_text.into_iter().map(|(text, places)| (text, with_places(text, places))).collect();
        edited_texts(body, if answer { Of::Answer } else { Of::Call }, &new)
    }
}

/// What a finding is called where nobody answered.
const UNANSWERED: &str = "unanswered";

/// The texts of a call's body.
///
/// # Errors
/// It cannot be read, or there are too many.
pub fn said_in_call(body: &[u8]) -> Result<Vec<Said>, Unreadable> {
    said_in(body, Of::Call)
}

/// The texts of an answer: a whole one, a stream of events, or one that came as an array; the pieces of a streamed text
/// are one.
///
/// # Errors
/// It cannot be read, or there are too many.
pub fn said_in_answer(body: &[u8], events: bool) -> Result<Vec<Said>, Unreadable> {
    if events {
        let mut pieces = Pieces::default();
        let mut failed = None;
        let mut take = |piece: SsePiece<'_>| match piece {
            SsePiece::Event(event) => match event.data() {
                Some(data) if data.first() == Some(&b'{') => failed = failed.or(pieces.take(&data).err()),
                _ => {}
            },
            _ => failed = Some(Unreadable::TooMuch),
        };
        let mut reader = SseReader::new(body.len().max(1));
        reader.feed(body, &mut take);
        reader.finish(&mut take);
        return failed.map_or(Ok(pieces.0.into_iter().map(|(_, said)| said).collect()), Err);
    }
    if body.trim_ascii_start().starts_with(b"[") {
        let mut pieces = Pieces::default();
        let elements: Vec<&RawValue> = serde_json::from_slice(body).map_err(|_| Unreadable::Json)?;
        elements.iter().try_for_each(|element| pieces.take(element.get().as_bytes()))?;
        return Ok(pieces.0.into_iter().map(|(_, said)| said).collect());
    }
    said_in(body, Of::Answer)
}

/// The texts of a stream, and what tells each that goes on in other events from the others.
#[derive(Default)]
struct Pieces(Vec<(Option<PieceId>, Said)>);

/// Of which text a piece is: its id, and its index where it has one.
type PieceId = (u64, Option<u64>);

impl Pieces {
    fn take(&mut self, data: &[u8]) -> Result<(), Unreadable> {
        for text in text::texts_of(data, Of::Answer)?.0 {
            let id = text.part.piece.then_some((text.part.id, text.part.index));
            match self.0.iter().position(|(known, _)| id.is_some() && *known == id) {
                Some(at) => self.0[at].1.text.push_str(&text.text),
                None if self.0.len() >= text::MOST_TEXTS => return Err(Unreadable::TooMuch),
                None => self.0.push((id, Said { text: text.text.into_owned(), origin: text.origin })),
            }
        }
        Ok(())
    }
}

fn said_in(body: &[u8], of: Of) -> Result<Vec<Said>, Unreadable> {
    let (texts, _) = text::texts_of(body, of)?;
    let flat = text::flattened(&texts)?;
    Ok(flat.into_iter().map(|text| Said { text: text.text.into_owned(), origin: text.origin }).collect())
}

const fn role(origin: Origin) -> &'static str {
    match origin {
        Origin::Caller => "user",
        Origin::Tool => "tool",
        Origin::Model => "assistant",
        Origin::Application => "system",
    }
}

/// The texts that say something, for a moderation endpoint; where there are many, some that follow each other are one.
fn inputs(said: &[Said]) -> Vec<String> {
    let words: Vec<&str> =
        said.iter().map(|said| said.text.as_str()).filter(|text| text.chars().any(char::is_alphabetic)).collect();
    words.chunks(words.len().div_ceil(MOST_INPUTS).max(1)).map(|some| some.join("\n")).collect()
}

/// What a moderation endpoint answers for each input, as OpenAI and Mistral do.
#[derive(Deserialize)]
struct Moderated {
    results: Vec<ModeratedText>,
}

#[derive(Deserialize)]
struct ModeratedText {
    flagged: Option<bool>,
    #[serde(default)]
    categories: Map<String, Value>,
    #[serde(default)]
    category_scores: Map<String, Value>,
}

fn moderated(inputs: usize, wanted: &BTreeMap<String, f64>, body: &[u8]) -> Result<Verdict, Unusable> {
    let answer: Moderated =
        serde_json::from_slice(body).map_err(|_| Unusable("the answer is none of a moderation endpoint"))?;
    if answer.results.len() != inputs {
        return Err(Unusable("the answer has not one result for each text"));
    }
    let mut verdict = Verdict::default();
    for result in &answer.results {
        if wanted.is_empty() {
            if result.flagged.is_none() && result.categories.is_empty() {
                return Err(Unusable("a result says nothing"));
            }
            let flagged = result.categories.iter().filter(|(_, is)| **is == Value::Bool(true));
            flagged.for_each(|(name, _)| verdict.call(name));
            verdict.found |= result.flagged == Some(true);
        }
        for (name, least) in wanted {
            let score = result.category_scores.get(name).and_then(Value::as_f64);
            match score {
                None => return Err(Unusable("a category that a threshold is set for has no score")),
                Some(score) if score >= *least => verdict.call(name),
                Some(_) => {}
            }
        }
    }
    Ok(verdict)
}

/// What a webhook answers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    verdict: Word,
    reason: Option<String>,
    #[serde(default)]
    unit: Unit,
    #[serde(default)]
    replacements: Vec<Replacement>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Allow,
    Block,
    Redact,
}

/// What places are counted in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unit {
    /// Characters: Unicode's code points, as Python counts.
    #[default]
    Characters,
    /// Bytes of UTF-8.
    Bytes,
    /// Units of UTF-16, as JavaScript and Java count.
    Utf16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Replacement {
    text: usize,
    start: usize,
    end: usize,
    with: Option<String>,
}

fn judged(said: &[Said], body: &[u8]) -> Result<Verdict, Unusable> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| Unusable("the answer is none in the form of a webhook"))?;
    if (answer.verdict == Word::Redact) == answer.replacements.is_empty() {
        return Err(Unusable("`replacements` come with the verdict `redact`, and with no other"));
    }
    if answer.replacements.len() > super::MOST_FOUND {
        return Err(Unusable("there are too many replacements"));
    }
    let mut verdict = Verdict { found: answer.verdict != Word::Allow, ..Verdict::default() };
    if let Some(reason) = answer.reason.filter(|reason| verdict.found && !reason.is_empty()) {
        verdict.call(&reason);
    }
    let mut sorted: Vec<Replacement> = answer.replacements;
    sorted.sort_by_key(|one| (one.text, one.start));
    let mut counting: Option<(usize, Counting<'_>)> = None;
    for Replacement { text, start, end, with } in sorted {
        let outside = Unusable("a replacement lies outside of its text, or between the bytes of a character");
        let said = said.get(text).ok_or(outside)?;
        if start >= end {
            return Err(outside);
        }
        let (_, from) = match &mut counting {
            Some(one) if one.0 == text => one,
            other => other.insert((text, Counting { text: &said.text, unit: answer.unit, at: 0, counted: 0 })),
        };
        let first = from.forward(start).ok_or(outside)?;
        // The next may begin before the end of this one.
        let last = Counting { ..*from }.forward(end).ok_or(outside)?;
        let with = with.unwrap_or_else(|| "[REDACTED]".into());
        if with.len() > LONGEST_WITH {
            return Err(Unusable("what is to stand in the place of something is too long"));
        }
        verdict.places.push((text, first..last, with));
    }
    Ok(verdict)
}

/// Counts along a text.
#[derive(Clone, Copy)]
struct Counting<'t> {
    text: &'t str,
    unit: Unit,
    /// Bytes, and units, that are behind.
    at: usize,
    counted: usize,
}

impl Counting<'_> {
    /// Goes on to where so many units are behind; the bytes that are then. `None`: there is no such place.
    fn forward(&mut self, units: usize) -> Option<usize> {
        for c in self.text[self.at..].chars() {
            if self.counted >= units {
                break;
            }
            self.at += c.len_utf8();
            self.counted += match self.unit {
                Unit::Characters => 1,
                Unit::Bytes => c.len_utf8(),
                Unit::Utf16 => c.len_utf16(),
            };
        }
        (self.counted == units).then_some(self.at)
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
}

/// A text with these at their places; of those that overlap the first stands for all.
fn with_places(text: &str, mut places: Vec<(Range<usize>, &str)>) -> String {
    places.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
    let mut out = String::with_capacity(text.len());
    let mut copied = 0;
    for (range, with) in places {
        if range.start >= copied {
            out.push_str(&text[copied..range.start]);
            out.push_str(with);
        }
        copied = copied.max(range.end);
    }
    out.push_str(&text[copied..]);
    out
}

#[cfg(test)]
mod tests;
