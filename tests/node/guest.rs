//! Kinds of interface that this machine's kernel may lack.

use std::collections::{BTreeMap, BTreeSet};

use super::{names, start, state};
use crate::sandbox::{Sandbox, ip};

/// What is attached to, and whether it has no Ethernet header, and whether packets come there from
/// another interface that is attached to.
const ATTACHED: [(&str, bool, bool); 13] = [
    ("bond0", false, false),
    ("bond0.7", false, true),
    ("br0", false, true),
    ("eth0", false, false),
    ("eth0.7", false, true),
    ("gen0", false, false),
    ("gre1", true, false),
    ("ip6tnl1", true, false),
    ("ipip1", true, false),
    ("ipvlan0", false, true),
    ("sit1", true, false),
    ("vxlan0", false, false),
    ("wg0", true, false),
];

/// What is left alone: a bond's members, what holds addresses only, what mirrors another.
const LEFT: [&str; 5] = ["dummy0", "ifb0", "member0", "member1", "vrf0"];

fn links() {
    for line in [
        "link add eth0 type veth peer name far0",
        "addr add 192.0.2.1/24 dev eth0",
        "link add link eth0 name eth0.7 type vlan id 7",
        "link add bond0 type bond mode active-backup",
        "link add member0 type veth peer name far1",
        "link add member1 type veth peer name far2",
        "link set member0 master bond0",
        "link set member1 master bond0",
        "link add link bond0 name bond0.7 type vlan id 7",
        "link add br0 type bridge",
        "link set eth0.7 master br0",
        "link add link far0 name ipvlan0 type ipvlan mode l2",
        "link add ipip1 type ipip local 192.0.2.1 remote 192.0.2.2",
        "link add sit1 type sit local 192.0.2.1 remote 192.0.2.2",
        "link add gre1 type gre local 192.0.2.1 remote 192.0.2.2",
        "link add ip6tnl1 type ip6tnl mode any local fd00::1 remote fd00::2",
        "link add wg0 type wireguard",
        "link add gen0 type geneve id 1 remote 192.0.2.2",
        "link add vxlan0 type vxlan id 1 local 192.0.2.1 dev eth0 dstport 4789",
        "link add dummy0 type dummy",
        "link add ifb0 type ifb",
        "link add vrf0 type vrf table 10",
    ] {
        ip(line);
    }
}

#[test]
fn every_kind_of_interface_is_found_and_attached_to() {
    Sandbox::run(|sandbox, runtime| {
        links();
        let state = runtime.block_on(state());
        let plans: BTreeMap<_, _> =
            state.ifaces.iter().map(|plan| (plan.name.as_str(), (plan.l3, plan.upper))).collect();
        for (name, l3, upper) in ATTACHED {
            assert_eq!(plans.get(name), Some(&(l3, upper)), "{name}: {plans:?}");
        }
        for name in LEFT {
            assert_eq!(plans.get(name), None, "{name}");
        }
        let mut interfaces = start(sandbox);
        assert_eq!(interfaces.reconcile(&state), []);
        let wanted: BTreeSet<String> = ATTACHED.map(|(name, ..)| name.to_owned()).into();
        assert!(names(&interfaces).is_superset(&wanted), "{:?}", names(&interfaces));
    });
}
