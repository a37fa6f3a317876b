//! YAML text to a tree of nodes, within limits. JSON is a subset.
//!
//! Anchors, aliases, merge keys, tags and further documents are refused: configuration needs none of
//! them, and they are how small texts become huge trees.

use super::{
    MAX_DEPTH, MAX_NODES,
    node::{Entry, Node, Scalar, Value},
    report::{Report, shown},
};
use crate::Location;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle};
use std::{borrow::Cow, collections::HashSet};

/// Reads one text. `None` when there is no tree worth decoding; the report says why.
pub(super) fn parse<'a>(file: &str, text: &'a str, report: &mut Report) -> Option<Node<'a>> {
    let mut builder = Builder { file, report, open: Vec::new(), root: None, nodes: 0, sound: true };
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut documents = 0;
    loop {
        let (event, span) = match parser.next_event()? {
            Ok(next) => next,
            Err(error) => {
                let hint = "check the indentation, quotes and brackets near this place";
                builder.problem(
                    place(error.marker()),
                    "syntax",
                    format!("this is no valid YAML: {}", error.info()),
                    hint,
                );
                return None;
            }
        };
        let at = place(&span.start);
        let more = match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    let hint = "give each document a file of its own, or merge the lists";
                    builder.problem(at, "several_documents", "a second document begins here", hint);
                    return None;
                }
                true
            }
            event => builder.take(event, at),
        };
        if !more {
            return None;
        }
    }
    let sound = builder.sound;
    builder.root.filter(|_| sound)
}

fn place(mark: &Marker) -> Location {
    let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Location { line: bounded(mark.line()), column: bounded(mark.col() + 1) }
}

struct Builder<'a, 'r> {
    file: &'r str,
    report: &'r mut Report,
    open: Vec<Open<'a>>,
    root: Option<Node<'a>>,
    nodes: usize,
    sound: bool,
}

enum Open<'a> {
    Sequence(Location, Vec<Node<'a>>),
    Mapping { at: Location, entries: Vec<Entry<'a>>, key: Option<Pending<'a>>, seen: HashSet<Cow<'a, str>> },
}

/// A key that waits for its value; `None` where the key was refused and the value is dropped.
type Pending<'a> = Option<(Cow<'a, str>, Location)>;

/// Mappings up to this size are searched for duplicates without a table.
const SMALL: usize = 16;

impl<'a> Builder<'a, '_> {
    fn problem(&mut self, at: Location, code: &str, detail: impl Into<String>, hint: &str) {
        self.sound = false;
        self.report.add(Some(self.file), at, "", code, detail, Some(hint.to_owned()));
    }

    /// Takes one event; false when reading must stop.
    fn take(&mut self, event: Event<'a>, at: Location) -> bool {
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) | Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                (*anchor > 0, tag.is_some())
            }
            Event::Alias(_) => (true, false),
            _ => (false, false),
        };
        if anchor {
            self.problem(at, "anchor", "anchors and aliases (&, *) are not taken", "write the value out, or quote it");
        }
        if tag {
            self.problem(at, "tag", "tags (!) are not taken", "remove the tag, or quote the text");
        }
        match event {
            Event::Scalar(text, style, ..) => {
                if self.at_key() {
                    self.key(text, style, at);
                    return true;
                }
                self.value(Node { at, value: Value::Scalar(Scalar { text, quoted: style != ScalarStyle::Plain }) })
            }
            Event::Alias(_) if self.at_key() => {
                self.set_key(None);
                true
            }
            Event::Alias(_) => self.value(Node::nothing(at)),
            Event::SequenceStart(..) => self.open(at, Open::Sequence(at, Vec::new())),
            Event::MappingStart(..) => {
                self.open(at, Open::Mapping { at, entries: Vec::new(), key: None, seen: HashSet::new() })
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence(at, items)) => self.value(Node { at, value: Value::Sequence(items) }),
                Some(Open::Mapping { at, entries, .. }) => self.value(Node { at, value: Value::Mapping(entries) }),
                None => true,
            },
            _ => true,
        }
    }

    fn at_key(&self) -> bool {
        matches!(self.open.last(), Some(Open::Mapping { key: None, .. }))
    }

    fn set_key(&mut self, pending: Pending<'a>) {
        if let Some(Open::Mapping { key, .. }) = self.open.last_mut() {
            *key = Some(pending);
        }
    }

    fn key(&mut self, text: Cow<'a, str>, style: ScalarStyle, at: Location) {
        if style == ScalarStyle::Plain && text == "<<" {
            self.problem(at, "merge_key", "merge keys (<<) are not taken", "write the fields out");
            return self.set_key(None);
        }
        let twice = match self.open.last_mut() {
            Some(Open::Mapping { entries, seen, .. }) if entries.len() < SMALL => {
                let twice = entries.iter().any(|e| e.key == text);
                if entries.len() + 1 == SMALL {
                    seen.extend(entries.iter().map(|e| e.key.clone()));
                    seen.insert(text.clone());
                }
                twice
            }
            Some(Open::Mapping { seen, .. }) => !seen.insert(text.clone()),
            _ => false,
        };
        if twice {
            let detail = format!("the key {} is given twice", shown(&text));
            let hint = Some("keep one of them".to_owned());
            self.report.add(Some(self.file), at, "", "duplicate_key", detail, hint);
            return self.set_key(None);
        }
        self.set_key(Some((text, at)));
    }

    fn open(&mut self, at: Location, open: Open<'a>) -> bool {
        if self.at_key() {
            self.problem(at, "key", "a key must be plain text", "lists and mappings cannot be keys");
            return false;
        }
        if self.open.len() >= MAX_DEPTH {
            let detail = format!("values are nested deeper than {MAX_DEPTH} levels");
            self.problem(at, "too_deep", detail, "no resource needs such depth");
            return false;
        }
        self.open.push(open);
        true
    }

    fn value(&mut self, node: Node<'a>) -> bool {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let detail = format!("the text has more than {MAX_NODES} values");
            self.problem(node.at, "too_many_values", detail, "divide the configuration");
            return false;
        }
        match self.open.last_mut() {
            Some(Open::Sequence(_, items)) => items.push(node),
            Some(Open::Mapping { entries, key, .. }) => {
                if let Some(Some((key, at))) = key.take() {
                    entries.push(Entry { key, at, value: node });
                }
            }
            None => self.root = Some(node),
        }
        true
    }
}
