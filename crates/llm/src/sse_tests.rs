#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

/// Owned form of what a reader hands out; parts of oversize events are joined.
#[derive(Debug, PartialEq, Clone)]
enum Got {
    Event { raw: Vec<u8>, data: Option<Vec<u8>>, kind: Option<Vec<u8>>, complete: bool },
    Oversize(Vec<u8>),
}

fn read<'c>(max: usize, chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<Got> {
    let mut got: Vec<Got> = Vec::new();
    let mut reader = SseReader::new(max);
    let mut take = |piece: SsePiece<'_>| match (piece, got.last_mut()) {
        (SsePiece::Event(e), _) => got.push(Got::Event {
            raw: e.raw.to_vec(),
            data: e.data().map(Cow::into_owned),
            kind: e.event_type().map(<[u8]>::to_vec),
            complete: e.complete,
        }),
        (SsePiece::Oversize(bytes), Some(Got::Oversize(last))) => last.extend_from_slice(bytes),
        (SsePiece::Oversize(bytes), _) => got.push(Got::Oversize(bytes.to_vec())),
    };
    for chunk in chunks {
        reader.feed(chunk, &mut take);
        assert!(reader.pending().len() <= max);
    }
    reader.finish(&mut take);
    got
}

fn data(stream: &str) -> Vec<String> {
    let texts = read(DEFAULT_MAX_EVENT, [stream.as_bytes()]).into_iter().filter_map(|g| match g {
        Got::Event { data, .. } => data,
        Got::Oversize(_) => None,
    });
    texts.map(|t| String::from_utf8(t).unwrap()).collect()
}

#[test]
fn the_standards_examples() {
    assert_eq!(data("data: YHOO\ndata: +2\ndata: 10\n\n"), ["YHOO\n+2\n10"]);
    assert_eq!(
        data(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"),
        ["first event", "second event", " third event"]
    );
    assert_eq!(data("data\n\ndata\ndata\n\ndata:\n\n"), ["", "\n", ""]);
    assert_eq!(data("data:test\n\ndata: test\n\n"), ["test", "test"]);
    assert_eq!(data("database: no\nda: no\n data: no\n\n"), [""; 0]);
}

#[test]
fn line_ends_and_byte_order_mark() {
    for end in ["\n", "\r\n", "\r"] {
        let stream = format!("\u{FEFF}event: a{end}data: 1{end}data: 2{end}{end}data: \u{FEFF}3{end}{end}");
        assert_eq!(data(&stream), ["1\n2", "\u{FEFF}3"], "{end:?}");
        assert_eq!(data(&format!("\u{FEFF}data: 1{end}{end}")), ["1"]);
    }
    assert_eq!(data("data: 1\n\n\u{FEFF}data: 2\n\n"), ["1"], "a mark counts only at the start");
    assert_eq!(data("data: 1\r\n\rdata: 2\r\r\ndata: 3\n\r"), ["1", "2", "3"]);
}

#[test]
fn an_unfinished_end_is_marked() {
    let Got::Event { data, complete, .. } = &read(100, [b"data: x".as_slice()])[0] else { panic!() };
    assert_eq!((data.as_deref(), *complete), (Some(b"x".as_slice()), false));
}

#[test]
fn oversize_events_are_passed_and_the_next_is_read() {
    let long = format!("data: {}\n\n", "x".repeat(50));
    let stream = format!("data: 1\n\n{long}data: 2\n\n");
    let got = read(20, [stream.as_bytes()]);
    assert_eq!(got[1], Got::Oversize(long.into_bytes()));
    assert!(matches!(&got[2], Got::Event { data: Some(d), .. } if d == b"2"));
}

#[test]
fn skipping_leaves_the_reader_between_events() {
    let mut reader = SseReader::default();
    assert!(!reader.skip(b"data: 1\n"));
    assert!(reader.skip(b"data: 1\n\n") && reader.skip(b"data: 1\r\n\r\n"));
    reader.feed(b"data: ", |_| panic!("no event yet"));
    assert!(!reader.skip(b"2\n\n"), "in the middle of one");
    let mut seen = 0;
    reader.feed(b"2\n\n", |p| {
        assert_eq!(p.raw(), b"data: 2\n\n");
        seen += 1;
    });
    assert_eq!(seen, 1);
}

#[test]
fn whole_events_are_those_between_what_began_before_and_what_is_looked_for() {
    let mut reader = SseReader::default();
    let chunk = b"data: 1\n\ndata: 2\r\n\r\ndata: 3\n\ndata: 4";
    assert_eq!(reader.whole_events(chunk, chunk.len()), 0..29);
    assert_eq!(reader.whole_events(chunk, 28), 0..20);
    assert_eq!(reader.whole_events(chunk, 8), 0..0);
    reader.feed(b"data: 0", |_| panic!("no event yet"));
    assert_eq!(reader.whole_events(chunk, chunk.len()), 9..29);
    assert_eq!(reader.whole_events(chunk, 12), 9..9);
    assert_eq!(reader.whole_events(b"\n", 1), 1..1);
}

/// A line-by-line reading after the standard's text, as the oracle.
fn oracle(stream: &[u8]) -> Vec<Vec<u8>> {
    let text = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let normal = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = normal.split('\n').collect();
    lines.pop(); // what follows the last line end is no line
    let (mut events, mut data) = (Vec::new(), None::<String>);
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        if line.is_empty() {
            events.extend(data.take().map(|mut d| {
                d.pop();
                d.into_bytes()
            }));
        } else if field == "data" {
            let data = data.get_or_insert_default();
            data.push_str(value.strip_prefix(' ').unwrap_or(value));
            data.push('\n');
        }
    }
    events
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "\n",
        "\r",
        "\r\n",
        "\n\n",
        "data",
        "data:",
        "data: ",
        ":",
        "id: 1",
        "x",
        "{\"usage\":1}",
        "\u{FEFF}",
        "event: e",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|t| t.concat().into_bytes())
}

fn split(stream: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.iter_mut().for_each(|c| *c %= stream.len() + 1);
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|w| &stream[w[0]..w[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_gives_the_same_and_nothing_is_lost(
        stream in streams(), cuts in prop::collection::vec(any::<usize>(), 0..12), max in prop_oneof![Just(1000usize), 0..40usize],
    ) {
        let whole = read(max, [stream.as_slice()]);
        let joined: Vec<u8> = whole.iter().flat_map(|g| match g { Got::Event { raw, .. } => raw.clone(), Got::Oversize(b) => b.clone() }).collect();
        prop_assert_eq!(&joined, &stream);
        prop_assert_eq!(&read(max, split(&stream, cuts)), &whole);
        prop_assert_eq!(&read(max, stream.chunks(1)), &whole);
    }

    #[test]
    fn agrees_with_the_standard(stream in streams()) {
        let got: Vec<_> = read(1000, [stream.as_slice()]).into_iter()
            .filter_map(|g| match g { Got::Event { data, complete: true, .. } => data, _ => None }).collect();
        prop_assert_eq!(got, oracle(&stream));
    }

    #[test]
    fn never_panics(stream in prop::collection::vec(any::<u8>(), 0..200), max in 0..64usize) {
        read(max, stream.chunks(7));
    }
}

#[test]
fn a_stream_that_lacks_its_end_is_told_from_one_that_only_lacks_a_blank_line() {
    for (text, within) in [
        ("", true),
        ("data: {}\n\n", false),
        ("data: {}\n\ndata: {\"a\":1}\n", false),
        ("data: {}\n\ndata: [DONE]", false),
        ("data: {}\n\n: ping", false),
        ("data: {}\n\n\r", false),
        ("data: {}\r\rdata: {}\r\r", false),
        ("data: {}\n\ndata: {\"a\":", true),
        ("data: {}\n\ndata: {\"a\"", true),
        ("data: {}\n\ndat", true),
        ("data: {}\n\nevent: message_stop\n", true),
        ("data: {}\n\ndata: [DO", true),
        ("<html>\n</html>\n", true),
    ] {
        for size in [1, 3, 100] {
            let mut reader = SseReader::default();
            text.as_bytes().chunks(size).for_each(|chunk| reader.feed(chunk, |_| {}));
            assert_eq!(reader.lacks_its_end(), within, "{text:?} in pieces of {size}");
        }
    }
    let mut reader = SseReader::new(4);
    reader.feed(b"data: \"long", |_| {});
    assert!(reader.lacks_its_end());
}
