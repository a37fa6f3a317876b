//! A very small HTTP/1.1 client for loopback: one request, one connection, a bounded answer.

use anyhow::{Context as _, Result, bail};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_ANSWER: u64 = 64 << 20;

/// An answer, whole.
pub struct Answer {
    /// Its status code.
    pub status: u16,
    /// Its body, no longer chunked.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, provided that the status is a success.
    pub fn success(self, what: &str) -> Result<Self> {
        if !(200..300).contains(&self.status) {
            bail!("{what} was answered with {}: {}", self.status, self.text().trim());
        }
        Ok(self)
    }
}

/// Sends a GET without a body, or a POST of JSON, with a bearer token where one is given.
pub fn send(to: SocketAddr, path: &str, bearer: Option<&str>, json: Option<&str>) -> Result<Answer> {
    let context = || format!("no answer from http://{to}{path}");
    let mut stream = TcpStream::connect_timeout(&to, TIMEOUT).with_context(context)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let method = if json.is_some() { "POST" } else { "GET" };
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\naccept: */*\r\n");
    if let Some(token) = bearer {
        request.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    if let Some(json) = json {
        request.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", json.len()));
    }
    request.push_str("\r\n");
    request.push_str(json.unwrap_or_default());
    stream.write_all(request.as_bytes()).with_context(context)?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut bytes).with_context(context)?;
    parse(&bytes).with_context(context)
}

fn parse(bytes: &[u8]) -> Result<Answer> {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n").context("the answer has no complete head")?;
    let head = String::from_utf8_lossy(&bytes[..split]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the answer has no status")?;
    let body = &bytes[split + 4..];
    let chunked = head.lines().any(|l| l.starts_with("transfer-encoding:") && l.contains("chunked"));
    Ok(Answer { status, body: if chunked { dechunk(body)? } else { body.to_vec() } })
}

fn dechunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|w| w == b"\r\n").context("the answer ends inside a chunk's size")?;
        let digits = String::from_utf8_lossy(&rest[..line]);
        let size = usize::from_str_radix(digits.split(';').next().unwrap_or_default().trim(), 16)?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Ok(out);
        }
        let end = size.checked_add(2).filter(|end| *end <= rest.len()).context("the answer ends inside a chunk")?;
        out.extend_from_slice(&rest[..size]);
        rest = &rest[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_whole_and_chunked_answers() {
        let plain = parse(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
        assert_eq!((plain.status, &plain.body[..]), (200, &b"hi"[..]));
        let chunked =
            parse(b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\n")
                .unwrap();
        assert_eq!((chunked.status, &chunked.body[..]), (201, &b"abcde"[..]));
    }

    #[test]
    fn a_cut_answer_is_an_error() {
        for cut in [&b"HTTP/1.1 200 OK\r\n"[..], b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc"] {
            assert!(parse(cut).is_err());
        }
    }
}
