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
    /// externalTrafficPolicy is Local (A42–A44).
    pub const LOCAL_POLICY: u32 = 1 << 1;
    /// The service has no endpoint at all: reject rather than drop (A47 against A48, A49).
    pub const NO_ENDPOINTS: u32 = 1 << 2;
    /// Not a service: the address of some service's endpoint. Direct traffic to it claims its
    /// tuple, so that it cannot be confused with a translated flow.
    pub const ENDPOINT: u32 = 1 << 3;
}

abi! {
    FrontendKey<V4> = 8,
    FrontendKey<V6> = 20,
    Range = 8,
    Frontend = 28,
}
