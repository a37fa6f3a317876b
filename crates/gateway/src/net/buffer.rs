//! A read buffer that is reused for the life of a connection.

/// Bytes read but not yet used: `data[start..end]`.
#[derive(Default)]
pub struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

/// What one read asks for at the least.
const READ: usize = 16 * 1024;

impl Buffer {
    /// What is there.
    pub fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    /// The same, to be changed.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    /// Marks bytes as used.
    pub fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.end);
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Room to read into, at least a few KiB; moves what is there to the front when that makes room.
    pub fn room(&mut self) -> &mut [u8] {
        if self.data.len() - self.end < READ / 4 {
            self.data.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.data.len() - self.end < READ / 2 {
                self.data.resize(self.end + READ, 0);
            }
        }
        &mut self.data[self.end..]
    }

    /// Notes that `n` bytes were read into [`Self::room`].
    pub fn filled_more(&mut self, n: usize) {
        self.end += n;
    }

    /// Gives the memory back while a connection is idle. Only when nothing is left.
    pub fn release(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty());
        (self.start, self.end) = (0, 0);
        std::mem::take(&mut self.data)
    }

    /// Gives the memory back where it grew far beyond what is read at once. Only when nothing is left.
    pub fn shrink(&mut self) {
        if self.is_empty() && self.data.len() > 4 * READ {
            self.release();
        }
    }

    /// Takes memory released before.
    pub fn adopt(&mut self, data: Vec<u8>) {
        if self.data.is_empty() {
            self.data = data;
        }
    }

    /// Whether it holds memory.
    pub fn has_memory(&self) -> bool {
        !self.data.is_empty()
    }
}
