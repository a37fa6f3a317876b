//! The items of a response's output, as they are written whole and in streams.

use super::super::write::Object;

/// Of an answer's id, this much stands in the ids of its items: those may have 64 characters.
const KEPT: usize = 40;

/// An item of the output.
#[derive(Debug)]
pub(super) struct Item {
    pub kind: Kind,
    /// What it says, the arguments of a call, or an image in base64.
    pub text: String,
    /// Of thinking, what only the model that thought can read.
    pub encrypted: Option<String>,
}

/// What `encrypted_content` begins with where it is the signature of thinking that stands in the summary, and where it is
/// all that there is of it, of a model of Anthropic's: nobody else's is sent there.
pub(super) const SIGNED: &str = "anthropic-signature:";
pub(super) const REDACTED: &str = "anthropic-redacted:";

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
        Self { kind, text: String::new(), encrypted: None }
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
        size_of::<Self>() + self.text.capacity() + named + encrypted
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
            part.json("annotations", "[]");
            part.json("logprobs", "[]");
        }
        part.end();
    }
}
