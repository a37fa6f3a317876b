//! What is counted of a call beside tokens: images, seconds of sound, characters, searches.

use super::Task;
use crate::bound::Bound;

/// Tokens of an image at the most, read or written: the largest and finest that image models are known to make have
/// fewer.
const IMAGE_TOKENS: u64 = 16_384;
/// Sound is taken to have at least so many bytes a second (4 kbit/s).
const BYTES_OF_SECOND: u64 = 500;
/// Tokens of a second of sound at the most, as heard; and as many are written of it.
const TOKENS_OF_SECOND: u64 = 16;
/// Tokens of sound for each byte of a text that is spoken, at the most.
const SPOKEN_TOKENS_OF_BYTE: u64 = 8;
/// So many documents are one search; longer ones count as several.
const DOCUMENTS_OF_SEARCH: u64 = 100;
/// So many tokens of a document, and of the query with it, are at least one of those.
const TOKENS_OF_DOCUMENT: u64 = 500;

/// What has a price of its own beside tokens, or among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// Of the input tokens, those of images that come from no cache.
    pub image_tokens: u64,
    /// Of the input tokens, those of sound that come from no cache.
    pub audio_tokens: u64,
    /// Of the input tokens, those of images out of a cache.
    pub cached_image_tokens: u64,
    /// Of the input tokens, those of sound out of a cache.
    pub cached_audio_tokens: u64,
    /// Of the output tokens, those of sound.
    pub audio_output_tokens: u64,
    /// Of the output tokens, those of images, for which there is no price.
    pub image_output_tokens: u64,
    /// Images that are made.
    pub images: u64,
    /// Seconds of sound that are heard, begun ones as whole.
    pub seconds: u64,
    /// Characters that are spoken.
    pub characters: u64,
    /// Searches, as providers of ranking count them.
    pub searches: u64,
}

/// How much a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Answers or images that are to be made.
    pub n: u64,
    /// Characters to speak.
    pub characters: u64,
    /// Bytes of the query to rank by.
    pub query: u64,
    /// Documents to rank.
    pub documents: u64,
    /// Images that come along.
    pub files: u64,
    /// Bytes of the texts beside a file.
    pub texts: u64,
    /// Whether the sound to hear may lie elsewhere, so that the body says nothing of its length.
    pub elsewhere: bool,
}

impl Default for Size {
    fn default() -> Self {
        Self { n: 1, characters: 0, query: 0, documents: 0, files: 0, texts: 0, elsewhere: false }
    }
}

impl Size {
    /// What is known before the answer.
    pub const fn units(&self, task: Task) -> Units {
        let none = Units {
            image_tokens: 0,
            audio_tokens: 0,
            cached_image_tokens: 0,
            cached_audio_tokens: 0,
            audio_output_tokens: 0,
            image_output_tokens: 0,
            images: 0,
            seconds: 0,
            characters: 0,
            searches: 0,
        };
        match task {
            Task::ImageGenerations | Task::ImageEdits => Units { images: self.n, ..none },
            Task::Speech => Units { characters: self.characters, ..none },
            _ => none,
        }
    }

    /// Whether nobody can say how much such a call may use: what is heard is not in its body.
    pub const fn is_unbounded(&self, task: Task) -> bool {
        matches!(task, Task::Transcriptions | Task::Translations) && self.elsewhere
    }

    /// The most that a call of so many bytes may use, unless that [cannot be said](Self::is_unbounded): a token has at least one byte of text, and what is no text is taken
    /// as large as this module says.
    pub fn most(&self, task: Task, bytes: u64) -> (Bound, Units) {
        let usual = self.units(task);
        let images = |count: u64| count.saturating_mul(IMAGE_TOKENS);
        let heard = bytes.div_ceil(BYTES_OF_SECOND);
        match task {
            Task::Chat | Task::Embeddings | Task::Moderations | Task::Realtime | Task::Batches | Task::Files => {
                (Bound { input: bytes, output: 0 }, usual)
            }
            Task::Rerank => {
                // The query is read with each document.
                let input = bytes.saturating_add(self.query.saturating_mul(self.documents));
                let documents = self.documents.saturating_add(input / TOKENS_OF_DOCUMENT);
                let searches = documents.div_ceil(DOCUMENTS_OF_SEARCH).max(1);
                (Bound { input, output: 0 }, Units { searches, ..usual })
            }
            Task::ImageGenerations => (Bound { input: bytes, output: images(self.n) }, usual),
            Task::ImageEdits => {
                let read = images(self.files);
                let bound = Bound { input: bytes.saturating_add(read), output: images(self.n) };
                (bound, Units { image_tokens: read, ..usual })
            }
            Task::Speech => (Bound { input: bytes, output: bytes.saturating_mul(SPOKEN_TOKENS_OF_BYTE) }, usual),
            Task::Transcriptions | Task::Translations => {
                let tokens = heard.saturating_mul(TOKENS_OF_SECOND);
                let bound = Bound { input: tokens.saturating_add(self.texts), output: tokens };
                (bound, Units { audio_tokens: tokens, seconds: heard, ..usual })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_a_call_may_use() {
        let size = Size { n: 3, characters: 40, query: 10, documents: 150, files: 2, texts: 5, elsewhere: false };
        let most = |task| size.most(task, 1000);
        assert_eq!(most(Task::Embeddings), (Bound { input: 1000, output: 0 }, Units::default()));
        let (bound, units) = most(Task::Rerank);
        assert_eq!((bound.input, bound.output, units.searches), (2500, 0, 2));
        let (bound, units) = most(Task::ImageEdits);
        assert_eq!((bound.input, bound.output), (1000 + 2 * IMAGE_TOKENS, 3 * IMAGE_TOKENS));
        assert_eq!((units.images, units.image_tokens), (3, 2 * IMAGE_TOKENS));
        let (bound, units) = most(Task::Speech);
        assert_eq!((bound.input, bound.output, units.characters), (1000, 8000, 40));
        let (bound, units) = most(Task::Transcriptions);
        assert_eq!((bound.input, bound.output, units.seconds, units.audio_tokens), (37, 32, 2, 32));
        // A call of one document of no size is a search.
        assert_eq!(Size::default().most(Task::Rerank, 0).1.searches, 1);
        // Nothing runs over.
        let most = u64::MAX;
        let huge =
            Size { n: most, characters: most, query: most, documents: most, files: most, texts: most, elsewhere: true };
        for task in Task::ALL {
            assert_eq!(huge.is_unbounded(task), matches!(task, Task::Transcriptions | Task::Translations));
            huge.most(task, u64::MAX);
        }
    }
}
