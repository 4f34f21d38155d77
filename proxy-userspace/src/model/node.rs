//! What is known of the node and the cluster beside Services and their endpoints.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use ipnet::IpNet;
use sluice_common::prefix::SERVICE_CIDRS;

use super::{
    Model,
    sources::network,
    spec::{NodeSpec, ObjectName, ServiceSpec},
    tables::Tables,
};

/// How long the own Node is waited for (A17).
const NODE_WAIT: Duration = Duration::from_secs(30);

impl Model {
    /// The addresses of the node's interfaces: a cluster IP among them is answered locally,
    /// as NodeLocal DNS is.
    pub fn set_local_addresses(&mut self, addresses: BTreeSet<IpAddr>) {
        let changed: BTreeSet<IpAddr> =
            self.local_addresses.symmetric_difference(&addresses).copied().collect();
        self.mark_where(|spec| {
            spec.cluster_ips.iter().any(|ip| changed.contains(&ip.to_canonical()))
        });
        self.local_addresses = addresses;
    }

    /// The node's primary addresses, at most one a family: source ranges that hold one admit the
    /// node (A53).
    pub fn set_primary_addresses(&mut self, addresses: Vec<IpAddr>) {
        if self.primary_addresses != addresses {
            self.primary_addresses = addresses;
            self.mark_where(|spec| {
                !spec.source_ranges.is_empty() && !spec.load_balancer_ips.is_empty()
            });
        }
    }

    pub(super) fn set_node(&mut self, node: NodeSpec) {
        self.knows_node = true;
        if self.zone != node.zone {
            self.zone = node.zone;
            self.objects.mark_all();
        }
    }

    pub(super) fn wait_for_node(&mut self, now: Duration) {
        let began = *self.began.get_or_insert(now);
        self.knows_node |= now.saturating_sub(began) >= NODE_WAIT;
    }

    pub(super) fn set_service_cidrs(&mut self, nets: Vec<IpNet>) {
        self.service_cidrs = Some(nets);
        self.want_service_cidrs();
    }

    /// Wants the ServiceCIDRs in the maps, as far as they fit. Until they have been told, those that
    /// the maps hold stay (A90).
    pub(super) fn want_service_cidrs(&mut self) {
        if let Some(nets) = &self.service_cidrs {
            self.refused_cidrs = [set_cidrs(&mut self.v4, nets), set_cidrs(&mut self.v6, nets)];
        }
    }

    fn mark_where(&mut self, concerns: impl Fn(&ServiceSpec) -> bool) {
        let services = self.objects.services();
        let names: Vec<ObjectName> =
            services.filter(|(_, spec)| concerns(spec)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.objects.mark(name);
        }
    }
}

fn set_cidrs<const N: usize>(tables: &mut Tables<N>, nets: &[IpNet]) -> usize {
    let networks = nets.iter().filter_map(network).collect();
    tables.prefixes.set(SERVICE_CIDRS, Some(&networks))
}
