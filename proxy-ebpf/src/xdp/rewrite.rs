//! Both rewrites of a packet at once.

use sluice_common::{
    flow::Flow,
    net::{Port, V4, proto},
};

use super::{link::Link, route::Way};
use crate::{
    family::{Family, Ip},
    packet::{Packet, checksum, cursor::Buffer, frame::Frame},
};

/// Offset of IPv4's TTL; the protocol and the checksum follow it.
const TTL: usize = 8;
/// Offset of the type of IPv6's next header; the hop limit follows it.
const NEXT_HEADER: usize = 6;

/// Whether the packet's transport checksum is for its device to complete: the field holds the
/// pseudo-header's sum alone (CHECKSUM_PARTIAL). XDP cannot ask, and a frame that it sends keeps no
/// note of it. Guests of one host and ends of a veth exchange such packets. `None`: not readable.
///
/// One complete checksum in 65,536 looks the same.
#[inline(always)]
pub fn is_partial<const N: usize>(frame: &Frame, packet: &Packet<N>) -> Option<bool> {
    let (field, _) = checksum::field(packet.key.proto)?;
    let found: u16 = frame.read(usize::from(packet.l4) + field)?;
    if found == 0 && packet.key.proto == proto::UDP {
        return Some(false);
    }
    let proto = u16::from(packet.key.proto).to_be();
    let length = (packet.payload as u16).to_be();
    let mut sum = u64::from(proto) + u64::from(length) + u64::from(!found);
    sum += checksum::sum(&packet.key.src) + checksum::sum(&packet.key.dst);
    Some(checksum::fold_word(sum) == 0xffff)
}

/// Makes the packet what `first` and `second` say, one hop on, and its frame the next hop's. On
/// `None` it may be half changed.
#[inline(always)]
pub fn send<const N: usize>(
    frame: &Frame,
    link: &Link,
    way: &Way,
    packet: &Packet<N>,
    first: &Flow<N>,
    second: &Flow<N>,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    let shrinks = link.shrinks(way.vlan);
    if shrinks != 0 {
        frame.cut(shrinks)?;
    }
    let moved = |offset: u16| (i32::from(offset) - shrinks) as usize;
    transport(frame, moved(packet.l4), packet, first, second)?;
    network(frame, moved(packet.l3), packet, first, second)?;
    link.write(frame, way.vlan, way.dst, way.src)
}

/// Ports and checksum of TCP or UDP.
#[inline(always)]
fn transport<const N: usize>(
    frame: &Frame,
    l4: usize,
    packet: &Packet<N>,
    first: &Flow<N>,
    second: &Flow<N>,
) -> Option<()> {
    let key = &packet.key;
    let ports: [Port; 2] = [second.port, second.client_port];
    frame.write(l4, &ports)?;
    let at = l4 + checksum::field(key.proto)?.0;
    let found: u16 = frame.read(at)?;
    if found == 0 && key.proto == proto::UDP {
        return Some(());
    }
    let difference = u64::from(checksum::address_difference(&key.src, &second.addr))
        + u64::from(checksum::address_difference(&key.dst, &first.addr))
        + u64::from(!key.src_port.raw())
        + u64::from(ports[0].raw())
        + u64::from(!key.dst_port.raw())
        + u64::from(ports[1].raw());
    let new = !checksum::fold_word(u64::from(!found) + difference);
    // Zero would mean "no checksum".
    let zero = new == 0 && key.proto == proto::UDP;
    frame.write(at, &if zero { 0xffff } else { new })
}

/// Addresses and hop limit.
#[inline(always)]
fn network<const N: usize>(
    frame: &Frame,
    l3: usize,
    packet: &Packet<N>,
    first: &Flow<N>,
    second: &Flow<N>,
) -> Option<()>
where
    Ip<N>: Family<N>,
{
    if N == V4 {
        let [ttl, proto]: [u8; 2] = frame.read(l3 + TTL)?;
        let found: u16 = frame.read(l3 + TTL + 2)?;
        let difference = u64::from(checksum::address_difference(&packet.key.src, &second.addr))
            + u64::from(checksum::address_difference(&packet.key.dst, &first.addr))
            + u64::from(!u16::from_ne_bytes([ttl, proto]))
            + u64::from(u16::from_ne_bytes([ttl - 1, proto]));
        let new = !checksum::fold_word(u64::from(!found) + difference);
        frame.write(l3 + TTL, &[u16::from_ne_bytes([ttl - 1, proto]), new])?;
    } else {
        let [next, limit]: [u8; 2] = frame.read(l3 + NEXT_HEADER)?;
        frame.write(l3 + NEXT_HEADER, &[next, limit - 1])?;
    }
    frame.write(l3 + <Ip<N> as Family<N>>::SRC_OFFSET, &[second.addr, first.addr])
}

/// How many hops the packet with its IP header at `l3` may still make.
#[inline(always)]
pub fn hops_left<const N: usize>(frame: &Frame, l3: usize) -> Option<u8> {
    if N == V4 {
        let [ttl, _]: [u8; 2] = frame.read(l3 + TTL)?;
        return Some(ttl);
    }
    let [_, limit]: [u8; 2] = frame.read(l3 + NEXT_HEADER)?;
    Some(limit)
}
