//! Pods on point-to-point links, each with routes of its own, as Calico wires them.

use anyhow::Result;

use crate::address;
use crate::netns;
use crate::scope::Scope;

/// Wires a pod: it asks for 169.254.1.1 and the node's end answers in proxy.
pub(super) fn plug(scope: &Scope, n: u8, p: u8) -> Result<()> {
    let (node, pod) = (scope.netns(&format!("node{n}")), scope.netns(&format!("pod{p}")));
    let (device, own) = (format!("calipod{p}"), address::pod(n, p));
    netns::veth((&node, &device), (&pod, "eth0"), 1500)?;
    netns::sysctl(
        &node,
        &[
            (&format!("net/ipv4/conf/{device}/proxy_arp"), "1"),
            (&format!("net/ipv4/neigh/{device}/proxy_delay"), "0"),
        ],
    )?;
    netns::ip(
        &node,
        &[
            format!("addr add fe80::1/64 dev {device} nodad"),
            format!("route add {}/32 dev {device} scope link", own.v4),
            format!("route add {}/128 dev {device}", own.v6),
        ],
    )?;
    netns::ip(
        &pod,
        &[
            format!("addr add {}/32 dev eth0", own.v4),
            format!("addr add {}/128 dev eth0 nodad", own.v6),
            "route add 169.254.1.1 dev eth0 scope link".into(),
            "route add default via 169.254.1.1 dev eth0".into(),
            "route add default via fe80::1 dev eth0".into(),
        ],
    )
}
