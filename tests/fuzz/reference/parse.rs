//! The parser, as the RFCs tell it.

use std::net::{IpAddr, SocketAddr};

use sluice_common::net::proto;

/// Which part of a datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Whole,
    First,
    Later,
}

/// A packet whose IP header, and for `ports` its transport header, is sound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) v6: bool,
    /// Where the headers begin, and where the IP packet ends.
    pub(crate) l3: usize,
    pub(crate) l4: usize,
    pub(crate) end: usize,
    pub(crate) proto: u8,
    pub(crate) part: Part,
    pub(crate) id: u32,
    /// Ports are zero until `ports` has read them.
    pub(crate) src: SocketAddr,
    pub(crate) dst: SocketAddr,
    /// A lone SYN, an INIT, or any datagram.
    pub(crate) begins: bool,
    /// FIN or RST.
    pub(crate) closes: bool,
}

/// Two bytes of a frame, if it has them.
pub(crate) fn word(frame: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// An address and no port.
pub(crate) fn addr(frame: &[u8], at: usize, v6: bool) -> Option<SocketAddr> {
    let ip = match v6 {
        false => IpAddr::from(<[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?),
        true => IpAddr::from(<[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?),
    };
    Some(SocketAddr::new(ip, 0))
}

/// The IP header of an Ethernet frame.
pub(crate) fn ip(frame: &[u8]) -> Option<Packet> {
    match word(frame, 12)? {
        0x0800 => ipv4(frame),
        0x86dd => ipv6(frame),
        _ => None,
    }
}

fn ipv4(frame: &[u8]) -> Option<Packet> {
    let l3 = 14;
    let header = usize::from(frame[l3] & 15) * 4;
    let total = match word(frame, l3 + 2)? {
        0 => frame.len() - l3,
        length => usize::from(length),
    };
    if frame[l3] >> 4 != 4 || header < 20 || total < header || l3 + total > frame.len() {
        return None;
    }
    let field = word(frame, l3 + 6)?;
    let part = match (field & 0x1fff, field & 0x2000) {
        (0, 0) => Part::Whole,
        (0, _) => Part::First,
        _ => Part::Later,
    };
    Some(Packet {
        v6: false,
        l3,
        l4: l3 + header,
        end: l3 + total,
        proto: frame[l3 + 9],
        part,
        id: word(frame, l3 + 4)?.into(),
        src: addr(frame, l3 + 12, false)?,
        dst: addr(frame, l3 + 16, false)?,
        begins: false,
        closes: false,
    })
}

fn ipv6(frame: &[u8]) -> Option<Packet> {
    let l3 = 14;
    let end = match word(frame, l3 + 4)? {
        0 => frame.len(),
        length => l3 + 40 + usize::from(length),
    };
    if frame[l3] >> 4 != 6 || end > frame.len() {
        return None;
    }
    let (mut proto, mut at, mut part, mut id) = (frame[l3 + 6], l3 + 40, Part::Whole, 0);
    let mut extensions = 0;
    while matches!(proto, 0 | 43 | 44 | 51 | 60) && part != Part::Later {
        extensions += 1;
        if extensions > 6 || at + 4 > frame.len() {
            return None;
        }
        let length = usize::from(frame[at + 1]);
        let header = match proto {
            44 => {
                let field = word(frame, at + 2)?;
                part = match (field & 0xfff8, field & 1) {
                    (0, 0) => Part::Whole,
                    (0, _) => Part::First,
                    _ => Part::Later,
                };
                id = u32::from(word(frame, at + 4)?) << 16 | u32::from(word(frame, at + 6)?);
                8
            }
            51 => (length + 2) * 4,
            43 if frame[at + 3] != 0 => return None,
            _ => (length + 1) * 8,
        };
        proto = frame[at];
        at += header;
    }
    (at <= end).then_some(())?;
    let (src, dst) = (addr(frame, l3 + 8, true)?, addr(frame, l3 + 24, true)?);
    let (begins, closes) = (false, false);
    Some(Packet { v6: true, l3, l4: at, end, proto, part, id, src, dst, begins, closes })
}

/// The packet with its ports; `None` for other transports and for headers that are cut off.
pub(crate) fn ports(frame: &[u8], mut packet: Packet) -> Option<Packet> {
    let (l4, length) = (packet.l4, packet.end - packet.l4);
    let minimum = match packet.proto {
        proto::TCP => 20,
        proto::UDP => 8,
        proto::SCTP => 12,
        _ => return None,
    };
    if length < minimum {
        return None;
    }
    packet.src.set_port(word(frame, l4)?);
    packet.dst.set_port(word(frame, l4 + 2)?);
    packet.begins = match packet.proto {
        proto::TCP => {
            let header = usize::from(frame[l4 + 12] >> 4) * 4;
            if header < 20 || header > length {
                return None;
            }
            packet.closes = frame[l4 + 13] & 5 != 0;
            frame[l4 + 13] & 0x16 == 2
        }
        proto::SCTP => word(frame, l4 + 12)? >> 8 == 1,
        _ => true,
    };
    Some(packet)
}

/// The packet that an ICMP error or redirect quotes, and whether it is a redirect. Quotes may be cut
/// off behind the ports. One that reaches into the link's padding is taken for whole: an error is
/// longer than the frames that are padded.
pub(crate) fn quoted(frame: &[u8], outer: &Packet) -> Option<(Packet, bool)> {
    let l4 = outer.l4;
    word(frame, l4)?;
    let (at, redirect) = match (outer.v6, frame[l4]) {
        (false, 3 | 11 | 12) | (true, 1..=4) => (l4 + 8, false),
        (false, 5) => (l4 + 8, true),
        (true, 137) => (redirected(frame, l4 + 40)?, true),
        _ => return None,
    };
    let (v6, mut proto) = (outer.v6, *frame.get(at + if outer.v6 { 6 } else { 9 })?);
    let mut header = if v6 { 40 } else { usize::from(frame[at] & 15) * 4 };
    let mut later = !v6 && word(frame, at + 6)? & 0x1fff != 0;
    // What a router found too big may be a fragment: the first has the ports.
    if v6 && proto == 44 {
        (proto, later) = (*frame.get(at + header)?, word(frame, at + header + 2)? & !7 != 0);
        header += 8;
    }
    let (first, second) = if v6 { (8, 24) } else { (12, 16) };
    let inner = at + header;
    if !matches!(proto, proto::TCP | proto::UDP | proto::SCTP) || header < 20 || later {
        return None;
    }
    let (mut src, mut dst) = (addr(frame, at + first, v6)?, addr(frame, at + second, v6)?);
    src.set_port(word(frame, inner)?);
    dst.set_port(word(frame, inner + 2)?);
    let quote = Packet { l3: at, l4: inner, proto, src, dst, ..*outer };
    Some((quote, redirect))
}

/// Where an ICMPv6 redirect with options from `at` on quotes a packet, among its first three.
fn redirected(frame: &[u8], mut at: usize) -> Option<usize> {
    for _ in 0..3 {
        word(frame, at)?;
        if frame[at] == 4 {
            return Some(at + 8);
        }
        at += usize::from(frame[at + 1]) * 8;
    }
    None
}
