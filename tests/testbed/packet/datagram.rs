//! Packets as one writes them down, to bytes and back.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, IpNumber, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use sluice_common::net::proto;

use super::chunks;

/// MAC address of the sender in every test packet.
const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of the receiver.
const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// TCP's flag bits.
pub const FIN: u8 = 1;
/// TCP's flag bits.
pub const SYN: u8 = 2;
/// TCP's flag bits.
pub const RST: u8 = 4;
/// TCP's flag bits.
pub const ACK: u8 = 16;

/// A TCP segment, UDP datagram or SCTP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// Where it is from.
    pub src: SocketAddr,
    /// Where it goes.
    pub dst: SocketAddr,
    /// IP protocol number.
    pub proto: u8,
    /// TCP's flags.
    pub flags: u8,
    /// What it carries; SCTP's chunks.
    pub payload: Vec<u8>,
}

/// A TCP segment without flags, from `"10.244.1.2:40000 -> 10.96.0.10:80"`.
pub fn tcp(ends: &str) -> Datagram {
    datagram(ends, proto::TCP)
}

/// A UDP datagram.
pub fn udp(ends: &str) -> Datagram {
    datagram(ends, proto::UDP)
}

/// An SCTP packet with one INIT chunk.
pub fn sctp(ends: &str) -> Datagram {
    Datagram { payload: chunks::INIT.to_vec(), ..datagram(ends, proto::SCTP) }
}

fn datagram(ends: &str, proto: u8) -> Datagram {
    let (src, dst) = ends.split_once(" -> ").expect("SRC -> DST");
    let end = |text: &str| text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
    Datagram { src: end(src), dst: end(dst), proto, flags: 0, payload: b"hello sluice".to_vec() }
}

impl Datagram {
    /// With these TCP flags.
    pub fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// A connection's first segment.
    pub fn syn(mut self) -> Self {
        self.payload.clear();
        self.flags(SYN)
    }

    /// A segment of an established connection.
    pub fn ack(self) -> Self {
        self.flags(ACK)
    }

    /// With this in SCTP's DATA chunks, as many as `parts`.
    pub fn data(mut self, parts: &[&[u8]]) -> Self {
        self.payload = parts.iter().flat_map(|part| chunks::data(part)).collect();
        self
    }

    /// What the receiver would answer.
    pub fn reply(&self) -> Self {
        let flags = if self.flags == SYN { SYN | ACK } else { self.flags };
        Self { src: self.dst, dst: self.src, flags, ..self.clone() }
    }

    /// The Ethernet frame.
    pub fn bytes(&self) -> Vec<u8> {
        let ethernet = PacketBuilder::ethernet2(FROM, TO);
        let ip = match (self.src.ip(), self.dst.ip()) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ipv4(src.octets(), dst.octets(), 64),
            (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ipv6(src.octets(), dst.octets(), 64),
            mixed => panic!("two families: {mixed:?}"),
        };
        let (src, dst) = (self.src.port(), self.dst.port());
        let mut frame = Vec::new();
        match self.proto {
            proto::UDP => ip.udp(src, dst).write(&mut frame, &self.payload),
            proto::SCTP => {
                let packet = chunks::packet(src, dst, &self.payload);
                ip.write(&mut frame, IpNumber::SCTP, &packet)
            }
            _ => {
                let mut tcp = ip.tcp(src, dst, 1000, 64_000);
                if self.flags & SYN != 0 {
                    tcp = tcp.syn();
                }
                if self.flags & ACK != 0 {
                    tcp = tcp.ack(2000);
                }
                if self.flags & FIN != 0 {
                    tcp = tcp.fin();
                }
                if self.flags & RST != 0 {
                    tcp = tcp.rst();
                }
                tcp.write(&mut frame, &self.payload)
            }
        }
        .expect("a vector takes everything");
        frame
    }

    /// Reads a frame, asserting every checksum in it.
    pub fn parse(frame: &[u8]) -> Self {
        let packet = SlicedPacket::from_ethernet(frame).expect("a whole frame");
        let (src, dst) = ends(packet.net.as_ref().expect("an IP packet"));
        let (ports, proto, flags, payload) = match packet.transport {
            None => {
                let ip = packet.ip_payload().expect("an IP packet");
                assert_eq!(ip.ip_number, IpNumber::SCTP);
                let (ports, chunks) = chunks::parse(ip.payload);
                (ports, proto::SCTP, 0, chunks)
            }
            Some(TransportSlice::Tcp(tcp)) => {
                let sum = match (src, dst) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        tcp.calc_checksum_ipv4(a.octets(), b.octets()).expect("short")
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        tcp.calc_checksum_ipv6(a.octets(), b.octets()).expect("short")
                    }
                    mixed => panic!("two families: {mixed:?}"),
                };
                assert_eq!(tcp.checksum(), sum, "TCP checksum");
                let bit = |set, bit| if set { bit } else { 0 };
                let flags = bit(tcp.syn(), SYN)
                    | bit(tcp.ack(), ACK)
                    | bit(tcp.fin(), FIN)
                    | bit(tcp.rst(), RST);
                let ports = (tcp.source_port(), tcp.destination_port());
                (ports, proto::TCP, flags, tcp.payload().to_vec())
            }
            Some(TransportSlice::Udp(udp)) => {
                let header = udp.to_header();
                let sum = match (src, dst) {
                    (IpAddr::V4(a), IpAddr::V4(b)) => {
                        header.calc_checksum_ipv4_raw(a.octets(), b.octets(), udp.payload())
                    }
                    (IpAddr::V6(a), IpAddr::V6(b)) => {
                        header.calc_checksum_ipv6_raw(a.octets(), b.octets(), udp.payload())
                    }
                    mixed => panic!("two families: {mixed:?}"),
                };
                assert_eq!(udp.checksum(), sum.expect("short"), "UDP checksum");
                let ports = (udp.source_port(), udp.destination_port());
                (ports, proto::UDP, 0, udp.payload().to_vec())
            }
            Some(other) => panic!("unexpected transport {other:?}"),
        };
        let (src, dst) = (SocketAddr::new(src, ports.0), SocketAddr::new(dst, ports.1));
        Self { src, dst, proto, flags, payload }
    }
}

/// The addresses of an IP packet, asserting the IPv4 header's checksum.
fn ends(net: &NetSlice<'_>) -> (IpAddr, IpAddr) {
    match net {
        NetSlice::Ipv4(ip) => {
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum(), "IPv4 checksum");
            assert_eq!(header.fragment_offset, IpFragOffset::ZERO);
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        NetSlice::Arp(_) => panic!("ARP"),
    }
}

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
