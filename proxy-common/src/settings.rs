//! SETTINGS: one element that every program reads.

use crate::{
    abi,
    net::{Prefix, V4, V6},
};

/// What the command line decided, and what the controller learned of the node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Cookie of the node's network namespace: the socket hooks serve its processes only.
    pub netns_cookie: u64,
    /// See [`flags`].
    pub flags: u32,
    /// Lowest NodePort in use, host byte order; above `node_port_max` when there is none.
    pub node_port_min: u16,
    /// Highest NodePort in use, host byte order.
    pub node_port_max: u16,
    /// First port of the range that masquerading prefers, host byte order.
    pub masquerade_min: u16,
    /// Last port of that range.
    pub masquerade_max: u16,
    /// How IPv4 sources are recognised as local pods: see [`detector`].
    pub detector_v4: u8,
    /// The same for IPv6.
    pub detector_v6: u8,
    /// Zero.
    pub pad: [u8; 2],
    /// With [`detector::PREFIX`]: the pods' IPv4 addresses (A60, A61).
    pub pods_v4: Prefix<V4>,
    /// The same for IPv6.
    pub pods_v6: Prefix<V6>,
    /// The shortest prefix that holds every IPv4 cluster IP and ServiceCIDR: nothing outside it
    /// needs the look-ups of A51 and A52.
    pub services_v4: Prefix<V4>,
    /// The same for IPv6.
    pub services_v6: Prefix<V6>,
}

/// Bits of [`Settings::flags`].
pub mod flags {
    /// `--masquerade-all` (A40).
    pub const MASQUERADE_ALL: u32 = 1;
    /// The socket hooks serve every namespace (`--socket-lb=all`).
    pub const SOCKETS_EVERYWHERE: u32 = 1 << 1;
    /// `bpf_l4_csum_replace` takes `BPF_F_IPV6` (6.16, ead7f9b8de65, and stable kernels with its
    /// backport). Without it a translated IPv6 packet from a device that delivers CHECKSUM_COMPLETE
    /// is summed again in software, with a warning, where it is delivered to this node.
    pub const CSUM_IPV6: u32 = 1 << 2;
    /// `services_v4` is set: packets to it that no frontend serves are rejected or dropped (A51,
    /// A52). Without it they are left alone, as in iptables mode (A102).
    pub const CLUSTER_IPS_V4: u32 = 1 << 3;
    /// The same for `services_v6`.
    pub const CLUSTER_IPS_V6: u32 = 1 << 4;
    /// Some frontend is [`crate::frontend::flags::HASHED`], so a packet in mid-connection without an
    /// entry may be for one.
    pub const HASHED_FRONTENDS: u32 = 1 << 5;
}

/// Values of [`Settings::detector_v4`] and its twin (A.5).
pub mod detector {
    /// No detector: nothing counts as a local pod (A45).
    pub const NONE: u8 = 0;
    /// A source inside `pods_v4`/`pods_v6` is a pod (A60, A61).
    pub const PREFIX: u8 = 1;
    /// What enters through an interface flagged [`crate::iface::flags::POD`] is a pod's (A62, A63).
    pub const IFACE: u8 = 2;
}

abi! {
    Settings = 104,
}
