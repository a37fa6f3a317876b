//! The items of a response's output, as they are written whole and in streams.

use super::{
    super::{cite::Citation, logprobs::Elements, write::Object},
    cite,
};
use std::ops::Range;

/// Of an answer's id, this much stands in the ids of its items: those may have 64 characters.
const KEPT: usize = 40;

/// An item of the output.
#[derive(Debug)]
pub(super) struct Item {
    pub kind: Kind,
    /// What it says, the arguments of a call, or an image in base64.
    pub text: String,
    /// Of text, the log probabilities of its tokens, where they are told.
    pub logprobs: Elements,
    /// Of thinking, what only the model that thought can read.
    pub encrypted: Option<String>,
    /// Which characters of the answer's words a message says.
    pub words: Range<u64>,
    /// Where they come from, by their places in the message.
    pub annotations: Vec<Citation<'static>>,
    /// Bytes of these.
    pub noted: usize,
}

/// What `encrypted_content` begins with where it is all that there is of the thinking of a model of Anthropic's. Where it is
/// a signature it begins with the mark of [`super::super::signature::Signer`]: nobody else's is sent to its maker.
pub(in crate::translate) const REDACTED: &str = "anthropic-redacted:";

#[derive(Debug)]
pub(super) enum Kind {
    Message,
    Reasoning,
    /// An image was made, of this type.
    Image(String),
    /// The `tool`-th tool is called.
    Call {
        tool: u64,
        id: String,
        name: String,
    },
}

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    InProgress,
    Completed,
    /// The model might write no more.
    Incomplete,
}

impl Status {
    const fn json(self) -> &'static str {
        match self {
            Self::InProgress => "\"in_progress\"",
            Self::Completed => "\"completed\"",
            Self::Incomplete => "\"incomplete\"",
        }
    }
}

impl Item {
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: String::new(),
            logprobs: Elements::new(),
            encrypted: None,
            words: 0..0,
            annotations: Vec::new(),
            noted: 0,
        }
    }

    /// Takes a citation of its words. `None` where it is none.
    pub fn cite(&mut self, cited: &Citation<'_>) -> Option<usize> {
        let (words, span) = (&self.words, &cited.span);
        let fits = words.start <= span.start && span.end <= words.end && cited.url().is_some();
        if !fits || !matches!(self.kind, Kind::Message) {
            return None;
        }
        let cited = Citation { span: span.start - words.start..span.end - words.start, ..cited.owned() };
        self.noted += cited.held();
        self.annotations.push(cited);
        Some(self.annotations.len() - 1)
    }

    /// Whether more of this kind is more of this item.
    pub const fn goes_on(&self, kind: &Kind) -> bool {
        self.encrypted.is_none()
            && matches!((&self.kind, kind), (Kind::Message, Kind::Message) | (Kind::Reasoning, Kind::Reasoning))
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        let named = match &self.kind {
            Kind::Call { id, name, .. } => id.capacity() + name.capacity(),
            Kind::Image(media_type) => media_type.capacity(),
            Kind::Message | Kind::Reasoning => 0,
        };
        let encrypted = match &self.encrypted {
            Some(encrypted) => encrypted.capacity(),
            None => 0,
        };
        size_of::<Self>() + self.text.capacity() + self.logprobs.held() + named + encrypted + self.noted
    }

    /// Its id: made of the answer's, so that it is another in each turn, with the beginning that its type has.
    pub fn id(&self, answer: &str, place: usize) -> String {
        let kind = match self.kind {
            Kind::Message => "msg",
            Kind::Reasoning => "rs",
            Kind::Image(_) => "ig",
            Kind::Call { .. } => "fc",
        };
        let kept = answer.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')).take(KEPT);
        format!("{kind}_{}_{place}", kept.collect::<String>())
    }

    /// The item as it stands; in progress it says nothing yet.
    pub fn write(&self, out: &mut Vec<u8>, id: &str, status: Status) {
        let said = status != Status::InProgress;
        let mut item = Object::new(out);
        item.text("id", id);
        match &self.kind {
            Kind::Message => {
                item.json("type", "\"message\"");
                item.json("status", status.json());
                item.json("role", "\"assistant\"");
                item.array("content", said.then_some(self), |out, item| item.part(out, true));
            }
            Kind::Reasoning => {
                item.json("type", "\"reasoning\"");
                let shown = said.then_some(self).filter(|item| item.encrypted.is_none() || !item.text.is_empty());
                item.array("summary", shown, |out, item| item.part(out, true));
                if let Some(encrypted) = self.encrypted.as_ref().filter(|_| said) {
                    item.text("encrypted_content", encrypted);
                }
            }
            Kind::Image(media_type) => {
                item.json("type", "\"image_generation_call\"");
                item.json("status", status.json());
                item.text("output_format", media_type.strip_prefix("image/").unwrap_or(media_type));
                match said {
                    true => item.text("result", &self.text),
                    false => item.json("result", "null"),
                }
            }
            Kind::Call { id, name, .. } => {
                item.json("type", "\"function_call\"");
                item.json("status", status.json());
                item.text("call_id", id);
                item.text("name", name);
                item.text("arguments", if said { &self.text } else { "" });
            }
        }
        item.end();
    }

    /// The one part of a message or of a summary; empty, or with all that it says.
    pub fn part(&self, out: &mut Vec<u8>, said: bool) {
        let text = if said { &*self.text } else { "" };
        let mut part = Object::new(out);
        if let Kind::Reasoning = self.kind {
            part.json("type", "\"summary_text\"");
            part.text("text", text);
        } else {
            part.json("type", "\"output_text\"");
            part.text("text", text);
            part.array("annotations", self.annotations.iter().filter(|_| said), cite::write);
            match said {
                true => self.logprobs.write(part.member("logprobs")),
                false => part.json("logprobs", "[]"),
            }
        }
        part.end();
    }
}
