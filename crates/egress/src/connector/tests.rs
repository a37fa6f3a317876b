#![allow(clippy::unwrap_used)]
use super::*;
use crate::PrivateHosts;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

/// A server on an address of this machine that answers every connection once, and counts them.
async fn server(address: &str, answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let (port, count) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, SeqCst);
            let _ = stream.read(&mut [0; 2048]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, count)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Names lead where these lists say, one list after the other, and to nowhere afterwards.
fn names(answers: &[&[&str]]) -> Lookup {
    let answers: Vec<Vec<IpAddr>> =
        answers.iter().rev().map(|a| a.iter().map(|a| a.parse().unwrap()).collect()).collect();
    let answers = Arc::new(Mutex::new(answers));
    Arc::new(move |_| {
        let next = answers.lock().unwrap().pop().unwrap_or_default();
        Box::pin(async move { Ok(next) })
    })
}

async fn get(connector: Connector, url: &str) -> Result<http::StatusCode, Option<Refused>> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let answer = client.get(url.parse().unwrap()).await;
    answer.map(|answer| answer.status()).map_err(|error| Refused::within(&error))
}

const WAIT: Duration = Duration::from_secs(60);

fn private(hosts: &str) -> Guard {
    Guard::new(hosts.parse::<PrivateHosts>().unwrap())
}

#[tokio::test]
async fn a_name_that_leads_to_a_refused_address_is_not_connected_to() {
    let (port, connections) = server("127.0.0.1", OK).await;
    let url = format!("http://idp.example:{port}/");
    for (addresses, why) in [
        (&["127.0.0.1"][..], Refused::Private),
        (&["::1", "127.0.0.1", "10.1.2.3"], Refused::Private),
        (&["::ffff:127.0.0.1"], Refused::Private),
        (&["64:ff9b::7f00:1"], Refused::Private),
        (&["169.254.169.254"], Refused::Never),
        (&["fe80::1"], Refused::Never),
        (&["0.0.0.0"], Refused::Never),
        (&["224.0.0.1"], Refused::Never),
        (&["fd00:ec2::254"], Refused::Never),
    ] {
        let connector = Connector::with_lookup(Guard::default(), WAIT, names(&[addresses]));
        assert_eq!(get(connector, &url).await, Err(Some(why)), "{addresses:?}");
    }
    // Named on purpose it is reached, and what is never asked still is not.
    let connector = Connector::with_lookup(private("idp.example"), WAIT, names(&[&["127.0.0.1"]]));
    assert_eq!(get(connector, &url).await, Ok(http::StatusCode::OK));
    let connector = Connector::with_lookup(private("idp.example"), WAIT, names(&[&["169.254.169.254"]]));
    assert_eq!(get(connector, &url).await, Err(Some(Refused::Never)));
    assert_eq!(connections.load(SeqCst), 1);
}

#[tokio::test]
async fn the_systems_own_names_and_every_writing_of_an_address_pass_the_guard() {
    let (port, connections) = server("127.0.0.1", OK).await;
    for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]
    {
        let got = get(Connector::new(Guard::default(), WAIT), &format!("http://{host}:{port}/")).await;
        assert_eq!(got, Err(Some(Refused::Private)), "{host}");
    }
    for host in ["169.254.169.254", "[::ffff:a9fe:a9fe]", "[::]", "0.0.0.0", "2852039166"] {
        let got = get(Connector::new(Guard::naming(host), WAIT), &format!("http://{host}:{port}/")).await;
        assert_eq!(got, Err(Some(Refused::Never)), "{host}");
    }
    assert_eq!(connections.load(SeqCst), 0);
    let named = Connector::new(Guard::naming("localhost"), WAIT);
    assert_eq!(get(named.clone(), &format!("http://localhost:{port}/")).await, Ok(http::StatusCode::OK));
    // One host's leave is not another's, not even for the same address.
    assert_eq!(get(named, &format!("http://127.0.0.1:{port}/")).await, Err(Some(Refused::Private)));
}

#[tokio::test]
async fn a_name_that_changes_its_mind_gains_nothing() {
    // Allowed at the first look and refused at the second: had the check and the connection looked
    // one after the other, the second place would have been connected to.
    let (port, allowed) = server("127.0.0.2", OK).await;
    let other = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let url = format!("http://idp.example:{port}/");
    let connector = Connector::with_lookup(private("127.0.0.2"), WAIT, names(&[&["127.0.0.2"], &["127.0.0.3"]]));
    assert_eq!(get(connector.clone(), &url).await, Ok(http::StatusCode::OK));
    assert_eq!(get(connector, &url).await, Err(Some(Refused::Private)));
    // Beside an allowed address a refused one is left out.
    let connector = Connector::with_lookup(private("127.0.0.2"), WAIT, names(&[&["127.0.0.3", "127.0.0.2"]]));
    assert_eq!(get(connector, &url).await, Ok(http::StatusCode::OK));
    assert_eq!(allowed.load(SeqCst), 2);
    assert!(tokio::time::timeout(Duration::from_millis(50), other.accept()).await.is_err());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (port, connections) = server(
        "127.0.0.1",
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    )
    .await;
    let got = get(Connector::new(Guard::naming("127.0.0.1"), WAIT), &format!("http://127.0.0.1:{port}/")).await;
    assert_eq!((got, connections.load(SeqCst)), (Ok(http::StatusCode::FOUND), 1));
}
