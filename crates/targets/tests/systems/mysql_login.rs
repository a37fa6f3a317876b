//! How an administrator logs in at MySQL 8, whose usual method is `caching_sha2_password`: by a stand-in that speaks a
//! server's side of the connection phase, as no MariaDB knows that method. What counts is what it gets to see.

use super::certificate;
use aws_lc_rs::digest::{SHA256, digest};
use credentialflow_model::SecretValue;
use credentialflow_targets::{Login, Server, Target, Tls, TlsMode, Verdict, mysql};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const PASSWORD: &str = "canary-hunter-2-canary";
const NONCE: &[u8; 20] = b"0123456789abcdefghij";
const SSL: u32 = 0x800;
/// Long passwords, databases, protocol 4.1, TLS, transactions, 20 bytes of nonce, named methods.
const CAPABILITIES: u32 = 1 | 8 | 0x200 | SSL | 0x2000 | 0x8000 | 0x8_0000;

/// What the server does once it has seen the answer to its nonce.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It knows the password's hash from before.
    Fast,
    /// It needs the password itself.
    Full,
    /// It asks for the password by another method.
    Clear,
}

struct MySql {
    way: Way,
    accepted: String,
    tls: Option<tokio_rustls::TlsAcceptor>,
    /// Everything the client sent, deciphered.
    seen: Arc<Mutex<Vec<u8>>>,
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

async fn read(wire: &mut dyn Wire, seen: &Mutex<Vec<u8>>) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 4];
    wire.read_exact(&mut head).await?;
    let mut body = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16];
    wire.read_exact(&mut body).await?;
    seen.lock().unwrap().extend_from_slice(&body);
    Ok((head[3], body))
}

async fn write(wire: &mut dyn Wire, number: u8, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len()).unwrap().to_le_bytes();
    wire.write_all(&[&length[..3], &[number], body].concat()).await?;
    wire.flush().await
}

/// What stands for the password and the nonce: XOR(SHA256(p), SHA256(SHA256(SHA256(p)), nonce)).
fn scramble(password: &str) -> Vec<u8> {
    let once = digest(&SHA256, password.as_bytes());
    let twice = digest(&SHA256, once.as_ref());
    let mixed = digest(&SHA256, &[twice.as_ref(), NONCE].concat());
    once.as_ref().iter().zip(mixed.as_ref()).map(|(a, b)| a ^ b).collect()
}

impl MySql {
    fn greeting(&self) -> Vec<u8> {
        let capabilities = if self.tls.is_some() { CAPABILITIES } else { CAPABILITIES & !SSL };
        let [low, high] = [capabilities & 0xffff, capabilities >> 16].map(|half| u16::try_from(half).unwrap());
        let mut out = b"\x0a8.0.40\0\x07\0\0\0".to_vec();
        out.extend_from_slice(&NONCE[..8]);
        out.push(0);
        out.extend_from_slice(&low.to_le_bytes());
        out.extend_from_slice(&[45, 2, 0]);
        out.extend_from_slice(&high.to_le_bytes());
        out.push(21);
        out.extend_from_slice(&[0; 10]);
        out.extend_from_slice(&NONCE[8..]);
        out.extend_from_slice(b"\0caching_sha2_password\0");
        out
    }

    async fn serve(&self, stream: tokio::net::TcpStream) -> std::io::Result<()> {
        let mut wire: Box<dyn Wire> = Box::new(stream);
        write(&mut *wire, 0, &self.greeting()).await?;
        let (mut number, mut hello) = read(&mut *wire, &self.seen).await?;
        let asked = u32::from_le_bytes(hello[..4].try_into().unwrap());
        if let (true, Some(acceptor)) = (asked & SSL != 0, &self.tls) {
            wire = Box::new(acceptor.accept(wire).await?);
            (number, hello) = read(&mut *wire, &self.seen).await?;
        }
        let user = 32 + hello[32..].iter().position(|byte| *byte == 0).unwrap() + 1;
        let answer = &hello[user + 1..user + 1 + usize::from(hello[user])];
        let good = answer == scramble(&self.accepted);
        match self.way {
            Way::Fast if good => write(&mut *wire, number + 1, &[1, 3]).await?,
            // What is not in the cache is asked for.
            Way::Fast | Way::Full => {
                write(&mut *wire, number + 1, &[1, 4]).await?;
                let (mut next, mut given) = read(&mut *wire, &self.seen).await?;
                if given == [2] {
                    // Whoever has no TLS asks for a key to encrypt the password with.
                    let key = b"\x01-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAL\n-----END PUBLIC KEY-----\n";
                    write(&mut *wire, next + 1, key).await?;
                    (next, given) = read(&mut *wire, &self.seen).await?;
                }
                if given != [self.accepted.as_bytes(), b"\0"].concat() {
                    write(&mut *wire, next + 1, b"\xff\x15\x04#28000Access denied for user 'app'").await?;
                    return Ok(());
                }
                number = next;
            }
            Way::Clear => {
                write(&mut *wire, number + 1, b"\xfemysql_clear_password\0").await?;
                (number, _) = read(&mut *wire, &self.seen).await?;
            }
        }
        let fine = [0, 0, 0, 2, 0, 0, 0];
        write(&mut *wire, number + 1 + u8::from(self.way == Way::Fast), &fine).await?;
        loop {
            let (number, command) = read(&mut *wire, &self.seen).await?;
            if command.first() == Some(&1) {
                return Ok(());
            }
            write(&mut *wire, number + 1, &fine).await?;
        }
    }
}

/// A login with [`PASSWORD`] at a server: what came of it, and what the server saw.
async fn log_in(
    way: Way,
    accepted: &str,
    offered: bool,
    mode: TlsMode,
    trusted: bool,
) -> (Result<Verdict, String>, Vec<u8>) {
    let (pem, key) = certificate();
    let acceptor = {
        let chain = vec![CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    };
    let seen = Arc::<Mutex<Vec<u8>>>::default();
    let tls = offered.then_some(acceptor);
    let server = MySql { way, accepted: accepted.to_owned(), tls, seen: seen.clone() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = server.serve(stream).await;
        }
    });
    let mut at = Server::new("127.0.0.1", port, "admin", SecretValue::from("unused"));
    at.tls = Tls { mode, ca: Some(if trusted { pem } else { certificate().0 }), ..Tls::default() };
    let target = mysql::Mysql::new(mysql::Settings::new(at)).unwrap();
    let verdict = target.verify(&Login::named("app"), &SecretValue::from(PASSWORD)).await;
    serving.abort();
    let seen = seen.lock().unwrap().clone();
    (verdict.map_err(|error| error.to_string()), seen)
}

fn shown(seen: &[u8]) -> bool {
    seen.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes())
}

#[tokio::test]
async fn a_password_the_server_remembers_is_proven_and_not_sent() {
    for (offered, mode) in
        [(true, TlsMode::Verify), (true, TlsMode::Require), (true, TlsMode::Disable), (false, TlsMode::Disable)]
    {
        let (verdict, seen) = log_in(Way::Fast, PASSWORD, offered, mode, true).await;
        assert_eq!(verdict, Ok(Verdict::Accepted), "{mode:?}");
        assert!(!shown(&seen) && seen.windows(32).any(|window| window == scramble(PASSWORD)), "{mode:?}");
    }
}

#[tokio::test]
async fn a_password_the_server_asks_for_is_sent_inside_of_tls_alone() {
    let (verdict, seen) = log_in(Way::Full, PASSWORD, true, TlsMode::Verify, true).await;
    assert_eq!(verdict, Ok(Verdict::Accepted));
    assert!(shown(&seen));
    for way in [Way::Fast, Way::Full] {
        let (verdict, _) = log_in(way, "another", true, TlsMode::Verify, true).await;
        let Ok(Verdict::Refused(why)) = verdict else { panic!("{verdict:?}") };
        assert!(!why.contains(PASSWORD), "{why}");
    }
    // Without TLS: the server would have to be believed that its key is its own.
    for way in [Way::Fast, Way::Full] {
        for offered in [true, false] {
            let (verdict, seen) = log_in(way, "another", offered, TlsMode::Disable, true).await;
            let why = verdict.unwrap_err();
            assert!(!shown(&seen) && !why.contains(PASSWORD), "{why}");
            assert!(why.contains("TLS"), "{why}");
        }
    }
}

#[tokio::test]
async fn nothing_is_sent_to_whom_nobody_trusts() {
    for way in [Way::Fast, Way::Full, Way::Clear] {
        let (verdict, seen) = log_in(way, PASSWORD, true, TlsMode::Verify, false).await;
        assert!(verdict.is_err() && !shown(&seen), "another authority signed its certificate");
        assert!(!seen.windows(32).any(|window| window == scramble(PASSWORD)));
        for mode in [TlsMode::Verify, TlsMode::Require] {
            let (verdict, seen) = log_in(way, PASSWORD, false, mode, true).await;
            assert!(verdict.is_err() && !shown(&seen), "{mode:?}: it says that it knows no TLS");
        }
    }
    // A server that asks for the password by the method that has no secrets, also inside of TLS.
    for (offered, mode) in [(false, TlsMode::Disable), (true, TlsMode::Require), (true, TlsMode::Verify)] {
        let (verdict, seen) = log_in(Way::Clear, PASSWORD, offered, mode, true).await;
        assert!(verdict.is_err() && !shown(&seen), "{mode:?}");
    }
}
