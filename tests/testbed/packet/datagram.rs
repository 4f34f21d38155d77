//! Packets as one writes them down, to bytes and back.

use std::net::{IpAddr, SocketAddr};

use etherparse::{IpFragOffset, IpNumber, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use sluice_common::net::proto;

use super::chunks;

/// MAC address of the sender in every test packet.
pub(super) const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// MAC address of the receiver.
pub(super) const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];

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
pub(super) fn ends(net: &NetSlice<'_>) -> (IpAddr, IpAddr) {
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
