//! Connects through the guard: the addresses that are checked are those connected to.

use crate::{Guard, Refused};
use http::Uri;
use hyper_util::{
    client::legacy::connect::{HttpConnector, dns::Name},
    rt::TokioIo,
};
use std::{
    error::Error,
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::net::TcpStream;

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Turns a host's name into its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<io::Result<Vec<IpAddr>>> + Send + Sync>;

/// A TCP connector for hyper's clients that goes only where a [`Guard`] lets it. Put TLS around it.
#[derive(Clone)]
pub struct Connector {
    guard: Guard,
    tcp: HttpConnector<Resolver>,
}

impl Connector {
    /// With the system's names; the longest a connection may take to stand.
    pub fn new(guard: Guard, connect_timeout: Duration) -> Self {
        Self::with_lookup(guard, connect_timeout, Arc::new(|name| Box::pin(system(name))))
    }

    /// With other names than the system's.
    pub fn with_lookup(guard: Guard, connect_timeout: Duration, lookup: Lookup) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver { guard: guard.clone(), lookup });
        // TLS is put around it.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        Self { guard, tcp }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("guard", &self.guard).finish_non_exhaustive()
    }
}

async fn system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.map(|address| address.ip()).collect())
}

impl tower::Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An address is connected to without a look at the resolver.
        if let Err(refused) = self.guard.check_literal(uri.host().unwrap_or_default()) {
            return Box::pin(async move { Err(refused.into()) });
        }
        let connecting = self.tcp.call(uri);
        Box::pin(async move { connecting.await.map_err(Into::into) })
    }
}

/// Leaves out the addresses that are not allowed.
#[derive(Clone)]
struct Resolver {
    guard: Guard,
    lookup: Lookup,
}

impl tower::Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let Self { guard, lookup } = self.clone();
        Box::pin(async move {
            let found = lookup(name.as_str().to_owned()).await?;
            let mut refused = None;
            let allowed: Vec<SocketAddr> = found
                .into_iter()
                .filter(|address| guard.check(name.as_str(), *address).map_err(|why| refused = Some(why)).is_ok())
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match refused {
                Some(why) if allowed.is_empty() => Err(Refused::into(why)),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[cfg(test)]
mod tests;
