//! ICMP errors, as a test reads them.

use std::net::{IpAddr, SocketAddr};

use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

use super::datagram::{Datagram, FROM, TO, ends};

/// What an ICMP error says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Who sends it.
    pub src: IpAddr,
    /// Whom it tells.
    pub dst: IpAddr,
    /// Type and code.
    pub kind: (u8, u8),
    /// The two ends of the packet it quotes.
    pub quoted: (SocketAddr, SocketAddr),
}

impl IcmpError {
    /// The frame of an error of this `kind` that `from` sends about a packet it saw.
    pub fn about(from: IpAddr, kind: (u8, u8), packet: &Datagram) -> Vec<u8> {
        Self::quoting(from, kind, packet.src.ip(), &packet.bytes()[14..])
    }

    /// The same to whomever it tells, with what it quotes as it is.
    pub fn quoting(from: IpAddr, kind: (u8, u8), to: IpAddr, quoted: &[u8]) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(FROM, TO);
        let unused = [0; 4];
        let mut frame = Vec::new();
        match (from, to) {
            (IpAddr::V4(a), IpAddr::V4(b)) => ethernet
                .ipv4(a.octets(), b.octets(), 64)
                .icmpv4_raw(kind.0, kind.1, unused)
                .write(&mut frame, quoted),
            (IpAddr::V6(a), IpAddr::V6(b)) => ethernet
                .ipv6(a.octets(), b.octets(), 64)
                .icmpv6_raw(kind.0, kind.1, unused)
                .write(&mut frame, quoted),
            mixed => panic!("two families: {mixed:?}"),
        }
        .expect("a vector takes everything");
        frame
    }

    /// The frame of a redirect to the packet's own destination. `options` stand before the one that
    /// quotes the packet; IPv4 has none.
    pub fn redirect(from: IpAddr, options: &[u8], packet: &Datagram) -> Vec<u8> {
        let (IpAddr::V6(a), IpAddr::V6(b)) = (from, packet.src.ip()) else {
            return Self::about(from, (5, 1), packet);
        };
        let IpAddr::V6(to) = packet.dst.ip() else { panic!("two families") };
        let quoted = &packet.bytes()[14..];
        let quoted = &quoted[..quoted.len() / 8 * 8];
        let mut body = [to.octets(), to.octets()].concat();
        body.extend(options);
        body.extend([4, 1 + (quoted.len() / 8) as u8, 0, 0, 0, 0, 0, 0]);
        body.extend(quoted);
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(FROM, TO)
            .ipv6(a.octets(), b.octets(), 255)
            .icmpv6_raw(137, 0, [0; 4])
            .write(&mut frame, &body)
            .expect("a vector takes everything");
        frame
    }

    /// Reads a frame whose quoted packet is whole, asserting every checksum, the quoted ones too.
    pub fn parse_whole(frame: &[u8]) -> (Self, Datagram) {
        let error = Self::parse(frame);
        let header = if error.src.is_ipv4() { 20 } else { 40 };
        let ethertype: [u8; 2] = if error.src.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
        let quoted = [&[0; 12], &ethertype[..], &frame[14 + header + 8..]].concat();
        (error, Datagram::parse(&quoted))
    }

    /// Reads a frame, asserting every checksum outside the quoted packet.
    pub fn parse(frame: &[u8]) -> Self {
        let packet = SlicedPacket::from_ethernet(frame).expect("a whole frame");
        let (src, dst) = ends(packet.net.as_ref().expect("an IP packet"));
        let (kind, quoted) = match packet.transport.expect("a transport") {
            TransportSlice::Icmpv4(icmp) => {
                let header = icmp.header();
                let sum = header.icmp_type.calc_checksum(icmp.payload());
                assert_eq!(header.checksum, sum, "ICMP checksum");
                ((icmp.type_u8(), icmp.code_u8()), icmp.payload().to_vec())
            }
            TransportSlice::Icmpv6(icmp) => {
                let (IpAddr::V6(a), IpAddr::V6(b)) = (src, dst) else { panic!("two families") };
                assert!(icmp.is_checksum_valid(a.octets(), b.octets()), "ICMPv6 checksum");
                ((icmp.type_u8(), icmp.code_u8()), icmp.payload().to_vec())
            }
            other => panic!("no ICMP but {other:?}"),
        };
        Self { src, dst, kind, quoted: quoted_ends(&quoted) }
    }
}

/// The ends of a quoted packet, which is cut off behind its ports.
fn quoted_ends(bytes: &[u8]) -> (SocketAddr, SocketAddr) {
    let (src, dst, l4): (IpAddr, IpAddr, usize) = match bytes[0] >> 4 {
        4 => {
            let address = |at: usize| <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap();
            (address(12).into(), address(16).into(), usize::from(bytes[0] & 15) * 4)
        }
        _ => {
            let address = |at: usize| <[u8; 16]>::try_from(&bytes[at..at + 16]).unwrap();
            (address(8).into(), address(24).into(), 40)
        }
    };
    let port = |at: usize| u16::from_be_bytes([bytes[l4 + at], bytes[l4 + at + 1]]);
    (SocketAddr::new(src, port(0)), SocketAddr::new(dst, port(2)))
}
