//! IFACES and NODE_ADDRS: what the programs know of the node they run on.

use crate::{
    abi,
    net::{Addr, V4, V6},
};

/// An instrumented interface, by index.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Iface {
    /// See [`flags`].
    pub flags: u32,
    /// Address that a packet masqueraded on its way out takes; unspecified if the node has none.
    pub masquerade_v4: Addr<V4>,
    /// The same for IPv6.
    pub masquerade_v6: Addr<V6>,
}

/// Bits of [`Iface::flags`].
pub mod flags {
    /// What enters here comes from a local pod (A62, A63).
    pub const POD: u32 = 1;
}

/// Bits of a NODE_ADDRS value: the map's keys are the node's own addresses.
pub mod addr_flags {
    /// NodePorts are served at this address (A23).
    pub const NODE_PORTS: u32 = 1;
    /// A loopback address (A22): NodePorts here are for the socket hooks only.
    pub const LOOPBACK: u32 = 1 << 1;
}

abi! {
    Iface = 24,
}
