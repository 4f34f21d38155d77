//! Overlays between nodes: VXLAN, and a tun device without an Ethernet header.

use std::time::Duration;

use anyhow::Result;

use crate::address;
use crate::netns;
use crate::place::Place;
use crate::scope::Scope;
use crate::wire::{Failure, Op};

const TUNNEL_PORT: u16 = 5555;

/// The VXLAN device's hardware address on node `n`, known in advance as flannel's is.
fn hardware(n: u8) -> String {
    format!("02:00:0a:f4:{n:02x}:00")
}

/// A VXLAN device with a fixed entry for every peer.
pub(super) fn vxlan(scope: &Scope, n: u8, nodes: u8) -> Result<()> {
    let (node, own, underlay) =
        (scope.netns(&format!("node{n}")), address::overlay(n), address::node(n));
    let mut ip = vec![
        format!(
            "link add flannel.1 mtu 1450 address {} type vxlan id 1 local {} dev eth0 dstport 8472 nolearning",
            hardware(n),
            underlay.v4
        ),
        format!("addr add {}/32 dev flannel.1", own.v4),
        format!("addr add {}/128 dev flannel.1 nodad", own.v6),
        "link set flannel.1 up".into(),
    ];
    let mut bridge = Vec::new();
    for peer in (1..=nodes).filter(|peer| *peer != n) {
        let (far, mac) = (address::overlay(peer), hardware(peer));
        ip.extend([
            format!("neigh add {} lladdr {mac} dev flannel.1 nud permanent", far.v4),
            format!("neigh add {} lladdr {mac} dev flannel.1 nud permanent", far.v6),
            format!("route add 10.244.{peer}.0/24 via {} dev flannel.1 onlink", far.v4),
            format!("route add fd00:10:244:{peer}::/64 via {} dev flannel.1 onlink", far.v6),
        ]);
        bridge.push(format!("fdb add {mac} dev flannel.1 dst {} self", address::node(peer).v4));
    }
    netns::ip(&node, &ip)?;
    netns::bridge(&node, &bridge)
}

/// Has the node's agent make the tun device and carry its packets.
pub(super) fn start_tun(host: &Place, n: u8, nodes: u8) -> Result<(), Failure> {
    let at = |n| (address::node(n).v4, TUNNEL_PORT).into();
    let peers = (1..=nodes).filter(|peer| *peer != n).map(|peer| (peer, at(peer))).collect();
    let op = Op::Tunnel { device: "tun0".into(), local: at(n), peers };
    host.call(op, Duration::from_secs(5)).map(drop)
}
