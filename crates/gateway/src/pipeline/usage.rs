//! Usage, which is read while an answer passes.

use credentialflow_llm::{
    anthropic, bedrock, gemini,
    openai::{
        responses,
        usage::{AnswerUsage, StreamUsage},
    },
    provider::Dialect,
    replicate,
    task::{
        units::Units,
        usage::{TaskUsage, Used},
    },
    tier::Served,
    translate::task::Gathering,
};
use credentialflow_model::usage::TokenUsage;

/// What a provider reported.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// `None` when it counts no tokens.
    pub tokens: Option<TokenUsage>,
    /// What it counts beside them.
    pub units: Units,
    /// How it served, where that is told.
    pub served: Option<Served>,
    /// Whether that is all; else the output is still to be counted.
    pub all: bool,
}

impl Told {
    pub fn all(tokens: TokenUsage) -> Self {
        Self::served((tokens, None))
    }

    fn served((tokens, served): (TokenUsage, Option<Served>)) -> Self {
        Self::used(Used { tokens: Some(tokens), units: Units::default(), served })
    }

    fn begun(tokens: TokenUsage) -> Self {
        Self { all: false, ..Self::all(tokens) }
    }

    /// Of an answer in which something is written: none that was counted is none that was.
    fn written(used: Used) -> Self {
        Self { all: used.tokens.is_some_and(|tokens| tokens.output > 0), ..Self::used(used) }
    }

    pub const fn used(used: Used) -> Self {
        Self { tokens: used.tokens, units: used.units, served: used.served, all: true }
    }
}

/// Reads usage while the answer passes.
pub(crate) enum UsageProbe {
    /// From a stream.
    Stream(StreamUsage),
    /// From a whole answer.
    Answer(AnswerUsage),
    /// From a stream in Anthropic's dialect.
    MessageStream(anthropic::usage::StreamUsage),
    /// From a whole answer in Anthropic's dialect.
    Message(anthropic::usage::AnswerUsage),
    /// From a stream of Responses.
    ResponseStream(responses::usage::StreamUsage),
    /// From a whole answer of Responses.
    Response(responses::usage::AnswerUsage),
    /// From a stream in Gemini's dialect.
    GeminiStream(gemini::usage::StreamUsage),
    /// From a whole answer in Gemini's dialect, or from a stream that comes as an array.
    Gemini(gemini::usage::AnswerUsage),
    /// From a stream of Bedrock's, out of its frames.
    ConverseStream(bedrock::usage::StreamUsage),
    /// From a whole answer of Bedrock's.
    Converse(bedrock::usage::AnswerUsage),
    /// From a whole answer of Replicate's; its streams tell nothing.
    Prediction(replicate::usage::AnswerUsage),
    /// From any answer to what is no conversation.
    Task(TaskUsage),
    /// From several answers, which become one.
    Gathered(Box<Gathering>),
    /// The call costs nothing.
    Free,
}

impl UsageProbe {
    /// That of an answer of a provider that speaks so; `drops_usage`: a usage event that was not asked for is taken out.
    pub fn of(dialect: Dialect, streams: bool, drops_usage: bool) -> Self {
        match (dialect, streams) {
            (Dialect::Anthropic, true) => Self::MessageStream(anthropic::usage::StreamUsage::new()),
            (Dialect::Anthropic, false) => Self::Message(anthropic::usage::AnswerUsage::new()),
            (Dialect::Responses, true) => Self::ResponseStream(responses::usage::StreamUsage::new()),
            (Dialect::Responses, false) => Self::Response(responses::usage::AnswerUsage::new()),
            (Dialect::Gemini, true) => Self::GeminiStream(gemini::usage::StreamUsage::new()),
            (Dialect::Gemini, false) => Self::Gemini(gemini::usage::AnswerUsage::new()),
            (Dialect::Bedrock, true) => Self::ConverseStream(bedrock::usage::StreamUsage::new()),
            (Dialect::Bedrock, false) => Self::Converse(bedrock::usage::AnswerUsage::new()),
            (Dialect::Replicate, _) => Self::Prediction(replicate::usage::AnswerUsage::new()),
            (Dialect::OpenAi, true) => Self::Stream(StreamUsage::new(drops_usage)),
            (Dialect::OpenAi, false) => Self::Answer(AnswerUsage::new()),
        }
    }

    /// Fits it to what came: providers answer a call for a stream with a whole answer, and the other way round.
    pub fn fit(&mut self, is_stream: bool) {
        match self {
            Self::Stream(_) if !is_stream => *self = Self::Answer(AnswerUsage::new()),
            Self::Answer(_) if is_stream => *self = Self::Stream(StreamUsage::new(false)),
            Self::MessageStream(_) if !is_stream => *self = Self::Message(anthropic::usage::AnswerUsage::new()),
            Self::Message(_) if is_stream => *self = Self::MessageStream(anthropic::usage::StreamUsage::new()),
            Self::ResponseStream(_) if !is_stream => *self = Self::Response(responses::usage::AnswerUsage::new()),
            Self::Response(_) if is_stream => *self = Self::ResponseStream(responses::usage::StreamUsage::new()),
            Self::GeminiStream(_) if !is_stream => *self = Self::Gemini(gemini::usage::AnswerUsage::new()),
            Self::Gemini(_) if is_stream => *self = Self::GeminiStream(gemini::usage::StreamUsage::new()),
            Self::ConverseStream(_) if !is_stream => *self = Self::Converse(bedrock::usage::AnswerUsage::new()),
            Self::Converse(_) if is_stream => *self = Self::ConverseStream(bedrock::usage::StreamUsage::new()),
            Self::Prediction(usage) => usage.fit(is_stream),
            Self::Task(usage) => usage.fit(is_stream),
            _ => {}
        }
    }

    /// Bytes of memory in use.
    pub const fn held(&self) -> usize {
        match self {
            Self::Stream(usage) => usage.held(),
            Self::Answer(usage) => usage.held(),
            Self::MessageStream(usage) => usage.held(),
            Self::Message(usage) => usage.held(),
            Self::ResponseStream(usage) => usage.held(),
            Self::Response(usage) => usage.held(),
            Self::GeminiStream(usage) => usage.held(),
            Self::Gemini(usage) => usage.held(),
            Self::ConverseStream(usage) => usage.held(),
            Self::Converse(usage) => usage.held(),
            Self::Prediction(usage) => usage.held(),
            Self::Task(usage) => usage.held(),
            Self::Gathered(_) => 0,
            Self::Free => 0,
        }
    }

    /// Whether a stream that ends here is not all of one.
    pub fn lacks_its_end(&self) -> bool {
        match self {
            Self::Stream(usage) => usage.lacks_its_end(),
            Self::MessageStream(usage) => usage.lacks_its_end(),
            Self::ResponseStream(usage) => usage.lacks_its_end(),
            Self::GeminiStream(usage) => usage.lacks_its_end(),
            _ => false,
        }
    }

    /// All of a stream has come: what it counted by now is of all of it.
    pub const fn ended(&mut self) {
        if let Self::Stream(usage) = self {
            usage.ended();
        }
    }

    /// What a stream told so far.
    pub fn so_far(&self) -> Option<Told> {
        match self {
            Self::Stream(usage) => usage.used().map(Told::used).or_else(|| usage.begun().map(Told::begun)),
            Self::MessageStream(usage) => {
                let told = usage.usage().map(|tokens| Told::served((tokens, usage.served())));
                told.or_else(|| usage.begun().map(Told::begun))
            }
            Self::ResponseStream(usage) => usage.usage().map(|tokens| Told::served((tokens, usage.served()))),
            Self::ConverseStream(usage) => usage.usage().map(Told::all),
            Self::GeminiStream(usage) => usage.used().map(Told::used).or_else(|| usage.begun().map(Told::begun)),
            Self::Task(usage) => usage.so_far().map(Told::used),
            Self::Answer(_)
            | Self::Message(_)
            | Self::Response(_)
            | Self::Gemini(_)
            | Self::Converse(_)
            | Self::Prediction(_)
            | Self::Gathered(_)
            | Self::Free => None,
        }
    }

    /// What was told in all.
    pub fn total(&mut self) -> Option<Told> {
        match self {
            Self::Answer(usage) => std::mem::take(usage).finish_used().map(Told::written),
            Self::Message(usage) => std::mem::take(usage).finish_served().map(Told::served),
            Self::Response(usage) => std::mem::take(usage).finish_served().map(Told::served),
            Self::Gemini(usage) => std::mem::take(usage).finish_used().map(Told::used),
            Self::Converse(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Prediction(usage) => std::mem::take(usage).finish().map(Told::all),
            Self::Task(usage) => Some(Told::used(usage.total())),
            Self::Gathered(all) => all.used().map(Told::used),
            _ => self.so_far(),
        }
    }
}
