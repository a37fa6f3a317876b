//! WebSocket: only where the route and the upstream agree, scrubbed, and cut when the key is revoked.

use crate::harness::*;
use credentialflow_gateway::ports::SecretPlace;
use credentialflow_model::OutcomeReason as R;
use credentialflow_policy::LiveSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const AGREED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Agrees and echoes every byte; at `/leak` it says its credential, split in two.
async fn echo() -> FakeUpstream {
    FakeUpstream::start(|mut peer| async move {
        let Some(request) = peer.head().await else { return };
        if request.target() == "/no" {
            peer.send(answer(200, "", "plain")).await;
            return;
        }
        peer.send(AGREED).await;
        if request.target() == "/leak" {
            peer.send(format!("<{}>", request.field("authorization").unwrap())).await;
        }
        if request.target() == "/split" {
            // One frame in pieces, then one that only begins like the secret.
            peer.send([&[0x81, SECRET.len() as u8], &SECRET.as_bytes()[..5]].concat()).await;
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
            peer.send(&SECRET.as_bytes()[5..]).await;
            peer.send([&[0x81, 5], &SECRET.as_bytes()[..5]].concat()).await;
        }
        let mut seen = 0;
        while matches!(peer.wire.fill().await, Ok(n) if n > 0) {
            let fresh = peer.wire.pending()[seen..].to_vec();
            seen += fresh.len();
            peer.send(fresh).await;
        }
    })
    .await
}

#[tokio::test]
async fn messages_pass_both_ways() {
    let upstream = echo().await;
    let world = Setup::new(usual(&[upstream.url()], "", ", websocket: true")).start();
    let stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    // The library makes the handshake's key itself and checks the answer; our upstream cannot compute
    // one, so the handshake is done by hand and the frames, which are the point, by the library.
    let (mut read, mut write) = stream.into_split();
    write.write_all(get("/ws?x=1", UPGRADE).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(read.read_u8()).await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    for line in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-accept: s3pplm", "x-request-id: "]
    {
        assert_eq!(head.matches(line).count(), 1, "{line} in {head}");
    }
    let seen = upstream.last();
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("connection"), Some("upgrade"));
    assert_eq!(seen.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.target(), "/ws?x=1");
    for text in ["hello", &"long ".repeat(20_000)] {
        write.write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        within(read.read_exact(&mut back)).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
    drop((read, write));
    let record = world.outcome(R::Served).await;
    assert_eq!((record.status, record.upstream_status), (101, 101));
    assert_eq!((record.bytes_in, record.bytes_out), (100_005, 100_005));
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn a_real_client_and_a_real_server() {
    use tokio_tungstenite::tungstenite::{Message, accept, client, client::IntoClientRequest};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::task::spawn_blocking(move || {
        let mut socket = accept(listener.accept().unwrap().0).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() {
                socket.send(message).unwrap();
            }
        }
    });
    let world = Setup::new(usual(&[url], "", ", websocket: true")).start();
    let address = world.gateway.address();
    let caller = tokio::task::spawn_blocking(move || {
        let stream = std::net::TcpStream::connect(address).unwrap();
        let mut request = "ws://gw/ws".into_client_request().unwrap();
        request.headers_mut().insert("x-api-key", key("k").parse().unwrap());
        let (mut socket, _) = client(request, stream).unwrap();
        for text in ["one", &"two ".repeat(10_000)] {
            socket.send(Message::text(text)).unwrap();
            assert_eq!(socket.read().unwrap(), Message::text(text));
        }
        socket.close(None).unwrap();
        while socket.read().is_ok() {}
    });
    within(caller).await.unwrap();
    within(server).await.unwrap();
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn refused_where_not_allowed() {
    let upstream = echo().await;
    let world = World::before(&upstream);
    let refused = world.get("/ws", UPGRADE).await;
    assert_eq!(refused.status(), 403);
    world.outcome(R::Forbidden).await;
    assert_eq!(upstream.counts().requests, 0);
    world.install(&usual(&[upstream.url()], "", ", websocket: true"), &[("c", 1, SECRET)], &[]).await;
    let anonymous = world.ask(format!("GET /ws HTTP/1.1\r\nhost: gw\r\n{UPGRADE}\r\n")).await;
    assert_eq!(anonymous.status(), 401);
    world.outcome(R::Unauthenticated).await;
    // The upstream may decline; then it is an answer like any other.
    let declined = world.get("/no", UPGRADE).await;
    assert_eq!((declined.status(), declined.text().as_str()), (200, "plain"));
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn secrets_do_not_come_back_and_revocation_cuts() {
    let upstream = echo().await;
    let yaml = usual(&[upstream.url()], "", ", websocket: true");
    let world = Setup::new(yaml.clone()).start();
    let mut wire = world.connect().await;
    wire.send(get("/leak", UPGRADE)).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 101);
    let mut leaked = Vec::new();
    let expect = format!("<Bearer {}>", "*".repeat(SECRET.len()));
    assert!(within(wire.take(expect.len(), &mut leaked)).await);
    assert_eq!(String::from_utf8(leaked).unwrap(), expect);
    assert_eq!(world.gateway.in_flight("c", 1).await, 1);
    world.install(&yaml, &[("c", 1, SECRET)], &["k"]).await;
    assert!(within(wire.ended()).await);
    assert_eq!(world.outcome(R::Revoked).await.status, 101);
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

#[tokio::test]
async fn a_secret_split_inside_a_frame_is_seen_and_a_whole_frame_is_not_held_back() {
    let upstream = echo().await;
    let world = Setup::new(usual(&[upstream.url()], "", ", websocket: true")).start();
    let stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    write.write_all(get("/split", UPGRADE).as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(read.read_u8()).await.unwrap());
    }
    let expect = [&[0x81, SECRET.len() as u8], "*".repeat(SECRET.len()).as_bytes(), &[0x81, 5], b"sk-up"].concat();
    let mut got = vec![0; expect.len()];
    within(read.read_exact(&mut got)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expect));
    drop((read, write));
    world.outcome(R::Served).await;
    world.done().await;
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}

async fn upgraded(world: &World, target: &str) -> Wire {
    let mut wire = world.connect().await;
    wire.send(get(target, UPGRADE)).await.unwrap();
    assert_eq!(within(wire.head()).await.unwrap().status(), 101);
    wire
}

#[tokio::test]
async fn a_secret_over_continuation_frames_with_a_ping_between() {
    let (a, rest) = SECRET.as_bytes().split_at(4);
    let (b, c) = rest.split_at(9);
    let stars = |part: &[u8]| vec![b'*'; part.len()];
    let pieces = [frame(1, a), frame(0, b), frame(0x89, b"ping"), frame(0x80, c), frame(0x81, b"over")];
    let expect =
        [frame(1, &stars(a)), frame(0, &stars(b)), frame(0x89, b"ping"), frame(0x80, &stars(c)), frame(0x81, b"over")];
    let upstream = FakeUpstream::start(move |mut peer| {
        let pieces = pieces.clone();
        async move {
            peer.head().await;
            peer.send(AGREED).await;
            for piece in pieces {
                peer.send(piece).await;
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", websocket: true")).start();
    let mut wire = upgraded(&world, "/").await;
    let mut got = Vec::new();
    assert!(within(wire.take(expect.concat().len(), &mut got)).await);
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&expect.concat()));
    assert!(within(wire.ended()).await);
    drop(wire);
    world.outcome(R::Served).await;
    world.done().await;
}

#[tokio::test]
async fn what_one_side_had_said_arrives_after_it_or_the_other_has_ended() {
    const MUCH: usize = 6 << 20;
    // Reads slowly and to the end, then answers with what it counted and much more, and ends.
    let upstream = FakeUpstream::start(|mut peer| async move {
        peer.head().await;
        peer.send(AGREED).await;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let already = peer.wire.pending().len();
        let (more, error) = peer.wire.drain().await;
        assert!(error.is_none(), "{error:?}");
        peer.send(frame(0x82, format!("{:08}", already + more).as_bytes())).await;
        peer.send([[0x82, 127].as_slice(), &(MUCH as u64).to_be_bytes()].concat()).await;
        peer.send(vec![b'y'; MUCH]).await;
        // Ends in the middle of a message that may be about to tell the secret.
        peer.send(frame(1, &SECRET.as_bytes()[..5])).await;
    })
    .await;
    let world = Setup::new(usual(&[upstream.url()], "", ", websocket: true")).start();
    let mut wire = upgraded(&world, "/").await;
    wire.send(vec![b'x'; MUCH]).await.unwrap();
    // The caller says no more, long before the upstream has read what it said.
    wire.finish().await.unwrap();
    let mut counted = Vec::new();
    assert!(within(wire.take(10, &mut counted)).await);
    assert_eq!(String::from_utf8_lossy(&counted[2..]), format!("{MUCH:08}"));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let mut answer = Vec::new();
    assert!(within(wire.take(10 + MUCH + 7, &mut answer)).await);
    assert!(answer[10..10 + MUCH].iter().all(|b| *b == b'y'));
    assert_eq!(&answer[10 + MUCH..], frame(1, b"sk-up"));
    assert!(within(wire.ended()).await);
    let record = world.outcome(R::Served).await;
    assert_eq!((record.bytes_in, record.bytes_out), (MUCH as u64, (10 + 10 + MUCH + 7) as u64));
    upstream.until(|c| c.open == 0).await;
    world.done().await;
}

/// A frame whose payload is masked, as callers' are (RFC 6455, 5.3).
fn masked(first: u8, mask: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut frame = frame(first, payload);
    frame[1] |= 0x80;
    frame.truncate(frame.len() - payload.len());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

#[tokio::test]
async fn live_secrets_in_messages_of_callers_are_refused_or_told_of() {
    let upstream = echo().await;
    let other = key("k2");
    let (one, two) = other.split_at(30);
    let said = [
        masked(0x01, [1, 2, 3, 4], format!("is {one}").as_bytes()),
        masked(0x89, [9, 9, 9, 9], b""),
        masked(0x80, [5, 6, 7, 8], format!("{two} good?").as_bytes()),
    ];
    for mode in ["", ", secrets_in_requests: report", ", secrets_in_requests: ignore"] {
        let world = Setup::new(usual(&[upstream.url()], "", &format!(", websocket: true{mode}"))).start();
        let mut wire = world.connect().await;
        wire.send(get("/ws", UPGRADE)).await.unwrap();
        assert_eq!(within(wire.head()).await.unwrap().status(), 101);
        let mut back = Vec::new();
        // Each alone, so that what is refused comes behind what has passed.
        for frame in &said {
            wire.send(frame).await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        if mode.is_empty() {
            while within(wire.take(1, &mut back)).await {}
            assert!(back.len() <= said[0].len() + said[1].len(), "what holds the secret's end did not go on");
            world.outcome(R::SecretInRequest).await;
        } else {
            assert!(within(wire.take(said.concat().len(), &mut back)).await, "{mode}");
            assert_eq!(back, said.concat());
            drop(wire);
            world.outcome(R::Served).await;
        }
        let told = std::mem::take(&mut *world.sent.0.lock().unwrap());
        let met: Vec<_> = told.iter().map(|told| (told.secrets.clone(), told.place, told.refused)).collect();
        let key = vec![LiveSecret::Key { id: key_id("k2"), version: 1 }];
        let expected = if mode.contains("ignore") { vec![] } else { vec![(key, SecretPlace::Body, mode.is_empty())] };
        assert_eq!(met, expected, "{mode}");
        world.done().await;
    }
}

#[tokio::test]
async fn live_secrets_in_messages_of_upstreams_are_told_of_or_blanked() {
    const OTHER: &str = "the-other-secret";
    let upstream = FakeUpstream::start(|mut peer| async move {
        let Some(_) = peer.head().await else { return };
        peer.send(AGREED).await;
        peer.send(frame(0x01, b"<the-other")).await;
        peer.send(frame(0x89, b"ping")).await;
        peer.send(frame(0x80, b"-secret>")).await;
        peer.send(frame(0x81, b"<the-other")).await;
    })
    .await;
    for (mode, blanked) in [("", false), (", secrets_in_answers: blank", true), (", secrets_in_answers: ignore", false)]
    {
        let mut setup = Setup::new(usual(&[upstream.url()], "", &format!(", websocket: true{mode}")));
        setup.credentials = vec![("c", 1, SECRET), ("d", 4, OTHER)];
        let world = setup.start();
        let mut wire = world.connect().await;
        wire.send(get("/ws", UPGRADE)).await.unwrap();
        assert_eq!(within(wire.head()).await.unwrap().status(), 101);
        let mut back = Vec::new();
        let (one, two) = if blanked { ("<*********", "*******>") } else { ("<the-other", "-secret>") };
        let expect = [
            frame(0x01, one.as_bytes()),
            frame(0x89, b"ping"),
            frame(0x80, two.as_bytes()),
            frame(0x81, b"<the-other"),
        ]
        .concat();
        assert!(within(wire.take(expect.len(), &mut back)).await, "{mode}");
        assert_eq!(String::from_utf8_lossy(&back), String::from_utf8_lossy(&expect), "{mode}");
        drop(wire);
        world.outcome(R::Served).await;
        let told = std::mem::take(&mut *world.sent.0.lock().unwrap());
        let met: Vec<_> = told.iter().map(|told| (told.secrets.clone(), told.place, told.refused)).collect();
        let value = vec![LiveSecret::Value { credential: "d".into(), version: 4 }];
        let expected = if mode.contains("ignore") { vec![] } else { vec![(value, SecretPlace::Answer, blanked)] };
        assert_eq!(met, expected, "{mode}");
        world.done().await;
    }
}
