//! loadBalancerSourceRanges: who may reach a service port's load-balancer addresses (A16, A53), for
//! one address family.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use sluice_common::net::Addr;

use super::{family, prefixes::Network, spec::ServiceSpec, validate::usable};

/// What keeps other sources out. Where there are no ranges, there is no guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Guard<const N: usize> {
    /// The addresses that are guarded: the load balancer's, and no other, not even a NodePort's. One
    /// that is an external or cluster IP as well is guarded, because kube-proxy's map
    /// `firewall-ips` knows addresses and ports, not why they are served.
    pub(super) addrs: BTreeSet<Addr<N>>,
    /// Who is let in.
    pub(super) sources: BTreeSet<Network<N>>,
    /// Whether this node is.
    pub(super) admits_node: bool,
}

impl<const N: usize> Guard<N> {
    /// The guard that a Service asks for, on a node with these primary addresses.
    pub(super) fn of(spec: &ServiceSpec, node: &[IpAddr]) -> Option<Self> {
        let addrs: BTreeSet<Addr<N>> =
            spec.load_balancer_ips.iter().copied().filter_map(usable).collect();
        let ranges: Vec<&IpNet> =
            spec.source_ranges.iter().filter(|net| network::<N>(net).is_some()).collect();
        // A16: no range of the family, or one that is everything, restricts nothing.
        if addrs.is_empty() || ranges.is_empty() || ranges.iter().any(|net| net.prefix_len() == 0) {
            return None;
        }
        let mut sources: BTreeSet<Network<N>> =
            ranges.iter().filter_map(|net| network(net)).collect();
        let admits_node = node.iter().any(|ip| ranges.iter().any(|net| net.contains(ip)));
        if admits_node {
            // A53: where the address is bound here, the node's own packets have it as source, too.
            sources.extend(addrs.iter().map(|addr| (*addr, family::bits::<N>())));
        }
        Some(Self { addrs, sources, admits_node })
    }
}

/// A prefix, if it is of the family.
pub(super) fn network<const N: usize>(net: &IpNet) -> Option<Network<N>> {
    Some((family::addr(net.network())?, net.prefix_len().into()))
}
