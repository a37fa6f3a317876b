//! What is no conversation, at providers that are asked for it in a form of their own: embeddings from OpenAI's form,
//! ranking from the one of Cohere and Jina.
//!
//! Each form is a file with an [`Embeds`] or a [`Ranks`], and a line in [`Form::of`]. But for Gemini's own batches, such
//! forms take one text a call, or a few, and tell what they counted in the heads of answers. So [`request`] writes
//! calls, one on each line, the gateway sends each by itself, and a [`Gathering`] puts together what was answered.

mod bedrock_rank;
mod cohere;
mod embeddings;
mod gemini;
mod nova;
mod rerank;
mod titan;
mod vertex;
mod vertex_rank;

use super::{Answers, Caller, Named, To, Translation, Untranslatable, Why, responses::Frame};
use crate::{
    bedrock,
    gemini::request::{Action, Frames},
    provider::Dialect,
    task::{Task, units::Units, usage::Used},
};
use credentialflow_model::{Timestamp, usage::TokenUsage};
use embeddings::{Embeds, Vectors};
use rerank::{Rank, Ranks};
use std::sync::Arc;

/// Calls of their own that become of one at the most: as many texts as a provider has to be asked for one by one.
pub const MOST_CALLS: usize = 512;
/// Fields of a call at the most.
const MOST_FIELDS: usize = 100;

/// A form in which a provider is asked for what is no conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `:batchEmbedContents` of Gemini's API.
    GeminiBatch,
    /// `:predict` of Vertex AI.
    VertexPredict,
    /// `:embedContent` of Vertex AI.
    VertexContent,
    /// InvokeModel with Amazon's Titan.
    Titan,
    /// InvokeModel with Amazon's Nova.
    Nova,
    /// InvokeModel with Cohere's Embed.
    Cohere,
    /// InvokeModel with a model that ranks.
    BedrockRank,
    /// `:rank` of Google's ranking API.
    VertexRank,
}

/// What a form does.
enum Way {
    Embeds(&'static dyn Embeds),
    Ranks(&'static dyn Ranks),
}

impl Form {
    /// The form in which a provider's model is asked for this. `None`: it is asked in the caller's form, or not at all.
    /// `vertex`: whether a provider of Gemini's dialect is Vertex AI.
    pub fn of(task: Task, dialect: Dialect, vertex: bool, model: &str) -> Option<Self> {
        let is = |name: &str| bedrock::is_of(model, name);
        Some(match (task, dialect) {
            (Task::Embeddings, Dialect::Gemini) if !vertex => Self::GeminiBatch,
            (Task::Embeddings, Dialect::Gemini) if vertex::takes_content(model) => Self::VertexContent,
            (Task::Embeddings, Dialect::Gemini) => Self::VertexPredict,
            (Task::Embeddings, Dialect::Bedrock) if is("amazon.titan-embed-") && !is("amazon.titan-embed-image") => {
                Self::Titan
            }
            (Task::Embeddings, Dialect::Bedrock) if is("amazon.nova-2-multimodal-embeddings") => Self::Nova,
            (Task::Embeddings, Dialect::Bedrock) if is("cohere.embed-") => Self::Cohere,
            (Task::Rerank, Dialect::Bedrock) if is("amazon.rerank-") || is("cohere.rerank-") => Self::BedrockRank,
            (Task::Rerank, Dialect::Gemini) => Self::VertexRank,
            _ => return None,
        })
    }

    fn way(self) -> Way {
        match self {
            Self::GeminiBatch => Way::Embeds(&gemini::Batch),
            Self::VertexPredict => Way::Embeds(&vertex::Predict),
            Self::VertexContent => Way::Embeds(&vertex::Content),
            Self::Titan => Way::Embeds(&titan::Titan),
            Self::Nova => Way::Embeds(&nova::Nova),
            Self::Cohere => Way::Embeds(&cohere::Cohere),
            Self::BedrockRank => Way::Ranks(&bedrock_rank::BedrockRank),
            Self::VertexRank => Way::Ranks(&vertex_rank::VertexRank),
        }
    }

    /// Where it is asked below the endpoint's base.
    fn path(self, model: &str) -> String {
        match self {
            Self::GeminiBatch => Action::BatchEmbed.path(model),
            Self::VertexPredict => vertex::path(model, "predict"),
            Self::VertexContent => Action::Embed.path(model),
            Self::Titan | Self::Nova | Self::Cohere | Self::BedrockRank => bedrock::invoke_path(model),
            Self::VertexRank => vertex_rank::PATH.to_owned(),
        }
    }
}

/// How the answer to one call comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TaskAnswers {
    form: Form,
    model: Box<str>,
    told: Told,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Vectors {
        base64: bool,
        /// How many texts each call has.
        calls: Arc<[usize]>,
    },
    Ranks {
        documents: usize,
        /// As providers count them, as far as that can be said from outside.
        searches: u64,
    },
}

/// Translates a call, which [`TaskCall`](crate::task::call::TaskCall) has read, for a provider that is asked in a
/// [form](Form) of its own.
///
/// # Errors
/// [`Untranslatable`] when it cannot be said there.
pub fn request(task: Task, body: &[u8], to: &To<'_>) -> Result<(Vec<u8>, Translation), Untranslatable> {
    let untranslatable = |why| Untranslatable { why, from: Dialect::OpenAi, to: to.dialect };
    let form = Form::of(task, to.dialect, to.at_vertex, to.model)
        .ok_or_else(|| untranslatable(Why::NoCounterpart(task.as_str().to_owned())))?;
    let (out, told) = match form.way() {
        Way::Embeds(embeds) => embeddings::calls(body, embeds, to.model),
        Way::Ranks(ranks) => rerank::call(body, ranks, to.model),
    }
    .map_err(untranslatable)?;
    let translation = Translation {
        from: to.dialect,
        place: to.place,
        to: Caller::Chat,
        frame: Frame { created: Timestamp::from_secs(0), echo: Arc::from([]) },
        include_usage: false,
        frames: Frames::Events,
        named: Named::default(),
        many: 1,
        answers: Answers::Task(TaskAnswers { form, model: to.model.into(), told }),
    };
    Ok((out, translation))
}

impl TaskAnswers {
    /// A whole answer. `None` when it is none.
    pub fn whole(&self, body: &[u8]) -> Option<Vec<u8>> {
        match (&self.told, self.form.way()) {
            // What a gathering wrote.
            _ if self.is_gathered() => Some(body.to_vec()),
            (Told::Vectors { base64, .. }, Way::Embeds(embeds)) => {
                embeddings::answer([&embeds.read(body)?], &self.model, *base64)
            }
            _ => None,
        }
    }

    const fn is_gathered(&self) -> bool {
        !matches!(self.form, Form::GeminiBatch)
    }
}

impl Translation {
    const fn task(&self) -> Option<&TaskAnswers> {
        match &self.answers {
            Answers::Task(task) => Some(task),
            _ => None,
        }
    }

    /// Where what is no conversation is asked below the endpoint's base.
    pub fn task_path(&self) -> Option<String> {
        self.task().map(|task| task.form.path(&task.model))
    }

    /// What puts the answers together, where the body has calls, one on each line, which are sent one by one.
    pub fn gathering(&self) -> Option<Gathering> {
        let answers = self.task().filter(|task| task.is_gathered())?.clone();
        let count = match &answers.told {
            Told::Vectors { calls, .. } => calls.len(),
            Told::Ranks { .. } => 1,
        };
        let parts = std::iter::repeat_with(|| None).take(count).collect();
        Some(Gathering { answers, parts })
    }
}

/// What was answered to the calls that became of one.
pub struct Gathering {
    answers: TaskAnswers,
    parts: Box<[Option<Part>]>,
}

enum Part {
    Vectors(Vectors),
    Ranks { ranks: Vec<Rank>, tokens: Option<u64> },
}

impl Gathering {
    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.parts.len()
    }

    /// Whether the call at this place has no answer yet.
    pub fn misses(&self, at: usize) -> bool {
        self.parts.get(at).is_some_and(Option::is_none)
    }

    /// Takes the answer to the call at this place; `counted` are the tokens that its head tells. False: it is no answer to
    /// that call.
    #[must_use]
    pub fn take(&mut self, at: usize, answer: &[u8], counted: Option<u64>) -> bool {
        let part = match (&self.answers.told, self.answers.form.way()) {
            (Told::Vectors { calls, .. }, Way::Embeds(embeds)) => embeds
                .read(answer)
                .filter(|read| calls.get(at) == Some(&read.each.len()))
                .map(|read| Part::Vectors(Vectors { tokens: read.tokens.or(counted), ..read })),
            (Told::Ranks { documents, .. }, Way::Ranks(ranks)) => {
                let known = |rank: &Rank| rank.index < *documents && rank.score.is_finite();
                let ranks = ranks.read(answer).filter(|ranks| ranks.iter().all(known));
                ranks.map(|ranks| Part::Ranks { ranks, tokens: counted })
            }
            _ => None,
        };
        let taken = part.is_some();
        match (part, self.parts.get_mut(at)) {
            (Some(part), Some(place)) => *place = Some(part),
            _ => return false,
        }
        taken
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        let of = |part: &Part| match part {
            Part::Vectors(vectors) => vectors.each.iter().map(|vector| 4 * vector.len()).sum(),
            Part::Ranks { ranks, .. } => 16 * ranks.len(),
        };
        self.parts.iter().flatten().map(of).sum()
    }

    /// What the provider counted of the calls that it answered. `None` when it counts nothing, or not all.
    pub fn used(&self) -> Option<Used> {
        let mut input = Some(0u64);
        for part in self.parts.iter().flatten() {
            let (Part::Vectors(Vectors { tokens, .. }) | Part::Ranks { tokens, .. }) = part;
            input = input.zip(*tokens).map(|(all, one)| all.saturating_add(one));
        }
        let tokens = input.map(|input| TokenUsage { input, ..TokenUsage::default() });
        match &self.answers.told {
            _ if self.parts.iter().all(Option::is_none) => None,
            Told::Ranks { searches, .. } => {
                let units = Units { searches: *searches, ..Units::default() };
                Some(Used { tokens, units, ..Used::default() })
            }
            Told::Vectors { .. } => tokens.map(|tokens| Used { tokens: Some(tokens), ..Used::default() }),
        }
    }

    /// The answer in the caller's form. `None` while one is missing.
    pub fn answer(&self) -> Option<Vec<u8>> {
        match &self.answers.told {
            Told::Vectors { base64, .. } => {
                let mut vectors = Vec::with_capacity(self.parts.len());
                for part in &self.parts {
                    let Some(Part::Vectors(one)) = part else { return None };
                    vectors.push(one);
                }
                embeddings::answer(vectors, &self.answers.model, *base64)
            }
            Told::Ranks { searches, .. } => match self.parts.first() {
                Some(Some(Part::Ranks { ranks, .. })) => Some(rerank::answer(ranks, *searches)),
                _ => None,
            },
        }
    }
}

#[cfg(test)]
mod tests;
