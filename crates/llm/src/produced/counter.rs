//! Tells the texts of a model in JSON from all that stands around them, byte by byte.

use memchr::memchr2;

/// Counts the strings under the names that carry what a model wrote. No tree is built, nothing is kept but the last name.
#[derive(Debug, Default)]
pub(super) struct Counter {
    /// Bytes of text so far.
    pub bytes: u64,
    /// Whether anything came that is no text, or was spoken.
    pub more: bool,
    place: Place,
    /// Whether the byte before was a backslash within a string.
    escaped: bool,
    /// The string that ended last, as far as it can be one of the names; its beginning when it is longer.
    last: Vec<u8>,
    too_long: bool,
    /// The string is an address.
    is_address: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// Between strings; no name was read that its colon could follow. Nothing of what came before matters here.
    #[default]
    Outside,
    /// In a string that may turn out to be a name.
    Name,
    /// After such a string.
    Named,
    /// After the colon of a name that carries text, data or an address.
    Colon,
    /// In a text of the model. Nothing of what came before matters at its beginning.
    Text,
}

const LONGEST: usize = 17;
/// What stands under these names is text.
const NAMES: [&[u8]; 11] = [
    b"content",
    b"text",
    b"delta",
    b"arguments",
    b"reasoning",
    b"reasoning_content",
    b"thinking",
    b"partial_json",
    b"input",
    b"refusal",
    TRANSCRIPT,
];
/// The words of an answer that is spoken.
const TRANSCRIPT: &[u8] = b"transcript";
/// What stands under these names is sound, a picture or anything else whose tokens are not those of a text.
const DATA: [&[u8]; 6] = [b"data", b"bytes", b"b64_json", b"partial_image_b64", b"result", b"audio"];
/// An address, which may hold all of a picture.
const ADDRESS: &[u8] = b"url";

/// The first of two bytes, which is seldom far: names are short, and so is what stands between strings.
fn near(one: u8, other: u8, bytes: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    let (first, rest) = bytes.split_at(bytes.len().min(NEAR));
    let place = first.iter().position(|b| *b == one || *b == other);
    place.or_else(|| memchr2(one, other, rest).map(|at| first.len() + at))
}

impl Counter {
    /// Where it is.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Goes on from a place that does not depend on what came before.
    pub const fn go_to(&mut self, place: Place) {
        self.place = place;
        self.escaped = false;
    }

    /// Takes some of the next bytes, of which there are any: at most up to where the place changes, or a line ends between
    /// strings. How many.
    pub fn step(&mut self, bytes: &[u8]) -> usize {
        let Some(&first) = bytes.first() else { return 0 };
        match self.place {
            Place::Name | Place::Text => {
                if std::mem::take(&mut self.escaped) {
                    self.string(&bytes[..1]);
                    return 1;
                }
                let end = near(b'"', b'\\', bytes).unwrap_or(bytes.len());
                self.string(&bytes[..end]);
                match bytes.get(end) {
                    Some(b'\\') => self.escaped = true,
                    Some(_) if self.place == Place::Name => self.place = Place::Named,
                    Some(_) => self.place = Place::Outside,
                    None => return end,
                }
                end + 1
            }
            Place::Outside => match near(b'"', b'\n', bytes) {
                Some(at) => {
                    if bytes[at] == b'"' {
                        self.begin(Place::Name);
                    }
                    at + 1
                }
                None => bytes.len(),
            },
            Place::Named | Place::Colon => {
                let named = self.place == Place::Named;
                match first {
                    b' ' | b'\t' | b'\r' | b'\n' => {}
                    b':' if named
                        && !self.too_long
                        && (self.names(&NAMES) || self.names(&DATA) || self.last == ADDRESS) =>
                    {
                        self.place = Place::Colon
                    }
                    b'"' => {
                        let is_data = !named && self.names(&DATA);
                        self.more |= is_data || !named && self.last == TRANSCRIPT;
                        let is_address = !named && self.last == ADDRESS;
                        self.begin(if named || is_data || is_address { Place::Name } else { Place::Text });
                        self.is_address = is_address;
                    }
                    _ => self.place = Place::Outside,
                }
                1
            }
        }
    }

    /// Whether the string that ended last is one of these.
    fn names(&self, names: &[&[u8]]) -> bool {
        names.contains(&self.last.as_slice())
    }

    fn begin(&mut self, place: Place) {
        self.place = place;
        (self.too_long, self.is_address) = (false, false);
        self.last.clear();
    }

    fn string(&mut self, part: &[u8]) {
        if self.place == Place::Text {
            self.bytes += part.len() as u64;
        } else {
            let fits = part.len().min(LONGEST - self.last.len());
            self.too_long |= fits < part.len();
            self.last.extend_from_slice(&part[..fits]);
            self.more |= self.is_address && self.last.starts_with(b"data:");
        }
    }
}
