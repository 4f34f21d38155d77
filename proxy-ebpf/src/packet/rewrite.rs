//! Changing a packet's addresses and ports, with its checksums.

use sluice_common::{
    flow::Flow,
    net::{Addr, Port, V4, proto},
    reason::Reason,
};

use super::{Fragment, Packet, checksum, cursor::Skb, early, sctp};
use crate::family::{Family, Ip};

/// The end of the packet that gets a new address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At egress.
    Source,
    /// At ingress.
    Destination,
}

/// Offset of the checksum in the IPv4 header; the two addresses follow it.
const HEADER_CHECKSUM: usize = 10;

/// Gives `end` the address and port that `flow` says, and the other end the client's port. On an
/// error the packet may be half changed.
#[inline(always)]
pub fn rewrite<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    end: End,
    flow: &Flow<N>,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    if packet.fragment == Fragment::First {
        if let Some(slot) = early::slot(skb) {
            return early::follow(skb, packet, end, flow, slot);
        }
        early::release(skb, packet);
    }
    with_ports(skb, packet, end, flow)
}

/// Rewrites a packet that carries the ports.
#[inline(never)]
fn with_ports<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    end: End,
    flow: &Flow<N>,
) -> Result<(), Reason>
where
    Ip<N>: Family<N>,
{
    let (old, ports) = match end {
        End::Source => (&packet.key.src, [flow.port, flow.client_port]),
        End::Destination => (&packet.key.dst, [flow.client_port, flow.port]),
    };
    let changed = ports[0] != packet.key.src_port || ports[1] != packet.key.dst_port;
    if packet.key.proto != proto::SCTP {
        transport(skb, packet, old, &flow.addr, ports).ok_or(Reason::Rewrite)?;
        if changed {
            skb.write(usize::from(packet.l4), &ports).ok_or(Reason::Rewrite)?;
        }
    } else if changed {
        sctp::replace_ports(skb, packet, ports)?;
    }
    address(skb, usize::from(packet.l3), end, old, &flow.addr).ok_or(Reason::Rewrite)
}

/// Updates the checksum of TCP or UDP, which covers addresses and ports.
#[inline(always)]
fn transport<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    old: &Addr<N>,
    new: &Addr<N>,
    ports: [Port; 2],
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    let Some((field, flags)) = checksum::field(packet.key.proto) else { return Some(()) };
    let at = usize::from(packet.l4) + field;
    checksum::replace_address(skb, at, old, new, flags)?;
    checksum::replace_port(skb, at, packet.key.src_port, ports[0], flags)?;
    checksum::replace_port(skb, at, packet.key.dst_port, ports[1], flags)
}

/// Writes one address of the IP header at `l3`, with the header's checksum.
#[inline(always)]
pub fn address<const N: usize>(
    skb: &Skb,
    l3: usize,
    end: End,
    old: &Addr<N>,
    new: &Addr<N>,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    if N == V4 {
        return address_v4(skb, l3 + HEADER_CHECKSUM, end, old.word(0), new.word(0));
    }
    skb.write(l3 + place::<N>(end), new)
}

/// The same in a fragment that does not carry the transport checksum which makes up for the address:
/// what a device has summed is summed anew.
#[inline(always)]
pub fn lone_address<const N: usize>(
    skb: &Skb,
    l3: usize,
    end: End,
    old: &Addr<N>,
    new: &Addr<N>,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    match N {
        V4 => address(skb, l3, end, old, new),
        _ => skb.write_summed(l3 + place::<N>(end), new),
    }
}

/// Offset of an address in the IP header.
#[inline(always)]
const fn place<const N: usize>(end: End) -> usize
where
    Ip<N>: Family<N>,
{
    match end {
        End::Source => <Ip<N> as Family<N>>::SRC_OFFSET,
        End::Destination => <Ip<N> as Family<N>>::SRC_OFFSET + N,
    }
}

/// The same for IPv4, checksum and address in one write: a helper call costs as much as all the
/// arithmetic. The sum over the whole header, and with it CHECKSUM_COMPLETE, stays what it was.
#[inline(always)]
fn address_v4(skb: &Skb, at: usize, end: End, old: u32, new: u32) -> Option<()> {
    // Checksum, source, destination.
    let mut words: [u16; 5] = skb.read(at)?;
    words[0] = checksum::replace_word(words[0], old, new);
    let first = if end == End::Source { 1 } else { 3 };
    let new = new.to_ne_bytes();
    words[first] = u16::from_ne_bytes([new[0], new[1]]);
    words[first + 1] = u16::from_ne_bytes([new[2], new[3]]);
    skb.write(at, &words)
}
