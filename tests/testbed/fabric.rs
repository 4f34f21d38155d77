//! The underlay: a switch that nodes, a client and a router are plugged into.

use anyhow::Result;

use crate::address::{self, Pair};
use crate::netns;
use crate::scope::Scope;
use crate::uplink::Uplink;

/// The client on the underlay, the router and the outsider behind it.
pub(crate) const PEOPLE: [&str; 3] = ["client", "router", "outsider"];
/// The switch's namespace.
pub(crate) const SWITCH: &str = "switch";
/// The underlay's unit.
pub(crate) const MTU: u32 = 1500;

/// Sets every namespace up the same way: loopback, and no waiting for duplicate addresses.
pub(crate) fn prepare(namespace: &str, rp_filter: u8) -> Result<()> {
    let strictness = rp_filter.to_string();
    netns::sysctl(
        namespace,
        &[
            ("net/ipv6/conf/all/accept_dad", "0"),
            ("net/ipv6/conf/default/accept_dad", "0"),
            ("net/ipv4/conf/all/rp_filter", &strictness),
            ("net/ipv4/conf/default/rp_filter", &strictness),
        ],
    )?;
    netns::ip(namespace, &["link set lo up".into()])
}

/// Turns forwarding on.
pub(crate) fn forward(namespace: &str) -> Result<()> {
    netns::sysctl(namespace, &[("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")])
}

/// Builds the switch and everybody who is not a node.
pub(crate) fn build(scope: &Scope, nodes: u8) -> Result<()> {
    let switch = scope.netns(SWITCH);
    // The switch is not a firewall, whatever a new namespace starts with.
    netns::sysctl(
        &switch,
        &[
            ("net/bridge/bridge-nf-call-iptables", "0"),
            ("net/bridge/bridge-nf-call-ip6tables", "0"),
        ],
    )?;
    netns::ip(
        &switch,
        &["link add br0 type bridge mcast_snooping 0".into(), "link set br0 up".into()],
    )?;
    let [client, router, outsider] = PEOPLE.map(|name| scope.netns(name));
    forward(&router)?;
    plug(scope, "client", Uplink::Cable, address::client())?;
    plug(scope, "router", Uplink::Cable, address::router())?;
    netns::veth((&router, "eth1"), (&outsider, "eth0"), MTU)?;
    netns::ip(&router, &addresses("eth1", address::router_outside()))?;
    netns::ip(&outsider, &addresses("eth0", address::outsider()))?;
    netns::ip(&outsider, &defaults("eth0", address::router_outside()))?;
    netns::ip(&client, &defaults("eth0", address::router()))?;
    for namespace in [&client, &router] {
        netns::ip(namespace, &routes_to_pods(nodes, None, "eth0"))?;
        netns::ip(namespace, &routes_to_services())?;
    }
    Ok(())
}

/// Plugs a node into the switch.
pub(crate) fn plug_node(scope: &Scope, uplink: Uplink, n: u8) -> Result<()> {
    let name = format!("node{n}");
    plug(scope, &name, uplink, address::node(n))?;
    netns::ip(&scope.netns(&name), &defaults("eth0", address::router()))
}

fn plug(scope: &Scope, name: &str, uplink: Uplink, own: Pair) -> Result<()> {
    uplink.plug(scope, name)?;
    netns::ip(&scope.netns(name), &addresses("eth0", own))
}

fn addresses(device: &str, own: Pair) -> Vec<String> {
    vec![
        format!("addr add {}/24 dev {device}", own.v4),
        format!("addr add {}/64 dev {device} nodad", own.v6),
    ]
}

/// Default routes by way of a gateway.
pub(crate) fn defaults(device: &str, gateway: Pair) -> Vec<String> {
    vec![
        format!("route add default via {} dev {device}", gateway.v4),
        format!("route add default via {} dev {device}", gateway.v6),
    ]
}

/// Routes to the pods of all nodes (but one) by way of the nodes' underlay addresses.
pub(crate) fn routes_to_pods(nodes: u8, but: Option<u8>, device: &str) -> Vec<String> {
    (1..=nodes)
        .filter(|n| Some(*n) != but)
        .flat_map(|n| {
            let via = address::node(n);
            [
                format!("route add 10.244.{n}.0/24 via {} dev {device}", via.v4),
                format!("route add fd00:10:244:{n}::/64 via {} dev {device}", via.v6),
            ]
        })
        .collect()
}

/// Gives the hops in the middle a smaller unit than the devices on either side have: the router
/// towards both its sides, and nodes towards each other's pods.
pub(crate) fn narrow(scope: &Scope, nodes: u8, mtu: u16) -> Result<()> {
    let first = address::node(1);
    // More specific than the routes that are there. Locked, or IPv6 forwards by the device's unit.
    let mut lines = vec![
        "192.168.100.0/25 dev eth0".to_owned(),
        "fd00:192:168::/80 dev eth0".to_owned(),
        "203.0.113.0/25 dev eth1".to_owned(),
        "fd00:203:113::/80 dev eth1".to_owned(),
        format!("10.96.0.0/17 via {}", first.v4),
        format!("fd00:10:96::/113 via {}", first.v6),
    ];
    let route = |line: &String| format!("route add {line} mtu lock {mtu}");
    netns::ip(&scope.netns("router"), &lines.iter().map(route).collect::<Vec<_>>())?;
    for n in 1..=nodes {
        lines.clear();
        for peer in (1..=nodes).filter(|peer| *peer != n) {
            let via = address::node(peer);
            lines.push(format!("10.244.{peer}.0/25 via {}", via.v4));
            lines.push(format!("fd00:10:244:{peer}::/80 via {}", via.v6));
        }
        netns::ip(&scope.netns(&format!("node{n}")), &lines.iter().map(route).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Outsiders reach ClusterIPs through node 1, as a cluster's router may be set up (A40).
fn routes_to_services() -> Vec<String> {
    let via = address::node(1);
    vec![
        format!("route add {} via {}", address::SERVICES_V4, via.v4),
        format!("route add {} via {}", address::SERVICES_V6, via.v6),
    ]
}
