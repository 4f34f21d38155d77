//! FRAGMENTS: the ports of a datagram, for its fragments that do not carry them.

use crate::{
    abi,
    net::{Addr, Port, V4, V6},
};

/// A fragmented datagram, as observed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey<const N: usize> {
    /// Source address.
    pub src: Addr<N>,
    /// Destination address.
    pub dst: Addr<N>,
    /// Identification, as it stands in the packet; IPv4's has two bytes, behind two zeros.
    pub id: [u8; 4],
    /// IP protocol number.
    pub proto: u8,
    /// [`crate::flow::INGRESS`] or [`crate::flow::EGRESS`].
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// What its first fragment said.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentPorts {
    /// Source port.
    pub src: Port,
    /// Destination port.
    pub dst: Port,
}

abi! {
    FragmentKey<V4> = 16,
    FragmentKey<V6> = 40,
    FragmentPorts = 4,
}
