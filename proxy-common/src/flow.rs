//! FLOWS: per direction and observed 5-tuple, the rewrite to apply.
//!
//! | packet seen at | key, as observed | rewrite |
//! |---|---|---|
//! | ingress, client → VIP | in: c:cp → V:vp | destination := B:bp, source port := cp′ |
//! | egress, backend → client | out: B:bp → c:cp′ | source := V:vp, destination port := cp |
//! | egress, client → backend, masqueraded | out: c:cp′ → B:bp | source := N:np |
//! | ingress, backend → node, masqueraded | in: B:bp → N:np | destination := c:cp′ |
//!
//! cp′ is cp unless another flow already holds the tuple B:bp → c:cp (docs/dataplane.md).

use crate::{
    abi,
    net::{Addr, Port, V4, V6},
};

/// A 5-tuple as observed, and where it was observed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey<const N: usize> {
    /// Source address.
    pub src: Addr<N>,
    /// Destination address.
    pub dst: Addr<N>,
    /// Source port.
    pub src_port: Port,
    /// Destination port.
    pub dst_port: Port,
    /// IP protocol number.
    pub proto: u8,
    /// [`INGRESS`] or [`EGRESS`].
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// [`FlowKey::direction`]: seen entering the node's network stack.
pub const INGRESS: u8 = 0;
/// [`FlowKey::direction`]: seen leaving the node's network stack.
pub const EGRESS: u8 = 1;

impl<const N: usize> FlowKey<N> {
    /// The key of the same packet's answer, seen in `direction`.
    #[inline(always)]
    pub const fn reversed(&self, direction: u8) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            proto: self.proto,
            direction,
            pad: [0; 2],
        }
    }

    /// The key of the other direction of the same flow, as the packet is observed there; `flow` is
    /// this key's entry.
    #[inline(always)]
    pub const fn opposite(&self, flow: &Flow<N>) -> Self {
        match self.direction {
            // in c:cp → V:vp, becoming c:cp′ → B:bp, is answered by out B:bp → c:cp′.
            INGRESS => Self {
                src: flow.addr,
                src_port: flow.port,
                dst: self.src,
                dst_port: flow.client_port,
                direction: EGRESS,
                ..*self
            },
            // out B:bp → c:cp′, becoming V:vp → c:cp, answers in c:cp → V:vp.
            _ => Self {
                src: self.dst,
                src_port: flow.client_port,
                dst: flow.addr,
                dst_port: flow.port,
                direction: INGRESS,
                ..*self
            },
        }
    }
}

/// The rewrite of one direction of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow<const N: usize> {
    /// New destination address at ingress, new source address at egress.
    pub addr: Addr<N>,
    /// The port that goes with `addr`.
    pub port: Port,
    /// New source port at ingress, new destination port at egress: the client's, which changes
    /// only where two flows would otherwise share one tuple.
    pub client_port: Port,
    /// Id of the service port; 0 for direct traffic.
    pub service: u32,
    /// Id of the backend; meaningless for direct traffic.
    pub backend: u32,
    /// [`crate::backend::Backend::generation`] when the flow was made.
    pub generation: u32,
    /// When a packet last used the entry, in seconds of `CLOCK_MONOTONIC`.
    pub seen: u32,
    /// See [`flags`].
    pub flags: u32,
}

/// Bits of [`Flow::flags`].
pub mod flags {
    /// Nothing to rewrite: the entry only claims its tuple for traffic that no service translates.
    pub const IDENTITY: u32 = 1;
    /// The source is to become an address of this node.
    pub const MASQUERADE: u32 = 1 << 1;
    /// With [`MASQUERADE`] at egress: no address chosen yet; the first packet to leave chooses it.
    pub const PENDING: u32 = 1 << 2;
    /// TCP: the sender of this direction has sent a FIN or RST.
    pub const FIN: u32 = 1 << 3;
    /// TCP: the last segment through this entry was a RST.
    pub const RST: u32 = 1 << 4;
    /// TCP: a segment other than the first SYN has passed. UDP: more than one datagram has.
    pub const ESTABLISHED: u32 = 1 << 5;
    /// With [`IDENTITY`] at ingress: the answer to a datagram that this node sent from a NodePort's
    /// number. Only what the node sends keeps the entry alive.
    pub const OWN: u32 = 1 << 6;
    /// With [`MASQUERADE`] and [`PENDING`]: only if the packet leaves by the device where the flow
    /// began. It is a bridge whose port had no programs: without the masquerade, an answer from
    /// another of its ports would pass below it.
    pub const TURNING: u32 = 1 << 7;
}

abi! {
    FlowKey<V4> = 16,
    FlowKey<V6> = 40,
    Flow<V4> = 28,
    Flow<V6> = 40,
}
