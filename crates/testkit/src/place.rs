//! A loopback port that is kept for somebody who listens there later, or again.
//!
//! The kernel gives a bound socket's port to nobody who asks for any free one and to no outgoing connection, but a
//! server that allows reuse of its address (all here do) may listen on it. While nobody does, connections are refused.

use anyhow::{Context, Result};
use std::net::SocketAddr;
use tokio::net::TcpSocket;

/// A port of 127.0.0.1, kept until this is dropped.
#[derive(Debug)]
pub struct Place {
    /// Bound, but never listening.
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Place {
    /// Keeps a port that is free.
    ///
    /// # Panics
    /// When there is none.
    #[expect(clippy::expect_used, reason = "a test without its port has failed")]
    pub fn take() -> Self {
        Self::try_take().expect("a free loopback port")
    }

    /// Keeps a port that is free.
    pub fn try_take() -> Result<Self> {
        let socket = TcpSocket::new_v4().context("making a socket")?;
        socket.set_reuseaddr(true).context("allowing reuse of an address")?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).context("finding a free loopback port")?;
        let address = socket.local_addr().context("asking for the port found")?;
        Ok(Self { _socket: socket, address })
    }

    /// Where to listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::ErrorKind,
        net::{TcpListener, TcpStream},
        thread,
        time::{Duration, Instant},
    };

    /// Waits until nobody listens at the address: a process that another test is just starting holds every socket of
    /// this one, a listener too, from its fork to its exec.
    fn refused(address: SocketAddr) {
        let limit = Instant::now() + Duration::from_secs(60);
        while let Ok(stream) = TcpStream::connect(address) {
            assert!(Instant::now() < limit, "still listening: {stream:?}");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn a_place_refuses_connections_until_somebody_listens_there_and_again_afterwards() {
        let place = Place::take();
        for _ in 0..3 {
            refused(place.address());
            let listener = TcpListener::bind(place.address()).unwrap();
            TcpStream::connect(place.address()).unwrap();
            drop(listener);
        }
        assert_ne!(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), place.address());
    }
}
