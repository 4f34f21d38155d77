//! Changing a packet's addresses and ports, with its checksums.

use sluice_common::net::{Addr, Port, V4};

use super::{Packet, checksum, cursor::Skb};
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

/// Gives `end` the address and port `addr:port`, and the other end's port the number `other`.
/// `None`: the kernel refused, and the packet may be half changed.
#[inline(always)]
pub fn rewrite<const N: usize>(
    skb: &Skb,
    packet: &Packet<N>,
    end: End,
    addr: &Addr<N>,
    port: Port,
    other: Port,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let (old, ports) = match end {
        End::Source => (&packet.key.src, [port, other]),
        End::Destination => (&packet.key.dst, [other, port]),
    };
    if let Some((field, flags)) = checksum::field(packet.key.proto) {
        checksum::replace_address(skb, l4 + field, old, addr, flags)?;
        checksum::replace_port(skb, l4 + field, packet.key.src_port, ports[0], flags)?;
        checksum::replace_port(skb, l4 + field, packet.key.dst_port, ports[1], flags)?;
    } else if ports[0] != packet.key.src_port || ports[1] != packet.key.dst_port {
        // SCTP's CRC covers the ports, and this program cannot update it yet.
        return None;
    }
    address(skb, l3, end, old, addr)?;
    if ports[0] != packet.key.src_port || ports[1] != packet.key.dst_port {
        skb.write(l4, &ports)?;
    }
    Some(())
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
    let offset = match end {
        End::Source => <Ip<N> as Family<N>>::SRC_OFFSET,
        End::Destination => <Ip<N> as Family<N>>::SRC_OFFSET + N,
    };
    skb.write(l3 + offset, new)
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
