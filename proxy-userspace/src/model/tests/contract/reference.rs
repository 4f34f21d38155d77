//! From objects to verdicts, by the tables' words.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::super::super::{
    name::PortKey,
    spec::{ObjectName, Protocol, ServicePort, ServiceSpec, TrafficPolicy},
};
use super::{
    lists::{Union, lists},
    packet::{Packet, Source, Switches, Verdict},
    worlds::Cluster,
};

/// By what a service port is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ClusterIp,
    ExternalIp,
    LoadBalancer,
    NodePort,
}

/// Who has an address and port.
#[derive(Clone, Debug)]
pub(super) struct Owner<'a> {
    pub(super) key: PortKey,
    kinds: Vec<Kind>,
    pub(super) spec: &'a ServiceSpec,
    pub(super) port: &'a ServicePort,
}

/// Every way a service port is reached in one family (A11, A20–A22). A NodePort's address is
/// `None`. An address of the node itself is no cluster IP (PEERS C44).
fn places(
    cluster: &Cluster,
    spec: &ServiceSpec,
    port: &ServicePort,
    v4: bool,
) -> Vec<(Option<IpAddr>, u16, Kind)> {
    let of_family = |ip: &&IpAddr| ip.is_ipv4() == v4;
    if !spec.cluster_ips.iter().any(|ip| ip.is_ipv4() == v4) {
        return Vec::new();
    }
    let mut places = Vec::new();
    for ip in spec.cluster_ips.iter().filter(of_family) {
        if !cluster.bound.contains(ip) {
            places.push((Some(*ip), port.port, Kind::ClusterIp));
        }
    }
    for ip in spec.external_ips.iter().filter(of_family) {
        places.push((Some(*ip), port.port, Kind::ExternalIp));
    }
    for ip in spec.load_balancer_ips.iter().filter(of_family) {
        places.push((Some(*ip), port.port, Kind::LoadBalancer));
    }
    if port.node_port != 0 {
        places.push((None, port.node_port, Kind::NodePort)); // A13
    }
    places
}

/// The service port that gets what is sent to an address: one with the address itself before one
/// with a NodePort; of several the one with the lowest name.
pub(super) fn owner(cluster: &Cluster, to: SocketAddr, protocol: Protocol) -> Option<Owner<'_>> {
    let own = claims(cluster, Some(to.ip()), to, protocol).min_by_key(|owner| owner.key.clone());
    let is_node = cluster.node.addresses.contains(&to.ip()); // A22
    own.or_else(|| {
        let node_ports = claims(cluster, None, to, protocol);
        node_ports.filter(|_| is_node).min_by_key(|owner| owner.key.clone())
    })
}

fn claims<'a>(
    cluster: &'a Cluster,
    at: Option<IpAddr>,
    to: SocketAddr,
    protocol: Protocol,
) -> impl Iterator<Item = Owner<'a>> {
    ports(cluster).filter_map(move |(object, spec, port)| {
        let kinds: Vec<Kind> = places(cluster, spec, port, to.is_ipv4())
            .into_iter()
            .filter(|(ip, number, _)| (*ip, *number) == (at, to.port()))
            .map(|(_, _, kind)| kind)
            .collect();
        let key = PortKey { object: object.clone(), port: port.name.clone(), protocol };
        (port.protocol == protocol && !kinds.is_empty()).then_some(Owner { key, kinds, spec, port })
    })
}

fn ports(cluster: &Cluster) -> impl Iterator<Item = (&ObjectName, &ServiceSpec, &ServicePort)> {
    let services = cluster.services.iter();
    services.flat_map(|(name, spec)| spec.ports.iter().map(move |port| (name, spec, port)))
}

/// Every address and port that some service claims; NodePorts at each of the node's addresses.
pub(super) fn destinations(cluster: &Cluster) -> Vec<(SocketAddr, Protocol)> {
    let mut found = Vec::new();
    for (_, spec, port) in ports(cluster) {
        for v4 in [true, false] {
            for (ip, number, _) in places(cluster, spec, port, v4) {
                let nodes = cluster.node.addresses.iter().filter(|ip| ip.is_ipv4() == v4);
                let ips: Vec<IpAddr> = ip.map_or_else(|| nodes.copied().collect(), |ip| vec![ip]);
                found
                    .extend(ips.into_iter().map(|ip| (SocketAddr::new(ip, number), port.protocol)));
            }
        }
    }
    found
}

/// What becomes of a packet that no service port owns (A51, A52).
pub(super) fn unowned(cluster: &Cluster, how: Switches, to: IpAddr) -> Verdict {
    if !how.unknown_rejected || cluster.bound.contains(&to) {
        return Verdict::Untouched; // A102; PEERS C44
    }
    let is_active = cluster.services.values().any(|spec| spec.cluster_ips.contains(&to));
    if is_active {
        return Verdict::Reject; // A51
    }
    if cluster.cidrs.iter().any(|net| net.contains(&to)) {
        return Verdict::Drop; // A52
    }
    Verdict::Untouched
}

/// Whether the source may come to the owner's address (A53).
fn admits(cluster: &Cluster, owner: &Owner<'_>, packet: &Packet) -> bool {
    let v4 = packet.to.is_ipv4();
    let ranges: Vec<&IpNet> =
        owner.spec.source_ranges.iter().filter(|net| net.addr().is_ipv4() == v4).collect();
    let restricts = !ranges.is_empty() && ranges.iter().all(|net| net.prefix_len() != 0); // A16
    if !restricts || !owner.kinds.contains(&Kind::LoadBalancer) {
        return true;
    }
    let listed = |ip: &IpAddr| ranges.iter().any(|net| net.contains(ip));
    let lists_node = cluster.primary.iter().any(listed);
    match &packet.client {
        Some(client) => {
            listed(client) || (lists_node && owner.spec.load_balancer_ips.contains(client))
        }
        None => lists_node,
    }
}

/// What becomes of a packet to an owner's address (A40–A49, A53), with these endpoints.
pub(super) fn verdict(
    cluster: &Cluster,
    how: Switches,
    owner: &Owner<'_>,
    union: &Union,
    packet: &Packet,
) -> Verdict {
    if !admits(cluster, owner, packet) {
        return Verdict::Drop; // Even with zero endpoints.
    }
    let lists = lists(cluster, owner.spec, owner.port, packet.to.is_ipv4(), union);
    if !lists.has_endpoints {
        return Verdict::Reject; // A47
    }
    if owner.kinds.contains(&Kind::ClusterIp) {
        // A37, A40, A48.
        let list = match owner.spec.internal_policy {
            TrafficPolicy::Cluster => lists.cluster,
            TrafficPolicy::Local => lists.local,
        };
        return Verdict::forward(
            list,
            how.masquerade_all || (how.detector && packet.source != Source::Pod),
        );
    }
    match (owner.spec.external_policy, packet.source) {
        (TrafficPolicy::Cluster, _) => Verdict::forward(lists.cluster, true), // A41
        (TrafficPolicy::Local, Source::Pod) if how.detector => {
            Verdict::forward(lists.cluster, false) // A42
        }
        (TrafficPolicy::Local, Source::Node) => Verdict::forward(lists.cluster, true), // A43
        // A44, A45, A49.
        (TrafficPolicy::Local, Source::Pod | Source::Other) => Verdict::forward(lists.local, false),
    }
}
