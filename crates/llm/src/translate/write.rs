//! Writing JSON member by member, so that nothing is built before it is written.

use crate::openai::request::write_json_string;
use std::io::Write as _;

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, first: true }
    }

    /// Writes a member's name, one of ours, in which nothing is to be escaped; its value is to follow.
    pub fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A member that somebody else named, whose value is JSON already.
    pub fn other(&mut self, name: &str, json: &str) {
        self.separate();
        write_json_string(self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(json.as_bytes());
    }

    fn separate(&mut self) {
        if !std::mem::replace(&mut self.first, false) {
            self.out.push(b',');
        }
    }

    pub fn text(&mut self, name: &'static str, text: &str) {
        write_json_string(self.member(name), text);
    }

    /// A member whose value is JSON already.
    pub fn json(&mut self, name: &'static str, json: &str) {
        self.member(name).extend_from_slice(json.as_bytes());
    }

    pub fn number(&mut self, name: &'static str, n: u64) {
        let _ = write!(self.member(name), "{n}");
    }

    pub fn object(&mut self, name: &'static str) -> Object<'_> {
        Object::new(self.member(name))
    }

    /// An array with one element for each item.
    pub fn array<T>(
        &mut self,
        name: &'static str,
        items: impl IntoIterator<Item = T>,
        each: impl FnMut(&mut Vec<u8>, T),
    ) {
        array(self.member(name), items, each);
    }

    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes an array with one element for each item.
pub(super) fn array<T>(out: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        each(out, item);
    }
    out.push(b']');
}
