//! Which interfaces carry the programs, and what the programs have to know of each.

use std::collections::{BTreeMap, BTreeSet};

use sluice_common::{
    iface::{Iface, flags},
    net::Addr,
};

use super::{Config, IfacePlan, Link, PodInterfaces, Snapshot, addresses::Masquerade};

/// Link layers with an Ethernet header.
const ETHER: u16 = 1;
/// Link layers without a header: none, PPP, raw IP, ipip, ip6tnl, sit, GRE over both.
const HEADERLESS: [u16; 8] = [0xfffe, 512, 519, 768, 769, 776, 778, 823];

/// Devices that no packet of a pod or a client passes, that only mirror another, or that only
/// hold addresses: dummies (kube-ipvs0, nodelocaldns), VRFs (their members are attached).
const IGNORED: [&str; 8] = ["dummy", "ifb", "nlmon", "vcan", "vxcan", "vrf", "netdevsim", "ipoib"];
/// Devices whose members only pass packets on to them: the members are left alone.
const BUNDLES: [&str; 2] = ["bond", "team"];
/// Devices that see the packets of the device they stand on again. Overlays do not: what they
/// decapsulate appears there first.
const STACKED: [&str; 6] = ["vlan", "macvlan", "macvtap", "ipvlan", "ipvtap", "openvswitch"];

/// The interfaces to attach to: pod veths, uplinks, bridges, overlays; by index.
pub fn plan_ifaces(snapshot: &Snapshot, config: &Config) -> Vec<IfacePlan> {
    let links: BTreeMap<u32, &Link> = snapshot.links.iter().map(|l| (l.ifindex, l)).collect();
    let wanted: BTreeSet<u32> =
        links.values().filter(|l| is_wanted(l, &links)).map(|l| l.ifindex).collect();
    let masquerade = Masquerade::new(snapshot, config);
    let plan = |link: &&Link| IfacePlan {
        ifindex: link.ifindex,
        name: link.name.clone(),
        l3: link.layer != ETHER,
        upper: is_upper(link, &links, &wanted),
        iface: Iface {
            flags: pod(link, &links, &config.pods),
            masquerade_v4: Addr::new(masquerade.v4(link).octets()),
            masquerade_v6: Addr::new(masquerade.v6(link).octets()),
        },
    };
    links.values().filter(|l| wanted.contains(&l.ifindex)).map(plan).collect()
}

fn is_wanted(link: &Link, links: &BTreeMap<u32, &Link>) -> bool {
    let readable = link.layer == ETHER || HEADERLESS.contains(&link.layer);
    let bundled =
        links.get(&link.master).is_some_and(|master| BUNDLES.contains(&master.kind.as_str()));
    readable && !bundled && !IGNORED.contains(&link.kind.as_str())
}

/// Whether packets come here from another instrumented interface.
fn is_upper(link: &Link, links: &BTreeMap<u32, &Link>, wanted: &BTreeSet<u32>) -> bool {
    let above_member = link.kind == "bridge"
        && links.values().any(|l| l.master == link.ifindex && wanted.contains(&l.ifindex));
    let above_lower = STACKED.contains(&link.kind.as_str()) && wanted.contains(&link.lower);
    above_member || above_lower
}

/// kube-proxy looks at the interface that routing sees, which for a bridge's port is the bridge;
/// the programs meet a pod's packet at the port first.
fn pod(link: &Link, links: &BTreeMap<u32, &Link>, pods: &PodInterfaces) -> u32 {
    let master = links.get(&link.master).map_or("", |master| &master.name);
    let is_pod = match pods {
        PodInterfaces::Unknown => false,
        PodInterfaces::Bridge(name) => link.name == *name || master == name,
        PodInterfaces::Prefix(prefix) => {
            link.name.starts_with(prefix) || master.starts_with(prefix)
        }
    };
    if is_pod { flags::POD } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(ifindex: u32, name: &str, kind: &str) -> Link {
        Link { ifindex, name: name.into(), kind: kind.into(), layer: ETHER, ..Link::default() }
    }

    fn plan(links: Vec<Link>, pods: PodInterfaces) -> Vec<(String, bool, u32)> {
        let snapshot = Snapshot { links, ..Snapshot::default() };
        let plans = plan_ifaces(&snapshot, &Config { pods, ..Config::default() });
        plans.into_iter().map(|p| (p.name, p.l3, p.iface.flags)).collect()
    }

    fn names(links: Vec<Link>) -> Vec<String> {
        plan(links, PodInterfaces::Unknown).into_iter().map(|(name, ..)| name).collect()
    }

    #[test]
    fn loopback_and_address_holders_are_left_alone() {
        let links = vec![
            Link { layer: 772, ..link(1, "lo", "") },
            link(2, "eth0", ""),
            link(3, "kube-ipvs0", "dummy"),
            link(4, "nodelocaldns", "dummy"),
            link(5, "ifb0", "ifb"),
            link(6, "veth1", "veth"),
            link(7, "vrf-red", "vrf"),
        ];
        assert_eq!(names(links), ["eth0", "veth1"]);
    }

    #[test]
    fn a_bond_stands_for_its_members() {
        let links = vec![
            Link { master: 4, ..link(2, "eth0", "") },
            Link { master: 4, ..link(3, "eth1", "") },
            link(4, "bond0", "bond"),
        ];
        assert_eq!(plan(links, PodInterfaces::Unknown), [("bond0".into(), false, 0)]);
    }

    #[test]
    fn a_bridge_is_above_its_ports_and_a_vlan_above_its_parent() {
        let links = vec![
            link(2, "eth0", ""),
            Link { lower: 2, ..link(3, "eth0.7", "vlan") },
            link(4, "cni0", "bridge"),
            Link { master: 4, ..link(5, "veth1", "veth") },
            link(6, "empty0", "bridge"),
            Link { lower: 2, ..link(7, "mac0", "macvlan") },
        ];
        let snapshot = Snapshot { links, ..Snapshot::default() };
        let plans = plan_ifaces(&snapshot, &Config::default());
        let upper: Vec<_> = plans.into_iter().filter(|p| p.upper).map(|p| p.name).collect();
        assert_eq!(upper, ["eth0.7", "cni0", "mac0"]);
    }

    #[test]
    fn overlays_are_not_above_their_underlay() {
        let links = vec![
            link(2, "eth0", ""),
            Link { lower: 2, ..link(3, "flannel.1", "vxlan") },
            Link { layer: 768, ..link(4, "tunl0", "ipip") },
            Link { layer: 0xfffe, ..link(5, "wg0", "wireguard") },
            Link { layer: 0xfffe, ..link(6, "tun0", "tun") },
            Link { lower: 9, ..link(7, "veth1", "veth") },
        ];
        let expected = [
            ("eth0".into(), false, 0),
            ("flannel.1".into(), false, 0),
            ("tunl0".into(), true, 0),
            ("wg0".into(), true, 0),
            ("tun0".into(), true, 0),
            ("veth1".into(), false, 0),
        ];
        assert_eq!(plan(links, PodInterfaces::Unknown), expected);
    }

    #[test]
    fn unreadable_link_layers_are_left_alone() {
        let links = vec![Link { layer: 280, ..link(2, "can0", "") }, link(3, "eth0", "")];
        assert_eq!(names(links), ["eth0"]);
    }

    #[test]
    fn a62_a63_pods_are_found_at_the_bridge_and_its_ports() {
        let links = || {
            vec![
                link(2, "eth0", ""),
                link(3, "cni0", "bridge"),
                Link { master: 3, ..link(4, "veth1", "veth") },
                link(5, "cali77", "veth"),
            ]
        };
        let pods = |pods| -> Vec<String> {
            let is_pod = |p: &(String, bool, u32)| p.2 & flags::POD != 0;
            plan(links(), pods).into_iter().filter(is_pod).map(|p| p.0).collect()
        };
        assert_eq!(pods(PodInterfaces::Bridge("cni0".into())), ["cni0", "veth1"]);
        assert_eq!(pods(PodInterfaces::Prefix("cali".into())), ["cali77"]);
        assert_eq!(pods(PodInterfaces::Unknown), Vec::<String>::new());
    }

    #[test]
    fn a_loop_of_masters_does_no_harm() {
        let links = vec![
            Link { master: 3, ..link(2, "a", "bridge") },
            Link { master: 2, ..link(3, "b", "") },
        ];
        assert_eq!(names(links).len(), 2);
    }
}
