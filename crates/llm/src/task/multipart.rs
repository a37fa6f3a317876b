//! A form with files (`multipart/form-data`, RFC 7578): its fields, by position, and how they are written anew.
//!
//! Stricter than the RFCs, because whoever reads the form next must read the same: nothing before the first delimiter or
//! behind the last, no delimiter that could be taken for one and is none, names without escapes, every line ended by CRLF.
//! No part is copied; what is not written anew passes byte for byte.

use memchr::memmem;
use std::{borrow::Cow, ops::Range};

/// Parts of a form at the most.
pub const MOST_PARTS: usize = 200;
/// Bytes of the header of a part at the most.
pub const MOST_HEADER: usize = 4096;

/// Why a body is no form that can be passed on. The texts are safe to show: they hold nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidForm {
    /// The content type names no boundary that can be used.
    #[error("the content type names no boundary")]
    Boundary,
    /// The content type says more, by which a form could be read differently.
    #[error("the content type of a form says its `boundary`, and `charset=utf-8` at the most")]
    Parameters,
    /// The delimiters are not where they must be.
    #[error("the form is cut off, or its delimiters are not in order")]
    Delimiters,
    /// A part's header is not what it must be.
    #[error("the header of a part of the form cannot be read, or can be read in two ways")]
    Header,
    /// There are too many parts.
    #[error("the form has more than {MOST_PARTS} parts")]
    TooMany,
}

/// A form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// In the order of the body.
    pub parts: Vec<Part>,
}

/// One of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The name of its field.
    pub name: Box<str>,
    /// Whether it is a file.
    pub file: bool,
    /// Where its content stands in the body.
    pub content: Range<usize>,
}

/// The boundary that a content type names; `None` when it is not one of forms.
///
/// # Errors
/// [`InvalidForm::Boundary`] when it is one, and names none or several, or one that is not allowed;
/// [`InvalidForm::Parameters`] when it says anything else by which somebody reads another form (`boundary*`), or its names
/// and texts in other letters (`charset`).
pub fn boundary(content_type: &str) -> Result<Option<&str>, InvalidForm> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return Ok(None);
    }
    let mut found = None;
    for parameter in parameters.split(';').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or(InvalidForm::Boundary)?;
        if name.eq_ignore_ascii_case("boundary") {
            if found.replace(value).is_some() {
                return Err(InvalidForm::Boundary);
            }
        } else if !name.eq_ignore_ascii_case("charset") || !is_one_of(value, &["utf-8", "utf8"]) {
            return Err(InvalidForm::Parameters);
        }
    }
    let value = found.ok_or(InvalidForm::Boundary)?;
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    // RFC 2046, section 5.1.1, without the space, and without what ends a parameter.
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&b);
    match (1..=70).contains(&value.len()) && value.bytes().all(is_allowed) {
        true => Ok(Some(value)),
        false => Err(InvalidForm::Boundary),
    }
}

/// The content type of a form with a boundary that [`boundary`] gave, and nothing else in it.
pub fn content_type(boundary: &str) -> String {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"'+_-.".contains(&b);
    let quote = if boundary.bytes().all(is_token) { "" } else { "\"" };
    format!("multipart/form-data; boundary={quote}{boundary}{quote}")
}

/// Whether the value of a parameter, with quotes or without, is one of these.
fn is_one_of(value: &str, values: &[&str]) -> bool {
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    values.iter().any(|one| value.eq_ignore_ascii_case(one))
}

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// [`InvalidForm`] when it is not such a form.
    pub fn parse(body: &[u8], boundary: &str) -> Result<Self, InvalidForm> {
        let mark = format!("--{boundary}");
        let finder = memmem::Finder::new(&mark);
        let mut rest = body.strip_prefix(mark.as_bytes()).ok_or(InvalidForm::Delimiters)?;
        let mut parts = Vec::new();
        loop {
            let at = body.len() - rest.len();
            if let Some(end) = rest.strip_prefix(b"--") {
                let is_end = matches!(end, b"" | b"\r\n") && !parts.is_empty();
                return if is_end { Ok(Self { parts }) } else { Err(InvalidForm::Delimiters) };
            }
            let part = rest.strip_prefix(b"\r\n").ok_or(InvalidForm::Delimiters)?;
            // Every place at which the mark stands must be a delimiter: who takes bare line feeds sees no other.
            let length = finder.find(part).ok_or(InvalidForm::Delimiters)?;
            let whole = part[..length].strip_suffix(b"\r\n").ok_or(InvalidForm::Delimiters)?;
            if parts.len() == MOST_PARTS {
                return Err(InvalidForm::TooMany);
            }
            let header =
                memmem::find(&whole[..whole.len().min(MOST_HEADER)], b"\r\n\r\n").ok_or(InvalidForm::Header)?;
            let (name, file) = described(&whole[..header], &whole[header + 4..])?;
            let start = at + 2 + header + 4;
            parts.push(Part { name: name.into(), file, content: start..at + 2 + whole.len() });
            rest = &part[length + mark.len()..];
        }
    }

    /// The body, which must be the one that was read, with other contents at some of its parts, which are told in their
    /// order.
    pub fn rewrite<'a>(body: &[u8], contents: impl IntoIterator<Item = (&'a Range<usize>, Cow<'a, [u8]>)>) -> Vec<u8> {
        let (mut out, mut done) = (Vec::with_capacity(body.len() + 64), 0);
        for (at, content) in contents {
            out.extend_from_slice(body.get(done..at.start).unwrap_or_default());
            out.extend_from_slice(&content);
            done = at.end;
        }
        out.extend_from_slice(body.get(done..).unwrap_or_default());
        out
    }
}

/// The name of a part and whether it is a file, from its header.
pub(crate) fn described<'h>(header: &'h [u8], content: &[u8]) -> Result<(&'h str, bool), InvalidForm> {
    let header = std::str::from_utf8(header).map_err(|_| InvalidForm::Header)?;
    let mut disposition = None;
    for line in header.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(InvalidForm::Header)?;
        let is_token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !is_token || value.bytes().any(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return Err(InvalidForm::Header);
        }
        let value_is_plain = |plain: &[&str]| plain.iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        let holds = match &*name.to_ascii_lowercase() {
            "content-disposition" => disposition.replace(value.trim()).is_none(),
            "content-transfer-encoding" => value_is_plain(&["binary", "8bit", "7bit"]),
            "content-type" => is_read_as_utf8(value, content),
            _ => true,
        };
        if !holds {
            return Err(InvalidForm::Header);
        }
    }
    let mut rest = disposition.ok_or(InvalidForm::Header)?;
    let kind = rest.get(..9).filter(|kind| kind.eq_ignore_ascii_case("form-data")).ok_or(InvalidForm::Header)?;
    rest = rest[kind.len()..].trim_start();
    let (mut field, mut file, mut other) = (None, false, false);
    while let Some(parameter) = rest.strip_prefix(';') {
        let (name, value) = parameter.split_once('=').ok_or(InvalidForm::Header)?;
        let (value, after) = quoted(value).ok_or(InvalidForm::Header)?;
        match name.trim_start() {
            // A part `_charset_` tells some in which letters the others are.
            "name" if field.is_none() && !value.contains(['\\', '%', '"']) && value != "_charset_" => {
                field = Some(value)
            }
            // Without a name it is a text to some.
            "filename" if !file && !value.is_empty() => file = true,
            // The name in other letters, for those who read it.
            "filename*" => other = true,
            _ => return Err(InvalidForm::Header),
        }
        rest = after.trim_start();
    }
    match (field, rest.is_empty()) {
        // To whoever does not read `filename*`, a part with nothing else is no file but a text.
        (Some(field), true) if file || !other => Ok((field, file)),
        _ => Err(InvalidForm::Header),
    }
}

/// Whether a part of this content type is UTF-8 to everybody: some read it in the letters that its type names.
fn is_read_as_utf8(content_type: &str, content: &[u8]) -> bool {
    let charset =
        |parameter: &&str| parameter.trim_start().get(..7).is_some_and(|name| name.eq_ignore_ascii_case("charset"));
    content_type.split(';').skip(1).filter(charset).all(|parameter| {
        let value = parameter.split_once('=').map_or("", |(_, value)| value.trim());
        is_one_of(value, &["utf-8", "utf8", "us-ascii"]) || (is_one_of(value, &["iso-8859-1"]) && content.is_ascii())
    })
}

/// The value at the beginning of a text, a token or between quotes, and what follows it. A backslash before a quote may
/// end the value or not, depending on who reads it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    match text.strip_prefix('"') {
        Some(inner) => {
            let (value, after) = inner.split_once('"')?;
            (!value.ends_with('\\')).then_some((value, after))
        }
        None => {
            let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
            let (value, after) = text.split_at(end);
            (!value.is_empty() && !value.contains('"')).then_some((value, after))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn form(body: &str) -> Result<Vec<(String, bool, String)>, InvalidForm> {
        let form = Form::parse(body.as_bytes(), "b")?;
        let part = |part: Part| (part.name.into(), part.file, body[part.content].to_owned());
        Ok(form.parts.into_iter().map(part).collect())
    }

    #[test]
    fn a_content_type_names_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=a-b"), Ok(Some("a-b")));
        assert_eq!(boundary("Multipart/Form-Data;charset=utf-8; BOUNDARY=\"a:b\""), Ok(Some("a:b")));
        assert_eq!(boundary("application/json"), Ok(None));
        assert_eq!(boundary("multipart/mixed; boundary=a"), Ok(None));
        let long = format!("multipart/form-data; boundary={}", "a".repeat(71));
        for none in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"\"",
            "multipart/form-data; boundary=a; boundary=b",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary",
            long.as_str(),
        ] {
            assert_eq!(boundary(none), Err(InvalidForm::Boundary), "{none}");
        }
        for more in [
            "boundary*=utf-8''b",
            "boundary*0=b",
            "charset=utf-7",
            "charset=",
            "charset*=utf-8''utf-7",
            "x=y",
            "boundary =b",
        ] {
            for kind in [format!("boundary=a; {more}"), format!("{more}; boundary=a")] {
                assert_eq!(boundary(&format!("multipart/form-data; {kind}")), Err(InvalidForm::Parameters), "{kind}");
            }
        }
    }

    #[test]
    fn a_content_type_is_written_as_it_was_read() {
        for (told, written) in [("a-b_c.d'+1", "a-b_c.d'+1"), ("\"a\"", "a"), ("a:b=(1)/2?", "\"a:b=(1)/2?\"")] {
            let read = format!("multipart/form-data; charset=\"UTF-8\"; boundary={told}");
            let sent = content_type(boundary(&read).unwrap().unwrap());
            assert_eq!(sent, format!("multipart/form-data; boundary={written}"));
            assert_eq!(boundary(&sent), boundary(&read));
        }
    }

    #[test]
    fn parts_are_found_by_position() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n\
                    --b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a \\ä.wav\"\r\nContent-Type: audio/wav\r\n\r\n\
                    RI\r\nFF--\r\n\r\n--b\r\ncontent-disposition: form-data; name=empty\r\n\r\n\r\n--b--\r\n";
        let part = |name: &str, file, content: &str| (name.to_owned(), file, content.to_owned());
        let parts =
            vec![part("model", false, "whisper"), part("file", true, "RI\r\nFF--\r\n"), part("empty", false, "")];
        assert_eq!(form(body), Ok(parts.clone()));
        assert_eq!(form(body.strip_suffix("\r\n").unwrap()), Ok(parts));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let one = |header: &str, content: &str| format!("--b\r\n{header}\r\n\r\n{content}\r\n--b--\r\n");
        let plain = "Content-Disposition: form-data; name=\"m\"";
        assert!(form(&one(plain, "x")).is_ok());
        for (body, why) in [
            (String::new(), InvalidForm::Delimiters),
            ("--b--\r\n".into(), InvalidForm::Delimiters),
            (format!("preamble\r\n{}", one(plain, "x")), InvalidForm::Delimiters),
            (format!("{}more", one(plain, "x")), InvalidForm::Delimiters),
            (one(plain, "x").replace("--b--", "--b"), InvalidForm::Delimiters),
            (one(plain, "x").replace("--b\r\n", "--b \r\n"), InvalidForm::Delimiters),
            (one(plain, "x\n--b\ny"), InvalidForm::Delimiters),
            (one(plain, "x\r\n--bc\r\ny"), InvalidForm::Delimiters),
            (one(plain, "x--by"), InvalidForm::Delimiters),
            (one("", "x"), InvalidForm::Header),
            (one("Content-Type: text/plain", "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\n{plain}"), "x"), InvalidForm::Header),
            (one(&format!("{plain}; name=\"n\""), "x"), InvalidForm::Header),
            (one(&format!("{plain};\r\n filename=x"), "x"), InvalidForm::Header),
            (one(&format!("{plain}; name*=utf-8''n"), "x"), InvalidForm::Header),
            (one(&format!("{plain}; filename*=utf-8''x"), "x"), InvalidForm::Header),
            (one(&format!("{plain}; filename=\"\""), "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name=\"_charset_\"", "utf-7"), InvalidForm::Header),
            (one(&format!("{plain}\r\nContent-Type: text/plain; charset=utf-7"), "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\nContent-Type: text/plain;Charset*=''utf-8"), "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\nContent-Type: text/plain; charset=ISO-8859-1"), "\u{e4}"), InvalidForm::Header),
            (one(&format!("{plain}; filename=\"a\\\"; name=\"n\""), "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\nContent-Transfer-Encoding: base64"), "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\nX: a\nContent-Type: b"), "x"), InvalidForm::Header),
            (one("Content-Disposition: attachment; name=\"m\"", "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name=\"m\\n\"", "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name=\"m%22\"", "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name=\"m", "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name =\"m\"", "x"), InvalidForm::Header),
            (one("Content-Disposition: form-data; name= \"m\"", "x"), InvalidForm::Header),
            (one(&format!("{plain}\r\nX: {}", "a".repeat(MOST_HEADER)), "x"), InvalidForm::Header),
        ] {
            assert_eq!(form(&body), Err(why), "{body}");
        }
        for read in ["filename=\"x\"; filename*=utf-8''y", "filename*=utf-8''y; filename=\"x\""] {
            assert_eq!(
                form(&one(&format!("{plain}; {read}"), "x")),
                Ok(vec![("m".into(), true, "x".into())]),
                "{read}"
            );
        }
        for charset in ["UTF-8", "\"utf-8\"", "us-ascii", "iso-8859-1"] {
            assert!(
                form(&one(&format!("{plain}\r\nContent-Type: text/plain; charset={charset}"), "x")).is_ok(),
                "{charset}"
            );
        }
        let many: String = (0..=MOST_PARTS).map(|_| format!("--b\r\n{plain}\r\n\r\nx\r\n")).collect();
        assert_eq!(form(&format!("{many}--b--")), Err(InvalidForm::TooMany));
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut body = b"--b\r\n".to_vec();
            body.extend(&bytes);
            for body in [&bytes, &body] {
                if let Ok(form) = Form::parse(body, "b") {
                    prop_assert!(form.parts.iter().all(|part| part.content.end <= body.len()));
                }
            }
        }

        /// Whatever stands in the other parts, a form with another content at one part is that form and no other.
        #[test]
        fn a_content_written_anew_changes_nothing_else(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..6),
            which in any::<prop::sample::Index>(),
            new in "[a-z0-9./:-]{0,20}",
        ) {
            let mut body = Vec::new();
            for (i, content) in contents.iter().enumerate() {
                let file = if i % 2 == 1 { "; filename=\"f\"" } else { "" };
                body.extend(format!("--q7w\r\ncontent-disposition: form-data; name=\"n{i}\"{file}\r\n\r\n").bytes());
                body.extend(content);
                body.extend(b"\r\n");
            }
            body.extend(b"--q7w--\r\n");
            let form = Form::parse(&body, "q7w").unwrap();
            prop_assert_eq!(form.parts.len(), contents.len());
            let which = which.index(contents.len());
            let at = &form.parts[which].content;
            let sent = Form::rewrite(&body, [(at, Cow::Borrowed(new.as_bytes()))]);
            let again = Form::parse(&sent, "q7w").unwrap();
            for (i, part) in again.parts.iter().enumerate() {
                prop_assert_eq!(&*part.name, format!("n{i}"));
                prop_assert_eq!(part.file, i % 2 == 1);
                let expect = if i == which { new.as_bytes() } else { &contents[i][..] };
                prop_assert_eq!(&sent[part.content.clone()], expect);
            }
        }
    }
}
