//! The Kubernetes end-to-end tests that a service proxy can influence, under their own names, on a
//! cluster of network namespaces with a test API server. `docs/e2e.md` lists all names.

mod affinity;
mod balancers;
mod bed;
mod conntrack;
mod direct;
mod disruptive;
mod endpoint;
mod expect;
mod hints;
mod networking;
mod policies;
mod ports;
mod services;
mod suite;
mod tracked;
mod types;

use std::collections::BTreeSet;

use testbed::{Builder, Cluster, CniRules, Plugin, Topology};

use bed::Bed;
use suite::{Disruptive, Group, Suite};

/// What may run at the same time.
const TOGETHER: [Group; 25] = [
    conntrack::GROUP,
    affinity::SERVICES,
    affinity::LOAD_BALANCERS,
    affinity::NETWORKING,
    affinity::SECONDARY,
    balancers::LOAD_BALANCERS,
    types::SERVICES,
    balancers::LOCAL,
    balancers::LIFECYCLE,
    policies::GROUP,
    services::GROUP,
    ports::SIDECARS,
    networking::PRIMARY,
    networking::SECONDARY,
    networking::DUAL_STACK,
    networking::IPERF,
    direct::NO_SNAT,
    direct::PODS,
    direct::OUTSIDE,
    direct::LIFECYCLE,
    hints::DISTRIBUTION,
    hints::TOPOLOGY,
    hints::SLICES,
    hints::MIRRORING,
    hints::CIDRS,
];

/// What runs after that, one by one.
const ALONE: [Disruptive; 6] = [
    disruptive::NETWORKING,
    tracked::KUBE_PROXY,
    tracked::CONNTRACK,
    disruptive::GRANULAR,
    disruptive::SERVICES,
    ports::HOST_PORT,
];

/// On a plain bridge, with br_netfilter off.
#[test]
fn kubernetes() {
    let mut bed = Bed::new(Cluster::builder(Topology::Bridge).build().unwrap());
    let mut suite = Suite::default();
    suite.together(&bed, &TOGETHER);
    for group in &ALONE {
        suite.alone(&mut bed, group);
    }
    suite.finish();
}

/// Again where pods and nodes are linked in other ways, and where a CNI has rules of its own.
#[test]
fn elsewhere() {
    let rules = CniRules { masquerade: true, ..CniRules::default() };
    // The plugins have their own masquerade rule.
    let plugins = CniRules { forward_drop: true, ..CniRules::default() };
    let clusters = [
        Cluster::builder(Topology::Bridge).bridge_netfilter(true).rules(rules),
        Cluster::builder(Topology::Routed).rules(rules),
        Cluster::builder(Topology::Vxlan).bridge_netfilter(true),
        Cluster::builder(Topology::Tun),
        Cluster::builder(Topology::Plugin(Plugin::Bridge)).bridge_netfilter(true).rules(plugins),
        Cluster::builder(Topology::Plugin(Plugin::Ptp)).rules(plugins),
    ];
    clusters.into_iter().for_each(together);
}

/// Where nodes are linked by devices that this machine's kernel may lack.
mod guest {
    use testbed::{Cluster, Topology};

    #[test]
    fn elsewhere() {
        for topology in [Topology::Ipip, Topology::Wireguard] {
            super::together(Cluster::builder(topology));
        }
    }
}

fn together(cluster: Builder) {
    let bed = Bed::new(cluster.build().unwrap());
    let mut suite = Suite::default();
    suite.together(&bed, &TOGETHER);
    suite.finish();
}

/// Rows of `docs/e2e.md` end with the file of a case, or with a reason why there is none.
#[test]
fn the_document_lists_what_is_covered() {
    let rows = include_str!("../../docs/e2e.md").lines();
    let covered = rows.filter_map(|row| row.strip_prefix("| ")?.split_once(" | **tests/e2e/"));
    let covered: BTreeSet<String> = covered.map(|(name, _file)| name.to_owned()).collect();
    let together = TOGETHER.iter().flat_map(Group::names);
    let cases: BTreeSet<String> = together.chain(ALONE.iter().flat_map(Group::names)).collect();
    let differences: Vec<_> = covered.symmetric_difference(&cases).collect();
    assert!(differences.is_empty(), "only in the document, or only here: {differences:#?}");
}
