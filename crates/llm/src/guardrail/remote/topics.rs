//! Topics: what is said is cut in pieces, and the embedding of each piece is compared with those of examples.
//!
//! Good for what is said in whatever words. Only as good as the model of the embeddings and the examples, and a piece that
//! speaks of many things is near to none of them.

use super::{Said, Unusable, Verdict};
use crate::{
    affinity,
    embedding::product,
    guardrail::{
        boundary,
        text::{Origin, Unreadable},
    },
};
use credentialflow_model::{Name, resource::Guardrail};
use std::collections::HashSet;

/// So many texts are asked about in one question: what servers of one's own take at once unless set otherwise.
pub const MOST_INPUTS: usize = 32;
/// A call, or an answer, has so many pieces at the most.
pub(in crate::guardrail) const MOST_PIECES: usize = 1024;
/// Bytes of a piece at most: a few sentences, as long as models compare well.
const PIECE: usize = 600;
/// What a finding is called where it is of no topic that may be talked about.
const OTHER: &str = "other";

/// What is talked about, and how near it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Topics {
    model: Name,
    names: Vec<Name>,
    /// Each with the place of its topic's name.
    examples: Vec<(usize, String)>,
    threshold: f32,
    only: bool,
    mark: u64,
}

/// The topic that a piece is nearest to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest<'t> {
    /// Its name.
    pub topic: &'t str,
    /// How near: the cosine with the nearest of its examples.
    pub cosine: f32,
    /// Whether that is near enough.
    pub near: bool,
}

impl Topics {
    pub(super) fn of(rule: &Guardrail) -> Result<Self, String> {
        let model = rule.embedding_model.clone().ok_or("the model that makes embeddings is missing")?;
        let with_place = rule.topics.iter().enumerate();
        let examples: Vec<(usize, String)> = with_place
            .flat_map(|(place, topic)| topic.examples.iter().map(move |example| (place, example.clone())))
            .collect();
        let text = serde_json::to_string(&(&model, &examples)).map_err(|e| e.to_string())?;
        Ok(Self {
            model,
            names: rule.topics.iter().map(|topic| topic.name.clone()).collect(),
            examples,
            threshold: rule.threshold.unwrap_or(Guardrail::THRESHOLD) as f32,
            only: rule.only,
            mark: affinity::of(text.as_bytes()),
        })
    }

    /// The declared model that makes the embeddings.
    pub const fn model(&self) -> &Name {
        &self.model
    }

    /// The examples of all topics.
    pub fn examples(&self) -> Vec<&str> {
        self.examples.iter().map(|(_, example)| example.as_str()).collect()
    }

    /// A number that stands for the model and the examples: what their embeddings are kept by.
    pub const fn mark(&self) -> u64 {
        self.mark
    }

    /// What is compared of these texts, those of an answer or of a call, and of what callers say beside them; each once.
    ///
    /// # Errors
    /// It is more than is compared.
    pub fn pieces<'s>(&self, said: &'s [Said], unseen: &'s [String], answer: bool) -> Result<Vec<&'s str>, Unreadable> {
        let looks = |said: &&Said| match (answer, self.only) {
            (true, only) => !only || said.words,
            // The application's own words tell what not to talk about, and what the model said was judged then.
            (false, false) => matches!(said.origin, Origin::Caller | Origin::Tool),
            // What tools answer, and whose call it is, is of no topic.
            (false, true) => said.words && said.origin == Origin::Caller,
        };
        let texts = said.iter().filter(looks).map(|said| said.text.as_str());
        let (mut known, mut all) = (HashSet::new(), Vec::new());
        for piece in texts.chain(unseen.iter().map(String::as_str)).flat_map(cut) {
            if piece.chars().any(char::is_alphabetic) && known.insert(piece) {
                if all.len() == MOST_PIECES {
                    return Err(Unreadable::TooManyPieces);
                }
                all.push(piece);
            }
        }
        Ok(all)
    }

    /// The topic that a piece is nearest to, by its embedding and those of the examples.
    ///
    /// # Errors
    /// They are of other lengths: of other models.
    pub fn nearest(&self, examples: &[Vec<f32>], piece: &[f32]) -> Result<Nearest<'_>, Unusable> {
        self.each(examples, piece)?
            .max_by(|a, b| a.cosine.total_cmp(&b.cosine))
            .ok_or(Unusable("there are no examples"))
    }

    /// How near a piece is to each topic.
    fn each<'t, 'v>(
        &'t self,
        examples: &'v [Vec<f32>],
        piece: &'v [f32],
    ) -> Result<impl Iterator<Item = Nearest<'t>>, Unusable> {
        if examples.len() != self.examples.len() || examples.iter().any(|example| example.len() != piece.len()) {
            return Err(Unusable("embeddings of texts and of examples have different lengths"));
        }
        let cosine = move |place: usize| {
            let its = self.examples.iter().zip(examples).filter(move |((of, _), _)| *of == place);
            its.map(|(_, example)| product(example, piece)).fold(-1.0, f32::max)
        };
        Ok(self.names.iter().enumerate().map(move |(place, name)| {
            let cosine = cosine(place);
            // What is the same may be a little less than one by its rounding.
            Nearest { topic: name.as_str(), cosine, near: cosine + 1e-6 >= self.threshold }
        }))
    }

    /// What these embeddings of pieces say, beside those of the examples.
    ///
    /// # Errors
    /// They are of other lengths: of other models.
    pub fn verdict(&self, examples: &[Vec<f32>], pieces: &[Vec<f32>]) -> Result<Verdict, Unusable> {
        let mut verdict = Verdict::default();
        for piece in pieces {
            let mut near = self.each(examples, piece)?.filter(|topic| topic.near).peekable();
            match self.only {
                false => near.for_each(|topic| verdict.call(topic.topic)),
                true if near.peek().is_none() => verdict.call(OTHER),
                true => {}
            }
        }
        Ok(verdict)
    }
}

/// A text in pieces: it is cut where a sentence or a line ends, else between words, else between characters.
fn cut(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text.trim();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = if rest.len() <= PIECE { rest.len() } else { end_of_piece(&rest[..boundary(rest, PIECE)]) };
        let (piece, behind) = rest.split_at(end);
        rest = behind.trim_start();
        Some(piece.trim_end())
    })
}

/// Where to cut a text that goes on behind this.
fn end_of_piece(text: &str) -> usize {
    let mut word = None;
    let mut behind: Option<char> = None;
    for (at, c) in text.char_indices().rev() {
        let end = at + c.len_utf8();
        let ends = match c {
            '\n' | '。' | '！' | '？' => true,
            '.' | '!' | '?' => behind.is_some_and(char::is_whitespace),
            _ => false,
        };
        if ends {
            return end;
        }
        if c.is_whitespace() {
            word = word.or(Some(end));
        }
        behind = Some(c);
    }
    word.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn topics(more: serde_json::Value) -> Topics {
        let mut rule = json!({"detect": "topics", "action": "block", "embedding_model": "e", "topics": [
            {"name": "politics", "examples": ["Whom should I vote for?", "the government"]},
            {"name": "medicine", "examples": ["which pill helps?"]}]});
        more.as_object().unwrap().iter().for_each(|(name, value)| rule[name] = value.clone());
        Topics::of(&serde_json::from_value(rule).unwrap()).unwrap()
    }

    fn said(text: &str, origin: Origin, words: bool) -> Said {
        Said { text: text.into(), origin, words }
    }

    #[test]
    fn what_users_and_tools_say_is_compared_and_each_once() {
        let texts = [
            said("never talk of votes", Origin::Application, true),
            said("Hello.", Origin::Caller, true),
            said("ada", Origin::Caller, false),
            said("from a tool", Origin::Tool, true),
            said("I am a model", Origin::Model, true),
            said("Hello.", Origin::Caller, true),
            said("12:30", Origin::Caller, true),
        ];
        let unseen = ["in a prompt".to_owned()];
        let (any, only) = (topics(json!({})), topics(json!({"only": true})));
        assert_eq!(any.pieces(&texts, &unseen, false).unwrap(), ["Hello.", "ada", "from a tool", "in a prompt"]);
        assert_eq!(only.pieces(&texts, &unseen, false).unwrap(), ["Hello.", "in a prompt"]);
        let answer = [said("an answer", Origin::Model, true), said("{\"to\": \"a tool\"}", Origin::Model, false)];
        assert_eq!(any.pieces(&answer, &[], true).unwrap().len(), 2);
        assert_eq!(only.pieces(&answer, &[], true).unwrap(), ["an answer"]);
    }

    #[test]
    fn long_texts_are_cut_between_sentences() {
        let sentence = "Each of these sentences is of some length, and ends. ";
        let text = sentence.repeat(30);
        let pieces: Vec<_> = cut(&text).collect();
        assert!(
            pieces.len() > 2 && pieces.iter().all(|p| p.len() <= PIECE && p.starts_with("Each") && p.ends_with('.'))
        );
        let words = "word ".repeat(400);
        assert!(cut(&words).all(|piece| piece.len() <= PIECE && piece.split(' ').all(|word| word == "word")));
        let row = "é".repeat(1000);
        assert_eq!(cut(&row).map(str::len).collect::<Vec<_>>(), [600, 600, 600, 200]);
        assert_eq!(cut(" \n").count(), 0);
        let chinese = "这是一个句子。".repeat(60);
        assert!(cut(&chinese).all(|piece| piece.ends_with('。')));
    }

    #[test]
    fn more_than_is_compared_is_refused() {
        let any = topics(json!({}));
        let text = |n: usize| {
            [said(
                &(0..n).map(|i| format!("{}\n", format!("w{i} ").repeat(110))).collect::<String>(),
                Origin::Caller,
                true,
            )]
        };
        let (some, many) = (text(400), text(1500));
        assert!(any.pieces(&some, &[], false).unwrap().len() >= 400);
        assert_eq!(any.pieces(&many, &[], false), Err(Unreadable::TooManyPieces));
    }

    #[test]
    fn the_nearest_example_decides() {
        let examples = [vec![1.0, 0.0, 0.0], vec![0.0, 1.0, 0.0], vec![0.0, 0.0, 1.0]];
        let labels = |topics: &Topics, pieces: &[Vec<f32>]| {
            let verdict = topics.verdict(&examples, pieces).unwrap();
            assert_eq!(verdict.found, !verdict.labels.is_empty());
            verdict.labels.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let any = topics(json!({"threshold": 0.6}));
        let (vote, pill, none) = (vec![0.0, 0.6, 0.0], vec![0.1, 0.0, 0.9], vec![0.5, 0.5, 0.5]);
        assert_eq!(labels(&any, std::slice::from_ref(&vote)), ["politics"]);
        assert_eq!(labels(&any, &[none.clone(), pill.clone(), vote.clone(), pill.clone()]), ["medicine", "politics"]);
        assert!(labels(&any, std::slice::from_ref(&none)).is_empty());
        assert_eq!(labels(&topics(json!({})), std::slice::from_ref(&none)), ["politics", "medicine"], "0.5 unless set");
        let only = topics(json!({"threshold": 0.6, "only": true}));
        assert!(labels(&only, &[vote.clone(), pill]).is_empty());
        assert_eq!(labels(&only, &[vote.clone(), none]), ["other"]);
        let nearest = any.nearest(&examples, &vote).unwrap();
        assert_eq!(nearest, Nearest { topic: "politics", cosine: 0.6, near: true });
        for (examples, piece) in [(&examples[..2], &vote[..]), (&examples[..], &vote[..2])] {
            assert!(any.verdict(examples, &[piece.to_vec()]).is_err(), "of another model");
        }
    }

    #[test]
    fn a_mark_stands_for_the_model_and_the_examples() {
        let mark = |more| topics(more).mark();
        assert_eq!(mark(json!({})), mark(json!({"threshold": 0.9, "only": true, "action": "flag"})));
        assert_ne!(mark(json!({})), mark(json!({"embedding_model": "f"})));
        assert_ne!(mark(json!({})), mark(json!({"topics": [{"name": "politics", "examples": ["vote"]}]})));
    }

    proptest! {
        #[test]
        fn nothing_is_lost_by_cutting(text in "(\\PC{0,40}[ .\n]){0,60}") {
            let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let pieces: Vec<_> = cut(&text).collect();
            prop_assert_eq!(plain(&pieces.concat()), plain(&text));
            prop_assert!(pieces.iter().all(|piece| piece.len() <= PIECE && !piece.is_empty()));
        }
    }
}
