//! Collects problems, keeps their number bounded, and words the common ones.

use super::MAX_PROBLEMS;
use crate::{Location, Problem, Problems};

/// Problems of one or more documents.
#[derive(Default)]
pub(super) struct Report {
    list: Vec<Problem>,
    more: usize,
}

impl Report {
    /// Adds one problem; above [`MAX_PROBLEMS`] they are only counted.
    pub fn add(
        &mut self,
        file: Option<&str>,
        at: Location,
        path: impl Into<String>,
        code: &str,
        detail: impl Into<String>,
        hint: Option<String>,
    ) {
        if self.list.len() >= MAX_PROBLEMS {
            self.more += 1;
            return;
        }
        self.list.push(Problem {
            file: file.map(str::to_owned),
            at,
            path: path.into(),
            code: code.to_owned(),
            detail: detail.into(),
            hint,
        });
    }

    /// Whether no problem was found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.more == 0
    }

    /// Takes over the problems of another report.
    pub fn merge(&mut self, other: Self) {
        let room = MAX_PROBLEMS.saturating_sub(self.list.len());
        self.more += other.more + other.list.len().saturating_sub(room);
        self.list.extend(other.list.into_iter().take(room));
    }

    /// The problems in the order of the texts.
    pub fn finish(mut self) -> Problems {
        self.list.sort_by(|a, b| (&a.file, a.at, &a.path).cmp(&(&b.file, b.at, &b.path)));
        if self.more > 0 {
            self.list.push(Problem {
                file: None,
                at: Location::default(),
                path: String::new(),
                code: "too_many_problems".to_owned(),
                detail: format!("{} more problems are not listed", self.more),
                hint: Some("mend the ones listed and check again".to_owned()),
            });
        }
        Problems(self.list)
    }
}

/// A key or name in quotes if it is short and plain, else a neutral word: what people wrote by
/// mistake may be a secret.
pub(super) fn shown(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    if !word.is_empty() && word.len() <= 40 && word.bytes().all(plain) {
        format!("`{word}`")
    } else {
        "this one".to_owned()
    }
}

/// The known word nearest to a mistyped one, if it is near enough to be meant.
pub(super) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase();
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&word, &k.to_lowercase()), k))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}

/// A hint for a word that is not among the known ones.
pub(super) fn known_words(word: &str, known: &[&str]) -> String {
    let list = known.join(", ");
    match nearest(word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`? known: {list}"),
        None => format!("known: {list}"),
    }
}
