//! Many and slow clients before the control listener.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use axum::routing::{get, post};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(60);
const LARGE: usize = 32 << 20;

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: tokio::task::JoinHandle<()>,
}

/// Limits that clients of the tests are meant to reach.
fn quick(connections: usize) -> Limits {
    let quick = Duration::from_millis(500);
    Limits { connections, head: quick, body_pause: quick, body: 4 * quick, stall: quick, idle: 2 * quick }
}

/// Limits that no client of the tests reaches, but for idle connections.
fn patient(idle: Duration) -> Limits {
    Limits { connections: 16, head: PATIENCE, body_pause: PATIENCE, body: PATIENCE, stall: PATIENCE, idle }
}

async fn server(limits: Limits) -> Server {
    let router = Router::new()
        .route("/", get(|| async { "here" }))
        .route("/length", post(|body: axum::body::Bytes| async move { body.len().to_string() }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(listener, None, router, limits, async move { drop(stopped.await) }));
    Server { address, stop, serving }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// What is answered to these bytes until the connection ends.
    async fn ask(&self, bytes: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(bytes.as_bytes()).await.unwrap();
        rest(&mut stream).await
    }

    async fn end(self) {
        let _ = self.stop.send(());
        timeout(PATIENCE, self.serving).await.unwrap().unwrap();
    }
}

/// What comes until the other side ends the connection, which it must.
async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8(answer).unwrap()
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn connections_have_a_limit_and_places_become_free() {
    let server = server(Limits { connections: 2, ..patient(PATIENCE) }).await;
    // Begun, so that they have their places, and quiet.
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = server.connect().await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut byte = [0];
        timeout(PATIENCE, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        held.push(stream);
    }
    assert_eq!(rest(&mut server.connect().await).await, "", "no place, no answer");
    drop(held);
    let mut answer = String::new();
    for _ in 0..100 {
        let mut stream = server.connect().await;
        if stream.write_all(ASK.as_bytes()).await.is_ok() {
            answer = rest(&mut stream).await;
        }
        if !answer.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(answer.ends_with("here"), "{answer}");
    server.end().await;
}

#[tokio::test]
async fn slow_clients_are_cut() {
    let server = server(quick(16)).await;
    assert!(server.ask(ASK).await.ends_with("here"));
    let post = |length: usize| format!("POST /length HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n");
    assert!(server.ask(&format!("{}connection: close\r\n\r\nhello", post(5))).await.ends_with("\r\n\r\n5"));
    // Nothing at all, half a head, a request and then nothing.
    for begun in ["", "GET / HTTP/1.1\r\nho", "GET / HTTP/1.1\r\nhost: x\r\n\r\n", "PRI * HT"] {
        server.ask(begun).await;
    }
    // Half a body: the handler is told, and the connection ends.
    let answer = server.ask(&format!("{}\r\nhalf", post(100))).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // A body that comes byte by byte, never pausing for long and never at its end.
    let mut stream = server.connect().await;
    stream.write_all(format!("{}\r\n", post(1000)).as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let trickle = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = [0; 12];
    timeout(PATIENCE, read.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
    drop(read);
    timeout(PATIENCE, trickle).await.unwrap().unwrap();
    server.end().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_cut() {
    let server = server(quick(16)).await;
    let mut stuck = server.connect().await;
    stuck.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut got = Vec::new();
    let _ = timeout(PATIENCE, stuck.read_to_end(&mut got)).await.expect("it was cut");
    assert!(got.len() < LARGE, "{} bytes", got.len());
    server.end().await;
}

#[tokio::test]
async fn a_client_that_takes_its_answer_slowly_gets_all() {
    let server = server(patient(Duration::from_millis(400))).await;
    let mut steady = server.connect().await;
    steady.write_all(b"GET /large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut got = 0;
    let mut piece = vec![0; 1 << 20];
    loop {
        match timeout(PATIENCE, steady.read(&mut piece)).await.unwrap().unwrap() {
            0 => break,
            n => got += n,
        }
        // All in all for longer than a connection may be idle.
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    assert!(got > LARGE, "{got} bytes");
    server.end().await;
}

#[tokio::test]
async fn an_http2_connection_without_requests_ends() {
    let server = server(patient(Duration::from_secs(2))).await;
    let stream = server.connect().await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let ask = || http::Request::get("http://x/").body(axum::body::Body::empty()).unwrap();
    for _ in 0..3 {
        assert_eq!(sender.send_request(ask()).await.unwrap().status(), 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = timeout(PATIENCE, connection).await.expect("it ends").unwrap();
    server.end().await;
}

/// Method, path, and what is answered by the console's router alone: status, kind of content, body.
async fn told(method: &str, path: &str) -> (u16, String, String) {
    let request = Request::builder().method(method).uri(path).body(axum::body::Body::empty()).unwrap();
    let answer = with_console(Router::new()).oneshot(request).await.unwrap();
    let kind = answer.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    let status = answer.status().as_u16();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, kind, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn apis_that_are_not_served_are_told_apart_from_pages() {
    for method in ["GET", "POST", "PUT", "LIST"] {
        for path in
            ["/vault/v1/sys/health", "/vault/v1/secret/data/a", "/vault", "/v1/sys/seal-status", "//v1/x", "/v2/x"]
        {
            let (status, kind, body) = told(method, path).await;
            assert_eq!((status, kind.as_str()), (404, "application/json"), "{method} {path}");
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert!(body["errors"][0].as_str().unwrap().contains("--vault-api"), "{method} {path}");
        }
        let (status, kind, body) = told(method, "/api/v2/keys").await;
        assert_eq!((status, kind.as_str()), (404, "application/problem+json"), "{method}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&body).unwrap()["code"], "not_found");
    }
    for page in ["/", "/calls", "/keys/v1", "/config/routes/vault", "/vaults", "/v", "/version", "/v1x"] {
        let (status, kind, _) = told("GET", page).await;
        assert_eq!((status, kind.as_str()), (200, "text/html; charset=utf-8"), "{page}");
    }
}
