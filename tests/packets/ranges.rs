//! loadBalancerSourceRanges (A53).

use sluice_common::reason::Reason;
use testbed::packet::{
    DROP, Datagram,
    Hook::{Egress, Ingress},
    Lab, REDIRECT, Service,
};

use super::{Family, Through, everywhere, first, later, simple};

/// The load-balancer address, and everyone who may ask.
fn balancer(f: Family) -> String {
    format!("{}:80", f.vip2)
}

fn dropped(lab: &mut Lab, packet: &Datagram) {
    let seen = lab.run(Ingress, &packet.bytes());
    assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::SourceRange]), "{packet:?}");
}

/// The prefix that holds the address alone.
fn only(address: &str) -> String {
    match address.strip_prefix('[') {
        Some(v6) => format!("{}/128", v6.trim_end_matches(']')),
        None => format!("{address}/32"),
    }
}

#[test]
fn a53_whom_the_ranges_leave_out_is_dropped_pods_and_nodes_too() {
    everywhere(|lab, f, proto| {
        let id = lab.put(&simple(f, proto).restricted(&balancer(f)));
        for client in [f.outside, f.pod2, f.node] {
            let sent = first(proto, &format!("{client}:40000 -> {}", balancer(f)));
            dropped(lab, &sent);
            lab.source_range(id, &only(client));
            let there = lab.through(Ingress, &sent, Reason::NewFlow);
            assert_eq!(there.dst.to_string(), format!("{}:8080", f.pod));
        }
    });
}

#[test]
fn a53_prefixes_are_as_long_as_they_say() {
    everywhere(|lab, f, proto| {
        let id = lab.put(&simple(f, proto).restricted(&balancer(f)));
        lab.source_range(id, "203.0.113.0/24");
        lab.source_range(id, "2001:db8::/64");
        lab.source_range(id, "10.244.1.3/32");
        lab.source_range(id, "fd00:10:244:1::3/128");
        for client in [f.outside, f.pod2] {
            let sent = first(proto, &format!("{client}:40000 -> {}", balancer(f)));
            lab.through(Ingress, &sent, Reason::NewFlow);
        }
        dropped(lab, &first(proto, &format!("{}:40000 -> {}", f.pod, balancer(f))));
    });
}

#[test]
fn a53_the_cluster_ip_and_the_node_port_are_open() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).restricted(&balancer(f)).node_port(30080, false));
        for to in [format!("{}:80", f.vip), format!("{}:30080", f.node)] {
            let sent = first(proto, &format!("{}:40000 -> {to}", f.outside));
            lab.through(Ingress, &sent, Reason::NewFlow);
        }
    });
}

#[test]
fn a53_another_services_ranges_admit_nobody() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).restricted(&balancer(f)));
        let other = lab.put(&Service::new(&format!("{}:443", f.vip), proto));
        lab.source_range(other, &only(f.outside));
        lab.refuse_unserved();
        dropped(lab, &first(proto, &format!("{}:40000 -> {}", f.outside, balancer(f))));
    });
}

#[test]
fn a53_without_endpoints_the_ranges_still_come_first() {
    everywhere(|lab, f, proto| {
        let empty = Service::new(&format!("{}:80", f.vip), proto).restricted(&balancer(f));
        let id = lab.put(&empty);
        lab.source_range(id, &only(f.pod2));
        dropped(lab, &first(proto, &format!("{}:40000 -> {}", f.outside, balancer(f))));
        let admitted = first(proto, &format!("{}:40000 -> {}", f.pod2, balancer(f)));
        let seen = lab.run(Ingress, &admitted.bytes());
        assert_eq!((seen.action, seen.reasons), (REDIRECT, vec![Reason::NoEndpoints]));
    });
}

#[test]
fn a53_is_asked_once_a_flow() {
    everywhere(|lab, f, proto| {
        let plain = simple(f, proto).external(&balancer(f), false);
        let id = lab.put(&plain);
        let ends = format!("{}:40000 -> {}", f.outside, balancer(f));
        let sent = first(proto, &ends);
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        lab.replace(id, &simple(f, proto).restricted(&balancer(f)));
        lab.through(Ingress, &later(proto, &ends), Reason::Forward);
        lab.through(Egress, &there.reply(), Reason::Reply);
        dropped(lab, &first(proto, &format!("{}:40001 -> {}", f.outside, balancer(f))));
    });
}
