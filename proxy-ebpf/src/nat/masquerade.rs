//! Choosing the address and port that a flow leaves the node with.
//!
//! The address is the leaving device's own, as with MASQUERADE, or the node's where it has none.
//! The port is the client's where it is free, else one of a dedicated range, else any. "Free"
//! means: no live flow's, no local socket's for this tuple, and no NodePort (C37).

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock_tuple},
    helpers::generated::{bpf_sk_lookup_udp, bpf_sk_release, bpf_skc_lookup_tcp},
};
use sluice_common::{
    flow::{
        Flow, FlowKey, INGRESS,
        flags::{MASQUERADE, PENDING},
    },
    net::proto,
    reason::Reason,
};

use crate::{
    clock,
    family::{Family, Ip},
    flow::claim::{Claim, claim, end_masquerade, random_port},
    lb::lookup,
    maps::IFACES,
    packet::cursor::Skb,
    settings,
};

/// Ports tried in the dedicated range, and then in the wide one.
const TRIES: usize = 4;
const FIRST_PORT: u16 = 1024;

/// Completes the pending `flow` of a packet seen as `key` at egress.
#[inline(never)]
pub fn choose<const N: usize>(skb: &Skb, key: &FlowKey<N>, flow: &mut Flow<N>) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    // SAFETY: the controller replaces elements whole.
    let iface = unsafe { IFACES.get(skb.ifindex()) }.ok_or(Reason::NoMasqueradeAddress)?;
    let addr = <Ip<N> as Family<N>>::masquerade(iface);
    if addr.is_unspecified() {
        return Err(Reason::NoMasqueradeAddress);
    }
    // Straight into the map: the stack has no room for copies.
    flow.addr = *addr;
    // in B:bp → N:np restores c:cp′.
    let answer = Flow {
        addr: key.src,
        port: key.src_port,
        client_port: key.dst_port,
        service: flow.service,
        backend: flow.backend,
        generation: flow.generation,
        seen: clock::seconds(),
        flags: MASQUERADE,
    };
    let mut answers = FlowKey {
        src: key.dst,
        dst: *addr,
        src_port: key.dst_port,
        dst_port: key.src_port,
        proto: key.proto,
        direction: INGRESS,
        pad: [0; 2],
    };
    free_port(skb, &mut answers, &answer)?;
    flow.port = answers.dst_port;
    flow.flags &= !PENDING;
    Ok(())
}

/// Claims `answers` under the first port that is free.
#[inline(always)]
fn free_port<const N: usize>(
    skb: &Skb,
    answers: &mut FlowKey<N>,
    answer: &Flow<N>,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    let settings = settings::get().ok_or(Reason::MasqueradePorts)?;
    for attempt in 0..=2 * TRIES {
        if free(skb, answers) {
            match claim(answers, answer) {
                Claim::Held => return Ok(()),
                Claim::Ended if attempt + 1 < 2 * TRIES => {}
                Claim::Finished | Claim::Ended => {
                    end_masquerade(answers);
                    continue;
                }
                Claim::Taken => {}
            }
        }
        answers.dst_port = match attempt < TRIES {
            true => random_port(settings.masquerade_min, settings.masquerade_max),
            false => random_port(FIRST_PORT, u16::MAX),
        };
    }
    Err(Reason::MasqueradePorts)
}

/// Whether nothing but the flow table could object to `answers.dst_port`.
#[inline(always)]
fn free<const N: usize>(skb: &Skb, answers: &FlowKey<N>) -> bool
where
    Ip<N>: Family<N>,
{
    !lookup::in_node_ports(answers.dst_port) && !has_socket(skb, answers)
}

/// Whether a socket of this node would receive the packet `key`.
#[inline(always)]
fn has_socket<const N: usize>(skb: &Skb, key: &FlowKey<N>) -> bool {
    // A key starts as the kernel's `bpf_sock_tuple` does: addresses, then ports.
    let size = core::mem::offset_of!(FlowKey<N>, proto) as u32;
    let place = core::ptr::from_ref(key).cast_mut().cast::<bpf_sock_tuple>();
    let netns = BPF_F_CURRENT_NETNS as i64 as u64;
    // SAFETY: the helpers read `size` bytes of a live key; a socket they return is released
    // exactly once, at once.
    unsafe {
        let socket = match key.proto {
            proto::TCP => bpf_skc_lookup_tcp(skb.raw.cast(), place, size, netns, 0),
            proto::UDP => bpf_sk_lookup_udp(skb.raw.cast(), place, size, netns, 0),
            _ => return false,
        };
        if socket.is_null() {
            return false;
        }
        bpf_sk_release(socket.cast());
    }
    true
}
