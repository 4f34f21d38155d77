//! Holds a rewritten frame against the one that came in.
//!
//! All bytes but addresses, ports and checksums must be the same. A checksum must be as right, or as
//! wrong, as it was: the sum over all that it covers, itself included, does not change.

use std::{
    net::{IpAddr, SocketAddr},
    slice::from_ref,
};

use sluice_common::net::proto;
use testbed::packet::{Hook, IcmpError, crc32c};

use super::{
    parse::{self, Packet, Part},
    tables::Entry,
};

/// The sum of 16-bit words, modulo 0xffff; an odd byte at the end counts as a high one.
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2);
    let total: u64 = words.map(|w| u64::from(w[0]) << 8 | u64::from(*w.get(1).unwrap_or(&0))).sum();
    (total % 0xffff) as u16
}

/// A frame as it came in and what is expected of it, checksums aside.
struct Comparison<'a> {
    before: &'a [u8],
    after: &'a [u8],
    expected: Vec<u8>,
}

impl Comparison<'_> {
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.expected[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn put_address(&mut self, at: usize, ip: IpAddr) {
        match ip {
            IpAddr::V4(v4) => self.put(at, &v4.octets()),
            IpAddr::V6(v6) => self.put(at, &v6.octets()),
        }
    }

    fn put_ports(&mut self, at: usize, (src, dst): (u16, u16)) {
        self.put(at, &src.to_be_bytes());
        self.put(at + 2, &dst.to_be_bytes());
    }

    /// The checksum at `field` covers these parts, of which the last may have an odd length.
    fn covered(&mut self, field: usize, parts: &[std::ops::Range<usize>], what: &str) {
        let all = |frame: &[u8]| {
            let bytes: Vec<u8> =
                parts.iter().flat_map(|part| frame[part.clone()].to_vec()).collect();
            sum(&bytes)
        };
        assert_eq!(all(self.after), all(self.before), "{what} checksum");
        self.take(field, 2);
    }

    /// Bytes that have been looked at.
    fn take(&mut self, at: usize, count: usize) {
        let taken = self.after[at..at + count].to_vec();
        self.put(at, &taken);
    }

    /// Checksum of the transport header at `l4`, in a packet whose addresses stand at `addresses`.
    /// `covers` is all of it that can change.
    fn transport(&mut self, packet: &Packet, covers: &[std::ops::Range<usize>]) {
        let l4 = packet.l4;
        match packet.proto {
            proto::TCP => self.covered(l4 + 16, covers, "TCP"),
            proto::UDP if self.before[l4 + 6..l4 + 8] == [0; 2] => {}
            proto::UDP => {
                assert_ne!(self.after[l4 + 6..l4 + 8], [0; 2], "UDP has a checksum");
                self.covered(l4 + 6, covers, "UDP");
            }
            _ => {}
        }
    }

    fn end(self) {
        assert_eq!(self.after, self.expected, "the frame");
    }
}

/// Offsets of source and destination address in a header at `l3`.
fn addresses(packet: &Packet) -> std::ops::Range<usize> {
    if packet.v6 { packet.l3 + 8..packet.l3 + 40 } else { packet.l3 + 12..packet.l3 + 20 }
}

fn address_at(packet: &Packet, source: bool) -> usize {
    let both = addresses(packet);
    if source { both.start } else { both.start + both.len() / 2 }
}

/// A packet whose one end became what `entry` says.
pub(super) fn rewritten(hook: Hook, before: &[u8], packet: &Packet, entry: Entry, after: &[u8]) {
    let mut it = Comparison { before, after, expected: before.to_vec() };
    assert_eq!(after.len(), before.len(), "the frame's length");
    it.put_address(address_at(packet, hook == Hook::Egress), entry.end.ip());
    if !packet.v6 {
        it.covered(packet.l3 + 10, from_ref(&(packet.l3..packet.l4)), "IPv4");
    }
    if packet.part != Part::Later {
        it.put_ports(packet.l4, entry.ports(hook));
        it.transport(packet, &[addresses(packet), packet.l4..packet.end]);
        if packet.proto == proto::SCTP {
            crc(&mut it, packet);
        }
    }
    it.end();
}

/// SCTP's CRC: as far from the right one as it was; zero stays zero.
fn crc(it: &mut Comparison<'_>, packet: &Packet) {
    let field = packet.l4 + 8..packet.l4 + 12;
    if it.before[field.clone()] == [0; 4] {
        return;
    }
    let error = |frame: &[u8]| {
        let mut zeroed = frame[packet.l4..packet.end].to_vec();
        zeroed[8..12].fill(0);
        let stated = u32::from_le_bytes(frame[field.clone()].try_into().expect("four bytes"));
        stated ^ crc32c(&zeroed)
    };
    if packet.part == Part::Whole {
        assert_eq!(error(it.after), error(it.before), "SCTP checksum");
        it.take(field.start, 4);
    }
}

/// An ICMP error whose own address and quoted packet became what `entry` says.
pub(super) fn rewritten_error(
    hook: Hook,
    before: &[u8],
    (outer, quote): (&Packet, &Packet),
    entry: Entry,
    after: &[u8],
) {
    let mut it = Comparison { before, after, expected: before.to_vec() };
    assert_eq!(after.len(), before.len(), "the frame's length");
    let leaves = hook == Hook::Egress;
    it.put_address(address_at(outer, leaves), entry.end.ip());
    it.put_address(address_at(quote, !leaves), entry.end.ip());
    let (src, dst) = entry.ports(hook);
    it.put_ports(quote.l4, (dst, src));
    let field = if quote.proto == proto::TCP { 18 } else { 8 };
    if quote.l4 + field <= before.len() {
        // Of a quote only these can change, for the rest of the packet is not there.
        let at = quote.l4 + field - 2;
        it.transport(quote, &[addresses(quote), quote.l4..quote.l4 + 4, at..at + 2]);
    }
    if !outer.v6 {
        it.covered(outer.l3 + 10, from_ref(&(outer.l3..outer.l4)), "IPv4");
        it.covered(quote.l3 + 10, from_ref(&(quote.l3..quote.l4)), "quoted IPv4");
        it.covered(outer.l4 + 2, from_ref(&(outer.l4..before.len())), "ICMP");
    } else {
        it.covered(outer.l4 + 2, &[addresses(outer), outer.l4..before.len()], "ICMPv6");
    }
    it.end();
}

/// The ICMP port unreachable that answers a packet.
pub(super) fn refusal(before: &[u8], packet: &Packet, after: &[u8]) {
    let packet = parse::ports(before, *packet).expect("only what has ports is refused");
    // Reads and asserts every checksum and length.
    let error = IcmpError::parse(after);
    let ends: (SocketAddr, SocketAddr) = (packet.src, packet.dst);
    assert_eq!((error.src, error.dst), (ends.1.ip(), ends.0.ip()), "the refusal's ends");
    assert_eq!(error.kind, if packet.v6 { (1, 4) } else { (3, 3) }, "the refusal's kind");
    assert_eq!(error.quoted, ends, "what the refusal quotes");
    assert_eq!((&after[..6], &after[6..12]), (&before[6..12], &before[..6]), "MAC addresses");
}
