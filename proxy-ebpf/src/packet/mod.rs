//! A packet, parsed: who talks to whom, and where its headers stand.

pub mod checksum;
pub mod crc32c;
pub mod cursor;
pub mod early;
pub mod fragment;
pub mod frame;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
pub mod rewrite;
pub mod sctp;

use sluice_common::{
    flow::FlowKey,
    net::{Addr, Port, V6, proto},
};

use crate::family::{Family, Ip};
use cursor::{Buffer, Skb};

/// The first bytes of TCP, UDP and SCTP alike.
#[repr(C)]
#[derive(Clone, Copy)]
struct Ports {
    src: Port,
    dst: Port,
}

/// TCP's data offset and flags, at offset 12.
#[repr(C)]
#[derive(Clone, Copy)]
struct TcpControl {
    offset: u8,
    flags: u8,
}

/// TCP's flag bits.
pub mod tcp {
    pub const FIN: u8 = 1;
    pub const SYN: u8 = 2;
    pub const RST: u8 = 4;
    pub const ACK: u8 = 16;
}

const TCP_HEADER: u32 = 20;
const UDP_HEADER: u32 = 8;
const SCTP_HEADER: u32 = 12;
/// The chunk that begins an association.
const SCTP_INIT: u8 = 1;
/// The chunk that answers it.
const SCTP_INIT_ACK: u8 = 2;

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// All of it.
    Whole,
    /// The first part, with the transport header.
    First,
    /// Another part, without.
    Later,
}

/// A packet of a transport that services know.
///
/// It is its own key in FLOWS, so that addresses stand on the stack once.
#[derive(Clone, Copy)]
pub struct Packet<const N: usize> {
    pub key: FlowKey<N>,
    /// TCP's flags, or the type of SCTP's first chunk; 0 for other transports.
    pub control: u8,
    pub fragment: Fragment,
    /// Offset of the IP header.
    pub l3: u16,
    /// Offset of the transport header.
    pub l4: u16,
    /// A later fragment's offset in its datagram, as the header has it, without the flags.
    pub fragment_offset: u16,
    /// Bytes from `l4` to the packet's end.
    pub payload: u32,
    /// Identification of a fragmented datagram, as it stands in the packet.
    pub fragment_id: [u8; 4],
}

impl<const N: usize> Packet<N>
where
    Ip<N>: Family<N>,
{
    /// Parses the IP header at `l3`. `None`: none, or not as long as it claims to be, which is the
    /// receiver's affair.
    #[inline(always)]
    pub fn parse(buffer: &impl Buffer, l3: usize, direction: u8) -> Option<Self> {
        let mut packet = Self::empty(l3, direction);
        <Ip<N> as Family<N>>::header(buffer, &mut packet)?;
        Some(packet)
    }

    /// Sets aside what [`Packet::resume`] needs.
    #[inline(always)]
    pub fn set_aside(&self, skb: &Skb) {
        skb.set_aside(u32::from(self.key.proto) << 16 | u32::from(self.l4));
    }

    /// The packet that was set aside, without ports and payload: parsing it once more would double
    /// the verifier's work.
    #[inline(always)]
    pub fn resume(skb: &Skb, l3: usize, direction: u8) -> Option<Self> {
        let mut packet = Self::empty(l3, direction);
        packet.l4 = skb.aside() as u16;
        packet.key.proto = (skb.aside() >> 16) as u8;
        packet.read_addresses(skb)?;
        Some(packet)
    }

    /// Parses as much of a packet as an ICMP error quotes: the IP header and the ports. Routers
    /// do not cut IPv6 packets, so what one finds too big may be a fragment, and the first of them
    /// has the ports.
    #[inline(always)]
    pub fn quoted(skb: &Skb, l3: usize, direction: u8) -> Option<Self> {
        let mut packet = Self::empty(l3, direction);
        let [mut proto, _] = skb.read(l3 + <Ip<N> as Family<N>>::PROTO_OFFSET)?;
        let mut l4 = l3 + <Ip<N> as Family<N>>::header_length(skb, l3)?;
        if N == V6 && proto == ipv6::FRAGMENT {
            (proto, l4) = ipv6::first_fragment(skb, l4)?;
        }
        packet.key.proto = proto;
        if !matches!(packet.key.proto, proto::TCP | proto::UDP | proto::SCTP) {
            return None;
        }
        packet.l4 = l4 as u16;
        packet.read_addresses(skb)?;
        packet.read_ports(skb)?;
        Some(packet)
    }

    /// Whether there is anything between the fixed part of the IP header and the transport header:
    /// options, or extension headers.
    #[inline(always)]
    pub fn has_extensions(&self) -> bool {
        usize::from(self.l4 - self.l3) != <Ip<N> as Family<N>>::HEADER
    }

    /// Whether the packet is an ICMP message of its family.
    #[inline(always)]
    pub fn is_icmp(&self) -> bool {
        self.key.proto == <Ip<N> as Family<N>>::ICMP && self.fragment == Fragment::Whole
    }

    #[inline(always)]
    fn empty(l3: usize, direction: u8) -> Self {
        let zero = Port::new(0);
        Self {
            key: FlowKey {
                src: Addr::UNSPECIFIED,
                dst: Addr::UNSPECIFIED,
                src_port: zero,
                dst_port: zero,
                proto: 0,
                direction,
                pad: [0; 2],
            },
            control: 0,
            fragment: Fragment::Whole,
            l3: l3 as u16,
            l4: 0,
            fragment_offset: 0,
            payload: 0,
            fragment_id: [0; 4],
        }
    }

    /// Copies the addresses of the IP header, which stand in the key as they do in the packet.
    #[inline(always)]
    fn read_addresses(&mut self, buffer: &impl Buffer) -> Option<()> {
        let offset = usize::from(self.l3) + <Ip<N> as Family<N>>::SRC_OFFSET;
        let pair: [Addr<N>; 2] = buffer.read(offset)?;
        [self.key.src, self.key.dst] = pair;
        Some(())
    }

    #[inline(always)]
    fn read_ports(&mut self, buffer: &impl Buffer) -> Option<()> {
        let ports: Ports = buffer.read(usize::from(self.l4))?;
        (self.key.src_port, self.key.dst_port) = (ports.src, ports.dst);
        Some(())
    }

    /// Reads the transport header. `None`: another transport, or too short.
    #[inline(always)]
    pub fn transport(&mut self, buffer: &impl Buffer) -> Option<()> {
        let minimum = match self.key.proto {
            proto::TCP => TCP_HEADER,
            proto::UDP => UDP_HEADER,
            proto::SCTP => SCTP_HEADER,
            _ => return None,
        };
        if self.payload < minimum {
            return None;
        }
        self.read_ports(buffer)?;
        if self.key.proto == proto::TCP {
            let control: TcpControl = buffer.read(usize::from(self.l4) + 12)?;
            let length = u32::from(control.offset >> 4) * 4;
            if length < TCP_HEADER || length > self.payload {
                return None;
            }
            self.control = control.flags;
        } else if self.key.proto == proto::SCTP {
            let [chunk, _]: [u8; 2] = buffer.read(usize::from(self.l4) + SCTP_HEADER as usize)?;
            self.control = chunk;
        }
        Some(())
    }

    /// Whether the packet may begin a flow: a TCP segment only with a lone SYN, an SCTP packet only
    /// with an INIT (A26, C37).
    #[inline(always)]
    pub fn begins(&self) -> bool {
        match self.key.proto {
            proto::TCP => self.control & (tcp::SYN | tcp::ACK | tcp::RST) == tcp::SYN,
            proto::SCTP => self.control == SCTP_INIT,
            _ => true,
        }
    }

    /// Whether the packet answers the one that began its connection: a service's client never sends
    /// such a one.
    #[inline(always)]
    pub fn answers_first(&self) -> bool {
        match self.key.proto {
            proto::TCP => self.control & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK,
            proto::SCTP => self.control == SCTP_INIT_ACK,
            _ => false,
        }
    }
}
