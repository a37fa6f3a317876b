//! One HTTP client for the targets that are APIs: connections kept for 30 s, answers bounded, no
//! redirect followed. Its errors name neither an address nor a header.

use crate::{Result, TargetError, Tls, TlsMode};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use zeroize::Zeroizing;

/// The largest answer taken, in bytes.
const LARGEST: usize = 8 << 20;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    pub(crate) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

#[derive(Clone)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>);

impl HttpClient {
    pub(crate) fn new(tls: &Tls, connect_timeout: Duration) -> Result<Self> {
        let config = match tls.mode {
            TlsMode::Disable => Tls::verify(None).config()?,
            _ => tls.config()?,
        };
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let connector = HttpsConnectorBuilder::new().with_tls_config((*config).clone());
        let connector = connector.https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(2)
            .build(connector);
        Ok(Self(client))
    }

    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let answer = self.0.request(request).await.map_err(|e| {
            let words = if e.is_connect() { "no connection stands" } else { "the connection broke off" };
            TargetError::Unreachable(words.to_owned())
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|_| TargetError::Unreachable("the answer broke off or is too large".to_owned()))?;
        Ok(Answer { status, body: Zeroizing::new(body.to_bytes().to_vec()) })
    }
}

/// Addresses that are never a target: link-local ones, where clouds keep their machines' own
/// credentials, and those that are no host's.
pub(crate) fn forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || v4.is_unspecified(),
        // fd00:ec2::254 is such a service's address as well.
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || v6.is_multicast()
                || v6.is_unspecified()
                || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

/// The system's resolver without forbidden addresses, so that a name cannot lead there either.
#[derive(Clone)]
pub(crate) struct Resolver;

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|a| !forbidden(a.ip())).collect();
            if allowed.is_empty() {
                return Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
            }
            Ok(allowed.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_services_are_never_a_target() {
        for bad in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "0.0.0.0", "224.0.0.1", "fd00:ec2::254"] {
            assert!(forbidden(bad.parse().unwrap()), "{bad}");
        }
        for good in ["127.0.0.1", "10.0.0.1", "::1", "192.0.2.1", "fd00::1"] {
            assert!(!forbidden(good.parse().unwrap()), "{good}");
        }
    }
}
