//! How pods are wired to their node, and nodes' pods to each other.

mod bridge;
mod overlay;
mod plugins;
mod routed;

use anyhow::Result;

use crate::place::Place;
use crate::scope::Scope;
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
    /// A bridge on each node, and between nodes a device without an Ethernet header (ipip,
    /// wireguard; here a tun device).
    Tun,
    /// Pods made by a real CNI plugin with `ipMasq`, plain routes between nodes.
    Plugin(Plugin),
}

impl Topology {
    /// Those that the testbed wires itself.
    pub const OWN: [Self; 4] = [Self::Bridge, Self::Routed, Self::Vxlan, Self::Tun];

    /// Those that real CNI plugins wire.
    pub const PLUGINS: [Self; 2] = [Self::Plugin(Plugin::Bridge), Self::Plugin(Plugin::Ptp)];

    /// Whether pods of one node appear on another under their node's address.
    pub(crate) fn masquerades_between_nodes(self) -> bool {
        self == Self::Plugin(Plugin::Bridge)
    }

    fn mtu(self) -> u32 {
        match self {
            Self::Bridge | Self::Routed | Self::Plugin(_) => 1500,
            Self::Vxlan => 1450,
            Self::Tun => 1420,
        }
    }

    /// What a node has before its first pod.
    pub(crate) fn wire_node(self, scope: &Scope, n: u8) -> Result<()> {
        match self {
            Self::Routed | Self::Plugin(_) => Ok(()),
            Self::Bridge | Self::Vxlan | Self::Tun => bridge::create(scope, n, self.mtu()),
        }
    }

    /// Plugs a pod into its node, for as long as the attachment lives, where there is one.
    pub(crate) fn wire_pod(self, scope: &Scope, n: u8, p: u8) -> Result<Option<Attachment>> {
        match self {
            Self::Routed => routed::plug(scope, n, p)?,
            Self::Bridge | Self::Vxlan | Self::Tun => bridge::plug(scope, n, p, self.mtu())?,
            Self::Plugin(plugin) => return Attachment::add(plugin, scope, n, p).map(Some),
        }
        Ok(None)
    }

    /// Makes the pods of other nodes reachable.
    pub(crate) fn wire_peers(self, scope: &Scope, host: &Place, n: u8, nodes: u8) -> Result<()> {
        match self {
            Self::Bridge | Self::Routed | Self::Plugin(_) => {
                let routes = crate::fabric::routes_to_pods(nodes, Some(n), "eth0");
                crate::netns::ip(host.netns(), &routes)
            }
            Self::Vxlan => overlay::vxlan(scope, n, nodes),
            Self::Tun => {
                overlay::start_tun(host, n, nodes).map_err(|f: Failure| anyhow::anyhow!(f))?;
                overlay::route_tun(scope, n, nodes)
            }
        }
    }
}
