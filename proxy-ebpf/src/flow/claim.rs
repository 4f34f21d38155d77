//! One tuple, one flow: the answers B:bp → c:cp′ of two flows must never look the same.
//!
//! Creating a flow inserts the key of its answers if it is absent. Held by a finished flow, the
//! key is taken over; held by a live one, the client appears under another port (cp′), as with
//! netfilter.

use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_get_prandom_u32};
use sluice_common::{
    flow::{EGRESS, Flow, FlowKey},
    net::Port,
};

use super::{Standing, find, put, remove, standing};
use crate::family::{Family, Ip};

/// What became of an attempt to claim a key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The key is ours.
    Held,
    /// A live flow of another origin holds it.
    Taken,
    /// A flow that ended a moment ago holds it: it may be [`end`]ed if there is no other way, as
    /// conntrack's are (nf_nat_used_tuple_harder, Linux 6.6).
    Ended,
    /// A finished flow holds it: [`end`] that and claim again. (Not done here, because the stack
    /// has no room for one frame within the other.)
    Finished,
}

/// Tries to make `flow` the entry of `key`.
///
/// Not inlined: it is the largest piece that several callers share, and the stack is 512 bytes.
#[inline(never)]
pub fn claim<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>) -> Claim
where
    Ip<N>: Family<N>,
{
    let flows = <Ip<N> as Family<N>>::flows();
    if flows.insert(key, flow, u64::from(BPF_NOEXIST)).is_ok() {
        return Claim::Held;
    }
    let Some(holder) = find(key) else { return Claim::Taken };
    let same = holder.addr == flow.addr
        && holder.port == flow.port
        && holder.client_port == flow.client_port;
    if !same {
        return match standing(holder, &key.opposite(holder)) {
            Standing::Live => Claim::Taken,
            Standing::Ended => Claim::Ended,
            Standing::Finished => Claim::Finished,
        };
    }
    match put(key, flow) {
        Some(()) => Claim::Held,
        None => Claim::Taken,
    }
}

/// Removes the two entries of a finished flow. Whoever goes on sending then begins anew.
#[inline(never)]
pub fn end<const N: usize>(key: &FlowKey<N>)
where
    Ip<N>: Family<N>,
{
    if let Some(flow) = find(key) {
        let other = key.opposite(flow);
        remove(&other);
        remove(key);
    }
}

/// Removes the two entries of a finished masquerade, of which `key` is the one at ingress, and the
/// pair that it was for. (Not one function with [`end`]: that one's frame is the deepest of all.)
#[inline(never)]
pub fn end_masquerade<const N: usize>(key: &FlowKey<N>)
where
    Ip<N>: Family<N>,
{
    let Some(flow) = find(key) else { return };
    // One key after the other in one place.
    let mut at = key.opposite(flow).reversed(EGRESS);
    if let Some(answer) = find(&at) {
        at = at.opposite(answer);
        remove(&at);
        at = key.opposite(flow).reversed(EGRESS);
        remove(&at);
    }
    at = key.opposite(flow);
    remove(&at);
    remove(key);
}

/// A random port in `min..=max`.
#[inline(always)]
pub fn random_port(min: u16, max: u16) -> Port {
    let span = u32::from(max.saturating_sub(min)) + 1;
    // SAFETY: the helper has no preconditions.
    let random = unsafe { bpf_get_prandom_u32() };
    Port::new(min.wrapping_add((random % span) as u16))
}
