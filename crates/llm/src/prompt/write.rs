//! Writing an object of which most members stand as they came.

use super::{Unfit, wanted::Members};
use crate::openai::request::write_json_string;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashSet;

/// An object that is being written.
pub(super) struct Json {
    out: Vec<u8>,
    names: HashSet<String>,
}

impl Json {
    /// With these members, but for some; one that is null counts as missing.
    pub fn of(members: &Members<'_>, but: &[&str]) -> Self {
        let mut json = Self { out: vec![b'{'], names: HashSet::new() };
        for (name, value) in members.all().filter(|(name, _)| !but.contains(name)) {
            json.name(name);
            json.out.extend_from_slice(value.get().as_bytes());
            if value.get() != "null" {
                json.names.insert(name.to_owned());
            }
        }
        json
    }

    /// Whether there is such a member by now.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    pub fn is_empty(&self) -> bool {
        self.out.len() == 1
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty() {
            self.out.push(b',');
        }
        write_json_string(&mut self.out, name);
        self.out.push(b':');
    }

    /// A member that is JSON already.
    pub fn raw(&mut self, name: &'static str, json: &str) {
        self.name(name);
        self.out.extend_from_slice(json.as_bytes());
        self.names.insert(name.to_owned());
    }

    /// One that is JSON already, unless there is one.
    pub fn missing_raw(&mut self, name: &'static str, json: &str) {
        if !self.has(name) {
            self.raw(name, json);
        }
    }

    /// A member, unless there is one.
    pub fn missing<T: Serialize>(&mut self, name: &'static str, value: impl FnOnce() -> T) {
        if !self.has(name) {
            // Plain texts and numbers: writing them does not fail.
            let json = serde_json::to_string(&value()).unwrap_or_else(|_| "null".to_owned());
            self.raw(name, &json);
        }
    }

    /// A member where there is a value, unless there is one.
    pub fn may_miss<T: Serialize>(&mut self, name: &'static str, value: Option<T>) {
        if let Some(value) = value {
            self.missing(name, || value);
        }
    }

    /// A list of items that are JSON, and then of those within another list.
    pub fn array(&mut self, name: &'static str, items: &[String], more: &str) {
        self.name(name);
        self.names.insert(name.to_owned());
        self.out.push(b'[');
        let more = Some(more).filter(|more| !more.is_empty());
        for (index, item) in items.iter().map(String::as_str).chain(more).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.extend_from_slice(item.as_bytes());
        }
        self.out.push(b']');
    }

    /// An object as a member.
    pub fn nested(&mut self, name: &'static str, inner: Self) {
        let inner = inner.end();
        self.name(name);
        self.out.extend_from_slice(&inner);
        self.names.insert(name.to_owned());
    }

    pub fn end(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// What stands between the brackets of a list; nothing where there is no list.
pub(super) fn list<'b>(raw: Option<&'b RawValue>, name: &str) -> Result<&'b str, Unfit> {
    let Some(raw) = raw else { return Ok("") };
    let inner = raw.get().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.map(str::trim_ascii).ok_or_else(|| Unfit(format!("`{name}` is no list")))
}

/// The members of an object; none where there is no object.
pub(super) fn members_of<'b>(raw: Option<&'b RawValue>, name: &str) -> Result<Members<'b>, Unfit> {
    let Some(raw) = raw else { return Ok(Members::none()) };
    Members::of(raw.get().as_bytes()).ok_or_else(|| Unfit(format!("`{name}` is no object")))
}
