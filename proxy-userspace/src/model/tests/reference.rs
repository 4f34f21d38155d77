//! Endpoint choice once more, as naively as CONTRACT.md's tables say it.

use std::collections::BTreeSet;

use super::super::spec::{Endpoint, TrafficPolicy};

/// What the tables say of one service port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    pub(super) cluster: BTreeSet<String>,
    pub(super) local: BTreeSet<String>,
    pub(super) has_endpoints: bool,
}

/// A30–A35 for endpoints of one family.
pub(super) fn choose(
    endpoints: &[Endpoint],
    internal: TrafficPolicy,
    external: TrafficPolicy,
    exposed: bool,
    node: &str,
    zone: &str,
) -> Expected {
    let uses_cluster = internal == TrafficPolicy::Cluster || exposed;
    let uses_local =
        internal == TrafficPolicy::Local || (external == TrafficPolicy::Local && exposed);
    let addresses = |list: Vec<&Endpoint>| -> BTreeSet<String> {
        list.iter().map(|e| e.address.to_string()).collect()
    };
    let ready: Vec<&Endpoint> = endpoints.iter().filter(|e| e.ready).collect();
    let last: Vec<&Endpoint> = endpoints.iter().filter(|e| e.serving && e.terminating).collect();

    let named = |hints: &Vec<String>, what: &str| hints.contains(&what.to_owned());
    let all_nodes = ready.iter().filter(|e| e.node_hints.is_empty()).count() == 0;
    let all_zones = ready.iter().filter(|e| e.zone_hints.is_empty()).count() == 0;
    let on_node: Vec<&Endpoint> =
        ready.iter().copied().filter(|e| named(&e.node_hints, node)).collect();
    let in_zone: Vec<&Endpoint> =
        ready.iter().copied().filter(|e| !zone.is_empty() && named(&e.zone_hints, zone)).collect();
    let allowed = if all_nodes && !on_node.is_empty() {
        on_node
    } else if all_zones && !in_zone.is_empty() {
        in_zone
    } else {
        ready.clone()
    };
    let cluster = if allowed.is_empty() { last.clone() } else { allowed };

    let near = |list: &[&Endpoint]| -> Vec<Endpoint> {
        list.iter().filter(|e| e.node == node).map(|e| (*e).clone()).collect()
    };
    let near_ready = near(&ready);
    let local = if near_ready.is_empty() { near(&last) } else { near_ready };

    let has_endpoints =
        if uses_local { !ready.is_empty() || !last.is_empty() } else { !cluster.is_empty() };
    Expected {
        cluster: if uses_cluster { addresses(cluster) } else { BTreeSet::new() },
        local: if uses_local { addresses(local.iter().collect()) } else { BTreeSet::new() },
        has_endpoints,
    }
}
