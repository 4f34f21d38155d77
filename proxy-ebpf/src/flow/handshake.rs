//! A SYN flood from one client must not push others' flows out of the table: each client may have
//! so many connections half open.
//!
//! Functions of their own, which call helpers only: the frames below `create` are the deep ones.

use aya_ebpf::bindings::BPF_ANY;
use sluice_common::{
    flow::{
        Flow, FlowKey,
        flags::{ESTABLISHED, MASQUERADE},
    },
    handshake::Handshakes,
    limits::HALF_OPEN,
    net::{Addr, proto},
};

use super::find;
use crate::{
    clock,
    family::{Family, Ip},
    packet::{Packet, tcp},
};

/// Whether a client may begin another TCP connection; counts it. Processors that count at the same
/// time may count one instead of two.
#[inline(never)]
pub fn admits<const N: usize>(client: &Addr<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let now = clock::seconds();
    let clients = <Ip<N> as Family<N>>::handshakes();
    let Some(entry) = clients.get_ptr_mut(client) else {
        let first = Handshakes { open: 1, since: now };
        // Who is not counted is not held back.
        let _ = clients.insert(client, &first, u64::from(BPF_ANY));
        return true;
    };
    // SAFETY: an LRU element stays readable memory while the program runs, even when it is evicted
    // and reused meanwhile; every bit pattern is a valid `Handshakes`.
    let handshakes = unsafe { &mut *entry };
    handshakes.fade(now, HALF_OPEN);
    if handshakes.open >= HALF_OPEN {
        return false;
    }
    handshakes.open += 1;
    true
}

/// Whether the packet may be the one that completes a handshake: the client's first after its SYN.
#[inline(always)]
pub fn may_complete<const N: usize>(flow: &Flow<N>, packet: &Packet<N>) -> bool {
    packet.key.proto == proto::TCP
        && packet.control & tcp::ACK != 0
        && flow.flags & (ESTABLISHED | MASQUERADE) == 0
}

/// Counts a connection of a client less, if its backend has answered.
#[inline(never)]
pub fn complete<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>)
where
    Ip<N>: Family<N>,
{
    let is_answered =
        find(&key.opposite(flow)).is_some_and(|answers| answers.flags & ESTABLISHED != 0);
    if !is_answered {
        return;
    }
    let Some(entry) = <Ip<N> as Family<N>>::handshakes().get_ptr_mut(&key.src) else { return };
    // SAFETY: as above.
    let handshakes = unsafe { &mut *entry };
    handshakes.open = handshakes.open.saturating_sub(1);
}
