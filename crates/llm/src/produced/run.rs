//! What stood around a text the last time.

use super::counter::Place;

/// Longer runs are remembered up to here.
const MOST: usize = 512;
/// Places to go on from that are remembered of one.
const MOST_PLACES: usize = 48;
/// After its end did not come again so often in a row, it is not learned anew any more.
const MOST_MISSES: u8 = 16;

/// The bytes from one text, or the beginning of an event, to the next text, or the event's end, as they came once; and how
/// far they come again. Before the first of them the counter is outside of everything.
///
/// Where other bytes come, the counter reads until it is outside of everything again. From there on what comes is compared
/// with what followed the next such place: nothing of what came before matters in either.
#[derive(Debug, Default)]
pub(super) struct Run {
    bytes: Vec<u8>,
    /// After how many of them the counter was outside of everything, in order.
    places: Vec<u16>,
    /// Where the counter was after all of them; `None` where they are not all.
    end: Option<Place>,
    mode: Mode,
    /// How many of the bytes have come again, or were passed over.
    at: usize,
    /// A line has just ended.
    newline: bool,
    full: bool,
    misses: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// What comes is compared, since the counter was at `from`.
    Following { from: usize },
    /// Other bytes came. It is compared again behind the place `on`, once the counter is outside.
    Apart { on: Option<usize> },
    /// What comes is remembered.
    Learning,
}

impl Default for Mode {
    fn default() -> Self {
        Self::Apart { on: None }
    }
}

/// How bytes compare with a run.
pub(super) enum Followed {
    /// So many came again, and the run goes on.
    Some(usize),
    /// So many came again, up to the run's end, where the counter is here.
    All(usize, Place),
    /// The first of them did not.
    Not,
}

impl Run {
    /// From its beginning. `again`: what comes is worth remembering, as it may come again.
    pub fn begin(&mut self, again: bool) {
        (self.at, self.newline) = (0, false);
        self.mode = match self.bytes.is_empty() {
            false => Mode::Following { from: 0 },
            true if again => Mode::Learning,
            true => Mode::default(),
        };
    }

    /// Compares the next bytes, of which there are any.
    pub fn follow(&mut self, bytes: &[u8]) -> Followed {
        let Mode::Following { .. } = self.mode else { return Followed::Not };
        let rest = &self.bytes[self.at..];
        let same = if bytes.starts_with(rest) { rest.len() } else { common(rest, bytes) };
        let all = self.end.filter(|_| same == rest.len());
        self.at += same;
        match all {
            Some(end) => {
                self.misses = 0;
                Followed::All(same, end)
            }
            None if same > 0 => Followed::Some(same),
            None => Followed::Not,
        }
    }

    /// Other bytes come. What the counter reads again first, from outside of everything; `None` where it has read all.
    pub fn differs(&mut self) -> Option<&[u8]> {
        let Mode::Following { from } = self.mode else { return None };
        let next = self.places.partition_point(|place| usize::from(*place) <= self.at);
        let on = self.places.get(next).map(|place| usize::from(*place)).filter(|place| *place < self.bytes.len());
        self.mode = Mode::Apart { on };
        if self.at > from {
            self.newline = self.bytes[..self.at].ends_with(b"\n");
        }
        let again = next.checked_sub(1).map_or(0, |last| usize::from(self.places[last]));
        Some(&self.bytes[again..self.at])
    }

    /// The counter has read these bytes and is at this place. Where that is the run's end, the place.
    pub fn read(&mut self, bytes: &[u8], place: Place) -> Option<Place> {
        let blank = self.newline && matches!(bytes, b"\n" | b"\r\n");
        self.newline = bytes.ends_with(b"\n");
        if self.mode == Mode::Learning {
            self.learn(bytes, place);
        }
        if place == Place::Text || place == Place::Outside && blank {
            self.end(place);
            return Some(place);
        }
        if let Mode::Apart { on: Some(on) } = self.mode
            && place == Place::Outside
        {
            (self.at, self.mode) = (on, Mode::Following { from: on });
        }
        None
    }

    fn learn(&mut self, bytes: &[u8], place: Place) {
        self.full |= self.bytes.len() + bytes.len() > MOST;
        if !self.full {
            // Nearly all are as short, and grow once.
            self.bytes.reserve(if self.bytes.is_empty() { MOST / 2 } else { 0 });
            self.bytes.extend_from_slice(bytes);
            if place == Place::Outside && self.places.len() < MOST_PLACES {
                self.places.push(self.bytes.len() as u16);
            }
        }
    }

    fn end(&mut self, place: Place) {
        if self.mode == Mode::Learning {
            self.end = Some(place).filter(|_| !self.full);
        } else if self.misses < MOST_MISSES && !self.bytes.is_empty() {
            // Its end did not come again: what comes next is learned instead.
            self.misses += 1;
            self.bytes.clear();
            self.places.clear();
            (self.end, self.full) = (None, false);
        }
    }
}

/// How many bytes are the same at the beginning.
fn common(one: &[u8], other: &[u8]) -> usize {
    const STEP: usize = 16;
    let (steps, others) = (one.as_chunks::<STEP>().0, other.as_chunks::<STEP>().0);
    let same = STEP * steps.iter().zip(others).take_while(|(a, b)| a == b).count();
    same + one[same..].iter().zip(&other[same..]).take_while(|(a, b)| a == b).count()
}
