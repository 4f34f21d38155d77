//! The node's interfaces and addresses, followed through netlink, and what they mean to the
//! programs.
//!
//! ```text
//! events ─► snapshot ─► plan, addresses ─► NodeState ─► dataplane::aya::interfaces
//! (I/O in)  (I/O in)    (pure)
//! ```

pub mod addresses;
pub mod events;
pub mod plan;
pub mod snapshot;
pub mod sysctl;
pub mod uplinks;
pub mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use sluice_common::{
    iface::{Iface, addr_flags},
    net::{Addr, V4, V6},
};

use uplinks::UplinkPlan;
pub use watch::watch;

/// What the command line and the Node object say about the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `--nodeport-addresses`.
    pub node_ports: NodePortAddresses,
    /// Loopback addresses serve no NodePorts (A101).
    pub without_loopback: bool,
    /// The node's primary addresses (A17a), or `--bind-address`, at most one a family.
    pub node_addresses: Vec<IpAddr>,
    /// How local pods are recognised by interface.
    pub pods: PodInterfaces,
    /// The Node object is still to come.
    pub provisional: bool,
}

/// Where NodePorts are served (A23).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// At every local address (A100, iptables mode's default).
    #[default]
    All,
    /// At the node's primary addresses, and on loopback if somebody asked for that as well.
    Primary {
        /// On loopback, too.
        localhost: bool,
    },
    /// At the local addresses in these; a family without one has no restriction.
    Within(Vec<IpNet>),
}

/// Which interfaces lead to local pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodInterfaces {
    /// Pods are recognised by address, or not at all (A45, A60, A61).
    #[default]
    Unknown,
    /// A bridge, by name (A62).
    Bridge(String),
    /// Interfaces whose name starts so (A63).
    Prefix(String),
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Kind, as `ip link` says it; empty for a physical device.
    pub kind: String,
    /// Link layer (`ARPHRD_…`).
    pub layer: u16,
    /// Index of the bridge, bond or VRF that it is a part of; 0 without.
    pub master: u32,
    /// Index of the device that it stands on, in this namespace; 0 without.
    pub lower: u32,
    /// MAC address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// Number of a vlan; 0 for what is none.
    pub vlan: u16,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub ifindex: u32,
    /// The address.
    pub ip: IpAddr,
    /// Valid everywhere, not just on its link or this host.
    pub global: bool,
    /// Usable as a source: not tentative, deprecated, or a duplicate.
    pub usable: bool,
    /// Not the first of its subnet.
    pub secondary: bool,
}

/// What netlink says at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Interfaces, by index.
    pub links: Vec<Link>,
    /// Addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Interface of the best IPv4 default route.
    pub default_v4: Option<u32>,
    /// Interface of the best IPv6 default route.
    pub default_v6: Option<u32>,
}

/// An interface to attach to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IfacePlan {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Without an Ethernet header.
    pub l3: bool,
    /// Above another interface that is attached to: a bridge with ports, a vlan.
    pub upper: bool,
    /// Its value in IFACES.
    pub iface: Iface,
}

/// All that the dataplane has to know of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Interfaces to attach to, by index.
    pub ifaces: Vec<IfacePlan>,
    /// Devices that lead out of the node, by index.
    pub uplinks: Vec<UplinkPlan>,
    /// NODE_ADDRS_V4.
    pub addrs_v4: BTreeMap<Addr<V4>, u32>,
    /// NODE_ADDRS_V6.
    pub addrs_v6: BTreeMap<Addr<V6>, u32>,
    /// Whether the values follow from half of what there is to know: those that the maps hold stay
    /// (A90).
    pub provisional: bool,
}

impl NodeState {
    /// What follows from a snapshot.
    pub fn new(snapshot: &Snapshot, config: &Config) -> Self {
        let (addrs_v4, addrs_v6) = addresses::node_addresses(snapshot, config);
        let ifaces = plan::plan_ifaces(snapshot, config);
        let uplinks = uplinks::plan_uplinks(snapshot, config, &ifaces);
        Self { ifaces, uplinks, addrs_v4, addrs_v6, provisional: config.provisional }
    }

    /// The addresses that others reach the node at: all but loopback ones.
    pub fn local_addresses(&self) -> BTreeSet<IpAddr> {
        let outward = |flags: &u32| flags & addr_flags::LOOPBACK == 0;
        let v4 = self.addrs_v4.iter().filter(|(_, flags)| outward(flags));
        let v6 = self.addrs_v6.iter().filter(|(_, flags)| outward(flags));
        let v4 = v4.map(|(addr, _)| IpAddr::from(addr.bytes));
        v4.chain(v6.map(|(addr, _)| IpAddr::from(addr.bytes))).collect()
    }
}
