//! ICMP errors about translated packets (A28, C43): outer and inner header, every checksum.

use std::net::IpAddr;

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    DROP,
    Hook::{self, Egress, Ingress},
    IcmpError, Lab, NEXT,
};

use super::{Through, everywhere, first, simple};

/// Fragmentation needed, or packet too big.
fn too_big(ip: IpAddr) -> (u8, u8) {
    if ip.is_ipv4() { (3, 4) } else { (2, 0) }
}

/// Sends an error through a program that must translate it.
fn translated(lab: &mut Lab, hook: Hook, frame: &[u8], proto: u8) -> (IcmpError, Vec<u8>) {
    let seen = lab.run(hook, frame);
    assert_eq!((seen.action, seen.reasons), (NEXT, vec![Reason::IcmpError]));
    let error = IcmpError::parse(&seen.frame);
    // A quoted CRC is left as it is: nobody checks it, most quotes being cut off.
    if proto != proto::SCTP {
        let (_, quoted) = IcmpError::parse_whole(&seen.frame);
        assert_eq!((quoted.src, quoted.dst), error.quoted);
    }
    (error, seen.frame)
}

#[test]
fn an_error_about_a_request_reaches_the_client() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let router: IpAddr = f.outside.trim_matches(['[', ']']).parse().unwrap();
        let frame = IcmpError::about(router, too_big(router), &there);
        let (error, _) = translated(lab, Egress, &frame, proto);
        assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
        assert_eq!(error.quoted, (sent.src, sent.dst));
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
        let (error, frame) = translated(lab, Ingress, &frame, proto);
        assert_eq!((error.src, error.dst), (gone.dst.ip(), there.src.ip()));
        assert_eq!(error.quoted, (there.src, there.dst));
        let (error, _) = translated(lab, Egress, &frame, proto);
        assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
        assert_eq!(error.quoted, (sent.src, sent.dst));
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
        let (error, frame) = translated(lab, Ingress, &frame, proto);
        assert_eq!((error.src, error.dst), (sent.src.ip(), there.dst.ip()));
        assert_eq!(error.quoted, (there.dst, there.src));
        let (error, _) = translated(lab, Egress, &frame, proto);
        assert_eq!((error.src, error.dst), (gone.src.ip(), gone.dst.ip()));
        assert_eq!(error.quoted, (gone.dst, gone.src));
    });
}

#[test]
fn a_redirect_about_a_translated_packet_is_dropped() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let stranger = first(proto, &format!("{}:5 -> {}:6", f.pod2, f.outside));
        let node: IpAddr = f.node.trim_matches(['[', ']']).parse().unwrap();
        for options in [&[][..], &[2, 1, 2, 0, 0, 0, 0, 9], &[2, 1, 2, 0, 0, 0, 0, 9, 14, 1, 0, 0]]
        {
            // Before the option that quotes the packet there may be one or two others.
            let mut options = options.to_vec();
            options.resize(options.len().next_multiple_of(8), 0);
            let seen = lab.run(Egress, &IcmpError::redirect(node, &options, &there));
            assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::IcmpRedirect]));
            let foreign = IcmpError::redirect(node, &options, &stranger);
            let seen = lab.run(Egress, &foreign);
            assert_eq!((seen.action, seen.reasons, seen.frame), (NEXT, vec![], foreign));
        }
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
