//! The IPv4 header.

use sluice_common::net::V4;

use super::{
    Fragment, Packet,
    cursor::{Buffer, Skb},
};

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv4 {
    version_length: u8,
    tos: u8,
    total_length: [u8; 2],
    id: [u8; 2],
    fragment: [u8; 2],
    ttl: u8,
    proto: u8,
    checksum: [u8; 2],
}

/// Bytes of a header without options.
pub const MINIMUM: usize = 20;

/// The offset of a fragment, without its three flags.
const FRAGMENT_OFFSET: u16 = 0x1fff;
/// The flag of every fragment but the last.
const MORE_FRAGMENTS: u16 = 0x2000;

/// Parses the header at `packet.l3`. Options are allowed.
#[inline(always)]
pub fn parse(buffer: &impl Buffer, packet: &mut Packet<V4>) -> Option<()> {
    let l3 = usize::from(packet.l3);
    let ip: Ipv4 = buffer.read(l3)?;
    let header = usize::from(ip.version_length & 15) * 4;
    if ip.version_length >> 4 != 4 || header < MINIMUM {
        return None;
    }
    let present = buffer.len() - l3;
    // Zero is a segmentation-offload packet of more than 64 KiB (BIG TCP, 6.3, b1a78b9b9886).
    let total = match u16::from_be_bytes(ip.total_length) {
        0 => present,
        length => usize::from(length),
    };
    if total < header || total > present {
        return None;
    }
    packet.l4 = (l3 + header) as u16;
    packet.payload = (total - header) as u32;
    packet.fragment_offset = u16::from_be_bytes(ip.fragment) & FRAGMENT_OFFSET;
    packet.fragment = match u16::from_be_bytes(ip.fragment) {
        _ if packet.fragment_offset != 0 => Fragment::Later,
        field if field & MORE_FRAGMENTS != 0 => Fragment::First,
        _ => Fragment::Whole,
    };
    packet.fragment_id = [0, 0, ip.id[0], ip.id[1]];
    packet.key.proto = ip.proto;
    packet.read_addresses(buffer)
}

/// Bytes of the header at `l3`, unless it is a later fragment's.
#[inline(always)]
pub fn length(skb: &Skb, l3: usize) -> Option<usize> {
    let ip: Ipv4 = skb.read(l3)?;
    let later = u16::from_be_bytes(ip.fragment) & FRAGMENT_OFFSET != 0;
    let length = usize::from(ip.version_length & 15) * 4;
    (!later && length >= MINIMUM).then_some(length)
}
