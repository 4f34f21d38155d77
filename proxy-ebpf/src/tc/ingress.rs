//! Ingress: the destination becomes a backend.

use sluice_common::{
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{IDENTITY, MASQUERADE, OWN, TURNING},
    },
    frontend::{Frontend, flags::ENDPOINT},
    iface::addr_flags::NODE_PORTS,
    net::proto,
    reason::Reason,
};

use super::{Device, Hook};
use crate::{
    clock,
    family::{Family, Ip},
    flow::{
        self,
        create::{create, forget},
        handshake,
    },
    lb::{cluster_ip, lookup, resume, select},
    packet::{
        Packet,
        cursor::Skb,
        rewrite::{self, End},
    },
};

/// What happens to packets that enter.
pub struct Ingress;

impl Hook for Ingress {
    const DIRECTION: u8 = INGRESS;
    const END: End = End::Destination;

    #[inline(always)]
    fn translate<const N: usize>(skb: &Skb, packet: &Packet<N>, device: Device) -> Option<Reason>
    where
        Ip<N>: Family<N>,
    {
        let mut reason = Reason::NewFlow;
        if let Some(flow) = flow::find(&packet.key) {
            if device.is_upper && is_anothers(&packet.key, flow) {
                return None;
            }
            if keeps(flow, packet) {
                if flow.flags & OWN == 0 {
                    if handshake::may_complete(flow, packet) {
                        handshake::complete(&packet.key, flow);
                    }
                    flow::touch(flow, packet);
                }
                return Some(apply(skb, packet, flow));
            }
            forget(&packet.key, flow);
            reason = Reason::Rechosen;
        }
        if !packet.begins() {
            if !resume::may_be_needed() || !resume::is_possible(packet) {
                return None;
            }
            reason = Reason::Resumed;
        }
        begin(skb, packet, device, reason)
    }
}

/// Whether the entry that a packet found is not the packet's own: above the device that it entered
/// by, it has been rewritten, and may have become what another flow looks like below. Then the
/// answers to it as it is now are claimed. Entries from clients to services are spared the question.
#[inline(always)]
fn is_anothers<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>) -> bool
where
    Ip<N>: Family<N>,
{
    if flow.service != 0 && flow.flags & MASQUERADE == 0 {
        return false;
    }
    flow::is_direct(flow) || flow::find(&key.reversed(EGRESS)).is_some()
}

/// Whether a packet follows the entry it found, or begins anew.
#[inline(always)]
fn keeps<const N: usize>(flow: &Flow<N>, packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let begins = packet.key.proto != proto::UDP && packet.begins();
    if begins && flow::closing(flow) {
        return false;
    }
    if flow.flags & (IDENTITY | MASQUERADE) != 0 || flow.service == 0 {
        return !flow::outlived(flow);
    }
    match packet.key.proto {
        // Datagrams leave an endpoint that left (A73); a new connection wants one that is
        // offered; what is established stays where it is (A26).
        proto::UDP => {
            select::still::<N>(flow.backend, flow.generation, select::SERVING)
                && (flow.seen == clock::seconds() || is_whole(flow, packet))
        }
        _ if begins => select::still::<N>(flow.backend, flow.generation, select::ELIGIBLE),
        _ => true,
    }
}

/// Whether a flow of datagrams is still what it was, looked at once a second: its address has not
/// become another service's (A73, C32), and the entry for its answers has not been evicted.
#[inline(never)]
fn is_whole<const N: usize>(flow: &Flow<N>, packet: &Packet<N>) -> bool
where
    Ip<N>: Family<N>,
{
    let key = &packet.key;
    let same = lookup::frontend(&key.dst, key.dst_port, key.proto, NODE_PORTS)
        .is_some_and(|frontend| frontend.service == flow.service);
    same && flow::find(&key.opposite(flow)).is_some()
}

/// Applies an entry.
#[inline(always)]
fn apply<const N: usize>(skb: &Skb, packet: &Packet<N>, flow: &Flow<N>) -> Reason
where
    Ip<N>: Family<N>,
{
    if flow.flags & IDENTITY != 0 {
        return Reason::Direct;
    }
    let done = match flow.flags & MASQUERADE != 0 {
        true => Reason::MasqueradeReply,
        false => Reason::Forward,
    };
    destination(skb, packet, flow, done)
}

/// Rewrites the destination as `flow` says.
#[inline(always)]
fn destination<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    flow: &Flow<N>,
    done: Reason,
) -> Reason
where
    Ip<N>: Family<N>,
{
    match rewrite::rewrite(skb, packet, End::Destination, flow) {
        Ok(()) => done,
        Err(reason) => reason,
    }
}

/// The first packet of a flow, if it is for a service or a known endpoint.
#[inline(always)]
fn begin<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    device: Device,
    reason: Reason,
) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let FlowKey { dst, dst_port, proto, .. } = &packet.key;
    let Some(frontend) = lookup::frontend(dst, *dst_port, *proto, NODE_PORTS) else {
        return if cluster_ip::is_near(dst) { cluster_ip::refusal(dst) } else { None };
    };
    if in_transit(&packet.key, device) {
        return None;
    }
    let mut flow = match target(skb, packet, device, frontend) {
        Ok(flow) => flow?,
        Err(reason) => return Some(reason),
    };
    // It begins above the device that it entered by, which therefore has no programs.
    if device.is_upper && flow.flags & MASQUERADE == 0 {
        flow.flags |= MASQUERADE | TURNING;
    }
    let shakes_hands = packet.key.proto == proto::TCP && reason != Reason::Resumed;
    if shakes_hands && !handshake::admits(&packet.key.src) {
        // Direct traffic is held back by nobody; it only has no claim.
        return if frontend.flags & ENDPOINT != 0 { None } else { Some(Reason::HalfOpen) };
    }
    if let Err(reason) = create(&packet.key, &mut flow) {
        return Some(reason);
    }
    if flow.flags & IDENTITY != 0 {
        return Some(Reason::Claim);
    }
    let done = if frontend.flags & ENDPOINT != 0 { Reason::Claim } else { reason };
    Some(destination(skb, packet, &flow, done))
}

/// Where a first packet goes: to a backend, or, directly, where it wanted to. `Ok(None)`: a
/// direct packet above the device that it entered by.
#[inline(always)]
fn target<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    device: Device,
    frontend: &Frontend,
) -> Result<Option<Flow<N>>, Reason>
where
    Ip<N>: Family<N>,
{
    if frontend.flags & ENDPOINT == 0 {
        if !select::admits(frontend, &packet.key.src) {
            return Err(Reason::SourceRange);
        }
        let source = select::source(&packet.key.src, skb.ifindex());
        let point = || resume::point(&packet.key);
        return select::backend(frontend, &packet.key.src, source, point).map(Some);
    }
    if device.is_upper {
        return Ok(None);
    }
    Ok(Some(Flow {
        addr: packet.key.dst,
        port: packet.key.dst_port,
        client_port: packet.key.src_port,
        seen: 0,
        service: 0,
        backend: 0,
        generation: 0,
        flags: IDENTITY,
    }))
}

/// Whether the packet belongs to a flow that was already handled where it entered.
///
/// Either it answers one (the answers' key is the packet's own tuple, and egress will rewrite it:
/// only UDP gets here with an answer), or, above the device it entered by, it has been translated
/// already and its new destination happens to be a frontend again.
#[inline(always)]
fn in_transit<const N: usize>(key: &FlowKey<N>, device: Device) -> bool
where
    Ip<N>: Family<N>,
{
    let same = FlowKey { direction: EGRESS, ..*key };
    if key.proto != proto::TCP
        && flow::find(&same).is_some_and(|answered| answered.flags & MASQUERADE == 0)
    {
        return true;
    }
    device.is_upper && flow::find(&key.reversed(EGRESS)).is_some()
}
