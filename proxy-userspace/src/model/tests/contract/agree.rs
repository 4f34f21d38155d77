//! The model's maps and the contract give every packet the same verdict.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use proptest::prelude::*;
use sluice_common::backend;

use super::super::super::{
    family,
    mirror::{FamilyMirror, Mirror},
    name::PortKey,
    spec::Protocol,
};
use super::super::build::{ip, net};
use super::{
    interpret,
    lists::{Union, lists, unions},
    packet::{Packet, Source, Switches},
    reference::{self, Owner},
    worlds::Cluster,
};

const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];

/// Every address that could make a difference: of frontends, wanted or there, each with every
/// protocol, and of some that nobody has.
fn destinations(maps: &Mirror, cluster: &Cluster) -> BTreeSet<SocketAddr> {
    let mut found: BTreeSet<SocketAddr> =
        reference::destinations(cluster).into_iter().map(|(to, _)| to).collect();
    let node_ips = &cluster.node.addresses;
    let mut add = |ip: IpAddr, port: u16| {
        let at = if ip.is_unspecified() {
            node_ips.iter().copied().filter(|node| node.is_ipv4() == ip.is_ipv4()).collect()
        } else {
            vec![ip]
        };
        found.extend(at.into_iter().map(|ip| SocketAddr::new(ip, port)));
    };
    for key in maps.v4.frontends.keys() {
        add(family::ip(&key.addr), key.port.number());
    }
    for key in maps.v6.frontends.keys() {
        add(family::ip(&key.addr), key.port.number());
    }
    for spec in cluster.services.values() {
        spec.cluster_ips.iter().for_each(|ip| add(*ip, 1));
    }
    found.extend(
        ["10.96.0.14", "10.96.9.9", "10.200.0.1", "fd00::99", "fd00::9:9:9"]
            .map(|nobody| SocketAddr::new(ip(nobody), 80)),
    );
    found
}

fn packets(maps: &Mirror, cluster: &Cluster) -> Vec<Packet> {
    let mut packets = Vec::new();
    for to in destinations(maps, cluster) {
        for protocol in PROTOCOLS {
            let from = sources(cluster, to).into_iter();
            packets.extend(from.map(|(source, client)| Packet { source, client, to, protocol }));
        }
    }
    packets
}

/// A pod, the node, one of its sockets, somebody else; and what comes from the very address that it
/// goes to, as from a node that has a load balancer's address itself (A53).
fn sources(cluster: &Cluster, to: SocketAddr) -> [(Source, Option<IpAddr>); 5] {
    let [pod, node, other] = if to.is_ipv4() {
        ["10.1.0.200", "198.51.100.1", "203.0.113.200"]
    } else {
        ["fd01::200", "2001:db8::1", "2001:db8:f::1"]
    };
    let to_node = cluster.bound.contains(&to.ip()) || cluster.node.addresses.contains(&to.ip());
    let to_pod = [net("10.1.0.0/16"), net("fd01::/16")].iter().any(|pods| pods.contains(&to.ip()));
    let own = match (to_pod, to_node) {
        (true, _) => Source::Pod,
        (false, true) => Source::Node,
        (false, false) => Source::Other,
    };
    [
        (Source::Pod, Some(ip(pod))),
        (Source::Node, Some(ip(node))),
        (Source::Node, None),
        (Source::Other, Some(ip(other))),
        (own, Some(to.ip())),
    ]
}

/// Whether the maps give every packet the verdict of the contract. Where A9 leaves open which of
/// two entries counts, one answer has to fit all packets of the service port.
pub(super) fn check(maps: &Mirror, cluster: &Cluster, how: Switches) -> Result<(), TestCaseError> {
    let mut owned: BTreeMap<(PortKey, bool), Vec<(Owner<'_>, Packet)>> = BTreeMap::new();
    for packet in packets(maps, cluster) {
        if let Some(owner) = reference::owner(cluster, packet.to, packet.protocol) {
            let key = (owner.key.clone(), packet.to.is_ipv4());
            owned.entry(key).or_default().push((owner, packet));
        } else {
            let actual = interpret::verdict(maps, cluster, &packet);
            let expected = reference::unowned(cluster, how, packet.to.ip());
            prop_assert_eq!(actual, expected, "{:?}", packet);
        }
    }
    for ((key, v4), packets) in owned {
        let unions = unions(cluster, &key, v4);
        let wrong = |union| check_port(maps, cluster, how, &packets, union);
        let complaints: Vec<String> = unions.iter().map_while(wrong).collect();
        prop_assert!(complaints.len() < unions.len(), "{}: {}", key, complaints.join("\nor: "));
    }
    Ok(())
}

/// What is wrong with a service port in one family if these are its endpoints.
fn check_port(
    maps: &Mirror,
    cluster: &Cluster,
    how: Switches,
    packets: &[(Owner<'_>, Packet)],
    union: &Union,
) -> Option<String> {
    for (owner, packet) in packets {
        let expected = reference::verdict(cluster, how, owner, union, packet);
        let actual = interpret::verdict(maps, cluster, packet);
        if actual != expected {
            return Some(format!("{packet:?}: {actual:?}, but the contract says {expected:?}"));
        }
    }
    let (owner, packet) = packets.first()?;
    if packet.to.is_ipv4() {
        check_backends(&maps.v4, maps, cluster, owner, union)
    } else {
        check_backends(&maps.v6, maps, cluster, owner, union)
    }
}

/// What is wrong with a service port's backends (A33, A34, A36, A73).
fn check_backends<const N: usize>(
    family: &FamilyMirror<N>,
    maps: &Mirror,
    cluster: &Cluster,
    owner: &Owner<'_>,
    union: &Union,
) -> Option<String> {
    let lists = lists(cluster, owner.spec, owner.port, N == 4, union);
    let bit = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags_of = |at: &SocketAddr, serving: bool| {
        let (cluster, local) = (lists.cluster.contains(at), lists.local.contains(at));
        bit(serving || cluster || local, backend::flags::SERVING)
            | bit(cluster, backend::flags::CLUSTER)
            | bit(local, backend::flags::LOCAL)
    };
    let expected: BTreeMap<SocketAddr, u8> = union
        .iter()
        .map(|(at, endpoint)| (*at, flags_of(at, endpoint.serving)))
        .filter(|(_, flags)| *flags != 0)
        .collect();
    let of_port =
        |id: &u32| maps.services.get(id).and_then(PortKey::parse).as_ref() == Some(&owner.key);
    let actual: BTreeMap<SocketAddr, u8> = family
        .backends
        .values()
        .filter(|backend| backend.flags != 0 && of_port(&backend.service))
        .map(|backend| {
            (SocketAddr::new(family::ip(&backend.addr), backend.port.number()), backend.flags)
        })
        .collect();
    (actual != expected).then(|| format!("backends are {actual:?}, expected {expected:?}"))
}
