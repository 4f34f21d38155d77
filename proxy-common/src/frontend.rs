//! FRONTENDS: where a service is reached, and what happens to a packet that arrives there.

use crate::{
    abi,
    net::{Addr, Port, V4, V6},
};

/// Where a service is reached. A NodePort stands at the unspecified address (A22).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendKey<const N: usize> {
    /// Destination address; unspecified for a NodePort.
    pub addr: Addr<N>,
    /// Destination port.
    pub port: Port,
    /// IP protocol number.
    pub proto: u8,
    /// Zero.
    pub pad: u8,
}

impl<const N: usize> FrontendKey<N> {
    /// The key of `addr:port/proto`.
    #[inline(always)]
    pub const fn new(addr: Addr<N>, port: Port, proto: u8) -> Self {
        Self { addr, port, proto, pad: 0 }
    }
}

/// A contiguous part of SLOTS.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// Index of the first slot.
    pub start: u32,
    /// Number of slots; 0 when there is no backend to choose.
    pub len: u32,
}

impl Range {
    /// The slot that a number points to, as if the range stood for all numbers there are.
    #[inline(always)]
    pub const fn slot(&self, point: u32) -> u32 {
        self.start.wrapping_add(((point as u64 * self.len as u64) >> 32) as u32)
    }
}

/// What a packet to a frontend may reach.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frontend {
    /// Id of the service port: the key in SERVICES.
    pub service: u32,
    /// See [`flags`].
    pub flags: u32,
    /// ClusterIP: the endpoints that internalTrafficPolicy allows (A33, A34).
    /// Others: every usable endpoint (A33).
    pub cluster: Range,
    /// External frontends: the endpoints on this node (A34), used with externalTrafficPolicy=Local.
    pub local: Range,
    /// Session affinity timeout in seconds; 0 without affinity (A71).
    pub affinity_timeout: u32,
}

/// Bits of [`Frontend::flags`].
pub mod flags {
    /// Governed by externalTrafficPolicy and masqueraded as A41–A44 say: NodePort, load-balancer
    /// address, external IP. Without it the frontend is a ClusterIP (A40).
    pub const EXTERNAL: u32 = 1;
    /// The traffic policy that governs the frontend is Local: externalTrafficPolicy (A42–A44) with
    /// [`EXTERNAL`], else internalTrafficPolicy (A34, A48).
    pub const LOCAL_POLICY: u32 = 1 << 1;
    /// The service has no endpoint at all: reject rather than drop (A47 against A48, A49).
    pub const NO_ENDPOINTS: u32 = 1 << 2;
    /// Not a service: the address of some service's endpoint. Direct traffic to it claims its
    /// tuple, so that it cannot be confused with a translated flow.
    pub const ENDPOINT: u32 = 1 << 3;
    /// Only the sources that PREFIXES lists under the service's id may come (A53).
    pub const SOURCE_RANGES: u32 = 1 << 4;
    /// With [`SOURCE_RANGES`]: the node's own address is among them, so the socket hooks, which
    /// run before a source address is chosen, let the node's processes through.
    pub const NODE_ALLOWED: u32 = 1 << 5;
    /// Not a service: stands at port 0, protocol 0 of an active cluster IP. What no frontend
    /// serves there is rejected (A51).
    pub const CLUSTER_IP: u32 = 1 << 6;
    /// The flow's hash points into the range, rather than a random number (Maglev).
    pub const HASHED: u32 = 1 << 7;
}

abi! {
    FrontendKey<V4> = 8,
    FrontendKey<V6> = 20,
    Range = 8,
    Frontend = 28,
}
