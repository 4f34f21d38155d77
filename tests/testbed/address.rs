//! The address plan: who has which address, in both families.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port every pod and every node's host-network server answers on, TCP and UDP.
pub const SERVER_PORT: u16 = 8080;
/// What `--cluster-cidr` is given.
pub const CLUSTER_CIDRS: &str = "10.244.0.0/16,fd00:10:244::/56";
/// Where NodePorts are accepted: the underlay, pod gateways and loopback.
pub const NODEPORT_CIDRS: &str = "192.168.100.0/24,fd00:192:168::/64";
/// The service range, IPv4.
pub const SERVICES_V4: &str = "10.96.0.0/16";
/// The service range, IPv6.
pub const SERVICES_V6: &str = "fd00:10:96::/112";

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, in the order tests run them.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// One address of each family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pair {
    /// The address of a family.
    pub fn ip(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }

    /// The address of a family with a port.
    pub fn port(self, family: Family, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(family), port)
    }

    /// Both with a port.
    pub fn ports(self, port: u16) -> Vec<SocketAddr> {
        Family::BOTH.map(|family| self.port(family, port)).to_vec()
    }
}

/// Node `n` on the underlay: 192.168.100.1n.
pub fn node(n: u8) -> Pair {
    let last = 10 + n;
    Pair { v4: Ipv4Addr::new(192, 168, 100, last), v6: v6([0xfd00, 0x192, 0x168, 0], last) }
}

/// The gateway that pods of node `n` see, where there is a bridge.
pub fn gateway(n: u8) -> Pair {
    Pair { v4: Ipv4Addr::new(10, 244, n, 1), v6: v6([0xfd00, 0x10, 0x244, n.into()], 1) }
}

/// The overlay device's address on node `n`.
pub fn overlay(n: u8) -> Pair {
    Pair { v4: Ipv4Addr::new(10, 244, n, 0), v6: v6([0xfd00, 0x10, 0x244, n.into()], 250) }
}

/// Pod `p`, counted over the whole cluster, on node `n`.
pub fn pod(n: u8, p: u8) -> Pair {
    let last = 10 + p;
    Pair { v4: Ipv4Addr::new(10, 244, n, last), v6: v6([0xfd00, 0x10, 0x244, n.into()], last) }
}

/// The client that shares the underlay with the nodes.
pub fn client() -> Pair {
    Pair { v4: Ipv4Addr::new(192, 168, 100, 100), v6: v6([0xfd00, 0x192, 0x168, 0], 100) }
}

/// The router's address on the underlay.
pub fn router() -> Pair {
    Pair { v4: Ipv4Addr::new(192, 168, 100, 254), v6: v6([0xfd00, 0x192, 0x168, 0], 254) }
}

/// The router's address towards the outsider.
pub fn router_outside() -> Pair {
    Pair { v4: Ipv4Addr::new(203, 0, 113, 1), v6: v6([0xfd00, 0x203, 0x113, 0], 1) }
}

/// The client behind the router.
pub fn outsider() -> Pair {
    Pair { v4: Ipv4Addr::new(203, 0, 113, 5), v6: v6([0xfd00, 0x203, 0x113, 0], 5) }
}

/// Service `s`: 10.96.0.s.
pub fn service(s: u8) -> Pair {
    Pair { v4: Ipv4Addr::new(10, 96, 0, s), v6: v6([0xfd00, 0x10, 0x96, 0], s) }
}

/// An address whose last group reads like the decimal number: 11 becomes `::11`.
fn v6(prefix: [u16; 4], last: u8) -> Ipv6Addr {
    let (hundreds, tens, ones) = (last / 100, last / 10 % 10, last % 10);
    let last = u16::from(hundreds) << 8 | u16::from(tens) << 4 | u16::from(ones);
    let [a, b, c, d] = prefix;
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, last)
}
