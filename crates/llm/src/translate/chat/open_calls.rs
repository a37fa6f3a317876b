//! The calls of tools in a stream of chunks, told one after the other although providers may send parts of several by turns.

use super::super::{
    answer::{MAX_EVENT, MAX_NAME, Malformed, Said},
    signature::Signer,
};
use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

/// More tools than this are not called in one answer.
const MAX_TOOLS: u64 = 10_000;
/// Nor are more than this open at the same time.
const MAX_OPEN: usize = 1000;
/// Nor is more kept of those that wait, in bytes.
const MAX_KEPT: usize = MAX_EVENT;

/// The calls whose arguments are still coming: the first one is told as it comes, the others wait until it is over.
#[derive(Debug, Default)]
pub(super) struct OpenCalls {
    open: VecDeque<Call>,
    /// Bytes of those that wait.
    kept: usize,
    /// Tools called so far.
    begun: u64,
    /// The ids of tools called so far, hashed.
    ids: BTreeSet<u64>,
}

#[derive(Debug)]
struct Call {
    index: Option<u64>,
    /// Which one of the answer's it is.
    tool: u64,
    id: String,
    name: String,
    signature: Option<String>,
    /// What came of its arguments while it waited.
    waiting: String,
    /// Whether any of its arguments have come.
    begun: bool,
    extent: Extent,
}

/// What a chunk tells of a call.
pub(super) struct Part<'a> {
    pub index: Option<u64>,
    pub id: &'a str,
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}

/// How far a JSON object has come.
#[derive(Debug, Default)]
struct Extent {
    depth: usize,
    text: bool,
    escaped: bool,
    over: bool,
}

impl Extent {
    fn feed(&mut self, part: &str) {
        for byte in part.bytes() {
            match (self.text, byte) {
                (true, _) if self.escaped => self.escaped = false,
                (true, b'\\') => self.escaped = true,
                (_, b'"') => self.text = !self.text,
                (false, b'{' | b'[') => self.depth += 1,
                (false, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.over |= self.depth == 0;
                }
                _ => {}
            }
        }
    }
}

impl Call {
    fn begin(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if let Some(signature) = &self.signature {
            say(Said::Signed(Signer::GoogleCall, signature));
        }
        say(Said::Call { tool: self.tool, id: &self.id, name: &self.name });
        if !self.waiting.is_empty() {
            say(Said::Input { tool: self.tool, part: &self.waiting });
        }
    }

    fn end(&self, say: &mut impl FnMut(Said<'_>)) {
        if !self.begun {
            // A call without arguments: they are an object all the same.
            say(Said::Input { tool: self.tool, part: "{}" });
        }
    }

    fn size(&self) -> usize {
        let signature = self.signature.as_ref().map_or(0, String::len);
        self.id.len() + self.name.len() + signature + self.waiting.len()
    }
}

impl OpenCalls {
    /// Whether any tool was called.
    pub fn any(&self) -> bool {
        self.begun > 0
    }

    /// Bytes of memory in use.
    pub fn held(&self) -> usize {
        // A text that grows has room for as much again.
        let first = self.open.front().map_or(0, Call::size);
        let calls = self.open.capacity() * size_of::<Call>();
        calls + first + 2 * self.kept + self.ids.len() * 2 * size_of::<u64>()
    }

    /// A part of a call. One with another id is another call, even in the same place. `named` makes ids of those that have
    /// none, `signature` tells how one of this id is signed.
    pub fn part(
        &mut self,
        part: &Part<'_>,
        named: impl FnOnce(u64) -> String,
        signature: impl FnOnce() -> Option<String>,
        say: &mut impl FnMut(Said<'_>),
    ) -> Result<(), Malformed> {
        let Part { index, id, name, arguments } = *part;
        let at = match (id, index) {
            ("", None) if name.is_some() => None,
            ("", None) => self.open.len().checked_sub(1),
            ("", _) => self.open.iter().rposition(|call| call.index == index),
            _ => self.open.iter().rposition(|call| call.id == id),
        };
        let at = match at {
            Some(at) => at,
            None => {
                // Without a name it is more of a call that is closed: its place in the answer is past.
                let Some(name) = name else { return if arguments.trim().is_empty() { Ok(()) } else { Err(Malformed) } };
                // Nor is one that was called before, by its id, called again.
                let again = !id.is_empty() && !self.ids.insert(hashed(id));
                if again || self.begun == MAX_TOOLS || id.len() > MAX_NAME || self.open.len() == MAX_OPEN {
                    return Err(Malformed);
                }
                let tool = self.begun;
                self.begun += 1;
                let id = if id.is_empty() { named(tool) } else { id.to_owned() };
                self.open.push_back(Call {
                    index,
                    tool,
                    id,
                    name: name.to_owned(),
                    signature: signature(),
                    waiting: String::new(),
                    begun: false,
                    extent: Extent::default(),
                });
                match self.open.len() - 1 {
                    0 => self.open[0].begin(say),
                    last => self.kept += self.open[last].size(),
                }
                self.open.len() - 1
            }
        };
        if !arguments.is_empty() {
            let call = &mut self.open[at];
            call.begun = true;
            call.extent.feed(arguments);
            if at == 0 {
                say(Said::Input { tool: call.tool, part: arguments });
            } else {
                call.waiting.push_str(arguments);
                self.kept += arguments.len();
            }
        }
        // What waits is told as soon as what is before it is whole; where that cannot be seen, when all have come.
        while self.open.len() > 1 && self.open[0].extent.over {
            self.next(say);
        }
        if self.kept > MAX_KEPT { Err(Malformed) } else { Ok(()) }
    }

    /// No more arguments come.
    pub fn close(&mut self, say: &mut impl FnMut(Said<'_>)) {
        while !self.open.is_empty() {
            self.next(say);
        }
    }

    /// The first one is over.
    fn next(&mut self, say: &mut impl FnMut(Said<'_>)) {
        if let Some(call) = self.open.pop_front() {
            call.end(say);
        }
        if let Some(call) = self.open.front_mut() {
            self.kept -= call.size();
            call.begin(say);
            call.waiting = String::new();
        }
    }
}

fn hashed(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
