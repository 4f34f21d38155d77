//! ICMP errors that quote a packet which somebody else has seen translated (A28, C43).
//!
//! An error about a packet comes from the packet's receiver, or from the way to it, and quotes
//! what they saw. So it is one with the answers to that packet: the flow entry that would rewrite
//! an answer here tells how to rewrite the error, outside and inside. At ingress that is the outer
//! destination and the quoted source; at egress the outer source and the quoted destination.

use sluice_common::{
    flow::{
        Flow, INGRESS,
        flags::{IDENTITY, PENDING},
    },
    net::{Addr, Port, V4},
    reason::Reason,
};

use super::{
    Packet, checksum,
    cursor::Skb,
    rewrite::{self, End},
};
use crate::{
    family::{Family, Ip},
    flow,
};

/// Offset of the checksum in an ICMP message.
const CHECKSUM: usize = 2;
/// Bytes of an ICMP message before the packet it quotes.
const HEADER: usize = 8;

mod v4 {
    pub const UNREACHABLE: u8 = 3;
    pub const REDIRECT: u8 = 5;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    pub const PARAMETER_PROBLEM: u8 = 12;
}

mod v6 {
    pub const UNREACHABLE: u8 = 1;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO_REQUEST: u8 = 128;
    pub const REDIRECT: u8 = 137;
    /// Bytes of a redirect before its options (RFC 4861).
    pub const REDIRECT_HEADER: usize = 40;
    /// The option that quotes the packet.
    pub const REDIRECTED: u8 = 4;
    /// A redirect carries the target's link-layer address and the packet.
    pub const MAX_OPTIONS: usize = 3;
}

/// Translates an error with the packet it quotes. `None`: not an error, or not about ours.
#[inline(never)]
pub fn translate<const N: usize>(skb: &Skb, outer: &Packet<N>) -> Option<Reason>
where
    Ip<N>: Family<N>,
{
    let [kind, _code]: [u8; 2] = skb.read(usize::from(outer.l4))?;
    let quoted_at = match N {
        V4 => quoted_v4(kind, outer),
        _ => quoted_v6(skb, kind, outer),
    }?;
    let quoted = Packet::<N>::quoted(skb, quoted_at, outer.key.direction)?;
    let flow = flow::find(&quoted.key.reversed(outer.key.direction))?;
    if flow.flags & (IDENTITY | PENDING) != 0 {
        return None;
    }
    let redirect = if N == V4 { v4::REDIRECT } else { v6::REDIRECT };
    if kind == redirect {
        return Some(Reason::IcmpRedirect);
    }
    match rewrite_both(skb, outer, &quoted, flow) {
        Some(()) => Some(Reason::IcmpError),
        None => Some(Reason::Rewrite),
    }
}

/// Whether the message is a whole echo request.
#[inline(always)]
pub fn is_echo_request<const N: usize>(skb: &Skb, packet: &Packet<N>) -> bool {
    let request = if N == V4 { v4::ECHO_REQUEST } else { v6::ECHO_REQUEST };
    let header: Option<[u8; HEADER]> = skb.read(usize::from(packet.l4));
    header.is_some_and(|header| header[0] == request)
}

/// Where an ICMP error quotes a packet.
#[inline(always)]
fn quoted_v4<const N: usize>(kind: u8, outer: &Packet<N>) -> Option<usize> {
    let error =
        matches!(kind, v4::UNREACHABLE | v4::REDIRECT | v4::TIME_EXCEEDED | v4::PARAMETER_PROBLEM);
    error.then_some(usize::from(outer.l4) + HEADER)
}

/// Where an ICMPv6 error or redirect quotes a packet.
#[inline(always)]
fn quoted_v6<const N: usize>(skb: &Skb, kind: u8, outer: &Packet<N>) -> Option<usize> {
    let l4 = usize::from(outer.l4);
    match kind {
        v6::UNREACHABLE..=v6::PARAMETER_PROBLEM => Some(l4 + HEADER),
        v6::REDIRECT => {
            let mut at = l4 + v6::REDIRECT_HEADER;
            for _ in 0..v6::MAX_OPTIONS {
                let option: [u8; 2] = skb.read(at)?;
                if option[0] == v6::REDIRECTED {
                    return Some(at + HEADER);
                }
                at += usize::from(option[1]) * 8;
            }
            None
        }
        _ => None,
    }
}

/// Rewrites the error's own address and what it quotes.
#[inline(always)]
fn rewrite_both<const N: usize>(
    skb: &Skb,
    outer: &Packet<N>,
    quoted: &Packet<N>,
    flow: &Flow<N>,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    let sum = usize::from(outer.l4) + CHECKSUM;
    let (outside, inside, old_outside, old_inside, ports) = match outer.key.direction {
        INGRESS => {
            let ports = [flow.port, flow.client_port];
            (End::Destination, End::Source, &outer.key.dst, &quoted.key.src, ports)
        }
        _ => {
            let ports = [flow.client_port, flow.port];
            (End::Source, End::Destination, &outer.key.src, &quoted.key.dst, ports)
        }
    };
    if N != V4 {
        checksum::replace_address(skb, sum, old_outside, &flow.addr, 0)?;
        // An IPv4 header's own checksum makes up for the address in it; IPv6 has none.
        let difference = checksum::address_difference(old_inside, &flow.addr);
        skb.fix_checksum(sum, 0, difference, 0)?;
    }
    rewrite::address(skb, usize::from(outer.l3), outside, old_outside, &flow.addr)?;
    rewrite::address(skb, usize::from(quoted.l3), inside, old_inside, &flow.addr)?;
    quoted_checksum(skb, sum, quoted, old_inside, flow, ports)?;
    checksum::replace_port(skb, sum, quoted.key.src_port, ports[0], 0)?;
    checksum::replace_port(skb, sum, quoted.key.dst_port, ports[1], 0)?;
    skb.write(usize::from(quoted.l4), &ports)
}

/// Updates the quoted transport checksum, where the quote is long enough to hold one, and the
/// error's checksum over it.
#[inline(always)]
fn quoted_checksum<const N: usize>(
    skb: &Skb,
    sum: usize,
    quoted: &Packet<N>,
    old: &Addr<N>,
    flow: &Flow<N>,
    ports: [Port; 2],
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    let Some((field, flags)) = checksum::field(quoted.key.proto) else { return Some(()) };
    let at = usize::from(quoted.l4) + field;
    let Some(before) = skb.read::<[u8; 2]>(at) else { return Some(()) };
    let difference = checksum::address_difference(old, &flow.addr);
    skb.fix_checksum(at, 0, difference, flags)?;
    checksum::replace_port(skb, at, quoted.key.src_port, ports[0], flags)?;
    checksum::replace_port(skb, at, quoted.key.dst_port, ports[1], flags)?;
    let after: [u8; 2] = skb.read(at)?;
    let word = |bytes: [u8; 2]| u32::from(u16::from_ne_bytes(bytes));
    skb.fix_checksum(sum, word(before), word(after), 2)
}
