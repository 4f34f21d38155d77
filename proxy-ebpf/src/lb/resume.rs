//! Connections that go on without an entry: a service with a Maglev table names their backend again.
//!
//! The entry was evicted, or it is another node's. Whatever else is in mid-connection without an
//! entry is the kernel's, or netfilter's (C37).

use sluice_common::{
    flow::{EGRESS, FlowKey},
    frontend::{FrontendKey, flags::HASHED},
    hash,
    settings::flags::HASHED_FRONTENDS,
};

use super::lookup;
use crate::{
    family::{Family, Ip},
    flow,
    packet::Packet,
    settings,
};

/// Whether there are Maglev tables at all: what every packet without an entry pays for.
#[inline(always)]
pub fn may_be_needed() -> bool {
    settings::get().is_some_and(|settings| settings.flags & HASHED_FRONTENDS != 0)
}

/// Whether a packet that does not begin a flow may have one made for it.
///
/// Not at an address of the node: there, a connection that the node itself opened may be answered,
/// or one that netfilter masqueraded.
#[inline(never)]
pub fn is_possible<const N: usize>(packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let key = &packet.key;
    let at = FrontendKey::new(key.dst, key.dst_port, key.proto);
    !packet.answers_first()
        && lookup::find(&at).is_some_and(|frontend| frontend.flags & HASHED != 0)
        && !lookup::is_local(&key.dst)
        && flow::find(&FlowKey { direction: EGRESS, ..*key }).is_none()
}

/// Where the hash of a packet's flow points.
///
/// Not inlined: most flows need no hash, and its registers would be spilled to the stack for all.
#[inline(never)]
pub fn point<const N: usize>(key: &FlowKey<N>) -> u32 {
    hash::of_flow(&key.src, key.src_port, key.dst_port, key.proto)
}
