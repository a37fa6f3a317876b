//! What must hold before a server starts: nothing in the clear across a network, no port and no data directory that
//! another one uses.

use crate::settings::{Listener, Role, ServerSettings};
use anyhow::{Context, ensure};
use credentialflow_gateway::net::listener;
use std::{fs::File, net::SocketAddr};

/// Checks everything, and takes the data directory for as long as the answer is kept.
pub(super) fn pass(settings: &ServerSettings) -> anyhow::Result<Option<File>> {
    let has_tls = |listener| settings.has_tls(listener);
    guard_address("gateway", settings.gateway, has_tls(Listener::Gateway), settings.allow_plaintext)?;
    guard_address("control", settings.control, has_tls(Listener::Control), settings.allow_plaintext)?;
    if settings.role != Role::Control && !settings.take_over {
        guard_port("gateway", settings.gateway)?;
    }
    if settings.role != Role::Gateway && !settings.take_over {
        guard_port("control", settings.control)?;
    }
    if let Some(address) = settings.vault {
        guard_address("vault", address, has_tls(Listener::Vault), settings.allow_plaintext)?;
        if !settings.take_over {
            guard_port("vault", address)?;
        }
    }
    // What is answered there is public, so it needs no TLS.
    if let Some(address) = settings.acme.as_ref().and_then(|acme| acme.challenge)
        && !settings.take_over
    {
        guard_port("challenge", address)?;
    }
    hold_data_dir(settings)
}

/// Secrets must not cross a network in the clear because somebody forgot a line.
fn guard_address(what: &str, address: SocketAddr, tls: bool, allowed: bool) -> anyhow::Result<()> {
    ensure!(
        address.ip().is_loopback() || tls || allowed,
        "the {what} listener on {address} is reachable from outside and has no TLS; configure a certificate, \
         listen on 127.0.0.1, or ask for it with --allow-plaintext"
    );
    Ok(())
}

/// The sockets let others listen beside them, so the system would share a port between two servers in
/// silence, and what one acknowledges the other would not yet enforce.
fn guard_port(what: &str, address: SocketAddr) -> anyhow::Result<()> {
    ensure!(
        address.port() == 0 || !listener::is_taken(address),
        "somebody already listens on {address}, which is to be the {what} listener; end that program, choose \
         another port, or take over from it with --take-over"
    );
    Ok(())
}

/// Keeps other servers from the data directory for as long as the file is open. One that takes over waits
/// for it on a thread of its own, until the server it takes over from has ended.
fn hold_data_dir(settings: &ServerSettings) -> anyhow::Result<Option<File>> {
    use rustix::fs::{FlockOperation, flock};
    std::fs::create_dir_all(&settings.data_dir).with_context(|| format!("creating {}", settings.data_dir.display()))?;
    let path = settings.data_dir.join("lock");
    let file = File::create(&path).with_context(|| format!("opening {}", path.display()))?;
    if settings.take_over {
        std::thread::Builder::new().name("data-directory".into()).spawn(move || {
            // Without the lock the server runs on; it only no longer keeps a third one away.
            let _ = flock(&file, FlockOperation::LockExclusive);
            let _held = file;
            loop {
                std::thread::park();
            }
        })?;
        return Ok(None);
    }
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
        anyhow::anyhow!(
            "another server uses the data directory {}; end it, use another directory, or take over from it with \
             --take-over",
            settings.data_dir.display()
        )
    })?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_is_not_shared_with_another_program() {
        let place = credentialflow_testkit::place::Place::take();
        let address = place.address();
        let other = listener::bind(address).unwrap();
        let refused = guard_port("gateway", address).unwrap_err().to_string();
        assert!(refused.contains(&address.to_string()), "{refused}");
        drop(other);
        assert!(guard_port("gateway", address).is_ok());
        assert!(guard_port("gateway", ([127, 0, 0, 1], 0).into()).is_ok());
    }
}
