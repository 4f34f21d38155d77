//! The node and the services that all packets are about: few enough that random packets meet.

use std::net::{IpAddr, SocketAddr};

use sluice_common::net::proto;
use testbed::packet::{Lab, Service};

/// The transports that services know.
pub(crate) const PROTOS: [u8; 3] = [proto::TCP, proto::UDP, proto::SCTP];

/// One family's addresses.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    /// A cluster IP: port 80 goes to `pod`:8080, and so does NodePort 30080; 81 has no endpoint.
    pub(crate) vip: &'static str,
    /// Port 80 goes to `pod2`:9090, and so does NodePort 30081, whose traffic policy is Local with no
    /// endpoint on this node.
    pub(crate) vip2: &'static str,
    pub(crate) node: &'static str,
    pub(crate) pod: &'static str,
    pub(crate) pod2: &'static str,
    pub(crate) outside: &'static str,
}

pub(crate) const FAMILIES: [Addresses; 2] = [
    Addresses {
        vip: "10.96.0.10",
        vip2: "10.96.0.11",
        node: "192.168.100.11",
        pod: "10.244.1.2",
        pod2: "10.244.1.3",
        outside: "203.0.113.5",
    },
    Addresses {
        vip: "fd00:10:96::10",
        vip2: "fd00:10:96::11",
        node: "fd00:192:168::11",
        pod: "fd00:10:244:1::2",
        pod2: "fd00:10:244:1::3",
        outside: "2001:db8::5",
    },
];

/// Ports that mean something, and some that do not.
pub(crate) const PORTS: [u16; 8] = [80, 81, 8080, 9090, 30080, 30081, 40000, 7];

/// The ports that may be NodePorts.
pub(crate) const NODE_PORTS: std::ops::RangeInclusive<u16> = 30_000..=32_767;

impl Addresses {
    pub(crate) fn all(&self) -> [IpAddr; 6] {
        [self.vip, self.vip2, self.node, self.pod, self.pod2, self.outside].map(address)
    }
}

pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn end(text: &str, port: u16) -> String {
    SocketAddr::new(address(text), port).to_string()
}

/// The programs with all of it in their maps.
pub(crate) fn lab() -> Lab {
    let mut lab = Lab::new();
    for f in FAMILIES {
        for proto in PROTOS {
            let service = Service::new(&end(f.vip, 80), proto).node_port(30080, false);
            lab.put(&service.backends(&[&end(f.pod, 8080)]));
            lab.put(&Service::new(&end(f.vip, 81), proto));
            let service = Service::new(&end(f.vip2, 80), proto).node_port(30081, true);
            lab.put(&service.backends(&[&end(f.pod2, 9090)]));
        }
    }
    lab
}

/// What stands at an address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A service with this endpoint.
    Service { backend: SocketAddr, access: Access },
    /// A service without endpoints.
    Empty,
    /// An endpoint itself.
    Endpoint,
}

/// How a service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ClusterIp,
    /// externalTrafficPolicy Cluster.
    NodePort,
    /// externalTrafficPolicy Local.
    LocalNodePort,
}

/// What stands at `dst`, in whatever transport services know.
pub(crate) fn target(dst: SocketAddr) -> Option<Target> {
    let f = FAMILIES[usize::from(dst.is_ipv6())];
    let [vip, vip2, node, pod, pod2, _] = f.all();
    let service = |backend, port, access| {
        Some(Target::Service { backend: SocketAddr::new(backend, port), access })
    };
    match (dst.ip(), dst.port()) {
        (ip, 80) if ip == vip => service(pod, 8080, Access::ClusterIp),
        (ip, 81) if ip == vip => Some(Target::Empty),
        (ip, 80) if ip == vip2 => service(pod2, 9090, Access::ClusterIp),
        (ip, 30080) if ip == node => service(pod, 8080, Access::NodePort),
        (ip, 30081) if ip == node => service(pod2, 9090, Access::LocalNodePort),
        (ip, 8080) if ip == pod => Some(Target::Endpoint),
        (ip, 9090) if ip == pod2 => Some(Target::Endpoint),
        _ => None,
    }
}

/// Whether an address is a pod's: 10.244.0.0/16 or fd00:10:244::/48.
pub(crate) fn is_pod(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.octets()[..2] == [10, 244],
        IpAddr::V6(v6) => v6.segments()[..3] == [0xfd00, 0x10, 0x244],
    }
}

/// The node's address of the same family.
pub(crate) fn node(like: IpAddr) -> IpAddr {
    address(FAMILIES[usize::from(like.is_ipv6())].node)
}
