//! What an upstream was sent it may repeat, but the caller never sees it.

use crate::harness::*;
use credentialflow_model::OutcomeReason as R;

/// Every form in which the secret may come back, given how it was sent.
const FORMS: [&str; 3] = [SECRET, "sk-upstream-Zq7%2B%2FW4e1r9T%3D", "Ym9iOnNrLXVwc3RyZWFtLVpxNysvVzRlMXI5VD0="];

fn assert_clean(answer: &Message, what: &str) {
    let everything = answer.everything();
    for form in FORMS {
        assert!(find(&everything, form.as_bytes()).is_none(), "{what}: the secret came back: {answer:?}");
    }
}

/// An upstream that sends the request's head back, in a header and in the body.
async fn echo() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let head = String::from_utf8_lossy(&request.head).into_owned();
            let flat = head.replace("\r\n", " ");
            let status = if request.target().contains("fail") { 500 } else { 200 };
            peer.send(answer(status, &format!("x-echo: {flat}\r\n"), &head)).await;
        }
    })
    .await
}

#[tokio::test]
async fn echoes_in_headers_and_bodies() {
    let upstream = echo().await;
    for inject in [
        "{ bearer: c }",
        "{ header: { name: x-secret, credential: c, prefix: 'k ' } }",
        "{ query: { name: key, credential: c } }",
        "{ basic: { username: bob, credential: c } }",
    ] {
        let world = Setup::new(usual(&[upstream.url()], &format!(", inject: {inject}"), "")).start();
        for path in ["/a", "/fail"] {
            let answer = world.get(path, "").await;
            assert!(answer.complete && answer.text().contains("host:"), "{answer:?}");
            assert!(answer.text().contains("********"), "{inject}: something was blotted out");
            assert!(answer.field("x-echo").unwrap().contains("********"), "{inject}");
            assert_clean(&answer, inject);
            world.outcome(R::Served).await;
        }
        world.done().await;
    }
}

#[tokio::test]
async fn split_at_every_place() {
    // Each request says where the answer is cut in two TCP segments, and whether it comes in chunks.
    let upstream = FakeUpstream::start(|mut peer| async move {
        while let Some(request) = peer.request().await {
            let mut numbers = request.target().trim_start_matches('/').split('/').map(|n| n.parse::<usize>().unwrap());
            let (cut, chunked) = (numbers.next().unwrap(), numbers.next().unwrap() == 1);
            let body = format!("aa{SECRET}zz");
            let (a, b) = body.split_at(cut);
            let (first, second) = if chunked {
                let chunk = |s: &str| if s.is_empty() { String::new() } else { format!("{:x}\r\n{s}\r\n", s.len()) };
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                (format!("{head}{}", chunk(a)), format!("{}0\r\n\r\n", chunk(b)))
            } else {
                (format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{a}", body.len()), b.to_owned())
            };
            peer.send(first).await;
            // Long enough for the gateway to have read the first segment alone.
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            peer.send(second).await;
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    let expect = format!("aa{}zz", "*".repeat(SECRET.len()));
    for chunked in [0, 1] {
        for cut in 0..=SECRET.len() + 4 {
            wire.send(get(&format!("/{cut}/{chunked}"), "")).await.unwrap();
            let answer = within(wire.message()).await.unwrap();
            assert_eq!(answer.text(), expect, "cut at {cut}");
            assert!(answer.complete);
        }
    }
    world.calm().await;
    assert_eq!(world.finish().await.len(), 2 * (SECRET.len() + 5));
}

#[tokio::test]
async fn compressed_answers_are_refused_unless_passed_on_purpose() {
    let upstream = FakeUpstream::answering(answer(200, "content-encoding: gzip\r\n", "\u{1f}zipped")).await;
    let world = World::before(&upstream);
    let refused = world.get("/", "accept-encoding: gzip\r\n").await;
    assert_eq!(refused.status(), 502);
    assert_eq!(upstream.last().field("accept-encoding"), Some("identity"));
    let record = world.outcome(R::UpstreamMalformed).await;
    assert_eq!((record.status, record.upstream_status), (502, 200));
    world.install(&usual(&[upstream.url()], ", encoding: passthrough", ""), &[("c", 1, SECRET)], &[]).await;
    let passed = world.get("/", "accept-encoding: gzip\r\n").await;
    assert_eq!((passed.status(), passed.text().as_str()), (200, "\u{1f}zipped"));
    assert_eq!(passed.field("content-encoding"), Some("gzip"));
    assert_eq!(upstream.last().field("accept-encoding"), Some("gzip"));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn a_key_in_a_path_is_masked_in_the_record_and_goes_on_as_sent() {
    let upstream = FakeUpstream::answering(answer(200, "", "ok")).await;
    let world = World::before(&upstream);
    let misplaced = "cfk_live_7m2k9q4x1c8v_0123456789ABCDEFGHIJKLMNOPQRSTUVaaaaaa";
    assert_eq!(world.get(&format!("/x/{misplaced}/y"), "").await.status(), 200);
    let record = world.outcome(R::Served).await;
    assert_eq!(&*record.path, "/x/cfk_live_7m2k9q4x1c8v_***/y");
    assert!(find(&upstream.last().head, misplaced.as_bytes()).is_some());
    world.done().await;
}

#[tokio::test]
async fn spellings_of_a_secret_in_bodies_and_heads() {
    use base64::{Engine, prelude::*};
    let escaped = |style: fn(u8) -> String| SECRET.bytes().map(style).collect::<String>();
    let odd = |style: fn(u8) -> String| -> String {
        SECRET.bytes().map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { style(b) }).collect()
    };
    let mut spellings = vec![
        SECRET.replace('/', "\\/"),
        odd(|b| format!("\\u{b:04X}")),
        odd(|b| format!("%{b:02x}")),
        odd(|b| format!("&#{b};")),
        escaped(|b| format!("\\u{b:04x}")),
        escaped(|b| format!("{b:02x}")),
        escaped(|b| format!("{b:02X}")),
    ];
    for before in ["Bearer ", "bob:", "", "x"] {
        spellings.push(BASE64_STANDARD.encode(format!("{before}{SECRET}")));
        spellings.push(BASE64_URL_SAFE_NO_PAD.encode(format!("{before}{SECRET} and more")));
    }
    let echoes = spellings.clone();
    let upstream = FakeUpstream::start(move |mut peer| {
        let echoes = echoes.clone();
        async move {
            while let Some(request) = peer.request().await {
                let mut numbers = request.target()[1..].split('/').map(|n| n.parse::<usize>().unwrap());
                let (which, cut) = (numbers.next().unwrap(), numbers.next().unwrap());
                let body = format!("\"{}\"", echoes[which]);
                let field = format!("location: https://x/?t={}\r\n", echoes[which]);
                let (a, b) = body.split_at(cut.min(body.len()));
                peer.send(format!("HTTP/1.1 200 OK\r\n{field}content-length: {}\r\n\r\n{a}", body.len())).await;
                if cut > 0 {
                    tokio::time::sleep(std::time::Duration::from_millis(3)).await;
                }
                peer.send(b).await;
            }
        }
    })
    .await;
    let world = World::before(&upstream);
    let mut wire = world.connect().await;
    for (which, spelling) in spellings.iter().enumerate() {
        for cut in [0, 2, spelling.len() / 2, spelling.len()] {
            wire.send(get(&format!("/{which}/{cut}"), "")).await.unwrap();
            let answer = within(wire.message()).await.unwrap();
            assert!(answer.complete, "{spelling}");
            for (place, text) in [("body", answer.text()), ("head", answer.field("location").unwrap().to_owned())] {
                let hidden = text.bytes().filter(|b| *b == b'*').count();
                assert!(
                    hidden >= SECRET.len() * 8 / 6 - 1 || hidden == spelling.len(),
                    "{spelling} in the {place}: {text}"
                );
                assert!(!text.contains(&spelling[spelling.len() / 2..]), "{spelling} in the {place}: {text}");
            }
            world.outcome(R::Served).await;
        }
    }
    drop(wire);
    world.done().await;
}

#[tokio::test]
async fn a_new_version_is_looked_for_as_soon_as_it_is_used_and_the_old_one_with_its_requests() {
    let upstream = echo().await;
    let yaml = usual(&[upstream.url()], "", "");
    let world = Setup::new(yaml.clone()).start();
    for (version, value) in [(1, SECRET), (2, "another-Value/9"), (2, "not-the-same/10"), (3, "tiny")] {
        world.install(&yaml, &[("c", version, value)], &[]).await;
        for _ in 0..2 {
            let answer = world.get("/", "").await;
            // Values under six bytes would blot out other text; they are not looked for.
            let expect = if value.len() < 6 { value.to_owned() } else { "*".repeat(value.len()) };
            assert!(answer.text().contains(&format!("Bearer {expect}\r\n")), "{value}: {}", answer.text());
            world.outcome(R::Served).await;
        }
    }
    world.done().await;
}
