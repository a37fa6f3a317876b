//! The upload of a file, read as it passes: a form in which each line of a file with the calls of a batch comes by itself,
//! and any other file as it is.
//!
//! As strict as [`multipart`](crate::task::multipart), for the same reason: whoever reads the form next must read the
//! same. No more than one line of the file, or one part beside it, is held.

use super::{MOST_LINE, call::BatchCall, object::CALLS};
use crate::task::multipart::{InvalidForm, MOST_HEADER, described};
use memchr::{memchr, memmem};

/// Bytes of a part beside the file at the most.
const MOST_FIELD: usize = 4096;
/// Parts at the most.
const MOST_PARTS: usize = 20;

/// Why an upload is no file. The texts are safe to show: they hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpload {
    /// The form cannot be read.
    #[error(transparent)]
    Form(#[from] InvalidForm),
    /// It does not say what it is for, or says it twice.
    #[error("the form has one field `purpose`, which is a word such as `batch` or `user_data`")]
    Purpose,
    /// What it is for came behind the file, and is something else than what was in the file looked like.
    #[error("send the field `purpose` before the file: only the lines of one for a batch are read as calls")]
    Late,
    /// It has no file, or several.
    #[error("the form has one file, in the field `file`")]
    File,
    /// A field is too long.
    #[error("a field of the form has more than {MOST_FIELD} bytes")]
    Field,
    /// A line is too long.
    #[error("a line of the file has more than {MOST_LINE} bytes")]
    Line,
    /// A line is not UTF-8.
    #[error("the file is not UTF-8")]
    Encoding,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// More bytes are needed.
    More,
    /// Bytes that go on as they are.
    Frame(Vec<u8>),
    /// A line of the file, without its end; never blank.
    Line(String),
    /// The form is over, and was whole.
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Before the first delimiter.
    Start,
    /// Behind a delimiter.
    Behind,
    Header,
    /// In a part beside the file.
    Field,
    /// At the beginning of a file of which is not known what it is for.
    Unknown,
    /// In a file that is no batch's.
    Content,
    /// At the beginning of a line; whether the one before ended with CRLF.
    Line {
        crlf: bool,
    },
    End,
}

/// What is in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The calls of a batch.
    Calls,
    /// Anything else.
    Other,
}

/// Reads an upload.
#[derive(Debug)]
pub struct UploadForm {
    mark: Vec<u8>,
    at: At,
    held: Vec<u8>,
    /// Where what is not read yet begins.
    start: usize,
    /// How far the present line was searched for its end.
    searched: usize,
    /// How much white space a file begins with of which is not known what it is for, as far as it came.
    blank: usize,
    parts: usize,
    /// Whether the form says what the file is for.
    has_purpose: bool,
    purpose: Option<String>,
    is_purpose: bool,
    /// Present once there is a file.
    content: Option<Content>,
    file: bool,
}

impl UploadForm {
    /// With a boundary that [`multipart::boundary`](crate::task::multipart::boundary) gave. It says what the file is for.
    pub fn new(boundary: &str) -> Self {
        Self {
            mark: format!("--{boundary}").into_bytes(),
            at: At::Start,
            held: Vec::new(),
            start: 0,
            searched: 0,
            blank: 0,
            parts: 0,
            has_purpose: true,
            purpose: None,
            is_purpose: false,
            content: None,
            file: false,
        }
    }

    /// As [`Self::new`], of a form that does not say what the file is for, which is never one of a batch.
    pub fn without_purpose(boundary: &str) -> Self {
        Self { has_purpose: false, ..Self::new(boundary) }
    }

    /// What the file is for; `None` where that did not come yet.
    pub fn purpose(&self) -> Option<&str> {
        self.purpose.as_deref()
    }

    /// What is in the file; `None` where that is not known yet.
    pub const fn content(&self) -> Option<Content> {
        self.content
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..std::mem::take(&mut self.start));
        self.held.extend_from_slice(bytes);
    }

    fn rest(&self) -> &[u8] {
        &self.held[self.start..]
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.held.capacity()
    }

    /// Whether the form is over.
    pub fn is_over(&self) -> bool {
        self.at == At::End
    }

    /// What comes next of what was taken.
    ///
    /// # Errors
    /// [`InvalidUpload`] when it is no such form; nothing that follows is of use then.
    pub fn piece(&mut self) -> Result<Piece, InvalidUpload> {
        match self.at {
            At::Start => self.start(),
            At::Behind => self.behind(),
            At::Header => self.header(),
            At::Field => self.field(),
            At::Unknown => self.unknown(),
            At::Content => self.content_piece(),
            At::Line { crlf } => self.line(crlf),
            At::End => match self.rest() {
                b"" | b"\r" | b"\r\n" => Ok(Piece::End),
                _ => Err(InvalidForm::Delimiters.into()),
            },
        }
    }

    fn start(&mut self) -> Result<Piece, InvalidUpload> {
        if self.rest().len() < self.mark.len() {
            return self.more(self.mark.starts_with(self.rest()));
        }
        if !self.rest().starts_with(&self.mark) {
            return Err(InvalidForm::Delimiters.into());
        }
        self.at = At::Behind;
        Ok(Piece::Frame(self.take(self.mark.len())))
    }

    fn more(&self, fits: bool) -> Result<Piece, InvalidUpload> {
        if fits { Ok(Piece::More) } else { Err(InvalidForm::Delimiters.into()) }
    }

    fn behind(&mut self) -> Result<Piece, InvalidUpload> {
        match self.rest().get(..2) {
            None => Ok(Piece::More),
            Some(b"--") if self.has_purpose && self.purpose.is_none() => Err(InvalidUpload::Purpose),
            Some(b"--") if !self.file => Err(InvalidUpload::File),
            Some(b"--") => {
                self.at = At::End;
                drop(self.take(2));
                Ok(Piece::Frame(b"--\r\n".to_vec()))
            }
            Some(b"\r\n") if self.parts < MOST_PARTS => {
                self.at = At::Header;
                self.parts += 1;
                Ok(Piece::Frame(self.take(2)))
            }
            Some(b"\r\n") => Err(InvalidForm::TooMany.into()),
            Some(_) => Err(InvalidForm::Delimiters.into()),
        }
    }

    fn header(&mut self) -> Result<Piece, InvalidUpload> {
        let seen = &self.rest()[..self.rest().len().min(MOST_HEADER)];
        let Some(length) = memmem::find(seen, b"\r\n\r\n") else {
            return if seen.len() == MOST_HEADER { Err(InvalidForm::Header.into()) } else { Ok(Piece::More) };
        };
        if memmem::find(&seen[..length], &self.mark).is_some() {
            return Err(InvalidForm::Delimiters.into());
        }
        // A file is read as UTF-8, whatever it holds.
        let (name, is_file) = described(&seen[..length], b"\xff")?;
        let is_purpose = self.has_purpose && name == "purpose";
        match (name, is_file) {
            ("file", true) if !self.file => {}
            (_, true) | ("file", false) => return Err(InvalidUpload::File),
            ("purpose", false) if is_purpose && self.purpose.is_some() => return Err(InvalidUpload::Purpose),
            _ => {}
        }
        self.is_purpose = is_purpose;
        self.file |= is_file;
        self.searched = 0;
        self.at = match (is_file, &self.purpose) {
            (false, _) => At::Field,
            (true, None) if self.has_purpose => At::Unknown,
            (true, purpose) => self.begin(purpose.as_deref() == Some(CALLS)),
        };
        Ok(Piece::Frame(self.take(length + 4)))
    }

    fn field(&mut self) -> Result<Piece, InvalidUpload> {
        let Some(length) = memmem::find(self.rest(), &self.mark) else {
            let most = MOST_FIELD + self.mark.len();
            return if self.rest().len() > most { Err(InvalidUpload::Field) } else { Ok(Piece::More) };
        };
        let content = self.rest()[..length].strip_suffix(b"\r\n").ok_or(InvalidForm::Delimiters)?;
        if content.len() > MOST_FIELD {
            return Err(InvalidUpload::Field);
        }
        if self.is_purpose {
            let word = std::str::from_utf8(content).ok().filter(|word| is_word(word)).ok_or(InvalidUpload::Purpose)?;
            if self.content.is_some_and(|content| (content == Content::Calls) != (word == CALLS)) {
                return Err(InvalidUpload::Late);
            }
            self.purpose = Some(word.to_owned());
        }
        self.at = At::Behind;
        Ok(Piece::Frame(self.take(length + self.mark.len())))
    }

    /// The file begins.
    fn begin(&mut self, has_calls: bool) -> At {
        self.content = Some(if has_calls { Content::Calls } else { Content::Other });
        if has_calls { At::Line { crlf: false } } else { At::Content }
    }

    /// A file whose first line is a call of a batch is taken for one of a batch, until the form says otherwise.
    fn unknown(&mut self) -> Result<Piece, InvalidUpload> {
        let seen = &self.rest()[..self.rest().len().min(MOST_LINE)];
        let is_full = seen.len() == MOST_LINE;
        // Each byte is looked at once, in however many pieces it comes.
        let new = seen.get(self.blank..).filter(|_| self.blank >= self.searched).unwrap_or_default();
        let blank = self.blank + (new.len() - new.trim_ascii_start().len());
        let from = blank.max(self.searched);
        let has_calls = match (seen.get(blank), memchr(b'\n', seen.get(from..).unwrap_or_default())) {
            (None | Some(b'{'), None) if !is_full => {
                (self.searched, self.blank) = (seen.len(), blank);
                return Ok(Piece::More);
            }
            (Some(b'{'), Some(end)) => {
                std::str::from_utf8(&seen[blank..from + end]).is_ok_and(|line| BatchCall::of_line(line).is_ok())
            }
            _ => false,
        };
        self.searched = 0;
        self.at = self.begin(has_calls);
        self.piece()
    }

    /// What is surely no part of the delimiter behind the file.
    fn content_piece(&mut self) -> Result<Piece, InvalidUpload> {
        let rest = self.rest();
        match memmem::find(rest, &self.mark) {
            Some(at) if rest[..at].ends_with(b"\r\n") => {
                self.at = At::Behind;
                Ok(Piece::Frame(self.take(at + self.mark.len())))
            }
            Some(_) => Err(InvalidForm::Delimiters.into()),
            // The end of a line, and all of the mark but its last byte.
            None => match rest.len().saturating_sub(self.mark.len() + 1) {
                0 => Ok(Piece::More),
                sure => Ok(Piece::Frame(self.take(sure))),
            },
        }
    }

    fn line(&mut self, crlf: bool) -> Result<Piece, InvalidUpload> {
        if self.searched == 0 {
            let seen = self.rest().len().min(self.mark.len());
            if self.rest()[..seen] == self.mark[..seen] {
                return match seen == self.mark.len() {
                    false => Ok(Piece::More),
                    // Who takes bare line feeds sees a delimiter here, others none.
                    true if !crlf => Err(InvalidForm::Delimiters.into()),
                    true => {
                        self.at = At::Behind;
                        drop(self.take(seen));
                        Ok(Piece::Frame([b"\r\n", &*self.mark].concat()))
                    }
                };
            }
        }
        let Some(found) = memchr(b'\n', &self.rest()[self.searched..]) else {
            self.searched = self.rest().len();
            return if self.searched > MOST_LINE { Err(InvalidUpload::Line) } else { Ok(Piece::More) };
        };
        let end = self.searched + found;
        self.searched = 0;
        let line = self.take(end + 1);
        let line = &line[..end];
        let plain = line.strip_suffix(b"\r");
        self.at = At::Line { crlf: plain.is_some() };
        let line = plain.unwrap_or(line);
        if line.len() > MOST_LINE {
            return Err(InvalidUpload::Line);
        }
        if memmem::find(line, &self.mark).is_some() {
            return Err(InvalidForm::Delimiters.into());
        }
        let line = std::str::from_utf8(line).map_err(|_| InvalidUpload::Encoding)?;
        match line.trim_ascii() {
            "" => Ok(Piece::Frame(Vec::new())),
            line => Ok(Piece::Line(line.to_owned())),
        }
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        let taken = self.rest()[..length].to_vec();
        self.start += length;
        taken
    }
}

/// Whether it can be what a file is for.
fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    const PURPOSE: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";
    const VISION: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nvision\r\n";
    const CALL: &str = r#"{"custom_id":"a","method":"POST","url":"/v1/embeddings","body":{"model":"m","input":"x"}}"#;
    const FILE: &str = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.jsonl\"\r\nContent-Type: application/octet-stream\r\n\r\n";

    /// The lines, and what goes on when each line is written as it came.
    fn read(body: &[u8], piece: usize) -> Result<(Vec<String>, String), InvalidUpload> {
        let (lines, out, _) = taken(UploadForm::new("b"), body, piece)?;
        Ok((lines, String::from_utf8(out).unwrap()))
    }

    fn taken(
        mut form: UploadForm,
        body: &[u8],
        piece: usize,
    ) -> Result<(Vec<String>, Vec<u8>, UploadForm), InvalidUpload> {
        let (mut lines, mut out, mut rest) = (Vec::new(), Vec::new(), body);
        loop {
            match form.piece()? {
                Piece::More if rest.is_empty() => return Err(InvalidForm::Delimiters.into()),
                Piece::More => {
                    let (now, later) = rest.split_at(piece.min(rest.len()));
                    form.push(now);
                    rest = later;
                }
                Piece::Frame(bytes) => out.extend(bytes),
                Piece::Line(line) => {
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                    lines.push(line);
                }
                Piece::End if rest.is_empty() => return Ok((lines, out, form)),
                Piece::End => {
                    form.push(rest);
                    rest = b"";
                }
            }
        }
    }

    #[test]
    fn lines_come_one_by_one_whatever_order_the_parts_have() {
        let end = "\r\n--b--\r\n";
        for (body, lines) in [
            (format!("{PURPOSE}{FILE}{{\"a\":1}}\n{{\"b\":2}}{end}"), 2),
            (format!("{FILE}\r\n{CALL}\r\n\r\ntwo\n\n three \r\n{}{}", &PURPOSE[0..], &end[2..]), 3),
            (format!("{PURPOSE}{FILE}{end}"), 0),
        ] {
            let whole = read(body.as_bytes(), usize::MAX).unwrap();
            assert_eq!(whole.0.len(), lines, "{body}");
            for piece in 1..40 {
                assert_eq!(read(body.as_bytes(), piece).unwrap(), whole, "in pieces of {piece}");
            }
            // What goes on is a form that reads the same.
            assert_eq!(read(whole.1.as_bytes(), 7).unwrap().0, whole.0);
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let end = "\r\n--b--\r\n";
        let delimiters = InvalidUpload::Form(InvalidForm::Delimiters);
        for (body, why) in [
            (format!("x{PURPOSE}{FILE}a{end}"), delimiters),
            (format!("{PURPOSE}{FILE}a\n--b--\r\n"), delimiters),
            (format!("{PURPOSE}{FILE}a --b{end}"), delimiters),
            (format!("{PURPOSE}{FILE}--b{end}"), delimiters),
            (format!("{PURPOSE}{FILE}a{end}more"), delimiters),
            (format!("{PURPOSE}{FILE}a"), delimiters),
            (format!("{FILE}a{end}"), InvalidUpload::Purpose),
            (format!("{PURPOSE}{PURPOSE}{FILE}a{end}"), InvalidUpload::Purpose),
            (format!("{}{FILE}a{end}", PURPOSE.replace("batch", "Vision")), InvalidUpload::Purpose),
            (format!("{}{FILE}a{end}", PURPOSE.replace("batch", "")), InvalidUpload::Purpose),
            (format!("{FILE}a\r\n{PURPOSE}{}", &end[2..]), InvalidUpload::Late),
            (format!("{FILE}{CALL}\r\n{}{}", PURPOSE.replace("batch", "vision"), &end[2..]), InvalidUpload::Late),
            (format!("{VISION}{FILE}a\n--b--\r\n"), delimiters),
            (format!("{VISION}{FILE}a --b{end}"), delimiters),
            (format!("{VISION}{FILE}--b{end}"), delimiters),
            (format!("{VISION}{FILE}a"), delimiters),
            (format!("{PURPOSE}{}", &end[2..]), InvalidUpload::File),
            (format!("{PURPOSE}{FILE}a\r\n{FILE}b{end}"), InvalidUpload::File),
            (format!("{PURPOSE}{}a{end}", FILE.replace("\"file\"", "\"other\"")), InvalidUpload::File),
            (format!("{}{FILE}a{end}", PURPOSE.replace("batch", &"a".repeat(5000))), InvalidUpload::Field),
            (
                format!("{PURPOSE}{}a{end}", FILE.replace("application/octet-stream", "text/plain; charset=utf-16")),
                InvalidUpload::Form(InvalidForm::Header),
            ),
        ] {
            assert_eq!(read(body.as_bytes(), 11).unwrap_err(), why, "{body}");
        }
        let long = format!("{PURPOSE}{FILE}{}", "a".repeat(MOST_LINE + 9));
        assert_eq!(read(long.as_bytes(), 1 << 20).unwrap_err(), InvalidUpload::Line);
        let binary = [PURPOSE.as_bytes(), FILE.as_bytes(), b"\xff", end.as_bytes()].concat();
        assert_eq!(read(&binary, 9).unwrap_err(), InvalidUpload::Encoding);
    }

    #[test]
    fn files_of_other_purposes_pass_as_they_are() {
        let binary: &[u8] = b"\xff\xfe\r\n\r\n-\r\n--a\n{\"custom_id\":1}\n\x00\r\n--";
        let end = b"\r\n--b--\r\n";
        let file = [FILE.as_bytes(), binary].concat();
        for body in [
            [VISION.as_bytes(), &file, end].concat(),
            [&*file, b"\r\n", VISION.as_bytes(), &end[2..]].concat(),
            [VISION.as_bytes(), FILE.as_bytes(), end].concat(),
            [VISION.as_bytes(), FILE.as_bytes(), CALL.as_bytes(), b"\n", end].concat(),
            [FILE.as_bytes(), b"{\n\"a\": 1}\r\n", VISION.as_bytes(), &end[2..]].concat(),
        ] {
            for piece in (1..90).chain([usize::MAX]) {
                let (lines, out, form) = taken(UploadForm::new("b"), &body, piece).unwrap();
                assert_eq!((lines, out), (vec![], body.clone()), "in pieces of {piece}");
                assert_eq!((form.purpose(), form.content()), (Some("vision"), Some(Content::Other)));
                assert!(form.held() < 400 || piece == usize::MAX, "{} bytes are held", form.held());
            }
        }
        // Where nothing says what it is for, it is never a batch's.
        let body = [FILE.as_bytes(), CALL.as_bytes(), b"\n", end].concat();
        let (lines, out, form) = taken(UploadForm::without_purpose("b"), &body, 9).unwrap();
        assert_eq!((lines, out, form.content()), (vec![], body.clone(), Some(Content::Other)));
        assert_eq!(taken(UploadForm::new("b"), &body, 9).map(|_| ()), Err(InvalidUpload::Purpose));
    }

    #[test]
    fn what_a_file_begins_with_is_looked_at_once() {
        let began = std::time::Instant::now();
        for (blanks, content) in [(1 << 20, Content::Calls), (MOST_LINE, Content::Other)] {
            let file = [" \n".repeat(blanks / 2).as_bytes(), CALL.as_bytes(), b"\n"].concat();
            let mut form = UploadForm::new("b");
            form.push(FILE.as_bytes());
            for piece in file.chunks(64) {
                while form.piece().unwrap() != Piece::More {}
                form.push(piece);
            }
            while form.content().is_none() {
                form.piece().unwrap();
            }
            assert_eq!(form.content(), Some(content));
        }
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn any_bytes_pass_as_they_are(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let body = [VISION.as_bytes(), FILE.as_bytes(), &bytes, b"\r\n--b--\r\n"].concat();
            if let Ok((lines, out, _)) = taken(UploadForm::new("b"), &body, piece) {
                prop_assert_eq!((lines, out), (vec![], body));
            } else {
                prop_assert!(memmem::find(&bytes, b"--b").is_some());
            }
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let body = [PURPOSE.as_bytes(), FILE.as_bytes(), &bytes].concat();
            let _ = read(&body, piece);
            let _ = read(&bytes, piece);
        }
    }
}
