//! Sound packets: beginnings, their way through the node, answers, fragments, ICMP errors.

use std::net::{IpAddr, SocketAddr};

use sluice_common::net::proto;
use testbed::packet::{ACK, FIN, Hook, RST, SYN, sctp, tcp, udp};

use crate::{
    random::Random,
    reference::{self, sum},
    universe::{Addresses, FAMILIES, PORTS, PROTOS},
};

/// A frame and the program that is to see it.
pub(crate) type Step = (Hook, Vec<u8>);

/// A packet between any two of the universe, most often from a client to a service.
pub(crate) fn beginning(random: &mut Random) -> Step {
    let f = random.pick(&FAMILIES);
    let (src, dst) = ends(random, f);
    let text = format!("{src} -> {dst}");
    let mut packet = match random.pick(&PROTOS) {
        proto::TCP => {
            tcp(&text).flags(random.pick(&[SYN, SYN, SYN, ACK, FIN | ACK, RST, SYN | ACK]))
        }
        proto::UDP => udp(&text),
        _ if random.once_in(2) => sctp(&text),
        _ => {
            let data = random.bytes(5);
            sctp(&text).data(&[&data])
        }
    };
    if packet.proto != proto::SCTP {
        let length = random.pick(&[0, 1, 8, 33, 120, 400]);
        packet.payload = random.bytes(length);
    }
    let hook = if random.once_in(8) { Hook::Egress } else { Hook::Ingress };
    (hook, packet.bytes())
}

fn ends(random: &mut Random, f: Addresses) -> (SocketAddr, SocketAddr) {
    let [vip, vip2, node, pod, pod2, outside] = f.all();
    let any = |random: &mut Random| SocketAddr::new(random.pick(&f.all()), random.pick(&PORTS));
    if random.once_in(6) {
        return (any(random), any(random));
    }
    let src =
        SocketAddr::new(random.pick(&[node, pod, pod2, outside]), random.pick(&[40000, 40001, 7]));
    let dst = random.pick(&[
        (vip, 80),
        (vip, 80),
        (vip, 81),
        (vip2, 80),
        (node, 30080),
        (node, 30081),
        (pod, 8080),
        (pod2, 9090),
    ]);
    (src, dst.into())
}

/// What follows on a packet that went on as `frame` behind `hook`. `None`: nothing sensible.
pub(crate) fn next(random: &mut Random, hook: Hook, frame: &[u8]) -> Option<Step> {
    let other = if hook == Hook::Ingress { Hook::Egress } else { Hook::Ingress };
    match random.below(5) {
        0 | 1 => Some((other, frame.to_vec())),
        2 => Some((other, reversed(frame)?)),
        3 => Some((other, error(random, frame)?)),
        _ => Some((hook, frame.to_vec())),
    }
}

/// The packet's answer: addresses and ports change places, which no checksum but a CRC notices.
fn reversed(frame: &[u8]) -> Option<Vec<u8>> {
    let packet = reference::ports(frame, reference::ip(frame)?)?;
    let (at, size) = if packet.v6 { (packet.l3 + 8, 16) } else { (packet.l3 + 12, 4) };
    let mut answer = frame.to_vec();
    answer[at..at + 2 * size].rotate_left(size);
    answer[packet.l4..packet.l4 + 4].rotate_left(2);
    Some(answer)
}

/// An ICMP error or redirect, or any other message, about a packet; often a shorter quote.
fn error(random: &mut Random, frame: &[u8]) -> Option<Vec<u8>> {
    let packet = reference::ip(frame)?;
    let mut quote = frame[packet.l3..packet.end].to_vec();
    if random.once_in(2) {
        let least = packet.l4 - packet.l3 + 8;
        quote.truncate(least + random.below(16));
    }
    quote.truncate(1000);
    let mut message = match packet.v6 {
        false => vec![random.pick(&[3, 3, 11, 12, 5, 8]), random.byte() % 6, 0, 0, 0, 0, 5, 120],
        true => {
            vec![random.pick(&[1, 2, 2, 3, 4, 137, 128]), random.byte() % 5, 0, 0, 0, 0, 5, 120]
        }
    };
    if packet.v6 && message[0] == 137 {
        message.extend([0xfd; 32]);
        for _ in 0..random.below(4) {
            message.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        }
        quote.resize(quote.len().next_multiple_of(8), 0);
        message.extend([4, (1 + quote.len() / 8) as u8, 0, 0, 0, 0, 0, 0]);
    }
    message.extend(quote);
    Some(icmp(router(random, packet.src.ip()), packet.src.ip(), message))
}

fn router(random: &mut Random, like: IpAddr) -> IpAddr {
    random.pick(&FAMILIES[usize::from(like.is_ipv6())].all())
}

/// The frame of an ICMP message, with its checksums.
fn icmp(from: IpAddr, to: IpAddr, mut message: Vec<u8>) -> Vec<u8> {
    let length = message.len() as u16;
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            put(&mut message, 2, 0);
            let [high, low] = (20 + length).to_be_bytes();
            let mut ip = vec![0x45, 0, high, low, 0, 0, 0, 0, 64, 1, 0, 0];
            ip.extend([from.octets(), to.octets()].concat());
            put(&mut ip, 10, 0);
            frame.extend([8, 0]);
            frame.extend(ip);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let ends = [from.octets(), to.octets()].concat();
            put(&mut message, 2, (u32::from(sum(&ends)) + u32::from(length) + 58) % 0xffff);
            let [high, low] = length.to_be_bytes();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, high, low, 58, 255]);
            frame.extend(ends);
        }
        mixed => panic!("two families: {mixed:?}"),
    }
    frame.extend(message);
    frame
}

/// Puts the checksum of `bytes` at `at`; `pseudo` is the sum of what it covers beyond them.
fn put(bytes: &mut [u8], at: usize, pseudo: u32) {
    bytes[at..at + 2].fill(0);
    let checksum = !(((u32::from(sum(bytes)) + pseudo) % 0xffff) as u16);
    bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

/// Makes an IPv4 header's checksum right again.
pub(crate) fn finish_header(frame: &mut [u8]) {
    let header = usize::from(frame[14] & 15) * 4;
    if frame.len() >= 14 + header && header >= 20 {
        put(&mut frame[14..14 + header], 10, 0);
    }
}

/// The fragments of a packet, in any order.
pub(crate) fn fragments(random: &mut Random, (hook, frame): &Step) -> Option<Vec<Step>> {
    let packet = reference::ports(frame, reference::ip(frame)?)?;
    let (head, body) = (&frame[..packet.l4], &frame[packet.l4..packet.end]);
    let size = 24 + 8 * random.below(8);
    let id = random.byte();
    let mut steps: Vec<Step> = body
        .chunks(size)
        .enumerate()
        .map(|(i, part)| {
            let more = (i + 1) * size < body.len();
            let parts = Fragment { head, part, offset: i * size, more, id };
            (*hook, if packet.v6 { parts.v6(packet.proto) } else { parts.v4() })
        })
        .collect();
    let count = steps.len();
    if random.once_in(2) {
        steps.swap(0, random.below(count));
    }
    steps.truncate(4);
    Some(steps)
}

struct Fragment<'a> {
    head: &'a [u8],
    part: &'a [u8],
    offset: usize,
    more: bool,
    id: u8,
}

impl Fragment<'_> {
    fn v4(&self) -> Vec<u8> {
        let mut frame = [self.head, self.part].concat();
        let length = (frame.len() - 14) as u16;
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[18..20].copy_from_slice(&[0, self.id]);
        let field = (self.offset / 8) as u16 | u16::from(self.more) << 13;
        frame[20..22].copy_from_slice(&field.to_be_bytes());
        finish_header(&mut frame);
        frame
    }

    fn v6(&self, proto: u8) -> Vec<u8> {
        let [high, low] = (self.offset as u16 | u16::from(self.more)).to_be_bytes();
        let extension = [proto, 0, high, low, 0, 0, 0, self.id];
        let mut frame = [self.head, &extension, self.part].concat();
        let length = (frame.len() - 54) as u16;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame[20] = 44;
        frame
    }
}

/// Another packet of the same flow, with other TCP flags.
pub(crate) fn flagged(random: &mut Random, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if let Some(packet) = reference::ip(&frame)
        && packet.proto == proto::TCP
        && frame.len() > packet.l4 + 13
    {
        frame[packet.l4 + 13] = random.pick(&[SYN, ACK, FIN | ACK, RST]);
    }
    frame
}

/// Reads a frame as a person would write it, for messages.
pub(crate) fn describe(frame: &[u8]) -> String {
    match reference::ip(frame).and_then(|packet| reference::ports(frame, packet)) {
        Some(p) => format!("{} -> {} protocol {}, {:?}", p.src, p.dst, p.proto, p.part),
        None => "no packet of a transport".to_owned(),
    }
}
