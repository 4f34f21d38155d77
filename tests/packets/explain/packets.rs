//! Random packets, most of them to where a world has something.

use std::net::{IpAddr, SocketAddr};

use proptest::{prelude::*, sample::select};
use sluice::{explain::Question, model::spec::Protocol};
use sluice_common::{iface::flags::POD, net::proto};
use testbed::packet::{Datagram, tcp, udp};

use super::{
    PROTOS,
    worlds::{OWN, World},
};

/// The first packet of a flow, but for its source port.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) question: Question,
}

/// Ports of services, NodePorts, endpoints' ports, and one of nobody.
const PORTS: [u16; 7] = [53, 80, 81, 8080, 9090, 30_000, 30_001];

/// Who may send, but for the endpoints.
const SOURCES: [&str; 12] = [
    "10.244.1.77",
    "10.244.2.77",
    "192.168.100.11",
    "10.244.1.1",
    "192.168.100.12",
    "203.0.113.5",
    "198.51.100.1",
    "fd00:10:244:1::77",
    "fd00:192:168::11",
    "fd00:192:168::12",
    "2001:db8::5",
    "2001:db8:2::1",
];

/// Where nobody is, or only some Services are.
const DESTINATIONS: [&str; 13] = [
    "10.96.0.1",
    "10.96.0.2",
    "10.96.0.3",
    "10.96.7.7",
    "10.99.0.1",
    "192.168.100.11",
    "10.244.1.1",
    "127.0.0.1",
    "198.51.100.1",
    "fd00:10:96::1",
    "fd00:10:96::7",
    "fd00:192:168::11",
    "2001:db8:2::1",
];

pub(super) fn packet(world: &World) -> impl Strategy<Value = Packet> + use<> {
    let known: Vec<IpAddr> = world.endpoints();
    let fixed = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|t| parse(t)).collect() };
    let mut sources = fixed(&SOURCES);
    sources.extend(&known);
    let mut destinations = fixed(&DESTINATIONS);
    destinations.extend(&known);
    let services = world.destinations();
    let anywhere = (select(destinations), select(PORTS.to_vec()), select(PROTOS.to_vec()))
        .prop_map(|(ip, port, proto)| (SocketAddr::new(ip, port), proto));
    let to = if services.is_empty() {
        anywhere.boxed()
    } else {
        prop_oneof![1 => anywhere, 3 => select(services)].boxed()
    };
    (to, select(vec![0, 0, POD]), any::<prop::sample::Index>()).prop_map(
        move |((destination, proto), input, from)| {
            let fits = |source: &&IpAddr| {
                // The node's own packets to loopback never come to tc.
                source.is_ipv4() == destination.is_ipv4()
                    && !(destination.ip().is_loopback() && OWN.map(parse).contains(source))
            };
            let sources: Vec<IpAddr> = sources.iter().filter(fits).copied().collect();
            let protocol = if proto == proto::TCP { Protocol::Tcp } else { Protocol::Udp };
            let source = sources[from.index(sources.len())];
            let source_port = None;
            Packet { question: Question { source, source_port, input, destination, protocol } }
        },
    )
}

pub(super) fn parse(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl Packet {
    pub(super) fn datagram(&self, port: u16) -> Datagram {
        let Question { source, destination, protocol, .. } = self.question;
        let ends = format!("{} -> {destination}", SocketAddr::new(source, port));
        match protocol {
            Protocol::Tcp => tcp(&ends).syn(),
            Protocol::Udp | Protocol::Sctp => udp(&ends),
        }
    }
}
