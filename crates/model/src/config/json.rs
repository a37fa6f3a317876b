//! One JSON text (RFC 8259) to a tree of nodes, for bodies of the admin API. Values have no places,
//! only paths; a text that is no JSON has the place where reading stopped.

use super::{
    MAX_TEXT,
    node::{Entry, Node, Scalar, Value},
    report::{Report, shown},
};
use crate::Location;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::{borrow::Cow, cell::RefCell, fmt};

/// Reads one text. `None` when there is no tree; the report says why.
pub(super) fn parse(text: &str, report: &mut Report) -> Option<Node<'static>> {
    if text.len() > MAX_TEXT {
        report.add(None, Location::default(), "", "too_large", "the text is larger than 16 MiB", None);
        return None;
    }
    let report = RefCell::new(report);
    let mut json = serde_json::Deserializer::from_str(text);
    let tree = Tree(&report).deserialize(&mut json).and_then(|node| json.end().map(|()| node));
    match tree {
        Ok(node) => Some(node),
        Err(error) => {
            let bounded = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            let at = Location { line: bounded(error.line()), column: bounded(error.column()) };
            report.borrow_mut().add(None, at, "", "syntax", "this is no valid JSON", Some("see RFC 8259".to_owned()));
            None
        }
    }
}

#[derive(Clone, Copy)]
struct Tree<'r, 'p>(&'r RefCell<&'p mut Report>);

fn scalar<E>(text: impl Into<Cow<'static, str>>, quoted: bool) -> Result<Node<'static>, E> {
    Ok(Node { at: Location::default(), value: Value::Scalar(Scalar { text: text.into(), quoted }) })
}

impl<'de> DeserializeSeed<'de> for Tree<'_, '_> {
    type Value = Node<'static>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_, '_> {
    type Value = Node<'static>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        scalar("", false)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Self::Value, E> {
        scalar(if v { "true" } else { "false" }, false)
    }
    fn visit_i64<E>(self, v: i64) -> Result<Self::Value, E> {
        scalar(v.to_string(), false)
    }
    fn visit_u64<E>(self, v: u64) -> Result<Self::Value, E> {
        scalar(v.to_string(), false)
    }
    fn visit_f64<E>(self, v: f64) -> Result<Self::Value, E> {
        scalar(format!("{v:?}"), false)
    }
    fn visit_str<E>(self, v: &str) -> Result<Self::Value, E> {
        scalar(v.to_owned(), true)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Node { at: Location::default(), value: Value::Sequence(items) })
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<Entry<'static>> = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(Key(key)) = map.next_key()? {
            let value = map.next_value_seed(self)?;
            if !seen.insert(key.clone()) {
                let detail = format!("the key {} is given twice", shown(&key));
                self.0.borrow_mut().add(None, Location::default(), "", "duplicate_key", detail, None);
                continue;
            }
            entries.push(Entry { key: Cow::Owned(key), at: Location::default(), value });
        }
        Ok(Node { at: Location::default(), value: Value::Mapping(entries) })
    }
}

struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self)
    }
}
