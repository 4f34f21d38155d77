//! The IPv6 header and its extension headers.

use sluice_common::net::V6;

use super::{
    Fragment, Packet,
    cursor::{Buffer, Skb},
};

#[repr(C)]
#[derive(Clone, Copy)]
struct Ipv6 {
    version: [u8; 4],
    payload_length: [u8; 2],
    next: u8,
    hop_limit: u8,
}

/// Bytes of the fixed header.
pub const FIXED: usize = 40;
/// Bytes of a fragment header.
const FRAGMENT_HEADER: usize = 8;

/// The start that all extension headers share, and what two of them go on with.
#[repr(C)]
#[derive(Clone, Copy)]
struct Extension {
    next: u8,
    length: u8,
    /// A fragment header's offset and flags; a routing header's type and segments left.
    rest: [u8; 2],
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION: u8 = 60;

/// Parses the header at `packet.l3` and walks to the transport header.
#[inline(always)]
pub fn parse<B: Buffer>(buffer: &B, packet: &mut Packet<V6>) -> Option<()> {
    let l3 = usize::from(packet.l3);
    let ip: Ipv6 = buffer.read(l3)?;
    if ip.version[0] >> 4 != 6 {
        return None;
    }
    let present = buffer.len() - l3;
    // Zero is a jumbogram, which here is a segmentation-offload packet (BIG TCP, 5.19).
    let total = match u16::from_be_bytes(ip.payload_length) {
        0 => present,
        length => FIXED + usize::from(length),
    };
    if total > present {
        return None;
    }
    let mut chain = Chain {
        proto: ip.next,
        offset: l3 + FIXED,
        fragment: Fragment::Whole,
        fragment_offset: 0,
        id: [0; 4],
    };
    for _ in 0..B::EXTENSIONS {
        if !chain.goes_on() {
            break;
        }
        chain.step(buffer)?;
    }
    if chain.goes_on() {
        return None;
    }
    packet.l4 = chain.offset as u16;
    packet.payload = (l3 + total).checked_sub(chain.offset)? as u32;
    packet.fragment = chain.fragment;
    packet.fragment_offset = chain.fragment_offset;
    packet.fragment_id = chain.id;
    packet.key.proto = chain.proto;
    packet.read_addresses(buffer)
}

/// The type and the place of what follows the fragment header at `offset`. `None`: it is not the
/// first fragment's.
#[inline(always)]
pub fn first_fragment(skb: &Skb, offset: usize) -> Option<(u8, usize)> {
    let extension: Extension = skb.read(offset)?;
    let is_first = u16::from_be_bytes(extension.rest) & !7 == 0;
    is_first.then_some((extension.next, offset + FRAGMENT_HEADER))
}

/// A walk along the extension headers.
struct Chain {
    /// Type of the next header.
    proto: u8,
    /// Where it stands.
    offset: usize,
    fragment: Fragment,
    fragment_offset: u16,
    /// Identification of a fragmented datagram.
    id: [u8; 4],
}

impl Chain {
    /// Whether the next header is another extension. What follows a later fragment's header is
    /// payload, whatever its type.
    #[inline(always)]
    fn goes_on(&self) -> bool {
        let extension =
            matches!(self.proto, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION);
        extension && self.fragment != Fragment::Later
    }

    /// Steps over one extension header.
    #[inline(always)]
    fn step(&mut self, buffer: &impl Buffer) -> Option<()> {
        let extension: Extension = buffer.read(self.offset)?;
        let length = match self.proto {
            FRAGMENT => {
                self.fragment_offset = u16::from_be_bytes(extension.rest) & !7;
                self.fragment = match u16::from_be_bytes(extension.rest) {
                    _ if self.fragment_offset != 0 => Fragment::Later,
                    field if field & 1 != 0 => Fragment::First,
                    _ => Fragment::Whole,
                };
                self.id = buffer.read(self.offset + 4)?;
                FRAGMENT_HEADER
            }
            AUTHENTICATION => (usize::from(extension.length) + 2) * 4,
            // With segments left the destination is a waypoint, not the receiver.
            ROUTING if extension.rest[1] != 0 => return None,
            _ => (usize::from(extension.length) + 1) * 8,
        };
        self.proto = extension.next;
        self.offset += length;
        Some(())
    }
}

/// Bytes of the header at `l3` of a packet that has no extension headers.
#[inline(always)]
pub fn length(_skb: &Skb, _l3: usize) -> Option<usize> {
    Some(FIXED)
}
