//! RESP2, the protocol of Redis and Valkey, as much of it as commands and their answers need: bytes
//! in, bytes out. It knows no sockets.
//!
//! Own code instead of a client library: those keep the password in a connection description that is
//! printed and cloned, and bring a TLS set-up of their own.

use zeroize::Zeroizing;

/// The largest answer taken, in bytes: 100,000 users' names.
pub(crate) const LARGEST: usize = 16 << 20;
const DEEPEST: usize = 8;
const MOST: usize = 1 << 20;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// `+OK`
    Simple(String),
    /// `-ERR …`
    Error(String),
    /// `:1`
    Integer(i64),
    /// `$…`, or nothing there.
    Bulk(Option<Vec<u8>>),
    /// `*…`, or nothing there.
    Array(Option<Vec<Value>>),
}

/// No answer of this protocol, or too large a one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A command as bytes: an array of bulk strings, so that no argument can become another.
pub(crate) fn command(words: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(words.iter().map(|w| w.len() + 24).sum::<usize>() + 16));
    bytes.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// The answer at the start of these bytes and how many it takes; `None` while it is not whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    let mut reader = Reader { bytes, at: 0, values: 0 };
    Ok(reader.value(0)?.map(|value| (value, reader.at)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Option<Value>, Malformed> {
        self.values += 1;
        if depth > DEEPEST || self.values > MOST {
            return Err(Malformed);
        }
        let Some(line) = self.line()? else { return Ok(None) };
        let (kind, rest) = line.split_first().ok_or(Malformed)?;
        let text = || String::from_utf8_lossy(rest).into_owned();
        match kind {
            b'+' => Ok(Some(Value::Simple(text()))),
            b'-' => Ok(Some(Value::Error(text()))),
            b':' => Ok(Some(Value::Integer(number(rest)?))),
            b'$' => match length(rest)? {
                None => Ok(Some(Value::Bulk(None))),
                Some(length) => {
                    let Some(body) = self.bytes.get(self.at..self.at + length + 2) else { return Ok(None) };
                    let body = body.strip_suffix(b"\r\n").ok_or(Malformed)?;
                    self.at += length + 2;
                    Ok(Some(Value::Bulk(Some(body.to_vec()))))
                }
            },
            b'*' => match length(rest)? {
                None => Ok(Some(Value::Array(None))),
                Some(length) => {
                    let mut items = Vec::with_capacity(length.min(1024));
                    for _ in 0..length {
                        match self.value(depth + 1)? {
                            Some(item) => items.push(item),
                            None => return Ok(None),
                        }
                    }
                    Ok(Some(Value::Array(Some(items))))
                }
            },
            _ => Err(Malformed),
        }
    }

    fn line(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let rest = &self.bytes[self.at..];
        match rest.windows(2).position(|w| w == b"\r\n") {
            Some(end) => {
                self.at += end + 2;
                Ok(Some(&rest[..end]))
            }
            None if rest.len() > 64 * 1024 => Err(Malformed),
            None => Ok(None),
        }
    }
}

fn number(text: &[u8]) -> Result<i64, Malformed> {
    std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Malformed)
}

fn length(text: &[u8]) -> Result<Option<usize>, Malformed> {
    match number(text)? {
        -1 => Ok(None),
        n => usize::try_from(n).ok().filter(|n| *n <= LARGEST).map(Some).ok_or(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], expect: Value) {
        assert_eq!(parse(bytes), Ok(Some((expect, bytes.len()))));
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn reads_every_kind_of_answer_whole_and_cut() {
        check(b"+OK\r\n", Value::Simple("OK".into()));
        check(b"-WRONGPASS no\r\n", Value::Error("WRONGPASS no".into()));
        check(b":-7\r\n", Value::Integer(-7));
        check(b"$4\r\na\r\nb\r\n", Value::Bulk(Some(b"a\r\nb".to_vec())));
        check(b"$-1\r\n", Value::Bulk(None));
        check(b"*-1\r\n", Value::Array(None));
        let inner = Value::Array(Some(vec![Value::Integer(1), Value::Bulk(Some(vec![]))]));
        check(b"*2\r\n*2\r\n:1\r\n$0\r\n\r\n+x\r\n", Value::Array(Some(vec![inner, Value::Simple("x".into())])));
    }

    #[test]
    fn refuses_what_is_no_answer_or_too_much() {
        for bad in [&b"?\r\n"[..], b"\r\n", b"$x\r\n", b"$-2\r\n", b"$99999999999\r\n", b"$1\r\nabc", b":\r\n"] {
            assert_eq!(parse(bad), Err(Malformed), "{bad:?}");
        }
        assert_eq!(parse(&b"*1\r\n".repeat(20)), Err(Malformed));
        assert_eq!(parse(&vec![b'+'; 70_000]), Err(Malformed));
    }

    #[test]
    fn arguments_cannot_become_commands() {
        assert_eq!(
            &*command(&[b"AUTH", b"a\r\n*1\r\n$8\r\nFLUSHALL"]),
            b"*2\r\n$4\r\nAUTH\r\n$19\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(prop::sample::select(b"*$+-:019\r\nab".to_vec()), 0..80)) {
            let _ = parse(&bytes);
        }
    }
}
