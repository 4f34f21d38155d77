//! Cluster IPs and ServiceCIDRs where no frontend serves (A51, A52, A102).

use std::net::IpAddr;

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    DROP, Datagram,
    Hook::{self, Egress, Ingress},
    IcmpError, Lab, NEXT, REDIRECT, Service,
};

use super::{Family, Through, everywhere, first, later, simple};

/// An address of the ServiceCIDR that no service has.
fn unallocated(f: Family) -> String {
    f.vip2.replace("11", "99")
}

/// The frame of an echo request, or of whatever message has `kind`.
fn message(from: &str, to: &str, kind: (u8, u8)) -> Vec<u8> {
    let from: IpAddr = from.trim_matches(['[', ']']).parse().unwrap();
    let quoted = first(proto::UDP, &format!("{to}:1 -> {to}:2"));
    IcmpError::about(from, kind, &quoted)
}

fn echo(f: Family) -> (u8, u8) {
    if f.vip.starts_with('[') { (128, 0) } else { (8, 0) }
}

fn rejected(lab: &mut Lab, hook: Hook, packet: &Datagram) {
    let seen = lab.run(hook, &packet.bytes());
    assert_eq!((seen.action, seen.reasons), (REDIRECT, vec![Reason::UnknownPort]), "{packet:?}");
    let error = IcmpError::parse(&seen.frame);
    assert_eq!((error.src, error.dst), (packet.dst.ip(), packet.src.ip()));
    assert_eq!(error.kind, if packet.dst.is_ipv4() { (3, 3) } else { (1, 4) });
    assert_eq!(error.quoted, (packet.src, packet.dst));
    assert_eq!(seen.frame[..6], packet.bytes()[6..12], "back to the sender");
}

fn untouched(lab: &mut Lab, hook: Hook, frame: &[u8]) {
    let seen = lab.run(hook, frame);
    assert_eq!((seen.action, seen.reasons), (NEXT, vec![]));
    assert_eq!(seen.frame, frame);
}

#[test]
fn a51_an_unknown_port_or_protocol_is_rejected() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        let other = if proto == proto::TCP { proto::UDP } else { proto::TCP };
        for client in [f.pod2, f.node, f.outside] {
            rejected(lab, Ingress, &first(proto, &format!("{client}:40000 -> {}:81", f.vip)));
            rejected(lab, Ingress, &first(other, &format!("{client}:40000 -> {}:80", f.vip)));
        }
        let served = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        lab.through(Ingress, &served, Reason::NewFlow);
    });
}

#[test]
fn a51_a_ping_is_rejected() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        for hook in [Ingress, Egress] {
            let frame = message(f.pod2, f.vip, echo(f));
            let seen = lab.run(hook, &frame);
            assert_eq!((seen.action, seen.reasons), (REDIRECT, vec![Reason::UnknownPort]));
            let error = IcmpError::parse(&seen.frame);
            assert_eq!(error.dst.to_string(), f.pod2.trim_matches(['[', ']']));
            // The quoted packet is the echo request: addresses and its first eight bytes.
            let (header, l4) = if error.src.is_ipv4() { (20, 42) } else { (40, 62) };
            assert_eq!(seen.frame[l4 + header..], frame[14 + header..14 + header + 8]);
            let same = if header == 20 { 12..20 } else { 8..40 };
            assert_eq!(seen.frame[l4..][same.clone()], frame[14..][same]);
        }
    });
}

#[test]
fn a52_an_unallocated_address_is_dropped() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        let nowhere = unallocated(f);
        let sent = first(proto, &format!("{}:40000 -> {nowhere}:80", f.pod2));
        let own = first(proto, &format!("{}:40000 -> {nowhere}:80", f.node));
        let ping = message(f.pod2, &nowhere, echo(f));
        for (hook, frame) in [
            (Ingress, sent.bytes()),
            (Egress, own.bytes()),
            (Ingress, ping.clone()),
            (Egress, ping),
        ] {
            let seen = lab.run(hook, &frame);
            assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::UnallocatedClusterIp]));
        }
    });
}

#[test]
fn a51_what_the_node_sends_is_refused_where_it_leaves() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        rejected(lab, Egress, &first(proto, &format!("{}:40000 -> {}:81", f.node, f.vip)));
        // A socket that the hooks did not translate, to a port that is served.
        lab.ignores(Egress, &first(proto, &format!("{}:40000 -> {}:80", f.node, f.vip)));
    });
}

#[test]
fn c44_an_address_of_this_node_is_left_alone() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        for local in [f.vip.to_owned(), unallocated(f)] {
            lab.node_address(local.trim_matches(['[', ']']));
            lab.ignores(Ingress, &first(proto, &format!("{}:40000 -> {local}:53", f.pod2)));
            for hook in [Ingress, Egress] {
                untouched(lab, hook, &message(f.pod2, &local, echo(f)));
            }
        }
    });
}

#[test]
fn a102_other_addresses_and_known_flows_are_left_alone() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        for to in [f.outside, f.pod] {
            let sent = first(proto, &format!("{}:40000 -> {to}:443", f.pod2));
            lab.ignores(Ingress, &sent);
            untouched(lab, Ingress, &message(f.pod2, to, echo(f)));
        }
        // A flow outlives its service; for datagrams, as long as the endpoint serves (A26, A73).
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        let there = lab.through(Ingress, &first(proto, &ends), Reason::NewFlow);
        lab.forget(&format!("{}:80", f.vip), proto);
        lab.through(Ingress, &later(proto, &ends), Reason::Forward);
        lab.through(Egress, &there.reply(), Reason::Reply);
    });
}

#[test]
fn a51_only_what_begins_is_refused() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.put(&simple(f, proto));
        if proto == proto::TCP {
            let ends = format!("{}:40000 -> {}:81", f.pod2, f.vip);
            lab.ignores(Ingress, &later(proto, &ends));
            lab.ignores(Ingress, &first(proto, &ends).reply());
        }
        let answer = if f.vip.starts_with('[') { (129, 0) } else { (0, 0) };
        untouched(lab, Ingress, &message(f.pod2, f.vip, answer));
    });
}

#[test]
fn a102_without_the_setting_nothing_is_refused() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        lab.set(|settings| settings.flags = 0);
        lab.put(&simple(f, proto));
        for to in [format!("{}:81", f.vip), format!("{}:80", unallocated(f))] {
            lab.ignores(Ingress, &first(proto, &format!("{}:40000 -> {to}", f.pod2)));
            lab.ignores(Egress, &first(proto, &format!("{}:40000 -> {to}", f.node)));
        }
        untouched(lab, Ingress, &message(f.pod2, f.vip, echo(f)));
    });
}

#[test]
fn a51_an_external_address_is_no_cluster_ip() {
    everywhere(|lab, f, proto| {
        lab.refuse_unserved();
        // Outside the ServiceCIDR, and inside.
        let service = Service::new(&format!("{}:80", f.vip), proto);
        let service = service.external(&format!("{}:80", f.outside), false);
        lab.put(&service.external(&format!("{}:80", f.vip2), false));
        lab.ignores(Ingress, &first(proto, &format!("{}:40000 -> {}:81", f.pod2, f.outside)));
        let inside = first(proto, &format!("{}:40000 -> {}:81", f.pod2, f.vip2));
        let seen = lab.run(Ingress, &inside.bytes());
        assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::UnallocatedClusterIp]));
    });
}
