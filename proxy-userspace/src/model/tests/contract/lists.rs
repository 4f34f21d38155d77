//! Which endpoints a service port has, and which of them may be chosen (A4–A9, A30–A36).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use super::super::super::{
    name::PortKey,
    spec::{Endpoint, ServicePort, ServiceSpec, TrafficPolicy},
};
use super::worlds::Cluster;

/// The endpoints of a service port in one family, each address and port once.
pub(super) type Union = BTreeMap<SocketAddr, Endpoint>;

/// Every union that A9 allows: of entries alike in what A9 looks at, any may win.
pub(super) fn unions(cluster: &Cluster, key: &PortKey, v4: bool) -> Vec<Union> {
    let mut entries: BTreeMap<SocketAddr, Vec<Endpoint>> = BTreeMap::new();
    for slice in cluster.slices.values().filter(|slice| slice.service == key.object) {
        for port in &slice.ports {
            if (&port.name, port.protocol) != (&key.port, key.protocol) {
                continue; // A4: by name and protocol, not by number
            }
            for endpoint in slice.endpoints.iter().filter(|e| e.address.is_ipv4() == v4) {
                let at = SocketAddr::new(endpoint.address, port.port);
                entries.entry(at).or_default().push(endpoint.clone());
            }
        }
    }
    let mut unions = vec![Union::new()];
    for (at, mut candidates) in entries {
        if candidates.iter().any(|endpoint| !endpoint.terminating) {
            candidates.retain(|endpoint| !endpoint.terminating);
        }
        candidates.dedup();
        let with = |union: &Union, endpoint: &Endpoint| {
            let mut union = union.clone();
            union.insert(at, endpoint.clone());
            union
        };
        unions = unions
            .iter()
            .flat_map(|union| candidates.iter().map(|endpoint| with(union, endpoint)))
            .collect();
    }
    unions
}

/// What may be chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lists {
    /// A33; empty when nothing uses it (A30).
    pub(super) cluster: BTreeSet<SocketAddr>,
    /// A34; empty when nothing uses it (A31).
    pub(super) local: BTreeSet<SocketAddr>,
    /// A35.
    pub(super) has_endpoints: bool,
}

/// Whether anything but the cluster IP leads to the port, in this family (A30, A11).
pub(super) fn is_exposed(spec: &ServiceSpec, port: &ServicePort, v4: bool) -> bool {
    let outside = spec.external_ips.iter().chain(&spec.load_balancer_ips);
    port.node_port != 0 || outside.into_iter().any(|ip| ip.is_ipv4() == v4)
}

pub(super) fn lists(
    cluster: &Cluster,
    spec: &ServiceSpec,
    port: &ServicePort,
    v4: bool,
    union: &Union,
) -> Lists {
    let exposed = is_exposed(spec, port, v4);
    let inside = spec.internal_policy;
    let outside = spec.external_policy;
    let uses_cluster = inside == TrafficPolicy::Cluster || exposed; // A30
    let uses_local = inside == TrafficPolicy::Local || (outside == TrafficPolicy::Local && exposed); // A31

    let ready = keep(union, |e| e.ready);
    let last = keep(union, |e| e.serving && e.terminating);
    let is_local = |e: &Endpoint| !e.node.is_empty() && e.node == cluster.node_name; // A8

    let near = allowed_by_topology(cluster, &ready); // A32
    let cluster_list = if near.is_empty() { &last } else { &near }; // A33
    let local_ready = keep(&ready, is_local);
    let local_list = if local_ready.is_empty() { keep(&last, is_local) } else { local_ready }; // A34
    let has_endpoints = if uses_local {
        !ready.is_empty() || !last.is_empty() // A35: anywhere
    } else {
        !cluster_list.is_empty()
    };
    let addresses = |list: &Union| list.keys().copied().collect();
    Lists {
        cluster: if uses_cluster { addresses(cluster_list) } else { BTreeSet::new() },
        local: if uses_local { addresses(&local_list) } else { BTreeSet::new() },
        has_endpoints,
    }
}

/// A32, over ready endpoints.
fn allowed_by_topology(cluster: &Cluster, ready: &Union) -> Union {
    let node = &cluster.node_name;
    if ready.values().all(|e| !e.node_hints.is_empty())
        && ready.values().any(|e| e.node_hints.contains(node))
    {
        return keep(ready, |e| e.node_hints.contains(node));
    }
    let zone = &cluster.node.zone;
    if !zone.is_empty()
        && ready.values().all(|e| !e.zone_hints.is_empty())
        && ready.values().any(|e| e.zone_hints.contains(zone))
    {
        return keep(ready, |e| e.zone_hints.contains(zone));
    }
    ready.clone()
}

fn keep(union: &Union, wanted: impl Fn(&Endpoint) -> bool) -> Union {
    union.iter().filter(|(_, e)| wanted(e)).map(|(at, e)| (*at, e.clone())).collect()
}
