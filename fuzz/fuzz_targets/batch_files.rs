//! Any bytes as the upload of a batch's file: no panic, the same lines in whatever pieces it comes, and what goes on is read
//! the same.
#![no_main]

use credentialflow_llm::batch::{
    Asks,
    answers::{Lines, judged, renamed, used, withheld},
    call::{BatchCall, requests},
    form::{Piece, UploadForm},
    gemini,
    object::listed,
};
use credentialflow_model::objects::ObjectKind;

const OTHER: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nvision\r\n";
const START: &str = "--b\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n";

/// The lines of an upload and what goes on of it; `None` where it is refused.
fn read(body: &[u8], size: usize) -> Option<(Vec<String>, Vec<u8>)> {
    let (mut form, mut pieces, mut lines, mut out) = (UploadForm::new("b"), body.chunks(size), Vec::new(), Vec::new());
    loop {
        match form.piece().ok()? {
            Piece::More => form.push(pieces.next()?),
            Piece::Frame(bytes) => out.extend(bytes),
            Piece::Line(line) => {
                out.extend_from_slice(line.as_bytes());
                out.push(b'\n');
                lines.push(line);
            }
            Piece::End => match pieces.next() {
                Some(piece) => form.push(piece),
                None => return Some((lines, out)),
            },
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    for body in [data.to_vec(), [START.as_bytes(), data].concat(), [OTHER.as_bytes(), data].concat()] {
        let whole = read(&body, usize::MAX);
        assert_eq!(whole, read(&body, 3), "in pieces");
        if let Some((lines, out)) = whole {
            assert_eq!(read(&out, 7).map(|(lines, _)| lines), Some(lines), "what goes on");
        }
    }
    let mut lines = Lines::default();
    let _ = lines.feed(data, &mut |line| {
        renamed(line, "model");
        if let Ok(same) = judged(line, Ok) {
            assert_eq!(same, line, "what is not changed stays as it is");
        }
        serde_json::from_slice::<serde_json::Value>(&withheld(line, "why")).expect("it is JSON");
        for asks in Asks::ALL {
            used(line, asks);
        }
    });
    for kind in ObjectKind::ALL {
        let _ = listed(data, kind);
    }
    let _ = gemini::listed(data);
    let _ = gemini::batch(data, "batches/a", "model");
    if let Ok(text) = std::str::from_utf8(data) {
        let is_json = |json: &str| serde_json::from_str::<serde_json::Value>(json).is_ok();
        if let Ok(wanted) = gemini::Wanted::read(text, "model") {
            assert!(is_json(&(wanted.begin() + gemini::Wanted::END)), "a batch without its calls");
        }
        assert!(gemini::answered(text, "batches/a", "model", str::to_owned).is_none_or(|told| is_json(&told)));
        for result in gemini::results(text).into_iter().flatten() {
            assert!(is_json(&gemini::withheld(result, "why")));
            if let Ok(same) = gemini::judged(result, Ok) {
                assert_eq!(same, result, "what is not changed stays as it is");
            }
        }
        let _ = requests(text);
        for call in [BatchCall::of_line(text), BatchCall::of_request(text)].into_iter().flatten() {
            let written = call.rewrite(text, "provider");
            let read = if call.asks() == Asks::Messages { BatchCall::of_request } else { BatchCall::of_line };
            assert_eq!(read(&written).expect("it is a call still").model(), "provider");
        }
    }
});
