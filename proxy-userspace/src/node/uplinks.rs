//! Which devices lead out of the node, for the XDP program.

use std::collections::BTreeSet;

use sluice_common::uplink::{Uplink, UplinkKey};

use super::{Config, IfacePlan, Link, Snapshot};

/// Both ends of a veth are this host's.
const VETH: &str = "veth";
/// A vlan on a device.
const VLAN: &str = "vlan";

/// A device that leads out of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UplinkPlan {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Whether it is one end of a veth: what XDP sends there is lost, unless the other end has
    /// an XDP program, too (veth_xdp_flush).
    pub veth: bool,
    /// Itself and the vlans on it.
    pub places: Vec<Place>,
}

/// An interface that routing knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index.
    pub ifindex: u32,
    /// Number of the vlan; 0 for the device itself.
    pub vlan: u16,
    /// MAC address.
    pub mac: [u8; 6],
}

impl UplinkPlan {
    /// Its entries in UPLINKS, where the device runs the program in `mode`.
    pub fn entries(&self, mode: u8) -> Vec<(UplinkKey, Uplink)> {
        let both = |place: &Place| {
            let Place { ifindex, vlan, mac } = *place;
            let other = |ifindex| Uplink { ifindex, vlan, mac, mode, pad: [0; 3] };
            [
                (UplinkKey::arriving(self.ifindex, vlan), other(ifindex)),
                (UplinkKey::leaving(ifindex), other(self.ifindex)),
            ]
        };
        self.places.iter().flat_map(both).collect()
    }
}

/// The uplinks among the interfaces that carry the tc programs: network cards, and what stands for
/// one, that have the node's addresses or its default routes, be it on a vlan.
pub fn plan_uplinks(snapshot: &Snapshot, config: &Config, ifaces: &[IfacePlan]) -> Vec<UplinkPlan> {
    let outward = outward(snapshot, config);
    let plan = |link: &Link| {
        let vlans = snapshot.links.iter().filter(|l| l.kind == VLAN && l.lower == link.ifindex);
        let places: Vec<Place> = std::iter::once(link)
            .chain(vlans)
            .filter_map(|l| Some(Place { ifindex: l.ifindex, vlan: l.vlan, mac: l.mac? }))
            .collect();
        let leads_out = places.iter().any(|place| outward.contains(&place.ifindex));
        let veth = link.kind == VETH;
        (leads_out && places[0].ifindex == link.ifindex).then(|| UplinkPlan {
            ifindex: link.ifindex,
            name: link.name.clone(),
            veth,
            places,
        })
    };
    let is_lowest = |link: &&Link| {
        let has_programs = ifaces.iter().any(|p| p.ifindex == link.ifindex && !p.l3 && !p.upper);
        // A part of a bridge or a VRF is not where routing happens; nor is a bond's device where
        // its frames arrive.
        has_programs && link.master == 0 && (link.kind.is_empty() || link.kind == VETH)
    };
    snapshot.links.iter().filter(is_lowest).filter_map(plan).collect()
}

/// Interfaces with one of the node's primary addresses, or a default route.
fn outward(snapshot: &Snapshot, config: &Config) -> BTreeSet<u32> {
    let primary = snapshot.addresses.iter().filter(|a| config.node_addresses.contains(&a.ip));
    let defaults = [snapshot.default_v4, snapshot.default_v6].into_iter().flatten();
    primary.map(|address| address.ifindex).chain(defaults).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{Address, NodeState};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

    fn link(ifindex: u32, name: &str, kind: &str) -> Link {
        let (name, kind) = (name.into(), kind.into());
        Link { ifindex, name, kind, layer: 1, mac: Some(MAC), ..Link::default() }
    }

    fn uplinks(links: Vec<Link>, default: u32, address: Option<(u32, &str)>) -> Vec<UplinkPlan> {
        let address = address.map(|(ifindex, ip)| Address {
            ifindex,
            ip: ip.parse().unwrap(),
            global: true,
            usable: true,
            secondary: false,
        });
        let config = Config {
            node_addresses: address.iter().map(|address| address.ip).collect(),
            ..Config::default()
        };
        let addresses = address.into_iter().collect();
        let snapshot =
            Snapshot { links, addresses, default_v4: Some(default), ..Snapshot::default() };
        NodeState::new(&snapshot, &config).uplinks
    }

    fn names(plans: &[UplinkPlan]) -> Vec<&str> {
        plans.iter().map(|plan| plan.name.as_str()).collect()
    }

    #[test]
    fn what_has_the_default_route_or_the_node_s_address_leads_out() {
        let links = vec![
            link(2, "eth0", ""),
            link(3, "eth1", ""),
            link(4, "eth2", ""),
            link(5, "cali1", "veth"),
            link(6, "cni0", "bridge"),
        ];
        assert_eq!(names(&uplinks(links, 2, Some((3, "192.0.2.7")))), ["eth0", "eth1"]);
    }

    #[test]
    fn a_veth_may_lead_out_and_says_so() {
        let plans = uplinks(vec![link(2, "eth0", "veth"), link(3, "cali1", "veth")], 2, None);
        assert_eq!(names(&plans), ["eth0"]);
        assert!(plans[0].veth);
    }

    #[test]
    fn a_vlan_with_the_default_route_makes_its_parent_an_uplink() {
        let vlan = Link { lower: 2, vlan: 7, ..link(3, "eth0.7", "vlan") };
        let plans = uplinks(vec![link(2, "eth0", ""), vlan], 3, None);
        assert_eq!(names(&plans), ["eth0"]);
        let entries = plans[0].entries(1);
        let of = |key| entries.iter().find(|(k, _)| *k == key).unwrap().1;
        assert_eq!(of(UplinkKey::arriving(2, 0)).ifindex, 2);
        assert_eq!(of(UplinkKey::arriving(2, 7)).ifindex, 3);
        let out = of(UplinkKey::leaving(3));
        assert_eq!((out.ifindex, out.vlan), (2, 7));
    }

    #[test]
    fn parts_of_bridges_and_bonds_are_left_to_tc() {
        let links = vec![
            Link { master: 4, ..link(2, "eth0", "") },
            link(3, "bond0", "bond"),
            link(4, "br0", "bridge"),
        ];
        assert_eq!(uplinks(links.clone(), 2, None), []);
        assert_eq!(uplinks(links, 3, None), []);
    }
}
