//! What callers ask of models beside a conversation: embeddings, moderation, images, speech, transcripts, ranking.
//!
//! All come in OpenAI's form (ranking in the one of Cohere and Jina): one call, one answer, and bytes pass unchanged but
//! for the model's name. [`call`] reads what is asked, in JSON or in a [form](multipart); [`usage`] reads what the answer
//! counts; [`units`] is what is counted beside tokens. Which provider offers what stands in [`crate::provider`].

pub mod call;
pub mod multipart;
pub mod units;
pub mod usage;

use std::fmt;

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A conversation, in any dialect.
    Chat,
    /// `/embeddings`
    Embeddings,
    /// `/moderations`
    Moderations,
    /// `/images/generations`
    ImageGenerations,
    /// `/images/edits`
    ImageEdits,
    /// `/audio/speech`
    Speech,
    /// `/audio/transcriptions`
    Transcriptions,
    /// `/audio/translations`
    Translations,
    /// `/rerank`
    Rerank,
    /// `/realtime`, a session over a WebSocket
    Realtime,
    /// `/batches`, and the files with their calls
    Batches,
    /// `/files` of any other use
    Files,
}

impl Task {
    /// Every task, in the order in which they are told.
    pub const ALL: [Self; 12] = [
        Self::Chat,
        Self::Embeddings,
        Self::Moderations,
        Self::ImageGenerations,
        Self::ImageEdits,
        Self::Speech,
        Self::Transcriptions,
        Self::Translations,
        Self::Rerank,
        Self::Realtime,
        Self::Batches,
        Self::Files,
    ];

    /// As people read it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::ImageGenerations => "image generations",
            Self::ImageEdits => "image edits",
            Self::Speech => "speech",
            Self::Transcriptions => "transcriptions",
            Self::Translations => "translations",
            Self::Rerank => "rerank",
            Self::Realtime => "realtime",
            Self::Batches => "batches",
            Self::Files => "files",
        }
    }

    /// Where it is asked for below a base URL, in OpenAI's form.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Embeddings => "/embeddings",
            Self::Moderations => "/moderations",
            Self::ImageGenerations => "/images/generations",
            Self::ImageEdits => "/images/edits",
            Self::Speech => "/audio/speech",
            Self::Transcriptions => "/audio/transcriptions",
            Self::Translations => "/audio/translations",
            Self::Rerank => "/rerank",
            Self::Realtime => "/realtime",
            Self::Batches => "/batches",
            Self::Files => "/files",
        }
    }

    /// Whether a call may come as a form with files.
    pub const fn may_be_form(self) -> bool {
        matches!(self, Self::ImageEdits | Self::Transcriptions | Self::Translations | Self::Batches | Self::Files)
    }

    /// Whether what such a call costs can be estimated from the text that goes and comes.
    pub const fn is_of_text(self) -> bool {
        matches!(self, Self::Chat | Self::Embeddings | Self::Moderations | Self::Rerank)
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of tasks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Tasks(u16);

impl Tasks {
    /// A conversation and nothing else.
    pub const CHAT: Self = Self::of(&[Task::Chat]);
    /// All that OpenAI offers.
    pub const OPENAI: Self = Self::of(&[
        Task::Chat,
        Task::Embeddings,
        Task::Moderations,
        Task::ImageGenerations,
        Task::ImageEdits,
        Task::Speech,
        Task::Transcriptions,
        Task::Translations,
        Task::Realtime,
        Task::Batches,
        Task::Files,
    ]);

    /// All there are.
    pub const ALL: Self = Self::of(&Task::ALL);

    /// These.
    pub const fn of(tasks: &[Task]) -> Self {
        Self(0).and(tasks)
    }

    /// With these as well.
    pub const fn and(self, tasks: &[Task]) -> Self {
        let (mut set, mut i) = (self.0, 0);
        while i < tasks.len() {
            set |= 1 << tasks[i] as u16;
            i += 1;
        }
        Self(set)
    }

    /// Whether it is one of them.
    pub const fn has(self, task: Task) -> bool {
        self.0 & 1 << task as u16 != 0
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Task> {
        Task::ALL.into_iter().filter(move |task| self.has(*task))
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in() {
        let set = Tasks::of(&[Task::Embeddings, Task::Rerank]);
        assert!(Task::ALL.into_iter().all(|t| set.has(t) == matches!(t, Task::Embeddings | Task::Rerank)));
        assert!(set.and(&[Task::Chat]).iter().eq([Task::Chat, Task::Embeddings, Task::Rerank]));
        assert!(Tasks::OPENAI.iter().all(|task| task != Task::Rerank));
        for (i, task) in Task::ALL.into_iter().enumerate() {
            assert_eq!(task as usize, i, "{task}");
        }
    }
}
