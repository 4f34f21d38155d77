//! The flow table: finding entries, noting their use, and telling whether a flow is over.

pub mod claim;
pub mod create;
pub mod handshake;

use aya_ebpf::bindings::BPF_ANY;
use sluice_common::{
    age::State,
    flow::{
        Flow, FlowKey,
        flags::{ESTABLISHED, FIN, IDENTITY, MASQUERADE, OWN, RST},
    },
    net::proto,
};

use crate::{
    clock,
    family::{Family, Ip},
    packet::{Packet, tcp},
};

/// The entry for `key`.
#[inline(always)]
pub fn find<const N: usize>(key: &FlowKey<N>) -> Option<&'static mut Flow<N>>
where
    Ip<N>: Family<N>,
{
    let entry = <Ip<N> as Family<N>>::flows().get_ptr_mut(key)?;
    // SAFETY: an LRU element stays readable memory while the program runs, even when it is evicted
    // and reused meanwhile; every bit pattern is a valid `Flow`.
    Some(unsafe { &mut *entry })
}

/// Writes an entry, over an older one if there is one.
#[inline(always)]
pub fn put<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>) -> Option<()>
where
    Ip<N>: Family<N>,
{
    <Ip<N> as Family<N>>::flows().insert(key, flow, u64::from(BPF_ANY)).ok()
}

/// Deletes an entry, if it is there.
#[inline(always)]
pub fn remove<const N: usize>(key: &FlowKey<N>)
where
    Ip<N>: Family<N>,
{
    // An entry that is gone already is what the caller wants.
    let _ = <Ip<N> as Family<N>>::flows().remove(key);
}

/// Notes that `packet` used `flow`. Writes only what changed: most packets find nothing to write,
/// and a cache line that nobody writes stays shared between CPUs.
#[inline(always)]
pub fn touch<const N: usize>(flow: &mut Flow<N>, packet: &Packet<N>) {
    let now = clock::seconds();
    if flow.seen != now {
        flow.seen = now;
    }
    // Who goes on after a RST did not send it, or nobody believed it.
    let flags = (flow.flags & !RST) | progress(packet);
    if flow.flags != flags {
        flow.flags = flags;
    }
}

/// What a packet tells about its flow's state.
#[inline(always)]
fn progress<const N: usize>(packet: &Packet<N>) -> u32 {
    if packet.key.proto != proto::TCP {
        return ESTABLISHED;
    }
    let mut flags = 0;
    if packet.control & tcp::RST != 0 {
        flags |= RST;
    }
    if packet.control & tcp::FIN != 0 {
        flags |= FIN;
    }
    if packet.control & tcp::ACK != 0 {
        flags |= ESTABLISHED;
    }
    flags
}

/// Whether the entry restores the client's port of direct traffic. That is the business of the
/// device where such traffic enters: above it, the tuple is another flow's.
#[inline(always)]
pub fn is_direct<const N: usize>(flow: &Flow<N>) -> bool {
    flow.service == 0 && flow.flags & (IDENTITY | MASQUERADE) == 0
}

/// What a flow's tuple is to another that wants it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The flow's.
    Live,
    /// The flow's, which has ended but may have packets on the way.
    Ended,
    /// Free: the flow has gone quiet for as long as its state may.
    Finished,
}

/// The standing of the flow with the directions `flow` and `opposite`.
#[inline(always)]
pub fn standing<const N: usize>(flow: &Flow<N>, opposite: &FlowKey<N>) -> Standing
where
    Ip<N>: Family<N>,
{
    let (mut flags, mut both) = (flow.flags, 0);
    let mut seen = flow.seen;
    if let Some(other) = find(opposite) {
        flags |= other.flags;
        both = flow.flags & other.flags;
        seen = seen.max(other.seen);
    }
    let idle = clock::seconds().saturating_sub(seen);
    let state = State::of(opposite.proto, flags, both);
    match state.has_ended() {
        _ if idle >= state.limit() => Standing::Finished,
        true => Standing::Ended,
        false => Standing::Live,
    }
}

/// Whether the node has long stopped sending from the NodePort's number that the entry is for.
#[inline(always)]
pub fn outlived<const N: usize>(flow: &Flow<N>) -> bool {
    let idle = clock::seconds().saturating_sub(flow.seen);
    flow.flags & OWN != 0 && idle >= State::Unanswered.limit()
}

/// Whether one side has said that it is done: a new SYN then begins a new flow.
#[inline(always)]
pub fn closing<const N: usize>(flow: &Flow<N>) -> bool {
    flow.flags & (FIN | RST) != 0
}
