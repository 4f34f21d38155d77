//! How pods are wired to their node, and nodes' pods to each other.

mod bridge;
mod overlay;
mod plugins;
mod routed;
mod tunnel;

use anyhow::Result;

use crate::place::Place;
use crate::scope::Scope;
use crate::uplink::Uplink;
use crate::wire::Failure;

pub use plugins::{Attachment, Plugin};

/// The shapes that CNI plugins give a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// A bridge on each node, plain routes between nodes (kubenet, flannel host-gw).
    Bridge,
    /// No bridge: point-to-point veths and a route for each pod (Calico).
    Routed,
    /// A bridge on each node, VXLAN between nodes (flannel).
    Vxlan,
    /// A bridge on each node, and between nodes a device without an Ethernet header: a tun device,
    /// which every kernel has.
    Tun,
    /// The same by ipip and sit (Calico).
    Ipip,
    /// The same by ip6tnl.
    Ip6tnl,
    /// The same by WireGuard.
    Wireguard,
    /// As [`Topology::Bridge`], with a vlan for an uplink.
    Vlan,
    /// As [`Topology::Bridge`], with a bond for an uplink.
    Bond,
    /// Pods made by a real CNI plugin with `ipMasq`, plain routes between nodes.
    Plugin(Plugin),
}

/// Small enough for every tunnel's headers.
const TUNNEL_MTU: u32 = 1420;

impl Topology {
    /// Those that the testbed wires itself.
    pub const OWN: [Self; 4] = [Self::Bridge, Self::Routed, Self::Vxlan, Self::Tun];

    /// Those that real CNI plugins wire.
    pub const PLUGINS: [Self; 2] = [Self::Plugin(Plugin::Bridge), Self::Plugin(Plugin::Ptp)];

    /// Whether pods of one node appear on another under their node's address.
    pub(crate) fn masquerades_between_nodes(self) -> bool {
        self == Self::Plugin(Plugin::Bridge)
    }

    /// Those whose devices this machine's kernel may lack.
    pub const GUESTS: [Self; 5] =
        [Self::Ipip, Self::Ip6tnl, Self::Wireguard, Self::Vlan, Self::Bond];

    fn mtu(self) -> u32 {
        match self {
            Self::Bridge | Self::Routed | Self::Vlan | Self::Bond | Self::Plugin(_) => 1500,
            Self::Vxlan => 1450,
            Self::Tun | Self::Ipip | Self::Ip6tnl | Self::Wireguard => TUNNEL_MTU,
        }
    }

    /// What carries a node's own addresses.
    pub(crate) fn uplink(self) -> Uplink {
        match self {
            Self::Vlan => Uplink::Vlan,
            Self::Bond => Uplink::Bond,
            Self::Bridge
            | Self::Routed
            | Self::Vxlan
            | Self::Tun
            | Self::Ipip
            | Self::Ip6tnl
            | Self::Wireguard
            | Self::Plugin(_) => Uplink::Cable,
        }
    }

    /// What a node has before its first pod.
    pub(crate) fn wire_node(self, scope: &Scope, n: u8) -> Result<()> {
        match self {
            Self::Routed | Self::Plugin(_) => Ok(()),
            Self::Bridge
            | Self::Vxlan
            | Self::Tun
            | Self::Ipip
            | Self::Ip6tnl
            | Self::Wireguard
            | Self::Vlan
            | Self::Bond => bridge::create(scope, n, self.mtu()),
        }
    }

    /// Plugs a pod into its node, for as long as the attachment lives, where there is one.
    pub(crate) fn wire_pod(self, scope: &Scope, n: u8, p: u8) -> Result<Option<Attachment>> {
        match self {
            Self::Routed => routed::plug(scope, n, p)?,
            Self::Bridge
            | Self::Vxlan
            | Self::Tun
            | Self::Ipip
            | Self::Ip6tnl
            | Self::Wireguard
            | Self::Vlan
            | Self::Bond => bridge::plug(scope, n, p, self.mtu())?,
            Self::Plugin(plugin) => return Attachment::add(plugin, scope, n, p).map(Some),
        }
        Ok(None)
    }

    /// Makes the pods of other nodes reachable.
    pub(crate) fn wire_peers(self, scope: &Scope, host: &Place, n: u8, nodes: u8) -> Result<()> {
        match self {
            Self::Bridge | Self::Routed | Self::Vlan | Self::Bond | Self::Plugin(_) => {
                let routes = crate::fabric::routes_to_pods(nodes, Some(n), "eth0");
                crate::netns::ip(host.netns(), &routes)
            }
            Self::Vxlan => overlay::vxlan(scope, n, nodes),
            Self::Tun => {
                overlay::start_tun(host, n, nodes).map_err(|f: Failure| anyhow::anyhow!(f))?;
                tunnel::route(scope, n, nodes, |_, _| "tun0".to_owned())
            }
            Self::Ipip => tunnel::ipip(scope, n, nodes),
            Self::Ip6tnl => tunnel::ip6tnl(scope, n, nodes),
            Self::Wireguard => tunnel::wireguard(scope, n, nodes),
        }
    }
}
