//! Pods as ports of a bridge that is their gateway.

use anyhow::Result;

use crate::address;
use crate::fabric::defaults;
use crate::netns;
use crate::scope::Scope;

/// Makes `cbr0` with the gateway's addresses.
pub(super) fn create(scope: &Scope, n: u8, mtu: u32) -> Result<()> {
    let gateway = address::gateway(n);
    netns::ip(
        &scope.netns(&format!("node{n}")),
        &[
            format!("link add cbr0 mtu {mtu} type bridge mcast_snooping 0"),
            format!("addr add {}/24 dev cbr0", gateway.v4),
            format!("addr add {}/64 dev cbr0 nodad", gateway.v6),
            "link set cbr0 up".into(),
        ],
    )
}

/// Makes a pod a port of the bridge.
pub(super) fn plug(scope: &Scope, n: u8, p: u8, mtu: u32) -> Result<()> {
    let (node, pod) = (scope.netns(&format!("node{n}")), scope.netns(&format!("pod{p}")));
    let port = format!("vethpod{p}");
    netns::veth((&node, &port), (&pod, "eth0"), mtu)?;
    netns::ip(&node, &[format!("link set {port} master cbr0")])?;
    let own = address::pod(n, p);
    let mut lines = vec![
        format!("addr add {}/24 dev eth0", own.v4),
        format!("addr add {}/64 dev eth0 nodad", own.v6),
    ];
    lines.extend(defaults("eth0", address::gateway(n)));
    netns::ip(&pod, &lines)
}
