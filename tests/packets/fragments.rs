//! Fragments follow their first one (A28).

use std::net::IpAddr;

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    Datagram,
    Hook::{self, Egress, Ingress},
    IcmpError, Lab, NEXT, Service, udp,
};

use super::{FAMILIES, Through};

/// Payload bytes of the first fragment, UDP's header included.
const FIRST: usize = 64;

/// The two fragments of a datagram: frames.
pub(super) fn split(packet: &Datagram, id: u8) -> Vec<Vec<u8>> {
    let size = packet.bytes().len() - if packet.src.is_ipv4() { 34 } else { 54 };
    split_every(packet, id, FIRST, size.next_multiple_of(8))
}

/// Its fragments: of `first` bytes, and then of `size` each.
pub(super) fn split_every(packet: &Datagram, id: u8, first: usize, size: usize) -> Vec<Vec<u8>> {
    let whole = packet.bytes();
    let header = if packet.src.is_ipv4() { 34 } else { 54 };
    let (ip, payload) = whole.split_at(header);
    let (mut fragments, mut at) = (vec![], 0);
    while at < payload.len() {
        let end = payload.len().min(if at == 0 { first } else { at + size });
        let (part, more) = (&payload[at..end], end < payload.len());
        fragments.push(match packet.src.ip() {
            IpAddr::V4(_) => fragment_v4(ip, part, at, more, id),
            IpAddr::V6(_) => fragment_v6(ip, part, at, more, id),
        });
        at = end;
    }
    fragments
}

fn fragment_v4(ip: &[u8], part: &[u8], offset: usize, more: bool, id: u8) -> Vec<u8> {
    let mut frame = [ip, part].concat();
    let length = (20 + part.len()) as u16;
    frame[16..18].copy_from_slice(&length.to_be_bytes());
    frame[18..20].copy_from_slice(&[0, id]);
    let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
    frame[20..22].copy_from_slice(&field.to_be_bytes());
    frame[24..26].fill(0);
    let sum = header_sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
    frame
}

fn fragment_v6(ip: &[u8], part: &[u8], offset: usize, more: bool, id: u8) -> Vec<u8> {
    let field = (offset as u16 | u16::from(more)).to_be_bytes();
    let extension = [ip[20], 0, field[0], field[1], 0, 0, 0, id];
    let mut frame = [ip, &extension, part].concat();
    let length = (extension.len() + part.len()) as u16;
    frame[18..20].copy_from_slice(&length.to_be_bytes());
    frame[20] = 44;
    frame
}

/// The ones' complement sum of an IPv4 header: all ones when its checksum is right.
fn header_sum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The datagram that fragments make up, with every checksum checked.
pub(super) fn join(fragments: &[Vec<u8>]) -> Datagram {
    let v4 = fragments[0][12..14] == [8, 0];
    if v4 {
        assert!(fragments.iter().all(|f| header_sum(&f[14..34]) == 0xffff), "IPv4 checksums");
    }
    let (header, payload) = if v4 { (34, 34) } else { (54, 62) };
    let mut frame = fragments[0][..header].to_vec();
    frame.extend(fragments.iter().flat_map(|f| &f[payload..]));
    let length = (frame.len() - if v4 { 14 } else { 54 }) as u16;
    if v4 {
        frame[16..18].copy_from_slice(&length.to_be_bytes());
        frame[20..22].fill(0);
        frame[24..26].fill(0);
        let sum = header_sum(&frame[14..34]);
        frame[24..26].copy_from_slice(&(!sum).to_be_bytes());
    } else {
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame[20] = proto::UDP;
    }
    Datagram::parse(&frame)
}

fn through(lab: &mut Lab, hook: Hook, packet: &Datagram, id: u8, first: Reason) -> Datagram {
    let reasons = [first, Reason::Fragment];
    let mut after = vec![];
    for (frame, reason) in split(packet, id).iter().zip(reasons) {
        let seen = lab.run(hook, frame);
        assert_eq!((seen.action, seen.reasons), (NEXT, vec![reason]));
        after.push(seen.frame);
    }
    join(&after)
}

#[test]
fn a_large_datagram_there_and_back() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        let service = Service::udp(&format!("{}:80", f.vip)).node_port(30080, false);
        lab.put(&service.backends(&[&format!("{}:8080", f.pod)]));
        let mut sent = udp(&format!("{}:40000 -> {}:30080", f.outside, f.node));
        sent.payload = (0..200).collect();
        let there = through(&mut lab, Ingress, &sent, 7, Reason::NewFlow);
        assert_eq!((there.dst.port(), &there.payload), (8080, &sent.payload));
        let gone = through(&mut lab, Egress, &there, 7, Reason::Masquerade);
        let home = through(&mut lab, Ingress, &gone.reply(), 9, Reason::MasqueradeReply);
        let back = through(&mut lab, Egress, &home, 9, Reason::Reply);
        assert_eq!(back, sent.reply());
    }
}

#[test]
fn a_fragment_without_its_first_goes_on_as_it_came() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&super::simple(f, proto::UDP));
        let mut sent = udp(&format!("{}:40000 -> {}:80", f.pod2, f.vip));
        sent.payload = (0..200).collect();
        let later = &split(&sent, 1)[1];
        // Twice: the same packet on a bridge's port and on the bridge.
        for _ in 0..2 {
            let seen = lab.run(Ingress, later);
            assert_eq!((seen.action, seen.reasons), (NEXT, vec![Reason::EarlyFragment]));
            assert_eq!(&seen.frame, later);
        }
    }
}

#[test]
fn other_fragments_are_not_touched() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&super::simple(f, proto::UDP));
        let mut sent = udp(&format!("{}:40000 -> {}:80", f.pod2, f.outside));
        sent.payload = (0..200).collect();
        let fragments = split(&sent, 1);
        for frame in &fragments {
            let seen = lab.run(Ingress, frame);
            assert_eq!((seen.action, seen.reasons, &seen.frame), (NEXT, vec![], frame));
        }
        // Of another protocol, say a long ping.
        let mut frame = fragments[1].clone();
        let at = if f.vip.starts_with('[') { 54 } else { 23 };
        frame[at] = if f.vip.starts_with('[') { proto::ICMPV6 } else { proto::ICMP };
        let seen = lab.run(Ingress, &frame);
        assert_eq!((seen.action, seen.reasons, seen.frame), (NEXT, vec![], frame));
    }
}

/// Routers do not cut IPv6 datagrams, so what they find too big may be a fragment (C43).
#[test]
fn an_error_that_quotes_a_first_fragment_is_translated() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&super::simple(f, proto::UDP));
        let mut sent = udp(&format!("{}:40000 -> {}:80", f.pod2, f.vip));
        sent.payload = (0..200).collect();
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let router: IpAddr = f.outside.trim_matches(['[', ']']).parse().unwrap();
        let (kind, quoted_at) = if router.is_ipv4() { ((3, 4), 42) } else { ((2, 0), 62) };
        let first = &split(&there, 3)[0][14..];
        let seen = lab.run(Egress, &IcmpError::quoting(router, kind, there.src.ip(), first));
        assert_eq!((seen.action, seen.reasons), (NEXT, vec![Reason::IcmpError]));
        let error = IcmpError::parse(&seen.frame);
        assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
        assert_eq!(seen.frame[quoted_at..], split(&sent, 3)[0][14..], "the fragment as it was");
    }
}
