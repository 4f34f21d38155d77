//! AFFINITIES: which backend a client's connections to a service port stay with (A70–A72).

use crate::{
    abi,
    net::{Addr, V4, V6},
};

/// A client and a service port; by whichever frontend it comes (A70).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AffinityKey<const N: usize> {
    /// The client's address. A socket has none yet when the hooks choose for it: there, the cookie
    /// of its network namespace stands in the last four bytes, after zeros, in network byte order.
    /// (No client's address begins with a zero byte of IPv4 or twelve of IPv6.)
    pub client: Addr<N>,
    /// Id of the service port.
    pub service: u32,
}

/// The choice that a client stays with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// When a connection last began, in nanoseconds of `CLOCK_MONOTONIC`, low half first: two
    /// words, because the kernel aligns a value to no more than its key's size asks for.
    pub used: [u32; 2],
    /// Id of the backend.
    pub backend: u32,
    /// [`crate::backend::Backend::generation`] when it was chosen.
    pub generation: u32,
}

abi! {
    AffinityKey<V4> = 8,
    AffinityKey<V6> = 20,
    Affinity = 16,
}
