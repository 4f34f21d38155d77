//! ICMP errors about translated packets (A28, C43): outer and inner header, every checksum.

use std::net::IpAddr;

use sluice_common::reason::Reason;
use testbed::packet::{
    DROP, Datagram,
    Hook::{self, Egress, Ingress},
    IcmpError, Lab, NEXT,
};

use super::{Through, everywhere, first, simple};

/// Fragmentation needed, or packet too big.
fn too_big(ip: IpAddr) -> (u8, u8) {
    if ip.is_ipv4() { (3, 4) } else { (2, 0) }
}

/// Sends an error through a program that must translate it.
fn translated(lab: &mut Lab, hook: Hook, frame: &[u8]) -> (IcmpError, Datagram, Vec<u8>) {
    let seen = lab.run(hook, frame);
    assert_eq!((seen.action, seen.reasons), (NEXT, vec![Reason::IcmpError]));
    let (error, quoted) = IcmpError::parse_whole(&seen.frame);
    (error, quoted, seen.frame)
}

#[test]
fn an_error_about_a_request_reaches_the_client() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let router: IpAddr = f.outside.trim_matches(['[', ']']).parse().unwrap();
        let frame = IcmpError::about(router, too_big(router), &there);
        let (error, quoted, _) = translated(lab, Egress, &frame);
        assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
        assert_eq!((quoted.src, quoted.dst), (sent.src, sent.dst));
    });
}

#[test]
fn an_error_about_a_masqueraded_request_reaches_the_client() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, false));
        let sent = first(proto, &format!("{}:40000 -> {}:30080", f.outside, f.node));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        let frame = IcmpError::about(gone.dst.ip(), too_big(gone.dst.ip()), &gone);
        let (error, quoted, frame) = translated(lab, Ingress, &frame);
        assert_eq!((error.src, error.dst), (gone.dst.ip(), there.src.ip()));
        assert_eq!((quoted.src, quoted.dst), (there.src, there.dst));
        let (error, quoted, _) = translated(lab, Egress, &frame);
        assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
        assert_eq!((quoted.src, quoted.dst), (sent.src, sent.dst));
    });
}

#[test]
fn an_error_about_an_answer_reaches_the_backend() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, false));
        let sent = first(proto, &format!("{}:40000 -> {}:30080", f.outside, f.node));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        // The client's side quotes the answer as it saw it.
        let frame = IcmpError::about(sent.src.ip(), too_big(sent.src.ip()), &sent.reply());
        let (error, quoted, frame) = translated(lab, Ingress, &frame);
        assert_eq!((error.src, error.dst), (sent.src.ip(), there.dst.ip()));
        assert_eq!((quoted.src, quoted.dst), (there.dst, there.src));
        let (error, quoted, _) = translated(lab, Egress, &frame);
        assert_eq!((error.src, error.dst), (gone.src.ip(), gone.dst.ip()));
        assert_eq!((quoted.src, quoted.dst), (gone.dst, gone.src));
    });
}

#[test]
fn a_redirect_about_a_translated_packet_is_dropped() {
    everywhere(|lab, f, proto| {
        if f.vip.starts_with('[') {
            return; // Its layout is another: see the cluster tests.
        }
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let node: IpAddr = f.node.parse().unwrap();
        let seen = lab.run(Egress, &IcmpError::about(node, (5, 1), &there));
        assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::IcmpRedirect]));
    });
}

#[test]
fn other_messages_are_not_touched() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        lab.through(Ingress, &sent, Reason::NewFlow);
        let stranger = first(proto, &format!("{}:5 -> {}:6", f.pod2, f.outside));
        let echo = if f.vip.starts_with('[') { (128, 0) } else { (8, 0) };
        for (kind, about) in [(echo, &sent), (too_big(stranger.src.ip()), &stranger)] {
            let frame = IcmpError::about(about.dst.ip(), kind, about);
            for hook in [Ingress, Egress] {
                let seen = lab.run(hook, &frame);
                assert_eq!((seen.action, seen.reasons), (NEXT, vec![]));
                assert_eq!(seen.frame, frame);
            }
        }
    });
}
