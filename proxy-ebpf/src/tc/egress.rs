//! Egress: the source becomes the service's address, or the node's.

use aya_ebpf::bindings::BPF_NOEXIST;
use sluice_common::{
    flow::{
        EGRESS, Flow, INGRESS,
        flags::{ESTABLISHED, IDENTITY, MASQUERADE, PENDING},
    },
    net::proto,
    reason::Reason,
};

use crate::{
    clock,
    family::{Family, Ip},
    flow,
    lb::lookup,
    nat::masquerade,
    packet::{Fragment, Packet, cursor::Skb, fragment, icmp, rewrite},
};

/// Handles a packet of one family. `None`: not ours.
#[inline(never)]
pub fn handle<const N: usize>(skb: &Skb, l3: usize) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let mut packet = Packet::<N>::parse(skb, l3, EGRESS)?;
    if packet.is_icmp() {
        return icmp::translate(skb, &packet);
    }
    if packet.fragment == Fragment::Later {
        return fragment::follow(skb, &mut packet, rewrite::End::Source);
    }
    packet.transport(skb)?;
    if packet.fragment == Fragment::First {
        fragment::remember(&packet);
    }
    let Some(flow) = flow::find(&packet.key) else { return claim_node_port_number(&packet) };
    flow::touch(flow, &packet);
    if flow.flags & IDENTITY != 0 {
        return Some(Reason::Direct);
    }
    if flow.flags & PENDING != 0
        && let Err(reason) = masquerade::choose(skb, &packet.key, flow)
    {
        return Some(reason);
    }
    let done = match flow.flags & MASQUERADE != 0 {
        true => Reason::Masquerade,
        false => Reason::Reply,
    };
    let end = rewrite::End::Source;
    match rewrite::rewrite(skb, &packet, end, &flow.addr, flow.port, flow.client_port) {
        Some(()) => Some(done),
        None => Some(Reason::Rewrite),
    }
}

/// A datagram that leaves from one of this node's addresses with a NodePort's number as its
/// source port claims its answer, which would otherwise be taken for a service's client (C37).
/// TCP needs no claim: its answer has no lone SYN.
#[inline(always)]
fn claim_node_port_number<const N: usize>(packet: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    if packet.key.proto != proto::UDP
        || !lookup::in_node_ports(packet.key.src_port)
        || !lookup::is_node_port(&packet.key.src, packet.key.src_port, packet.key.proto)
    {
        return None;
    }
    let answers = packet.key.reversed(INGRESS);
    let identity = Flow {
        addr: answers.dst,
        port: answers.dst_port,
        client_port: answers.src_port,
        service: 0,
        backend: 0,
        generation: 0,
        seen: clock::seconds(),
        flags: IDENTITY | ESTABLISHED,
    };
    let flows = <Ip<N> as Family<N>>::flows();
    flows.insert(&answers, &identity, u64::from(BPF_NOEXIST)).ok().map(|()| Reason::Claim)
}
