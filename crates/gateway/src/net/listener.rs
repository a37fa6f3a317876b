//! Listening sockets: one per worker on the same address (SO_REUSEPORT), so workers share nothing.

use socket2::{Domain, Protocol, Socket, Type};
use std::{io, net::SocketAddr};

/// Binds one listening socket that others may bind beside.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// Binds `count` sockets to one address; with port 0 the first chooses and the rest follow.
pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
    let first = bind(address)?;
    let chosen = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(bind(chosen)?);
    }
    Ok(all)
}

/// Refuses to share a port with a different program by accident: whether somebody already listens there.
pub fn is_taken(address: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300)).is_ok()
}
