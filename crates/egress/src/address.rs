//! What kind of place an address is (IANA's special-purpose registries, RFC 6890), seen through the IPv6
//! forms that carry an IPv4 address.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who can be at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nobody who is ever asked.
    Never,
    /// This machine or its own networks.
    Private,
    /// Anyone.
    Public,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(s: [u16; 8], prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix))
}

/// Never asked.
const NEVER: &[IpNet] = &[
    v4(0, 0, 0, 0, 8),          // this network; 0.0.0.0 reaches this machine on many systems
    v4(169, 254, 0, 0, 16),     // link-local: the metadata services of most clouds
    v4(100, 100, 100, 200, 32), // Alibaba Cloud's metadata service
    v4(168, 63, 129, 16, 32),   // Azure's wire server
    v4(192, 0, 0, 192, 32),     // Oracle Cloud's metadata service
    v4(224, 0, 0, 0, 4),        // multicast
    v4(240, 0, 0, 0, 4),        // reserved, and broadcast
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32), // AWS's metadata and pod identity services
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), // Google Cloud's
];

/// Asked only on purpose.
const PRIVATE: &[IpNet] = &[
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10), // shared between a provider and its customers
    v4(127, 0, 0, 0, 8),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24), // for documentation, as are the next ones
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15), // for benchmarks
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48), // translation to IPv4 within a network
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10),
];

/// What kind of place an address is.
pub fn reach(address: IpAddr) -> Reach {
    let address = address.to_canonical();
    let within = |list: &[IpNet], address: &IpAddr| list.iter().any(|net| net.contains(address));
    if within(NEVER, &address) {
        return Reach::Never;
    }
    if within(PRIVATE, &address) {
        return Reach::Private;
    }
    match address {
        IpAddr::V6(v6) => carried(v6).map_or(Reach::Public, |v4| reach(IpAddr::V4(v4))),
        IpAddr::V4(_) => Reach::Public,
    }
}

/// Whether a network lies within private ones.
pub(crate) fn is_private(network: IpNet) -> bool {
    PRIVATE.iter().any(|private| private.contains(&network))
}

/// The IPv4 address that an IPv6 one leads to: NAT64 (RFC 6052), 6to4 (RFC 3056) and the deprecated
/// compatible form (RFC 4291). The mapped form is taken apart before.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = v6.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => Some(join(high, low)),
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_address_has_its_kind() {
        for (kind, addresses) in [
            (
                Reach::Never,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "169.254.169.254",
                    "100.100.100.200",
                    "168.63.129.16",
                    "192.0.0.192",
                    "224.0.0.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "::",
                    "fe80::1",
                    "ff02::1",
                    "fd00:ec2::254",
                    "fd00:ec2::23",
                    "fd20:ce::254",
                    "::ffff:169.254.169.254",
                    "::169.254.169.254",
                    "64:ff9b::a9fe:a9fe",
                    "2002:a9fe:a9fe::1",
                ][..],
            ),
            (
                Reach::Private,
                &[
                    "10.0.0.1",
                    "100.64.0.1",
                    "127.0.0.1",
                    "127.255.0.1",
                    "172.16.0.1",
                    "172.31.255.255",
                    "192.168.1.1",
                    "192.0.2.1",
                    "198.18.0.1",
                    "::1",
                    "fd00::1",
                    "fc00::1",
                    "fec0::1",
                    "2001:db8::1",
                    "64:ff9b:1::1",
                    "::ffff:127.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:a00:1::",
                ],
            ),
            (
                Reach::Public,
                &[
                    "1.1.1.1",
                    "9.255.255.255",
                    "100.63.255.255",
                    "172.32.0.1",
                    "192.167.255.255",
                    "223.255.255.255",
                    "2606:4700:4700::1111",
                    "64:ff9b::101:101",
                    "2002:101:101::1",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(reach(address.parse().unwrap()), kind, "{address}");
            }
        }
    }
}
