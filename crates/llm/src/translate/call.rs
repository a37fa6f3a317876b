//! A model call in no dialect: what a caller wants, between the one who reads it and the one who writes it.
//!
//! It holds what at least two dialects can say. What only its reader knows is refused or left out there; what its
//! writer cannot say, there. Fields that the reader does not know are carried as they are.

use super::{
    read::{Members, Text},
    signature::{Signer, of_place},
};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// More turns than this are refused, as Anthropic refuses them.
pub(super) const MAX_MESSAGES: usize = 100_000;
/// More blocks of turns than this, in all, are refused.
pub(super) const MAX_PARTS: usize = 100_000;
/// More fields of a call than this are refused.
pub(super) const MAX_FIELDS: usize = 1000;
/// More tools than this are refused.
pub(super) const MAX_TOOLS: usize = 10_000;
/// More answers than this are refused, as Google refuses them.
pub(super) const MAX_ANSWERS: u64 = 8;
/// More texts to stop at than this are refused.
pub(super) const MAX_STOPS: usize = 1000;

#[derive(Default)]
pub(super) struct Call<'a> {
    /// Text blocks that say how to behave.
    pub system: Vec<Block<'a>>,
    pub turns: Turns<'a>,
    /// Only its tokens are to be counted: it may end anywhere.
    pub counts: bool,
    /// The most tokens the answer may have.
    pub limit: Option<u64>,
    pub stream: bool,
    /// The caller of a stream wants to be told what it took.
    pub include_usage: bool,
    pub temperature: Option<&'a RawValue>,
    pub top_p: Option<&'a RawValue>,
    /// Texts to stop at.
    pub stop: Vec<Text<'a>>,
    pub tools: Vec<Tool<'a>>,
    pub choice: Option<Choice<'a>>,
    /// No two tools may be called at the same time.
    pub one_tool: bool,
    /// How tokens are chosen, beside what every dialect says of it.
    pub sampling: Sampling<'a>,
    /// Whether the answer may hold images.
    pub images: Option<Images>,
    /// For each token its log probability is to be told, and those of so many other tokens at its place.
    pub logprobs: Option<Asked>,
    /// So many answers are wanted, more than one.
    pub answers: Option<Asked>,
    /// The form that the answer must have.
    pub format: Option<Format<'a>>,
    pub effort: Option<Effort>,
    /// What a caller of Messages says of thinking beside that.
    pub thinks: Option<Thinks<'a>>,
    /// Whom the call is made for.
    pub user: Option<Text<'a>>,
    /// Fields that both of OpenAI's dialects have and no other, as they are: `metadata`, `prompt_cache_key` and the like.
    pub openai: Members<'a>,
    /// What the reader does not know.
    pub others: Members<'a>,
    /// Members of an answer that repeat what the call says, as callers of Responses expect them.
    pub echo: Vec<(&'static str, &'a RawValue)>,
}

impl Call<'_> {
    /// Whether a field that the reader does not know is there.
    pub fn has_other(&self, name: &str) -> bool {
        self.others.iter().any(|(other, _)| &**other == name)
    }

    /// Leaves out texts of white space alone, which some providers refuse and models write beside calls of tools.
    pub fn without_blank_texts(&mut self) {
        let says = |block: &Block<'_>| !matches!(block, Block::Text { text, .. } if text.trim().is_empty());
        self.system.retain(says);
        for block in self.turns.0.iter_mut().flat_map(|turn| &mut turn.content) {
            if let Block::ToolResult { content, .. } = block {
                content.retain(says);
            }
        }
        self.turns.keep(says);
    }
}

/// What few providers can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// How many are wanted.
    pub many: u64,
    /// The field by which the caller asks for it.
    pub by: &'static str,
}

/// What some dialects say of how tokens are chosen. An answer without is still a right one.
#[derive(Default)]
pub(super) struct Sampling<'a> {
    pub top_k: Option<&'a RawValue>,
    pub seed: Option<&'a RawValue>,
    pub presence_penalty: Option<&'a RawValue>,
    pub frequency_penalty: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// One turn.
pub(super) struct Turn<'a> {
    pub role: Role,
    pub content: Vec<Block<'a>>,
}

/// The turns of a conversation. Neighbours of the same role are one turn, as results of tools must come together.
#[derive(Default)]
pub(super) struct Turns<'a>(pub Vec<Turn<'a>>);

impl<'a> Turns<'a> {
    pub fn push(&mut self, role: Role, mut said: Vec<Block<'a>>) {
        match self.0.last_mut() {
            _ if said.is_empty() => {}
            Some(last) if last.role == role => last.content.append(&mut said),
            _ => self.0.push(Turn { role, content: said }),
        }
    }

    /// Whether anything is to be heard.
    pub fn have_sound(&self) -> bool {
        let is_sound = |block: &Block<'_>| match block {
            Block::Audio { .. } => true,
            Block::ToolResult { content, .. } => content.iter().any(|block| matches!(block, Block::Audio { .. })),
            _ => false,
        };
        self.0.iter().any(|turn| turn.content.iter().any(is_sound))
    }

    /// Leaves out that documents are to be cited.
    pub fn without_citations(&mut self) {
        fn plain(content: &mut Vec<Block<'_>>) {
            let is_meant = |block: &Block<'_>| matches!(block, Block::Cited(_) | Block::ToolResult { .. });
            if !content.iter().any(is_meant) {
                return;
            }
            for block in std::mem::take(content) {
                match block {
                    Block::Cited(cited) => content.append(&mut cited.plain()),
                    Block::ToolResult { id, content: mut result, is_error } => {
                        plain(&mut result);
                        content.push(Block::ToolResult { id, content: result, is_error });
                    }
                    other => content.push(other),
                }
            }
        }
        self.0.iter_mut().for_each(|turn| plain(&mut turn.content));
        self.0.retain(|turn| !turn.content.is_empty());
    }

    /// Leaves out what the provider does not take back of thinking.
    pub fn keep_thinking(&mut self, takes: TakesBack) {
        let keeps = |block: &Block<'_>| match block {
            Block::Thinking { text, signature } => match takes {
                TakesBack::Nothing => false,
                TakesBack::Anthropic => matches!(signature, Some((Signer::Anthropic, _))),
                TakesBack::Google => signature.as_ref().is_some_and(|(signer, _)| signer.is_google()),
                TakesBack::OpenAi(place) => match signature {
                    Some((Signer::OpenAi, told)) => of_place(told).is_some_and(|(of, _)| of == place),
                    _ => false,
                },
                TakesBack::Text => !text.is_empty(),
            },
            Block::Redacted(_) => takes == TakesBack::Anthropic,
            _ => true,
        };
        self.keep(keeps);
    }

    /// Leaves out the blocks of turns that are not to be kept. A turn of which nothing is left is none.
    fn keep(&mut self, keeps: impl Fn(&Block<'a>) -> bool) {
        if self.0.iter().all(|turn| turn.content.iter().all(&keeps)) {
            return;
        }
        for mut turn in std::mem::take(&mut self.0) {
            turn.content.retain(&keeps);
            self.push(turn.role, turn.content);
        }
    }
}

/// A part of a turn. `cache_control` is a mark of the Messages API that some providers of Chat Completions know too.
pub(super) enum Block<'a> {
    Text {
        text: Text<'a>,
        cache_control: Option<&'a RawValue>,
    },
    Image {
        source: Source<'a>,
        cache_control: Option<&'a RawValue>,
    },
    Document {
        source: Source<'a>,
        title: Option<Text<'a>>,
        cache_control: Option<&'a RawValue>,
    },
    /// A document of which the answer may cite. Only those that can be asked for that see it
    /// ([`Turns::without_citations`]).
    Cited(Box<Cited<'a>>),
    /// Sound, here and in base64.
    Audio {
        media_type: Cow<'a, str>,
        data: Cow<'a, str>,
    },
    ToolUse {
        id: Text<'a>,
        name: Text<'a>,
        input: Cow<'a, RawValue>,
    },
    ToolResult {
        id: Text<'a>,
        content: Vec<Block<'a>>,
        is_error: bool,
    },
    /// What the model thought. Only those that take it back see it ([`Turns::keep_thinking`]).
    Thinking {
        text: Text<'a>,
        signature: Option<(Signer, Text<'a>)>,
    },
    /// The same as only the model, one of Anthropic's, can read it.
    Redacted(Text<'a>),
}

/// A document of which the answer may cite.
pub(super) struct Cited<'a> {
    pub content: Content<'a>,
    pub title: Option<Text<'a>>,
    pub cache_control: Option<&'a RawValue>,
}

/// What a document is.
pub(super) enum Content<'a> {
    File(Source<'a>),
    Text(Text<'a>),
    /// Blocks, each of which is cited as one.
    Blocks(Vec<Block<'a>>),
}

impl<'a> Cited<'a> {
    /// The same, of which nothing is cited: a document that is text is text. Empty texts are left out.
    pub fn plain(self) -> Vec<Block<'a>> {
        let Self { content, title, cache_control } = self;
        match content {
            Content::File(source) => vec![Block::Document { source, title, cache_control }],
            Content::Text(text) if text.is_empty() => Vec::new(),
            Content::Text(text) => vec![Block::Text { text, cache_control }],
            Content::Blocks(blocks) => blocks,
        }
    }
}

/// Which thinking a provider takes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TakesBack {
    Nothing,
    /// What models of Anthropic's signed.
    Anthropic,
    /// What models of Google's signed.
    Google,
    /// What the target at this place encrypted.
    OpenAi(u64),
    /// Its text.
    Text,
}

/// Where an image or a document is.
pub(super) enum Source<'a> {
    /// Here, in base64.
    Base64 { media_type: Cow<'a, str>, data: Cow<'a, str> },
    /// In the web.
    Url(Text<'a>),
}

impl<'a> Source<'a> {
    pub fn base64(media_type: Cow<'a, str>, data: Cow<'a, str>) -> Self {
        Self::Base64 { media_type: known_media_type(media_type), data }
    }
}

/// A media type as every provider writes it: in small letters, and JPEG by its own name.
pub(super) fn known_media_type(told: Cow<'_, str>) -> Cow<'_, str> {
    let small = match told.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Cow::Owned(told.to_ascii_lowercase()),
        false => told,
    };
    match &*small {
        "image/jpg" | "image/pjpeg" => Cow::Borrowed("image/jpeg"),
        _ => small,
    }
}

/// A function that the model may call.
pub(super) struct Tool<'a> {
    pub name: Text<'a>,
    pub description: Option<Text<'a>>,
    /// The JSON Schema of its input; none for a function without.
    pub schema: Option<&'a RawValue>,
    pub strict: Strict,
    pub cache_control: Option<&'a RawValue>,
}

/// Images in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Images {
    /// Beside text.
    Too,
    /// And nothing else.
    Only,
}

/// The form of an answer.
pub(super) enum Format<'a> {
    /// JSON of any form.
    Json,
    /// JSON that fits a JSON Schema. Messages and Gemini have neither its name nor its description.
    Schema { schema: &'a RawValue, name: Option<Text<'a>>, description: Option<Text<'a>>, strict: Strict },
}

/// Whether a schema is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strict {
    Not,
    /// The caller of one of OpenAI's dialects says so, whose schemas have rules of OpenAI's.
    Told,
    /// It is, in the dialect of the caller, whose schemas have other rules.
    WhereItFits,
}

impl Strict {
    /// What a caller of OpenAI's dialects says.
    pub const fn told(strict: Option<bool>) -> Self {
        if matches!(strict, Some(true)) { Self::Told } else { Self::Not }
    }
}

/// Whether the model calls a tool.
pub(super) enum Choice<'a> {
    Auto,
    Never,
    /// One of them, whichever.
    Any,
    /// The one of this name.
    One(Text<'a>),
}

/// How much the model may think before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    XHigh,
    Max,
}

/// Whether the model thinks, as the Messages API has it.
pub(super) enum Thinks<'a> {
    /// As much as it likes; `shown` is how of it is shown (`display`).
    Adaptive {
        shown: Option<Text<'a>>,
    },
    /// Up to so many tokens.
    Budget(u64),
    Not,
}

impl Effort {
    /// Of OpenAI's word for it.
    pub fn of(word: &str) -> Option<Self> {
        Some(match word {
            "none" => Self::None,
            "minimal" => Self::Minimal,
            "low" => Self::Low,
            "medium" => Self::Medium,
            "high" => Self::High,
            "xhigh" => Self::XHigh,
            "max" => Self::Max,
            _ => return None,
        })
    }

    /// OpenAI's word for it. Most of its models know none above `xhigh`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::XHigh | Self::Max => "xhigh",
        }
    }
}
