use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<(Parsed, RequestHead), OutcomeReason> {
    let mut head = RequestHead::default();
    parse_request(text.as_bytes(), 0, &HeadLimits::default(), &mut head).map(|p| (p, head))
}

fn refused(text: &str) -> OutcomeReason {
    match parse(text) {
        Err(reason) => reason,
        Ok((parsed, _)) => panic!("accepted as {parsed:?}: {text:?}"),
    }
}

#[test]
fn a_plain_request() {
    let text = "POST /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nContent-Length: 5\r\nX-A:  b \t\r\n\r\nhello";
    let (parsed, head) = parse(text).unwrap();
    let buf = text.as_bytes();
    assert_eq!(parsed, Parsed::Complete);
    assert_eq!(head.method.str(buf), "POST");
    assert_eq!(head.target.str(buf), "/a/b?c=d");
    assert_eq!(head.host.str(buf), "example.com:8080");
    assert_eq!(head.framing, Framing::Length(5));
    assert_eq!(head.fields[2].value.str(buf), "b");
    assert_eq!(&buf[head.len..], b"hello");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let bad = OutcomeReason::MalformedRequest;
    let lines = [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5, 5",
        "Content-Length: +5",
        "Content-Length: 0x5",
        "Content-Length: ",
        "Content-Length: 9999999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        " Transfer-Encoding: chunked",
        "X: a\r\n b",
        "X: a\nY: b",
        "X: a\rY: b",
        "X: a\0",
        "X\u{e9}: a",
        ": a",
        "X",
        "Host: other",
        "Expect: something",
    ];
    for line in lines {
        assert_eq!(refused(&format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")), bad, "{line:?}");
    }
    for first in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET / HTTP/2.0",
        "GET /\u{7f} HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET / http/1.1",
        "GET a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /\\ HTTP/1.1",
        "GET",
        "GET ftp://x/ HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "GET / HTTP/1.1\rX: a",
    ] {
        assert_eq!(refused(&format!("{first}\r\nHost: a\r\n\r\n")), bad, "{first:?}");
    }
    for text in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(refused(text), bad, "{text:?}");
    }
}

#[test]
fn limits_have_their_own_reasons() {
    let long = "a".repeat(9000);
    assert_eq!(refused(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")), OutcomeReason::UriTooLong);
    let huge = "a".repeat(40_000);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {huge}")), OutcomeReason::HeadersTooLarge);
    assert_eq!(refused(&format!("GET /{huge}")), OutcomeReason::UriTooLong);
    let many = "X: y\r\n".repeat(200);
    assert_eq!(refused(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")), OutcomeReason::HeadersTooLarge);
}

#[test]
fn absolute_form_overrides_host() {
    let text = "GET http://real.example/x HTTP/1.1\r\nHost: other\r\n\r\n";
    let (_, head) = parse(text).unwrap();
    assert_eq!((head.host.str(text.as_bytes()), head.target.str(text.as_bytes())), ("real.example", "/x"));
}

#[test]
fn responses() {
    let parse = |text: &str| {
        let mut head = ResponseHead::default();
        parse_response(text.as_bytes(), 0, &HeadLimits::default(), &mut head).map(|_| head)
    };
    let head = parse("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert_eq!((head.status, head.framing(false), head.framing(true)), (200, Framing::Length(3), Framing::None));
    assert_eq!(parse("HTTP/1.1 200\r\n\r\n").unwrap().framing(false), Framing::UntilClose);
    assert_eq!(parse("HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n").unwrap().framing(false), Framing::None);
    for bad in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTQ/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\rA: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    ] {
        assert_eq!(parse(bad).err(), Some(OutcomeReason::UpstreamMalformed), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), scanned in 0usize..400) {
        let _ = parse_request(&bytes, scanned, &HeadLimits::default(), &mut RequestHead::default());
        let _ = parse_response(&bytes, scanned, &HeadLimits::default(), &mut ResponseHead::default());
    }

    /// What we accept, hyper's own parser reads the same way.
    #[test]
    fn accepted_heads_mean_the_same_to_httparse(
        method in "[A-Z]{1,8}",
        path in "/[a-zA-Z0-9/._~%-]{0,30}",
        fields in prop::collection::vec(("[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", "[ -~\t]{0,20}"), 0..10),
        noise in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n").into_bytes();
        for (name, value) in &fields {
            text.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        text.extend_from_slice(b"\r\n");
        if let Some((at, byte)) = noise {
            let at = at.index(text.len());
            text[at] = byte;
        }
        let mut head = RequestHead::default();
        if let Ok(Parsed::Complete) = parse_request(&text, 0, &HeadLimits::default(), &mut head) {
            let mut storage = [httparse::EMPTY_HEADER; 128];
            let mut oracle = httparse::Request::new(&mut storage);
            let status = oracle.parse(&text);
            prop_assert_eq!(status, Ok(httparse::Status::Complete(head.len)));
            prop_assert_eq!(oracle.method, Some(head.method.str(&text)));
            prop_assert_eq!(oracle.headers.len(), head.fields.len());
            for (ours, theirs) in head.fields.iter().zip(oracle.headers.iter()) {
                prop_assert_eq!(ours.name.str(&text), theirs.name);
                prop_assert_eq!(ours.value.of(&text), theirs.value);
            }
        }
    }
}
