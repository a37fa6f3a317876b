//! `credentialflow leak scan`: sends logs to the server piece by piece and tells where secrets of ours stand in them.
//!
//! However long a log is, a piece of it is held and no more. Each piece begins with the end of the one before, so that
//! nothing that is cut in two is missed. What a log has not said for a moment is not waited for.

use crate::{
    client::Client,
    command::tell_failure,
    output::{Output, at, items, shown},
};
use anyhow::Context;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

/// New bytes of a piece at most, and how much of what came before is sent again: no secret that is found is longer.
const FRESH: usize = 48 << 10;
const AGAIN: usize = 16 << 10;
/// So long more is waited for before what there is is sent.
const QUIET: Duration = Duration::from_millis(200);

/// What the server is told with each piece.
pub(super) struct Told {
    pub dry_run: bool,
    pub url: Option<String>,
    pub note: Option<String>,
}

/// What came of a search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Searched {
    /// Whether anything was found.
    pub found: bool,
    /// Whether all was searched.
    pub whole: bool,
}

/// Searches logs one after the other, standard input where there is none. One that cannot be searched is told, and keeps
/// none of the others from it.
pub(super) async fn all(client: &Client, output: Output, files: &[PathBuf], told: &Told) -> Searched {
    let input = [PathBuf::from("-")];
    let mut searched = Searched { found: false, whole: true };
    for file in if files.is_empty() { &input } else { files } {
        if let Err(error) = one(client, output, file, told, &mut searched).await {
            searched.whole = false;
            tell_failure(&error, output);
        }
    }
    if searched == (Searched { found: false, whole: true })
        && !output.is_json()
        && let Err(error) = output.raw("None of our secrets stands in it.\n")
    {
        tell_failure(&error.into(), output);
    }
    searched
}

async fn one(client: &Client, output: Output, file: &Path, told: &Told, searched: &mut Searched) -> anyhow::Result<()> {
    let is_input = file == Path::new("-");
    let name = if is_input { "standard input".to_owned() } else { file.display().to_string() };
    let unreadable = || format!("{name} cannot be read");
    let from: Box<dyn Read + Send> = match is_input {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file).with_context(unreadable)?),
    };
    let mut pieces = read(from);
    let mut window = Window::default();
    let url = told.url.clone().or_else(|| (!is_input).then(|| name.clone()));
    let mut open = true;
    while open {
        let Some(piece) = pieces.recv().await else { break };
        window.add(&piece.with_context(unreadable)?);
        while window.fresh() < FRESH {
            match tokio::time::timeout(QUIET, pieces.recv()).await {
                Ok(Some(piece)) => window.add(&piece.with_context(unreadable)?),
                Ok(None) => open = false,
                Err(_) => break,
            }
            if !open {
                break;
            }
        }
        let body = json!({
            "text": readable(&window.bytes), "offset": window.offset, "line": window.line, "seen": window.seen,
            "dry_run": told.dry_run, "url": url, "note": told.note,
        });
        let answer = client.post("/api/v1/leaks/scan", &body).await;
        let answer =
            answer.with_context(|| format!("{name} was searched up to byte {}", window.offset + window.seen as u64))?;
        for place in items(&json!({ "items": answer.get("found") })) {
            searched.found = true;
            let mut place = place.clone();
            place["file"] = json!(name);
            output.line(&place, line)?;
        }
        if answer.get("complete") == Some(&Value::Bool(false)) {
            searched.whole = false;
            let until = window.offset + window.bytes.len() as u64;
            output.progress(&format!("{name}: not all was searched of what comes before byte {until}"));
        }
        window.shift();
    }
    Ok(())
}

/// Reads on a thread of its own, since nobody can say when more comes. At most two pieces wait.
fn read(mut from: Box<dyn Read + Send>) -> mpsc::Receiver<io::Result<Zeroizing<Vec<u8>>>> {
    let (sender, pieces) = mpsc::channel(2);
    std::thread::spawn(move || {
        loop {
            let mut piece = Zeroizing::new(vec![0; FRESH / 4]);
            let read = match from.read(&mut piece) {
                Ok(0) => return,
                Ok(n) => Ok(n),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            let piece = read.map(|n| {
                piece.truncate(n);
                piece
            });
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    pieces
}

/// The piece of a log that is sent next.
struct Window {
    bytes: Zeroizing<Vec<u8>>,
    /// So many bytes at its beginning were sent before.
    seen: usize,
    /// How many bytes of the log come before it.
    offset: u64,
    /// The line that it begins in.
    line: u64,
}

impl Default for Window {
    fn default() -> Self {
        // Large enough that it is never moved.
        Self { bytes: Zeroizing::new(Vec::with_capacity(AGAIN + 2 * FRESH)), seen: 0, offset: 0, line: 1 }
    }
}

impl Window {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    fn fresh(&self) -> usize {
        self.bytes.len() - self.seen
    }

    /// It was sent.
    fn shift(&mut self) {
        let over = self.bytes.len().saturating_sub(AGAIN);
        self.line += self.bytes[..over].iter().filter(|b| **b == b'\n').count() as u64;
        self.offset += over as u64;
        self.bytes.drain(..over);
        self.seen = self.bytes.len();
    }
}

/// As text of as many bytes: what is none becomes question marks.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(std::iter::repeat_n('?', chunk.invalid().len()));
    }
    text
}

fn line(place: &Value) -> String {
    let part = |name: &str| shown(&at(place, name));
    let leak = match place.get("leak") {
        None => "not recorded".to_owned(),
        Some(_) => format!("leak {}", part("/leak")),
    };
    let whose = match place.get("application") {
        None => String::new(),
        Some(_) => format!(" of application {}", part("/application")),
    };
    let (file, line, byte) = (part("/file"), part("/line"), part("/offset"));
    let (kind, name, version) = (part("/kind"), part("/name"), part("/version"));
    format!("{file}:{line}: {kind}/{name} version {version}{whose} at byte {byte} ({leak})\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_piece_begins_with_the_end_of_the_one_before_and_is_bounded() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        let mut window = Window::default();
        let capacity = window.bytes.capacity();
        for piece in text.chunks(FRESH) {
            window.add(piece);
            let begin = window.offset as usize;
            assert_eq!(&*window.bytes, &text[begin..begin + window.bytes.len()]);
            assert_eq!(window.line as usize, 1 + text[..begin].iter().filter(|b| **b == b'\n').count());
            assert_eq!(window.seen, if begin == 0 && window.seen == 0 { 0 } else { AGAIN });
            window.shift();
        }
        assert_eq!(window.bytes.capacity(), capacity);
    }

    #[test]
    fn what_is_no_text_keeps_its_length() {
        for (bytes, text) in
            [(&b"ab\xff\xfec"[..], "ab??c"), ("a\u{e4}b".as_bytes(), "a\u{e4}b"), (&"\u{20ac}".as_bytes()[..2], "??")]
        {
            assert_eq!((readable(bytes).as_str(), readable(bytes).len()), (text, bytes.len()));
        }
    }

    #[tokio::test]
    async fn a_reader_gives_what_there_is_and_ends() {
        let mut pieces = read(Box::new(io::Cursor::new(vec![7; FRESH])));
        let mut length = 0;
        while let Some(piece) = pieces.recv().await {
            length += piece.unwrap().len();
        }
        assert_eq!(length, FRESH);
    }

    #[test]
    fn a_place_is_one_line() {
        let place = json!({ "file": "a\u{1b}.log", "line": 3, "kind": "key", "name": "k", "version": 1, "application": "a", "offset": 7, "leak": "x" });
        assert_eq!(line(&place), "a\u{fffd}.log:3: key/k version 1 of application a at byte 7 (leak x)\n");
    }
}
