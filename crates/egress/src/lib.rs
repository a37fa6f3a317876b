//! Where the control plane may connect when it fetches something: the one guard against being sent to
//! addresses that its callers cannot reach themselves (server-side request forgery, CWE-918).
//!
//! - **Never** reached, whoever asks: link-local addresses and the other places where clouds keep their
//!   machines' own credentials, multicast, broadcast, reserved and unspecified addresses.
//! - **Private** addresses (this machine, private networks) are reached only for hosts that were named
//!   on purpose: see [`PrivateHosts`].
//! - Everything else is public and reached.
//!
//! What is checked is the address that is connected to. [`Connector`] resolves a name once, leaves out
//! the addresses that are not allowed and connects to the rest, so a name that changes its mind between
//! check and use gains nothing. Addresses are seen through IPv6 forms that carry an IPv4 one. No redirect
//! is followed here, nor by hyper's client above; a client that followed one would have to connect through
//! the guard again.
//!
//! Not guarded: the gateway's own connections, which go where routes say, and the wire protocols of
//! databases and caches, which answer nothing to somebody who speaks HTTP.

mod address;
mod authorities;
mod connector;
mod hosts;

pub use address::{Reach, reach};
pub use authorities::{UnusableAuthorities, load_authorities, read_authorities};
pub use connector::{Connector, Lookup};
pub use hosts::{BadHost, PrivateHosts};

use std::{error::Error, net::IpAddr, sync::Arc};

/// Why a host is not asked. Its words may be shown to whoever gave the address: they name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Link-local, multicast or no host's at all.
    #[error("the host has only addresses that are never asked: link-local, multicast or reserved ones")]
    Never,
    /// Private, and not named.
    #[error(
        "the host has only private addresses; where it is meant, its name belongs into the server's setting private_hosts"
    )]
    Private,
}

impl Refused {
    /// The refusal among an error's causes, if it was one: an HTTP client wraps what its connector says.
    pub fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refused) = error.downcast_ref::<Self>() {
                return Some(*refused);
            }
            next = error.source();
        }
        None
    }
}

/// Decides which addresses may be connected to. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Guard(Arc<PrivateHosts>);

impl Guard {
    /// Private addresses only for these hosts. The default names none.
    pub fn new(private: PrivateHosts) -> Self {
        Self(Arc::new(private))
    }

    /// For one host that a declared resource or the process's environment names, and no other private one.
    pub fn naming(host: &str) -> Self {
        Self::new(PrivateHosts::default().and(host))
    }

    /// Whether an address may be connected to, as one of `host`'s.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        match reach(address) {
            Reach::Never => Err(Refused::Never),
            Reach::Private if !self.0.names(host) && !self.0.covers(address) => Err(Refused::Private),
            Reach::Private | Reach::Public => Ok(()),
        }
    }

    /// The same for a host that is an address itself, ahead of any connection. A name passes: what it
    /// leads to is known when it is connected to.
    pub fn check_literal(&self, host: &str) -> Result<(), Refused> {
        match hosts::bare(host).parse::<IpAddr>() {
            Ok(address) => self.check(host, address),
            Err(_) => Ok(()),
        }
    }
}
