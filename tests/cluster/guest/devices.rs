//! Who reaches what where nodes have other uplinks, or are linked by other overlays.

use testbed::Topology;

use crate::paths::reached;

#[test]
fn ipip_and_sit() {
    reached(Topology::Ipip, false);
}

#[test]
fn ip6tnl() {
    reached(Topology::Ip6tnl, false);
}

#[test]
fn wireguard() {
    reached(Topology::Wireguard, false);
}

#[test]
fn vlan() {
    reached(Topology::Vlan, false);
}

#[test]
fn bond() {
    reached(Topology::Bond, false);
}
