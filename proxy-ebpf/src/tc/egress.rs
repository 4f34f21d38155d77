//! Egress: the source becomes the service's address, or the node's.

use sluice_common::{
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{ESTABLISHED, IDENTITY, MASQUERADE, OWN, PENDING, TURNING},
    },
    frontend::flags::ENDPOINT,
    net::{Addr, Port, proto},
    reason::Reason,
};

use super::{Device, Hook, NOTHING};
use crate::{
    clock,
    family::{Family, Ip},
    flow::{
        self,
        claim::{self, Claim},
    },
    lb::{cluster_ip, lookup},
    nat::masquerade,
    packet::{
        Packet,
        cursor::Skb,
        rewrite::{self, End},
    },
};

/// What happens to packets that leave.
pub struct Egress;

impl Hook for Egress {
    const DIRECTION: u8 = EGRESS;
    const END: End = End::Source;

    #[inline(always)]
    fn translate<const N: usize>(skb: &Skb, packet: &Packet<N>, device: Device) -> Option<Reason>
    where
        Ip<N>: Family<N>,
    {
        let mut known = flow::find(&packet.key);
        if known.is_none() {
            // A packet of another's with one of the node's addresses has been through netfilter's
            // masquerade: that of a CNI, as a rule.
            if !(packet.begins() && lookup::is_local(&packet.key.src)) {
                return None;
            }
            let is_own = skb.is_own();
            if !is_own && is_masqueraded(packet) {
                return None;
            }
            if !gives_way(packet) {
                return if is_own { begin(packet) } else { claim_netfilter_s(packet) };
            }
            known = flow::find(&packet.key);
        }
        let flow = known?;
        if flow::is_direct(flow) && device.is_upper {
            skb.note(NOTHING);
            return None;
        }
        if flow.flags & PENDING != 0 && flow.flags & TURNING != 0 && !skb.turns() {
            flow::remove(&packet.key);
            return None;
        }
        flow::touch(flow, packet);
        if flow.flags & IDENTITY != 0 {
            return Some(Reason::Direct);
        }
        if flow.flags & PENDING != 0
            && let Err(reason) = masquerade::choose(skb, &packet.key, flow)
        {
            return Some(reason);
        }
        Some(source(skb, packet, flow))
    }
}

/// The first packet that a socket of the node sends: what the socket hooks did not see, or had no
/// reason to refuse, may still go to a cluster IP that no frontend serves.
#[inline(always)]
fn begin<const N: usize>(packet: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let FlowKey { dst, dst_port, proto, .. } = &packet.key;
    if cluster_ip::is_near(dst) && lookup::frontend(dst, *dst_port, *proto, 0).is_none() {
        return cluster_ip::refusal(dst);
    }
    claim_node_port_number(packet)
}

/// Rewrites the source as `flow` says.
#[inline(always)]
fn source<const N: usize>(skb: &Skb, packet: &Packet<N>, flow: &Flow<N>) -> Reason
where
    Ip<N>: Family<N>,
{
    let done = match flow.flags & MASQUERADE != 0 {
        true => Reason::Masquerade,
        false => Reason::Reply,
    };
    match rewrite::rewrite(skb, packet, End::Source, flow) {
        Ok(()) => done,
        Err(reason) => reason,
    }
}

/// A socket of the node begins a flow, or netfilter gave one the node's address. Where its answers
/// would look like those of a masqueraded one, that one ends if it is finished; if it lives, this one
/// is to take another port, which the entry that is made here asks for. (At the next device down the
/// entry found is its own.)
#[inline(never)]
fn gives_way<const N: usize>(packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let key = packet.key.reversed(INGRESS);
    let Some(answers) = flow::find(&key) else { return false };
    if answers.flags & MASQUERADE == 0 || answers.addr == packet.key.src {
        return false;
    }
    let other = key.opposite(answers);
    if flow::standing(answers, &other) == flow::Standing::Finished {
        claim::end_masquerade(&key);
        return false;
    }
    let pending = Flow {
        addr: Addr::UNSPECIFIED,
        port: Port::new(0),
        client_port: packet.key.dst_port,
        service: 0,
        backend: 0,
        generation: 0,
        seen: clock::seconds(),
        flags: MASQUERADE | PENDING,
    };
    flow::put(&packet.key, &pending).is_some()
}

/// Whether a packet may have been masqueraded here, at a device above that could not leave a note:
/// the segments of a large datagram have a length of their own. (Not a part of [`gives_way`], from
/// which the stack is at its deepest.)
#[inline(never)]
fn is_masqueraded<const N: usize>(packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let key = packet.key.reversed(INGRESS);
    let Some(answers) = flow::find(&key) else { return false };
    if answers.flags & MASQUERADE == 0 {
        return false;
    }
    let Some(onward) = flow::find(&key.opposite(answers)) else { return false };
    let is_new = key.proto == proto::UDP || onward.flags & ESTABLISHED == 0;
    is_new && clock::seconds().saturating_sub(onward.seen) <= 1
}

/// Claims the tuple of a flow to an endpoint that netfilter masquerades, so that no flow that is
/// masqueraded here looks the same.
#[inline(never)]
fn claim_netfilter_s<const N: usize>(packet: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let FlowKey { dst, dst_port, proto, .. } = &packet.key;
    if lookup::frontend(dst, *dst_port, *proto, 0).is_none_or(|it| it.flags & ENDPOINT == 0) {
        return claim_node_port_number(packet);
    }
    // The same in both directions.
    let identity = Flow {
        addr: packet.key.src,
        port: packet.key.src_port,
        client_port: packet.key.dst_port,
        service: 0,
        backend: 0,
        generation: 0,
        seen: clock::seconds(),
        flags: IDENTITY,
    };
    match claim::claim(&packet.key.reversed(INGRESS), &identity) {
        Claim::Held => flow::put(&packet.key, &identity).map(|()| Reason::Claim),
        Claim::Taken | Claim::Ended | Claim::Finished => None,
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
        || !lookup::is_node_port(&packet.key.src, packet.key.src_port, packet.key.proto)
    {
        return None;
    }
    let answers = packet.key.reversed(INGRESS);
    if let Some(own) = flow::find(&answers) {
        if own.flags & OWN != 0 {
            own.seen = clock::seconds();
        }
        return None;
    }
    let identity = Flow {
        addr: answers.dst,
        port: answers.dst_port,
        client_port: answers.src_port,
        service: 0,
        backend: 0,
        generation: 0,
        seen: clock::seconds(),
        flags: IDENTITY | ESTABLISHED | OWN,
    };
    flow::put(&answers, &identity).map(|()| Reason::Claim)
}
