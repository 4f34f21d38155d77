//! Fragments that come before their first, which alone carries the ports.
//!
//! An early fragment goes on as it came, for it may be nobody's business here, and a copy of it
//! stays in EARLY. When its first is about to be rewritten, the first is sent in again once for
//! each copy (`bpf_clone_redirect`), finds the same flow entry, and becomes the fragment that the
//! copy is of. Nothing waits and nothing runs in circles: an early fragment costs one copy, whether
//! its first ever comes or not (docs/decisions/0003-out-of-order-fragments.md).

use core::hint::black_box;

use aya_ebpf::{
    bindings::{BPF_ANY, BPF_F_INGRESS, BPF_F_RECOMPUTE_CSUM},
    helpers::generated::{bpf_clone_redirect, bpf_skb_load_bytes, bpf_skb_store_bytes},
};
use sluice_common::{
    flow::{Flow, INGRESS},
    fragment::{EARLY_BYTES, EARLY_SLOTS, Early, EarlyKey},
    net::proto,
    reason::Reason,
};

use super::{
    Packet,
    cursor::Skb,
    fragment,
    rewrite::{self, End},
};
use crate::{
    clock,
    family::{Family, Ip},
    maps::EARLY_COPY,
};

/// The note ([`Skb::note`]) that a clone carries to the program's next run, plus the copy's slot in
/// bits 8 to 10. The kernel leaves it alone on the way (`skb_scrub_packet` within one namespace).
const CLONE: u32 = 0xc000;

/// In [`Early::offset`]: a clone has been sent for the copy.
const RELEASED: u32 = 1 << 31;

/// Seconds that a copy waits: what IPv4's reassembly allows (net.ipv4.ipfrag_time).
const LIFETIME: u32 = 30;

/// Keeps a copy of a later fragment whose first has not come. `None`: of no transport that
/// services know, too large, or too many are kept already.
#[inline(never)]
pub fn keep<const N: usize>(skb: &Skb, packet: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    if !matches!(packet.key.proto, proto::TCP | proto::UDP | proto::SCTP) {
        return None;
    }
    let l3 = usize::from(packet.l3);
    let length = usize::from(packet.l4) + packet.payload as usize - l3;
    let copy = EARLY_COPY.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own, and nothing else runs here until it is in EARLY.
    let copy = unsafe { &mut *copy };
    load(skb, l3, length, copy)?;
    copy.offset = u32::from(packet.fragment_offset);
    copy.seen = clock::seconds();
    let early = <Ip<N> as Family<N>>::early();
    let mut key = EarlyKey { datagram: fragment::key(packet), slot: 0 };
    while key.slot < EARLY_SLOTS {
        match find(&key) {
            // Kept at the device below.
            Some(other) if other.offset & !RELEASED == copy.offset => {
                return Some(Reason::EarlyFragment);
            }
            Some(_) => key.slot += 1,
            None => {
                let kept = early.insert(&key, &*copy, u64::from(BPF_ANY));
                return kept.is_ok().then_some(Reason::EarlyFragment);
            }
        }
    }
    None
}

/// Sends the first fragment in again for every copy that waits for it.
#[inline(never)]
pub fn release<const N: usize>(skb: &Skb, first: &Packet<N>)
where
    Ip<N>: Family<N>,
{
    let flags = if first.key.direction == INGRESS { u64::from(BPF_F_INGRESS) } else { 0 };
    let note = skb.noted();
    let mut key = EarlyKey { datagram: fragment::key(first), slot: 0 };
    while key.slot < EARLY_SLOTS {
        let Some(copy) = find(&key) else { break };
        // Once: clones wait in the CPU's backlog, and a second first fragment may be quicker.
        if copy.offset & RELEASED != 0 {
            break;
        }
        copy.offset |= RELEASED;
        skb.note(CLONE | key.slot << 8);
        // A clone that cannot be made is a fragment lost, as before.
        // SAFETY: the helper has no preconditions.
        let _ = unsafe { bpf_clone_redirect(skb.raw, skb.ifindex(), flags) };
        key.slot += 1;
    }
    skb.note(note);
}

/// Recognises a clone by its note, before another takes its place.
#[inline(always)]
pub fn recognise(skb: &Skb) {
    let slot = (skb.noted() ^ CLONE) >> 8;
    skb.set_clone_of(if slot < EARLY_SLOTS { slot + 1 } else { 0 });
}

/// The slot of the copy that a packet is to become; `None` for what is no clone.
#[inline(always)]
pub fn slot(skb: &Skb) -> Option<u32> {
    skb.clone_of().checked_sub(1)
}

/// Turns a clone of the first fragment into the early one, rewritten as the first was.
#[inline(never)]
pub fn follow<const N: usize>(
    skb: &Skb,
    first: &Packet<N>,
    end: End,
    flow: &Flow<N>,
    slot: u32,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    let l3 = usize::from(first.l3);
    let key = EarlyKey { datagram: fragment::key(first), slot };
    let copy = find(&key).ok_or(Reason::LostFragment)?;
    store(skb, l3, copy).ok_or(Reason::LostFragment)?;
    // It is gone already if the table was full.
    let _ = <Ip<N> as Family<N>>::early().remove(&key);
    // An LRU element may be given away while it is read.
    let dst = l3 + <Ip<N> as Family<N>>::SRC_OFFSET + N;
    let word: [u8; 4] = skb.read(dst + N - 4).ok_or(Reason::LostFragment)?;
    if u32::from_ne_bytes(word) != first.key.dst.word(N / 4 - 1) {
        return Err(Reason::LostFragment);
    }
    let old = if end == End::Source { &first.key.src } else { &first.key.dst };
    rewrite::lone_address(skb, l3, end, old, &flow.addr).ok_or(Reason::Rewrite)
}

/// The copy at `key`, if it is not too old.
#[inline(always)]
fn find<const N: usize>(key: &EarlyKey<N>) -> Option<&'static mut Early>
where
    Ip<N>: Family<N>,
{
    let copy = <Ip<N> as Family<N>>::early().get_ptr_mut(key)?;
    // SAFETY: an LRU element stays readable memory while the program runs.
    let copy = unsafe { &mut *copy };
    (clock::seconds().saturating_sub(copy.seen) < LIFETIME).then_some(copy)
}

/// A length that a copy can have, in a way that every verifier can follow: Linux 6.1 learns nothing
/// from "is not 0", and the compiler would compare a number that is not the one it then uses.
#[inline(always)]
fn checked(length: usize) -> Option<usize> {
    let last = length.wrapping_sub(1);
    (last < EARLY_BYTES).then(|| black_box(last) + 1)
}

/// Copies `length` bytes of the packet from `offset` on.
#[inline(always)]
fn load(skb: &Skb, offset: usize, length: usize, copy: &mut Early) -> Option<()> {
    let length = checked(length)?;
    copy.length = length as u32;
    // SAFETY: `length` is no more than `bytes` has.
    let code = unsafe {
        bpf_skb_load_bytes(
            skb.raw.cast(),
            offset as u32,
            copy.bytes.as_mut_ptr().cast(),
            copy.length,
        )
    };
    (code == 0).then_some(())
}

/// Makes the copy what the packet is from `offset` on.
#[inline(always)]
fn store(skb: &Skb, offset: usize, copy: &Early) -> Option<()> {
    let length = checked(copy.length as usize)?;
    skb.resize(offset + length)?;
    let flags = u64::from(BPF_F_RECOMPUTE_CSUM);
    // SAFETY: `length` is no more than `bytes` has.
    let code = unsafe {
        let from = copy.bytes.as_ptr().cast_mut().cast();
        bpf_skb_store_bytes(skb.raw, offset as u32, from, length as u32, flags)
    };
    (code == 0).then_some(())
}
