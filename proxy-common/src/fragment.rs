//! FRAGMENTS: the ports of a datagram, for its fragments that do not carry them. EARLY: copies of
//! fragments that came before the one with the ports.

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

/// Fragments of one datagram that may come before its first.
pub const EARLY_SLOTS: u32 = 8;
/// Bytes of an early fragment that are kept, from the IP header on; a larger one is not.
pub const EARLY_BYTES: usize = 2_036;

/// An early fragment's place.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EarlyKey<const N: usize> {
    /// Its datagram.
    pub datagram: FragmentKey<N>,
    /// Below [`EARLY_SLOTS`]; the places of a datagram are taken in order.
    pub slot: u32,
}

/// A copy of an early fragment.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Early {
    /// When it came, in seconds of `CLOCK_MONOTONIC`.
    pub seen: u32,
    /// Bytes of it.
    pub length: u32,
    /// Its offset as it stands in the packet, without the flags.
    pub offset: u32,
    /// The fragment, from the IP header on.
    pub bytes: [u8; EARLY_BYTES],
}

abi! {
    EarlyKey<V4> = 20,
    EarlyKey<V6> = 44,
    Early = 2_048,
    FragmentKey<V4> = 16,
    FragmentKey<V6> = 40,
    FragmentPorts = 4,
}
