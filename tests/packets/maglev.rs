//! Services whose backends the flow's hash chooses (docs/dataplane.md, Consistent hashing).

use std::{collections::BTreeSet, net::SocketAddr};

use sluice_common::{net::proto, reason::Reason, settings::flags::HASHED_FRONTENDS};
use testbed::packet::{
    ACK,
    Hook::{Egress, Ingress},
    Lab, RST, SYN, Service, sctp, tcp,
};

use super::{FAMILIES, Family, Through, everywhere, first, later};

const PORTS: std::ops::Range<u16> = 40_000..40_016;

/// The type of the chunk that answers SCTP's INIT.
const INIT_ACK: u8 = 2;

/// A service with eight backends at `vip:80`, chosen by the flow's hash.
fn service(f: Family, proto: u8) -> Service {
    let backends: Vec<String> = (1..=8).map(|i| format!("{}:{}", f.pod, 8080 + i)).collect();
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    Service::new(&format!("{}:80", f.vip), proto).hashed().backends(&backends)
}

/// Puts the service into the maps, as the controller would.
fn put(lab: &mut Lab, service: &Service) -> u32 {
    lab.set(|settings| settings.flags |= HASHED_FRONTENDS);
    lab.put(service)
}

/// Where sixteen new connections of a client to `to` end.
fn dial(lab: &mut Lab, proto: u8, client: &str, to: &str) -> Vec<SocketAddr> {
    let ends = |port| format!("{client}:{port} -> {to}");
    PORTS
        .map(|port| lab.through(Ingress, &first(proto, &ends(port)), Reason::NewFlow).dst)
        .collect()
}

#[test]
fn a_flow_keeps_its_backend_on_every_node() {
    everywhere(|lab, f, proto| {
        put(lab, &service(f, proto));
        let to = format!("{}:80", f.vip);
        let here = dial(lab, proto, f.pod2, &to);
        assert!(here.iter().collect::<BTreeSet<_>>().len() > 3, "flows are spread: {here:?}");
        // Another node has the same table and no entries.
        lab.forget_flows();
        assert_eq!(dial(lab, proto, f.pod2, &to), here);
    });
}

#[test]
fn a22_a_node_port_leads_to_the_same_backend_at_every_nodes_address() {
    everywhere(|lab, f, proto| {
        let (one, other) = match f.node.starts_with('[') {
            false => ("192.168.100.11", "192.168.100.12"),
            true => ("fd00:192:168::11", "fd00:192:168::12"),
        };
        lab.node_address(other);
        put(lab, &service(f, proto).node_port(30080, false));
        let at = |node: &str| f.node.replace(one, node) + ":30080";
        assert_eq!(dial(lab, proto, f.outside, &at(one)), dial(lab, proto, f.outside, &at(other)));
    });
}

#[test]
fn a_connection_without_an_entry_goes_on() {
    everywhere(|lab, f, proto| {
        put(lab, &service(f, proto));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        let there = lab.through(Ingress, &first(proto, &ends), Reason::NewFlow);
        lab.forget_flows();
        let reason = if proto == proto::UDP { Reason::NewFlow } else { Reason::Resumed };
        let next = lab.through(Ingress, &later(proto, &ends), reason);
        assert_eq!((next.src, next.dst), (there.src, there.dst));
        let next = lab.through(Ingress, &later(proto, &ends), Reason::Forward);
        assert_eq!(next.dst, there.dst);
        let back = lab.through(Egress, &next.reply(), Reason::Reply);
        assert_eq!((back.src, back.dst), (next_ends(&ends).1, next_ends(&ends).0));
    });
}

fn next_ends(ends: &str) -> (SocketAddr, SocketAddr) {
    let (src, dst) = ends.split_once(" -> ").expect("two ends");
    (src.parse().expect("an address"), dst.parse().expect("an address"))
}

#[test]
fn a_masqueraded_connection_goes_on_under_its_port() {
    everywhere(|lab, f, proto| {
        put(lab, &service(f, proto));
        // Someone else has the port already, so another is chosen.
        let other = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        lab.through(Ingress, &other, Reason::NewFlow);
        let ends = format!("{}:40000 -> {}:80", f.outside, f.vip);
        let there = lab.through(Ingress, &first(proto, &ends), Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        lab.evict(&first(proto, &ends));
        let reason = if proto == proto::UDP { Reason::NewFlow } else { Reason::Resumed };
        let there = lab.through(Ingress, &later(proto, &ends), reason);
        let still = lab.through(Egress, &there, Reason::Masquerade);
        assert_eq!((still.src, still.dst), (gone.src, gone.dst));
        let home = lab.through(Ingress, &still.reply(), Reason::MasqueradeReply);
        let back = lab.through(Egress, &home, Reason::Reply);
        assert_eq!(back.src, next_ends(&ends).1);
    });
}

#[test]
fn c37_only_a_client_of_a_hashed_address_resumes() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        put(&mut lab, &service(f, proto::TCP).node_port(30080, false));
        lab.put(&service(f, proto::SCTP));
        let random = Service::tcp(&format!("{}:80", f.vip2));
        lab.put(&random.backends(&[&format!("{}:9090", f.pod)]));
        let from = |to: &str| format!("{}:40000 -> {to}", f.outside);
        let vip = from(&format!("{}:80", f.vip));
        // Answers, random services, and the node's own address.
        lab.ignores(Ingress, &tcp(&vip).syn().flags(SYN | ACK));
        let mut answer = sctp(&vip);
        answer.payload[0] = INIT_ACK;
        lab.ignores(Ingress, &answer);
        lab.ignores(Ingress, &tcp(&from(&format!("{}:80", f.vip2))).ack());
        lab.ignores(Ingress, &tcp(&from(&format!("{}:30080", f.node))).ack());
        // An address that is bound here, be it a service's.
        lab.node_address(f.vip.trim_matches(['[', ']']));
        lab.ignores(Ingress, &tcp(&vip).ack());
    }
}

#[test]
fn a_reset_finds_its_backend_too() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        put(&mut lab, &service(f, proto::TCP));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        let there = lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
        lab.forget_flows();
        let reset = lab.through(Ingress, &tcp(&ends).flags(RST), Reason::Resumed);
        assert_eq!(reset.dst, there.dst);
    }
}

#[test]
fn nothing_resumes_without_a_hashed_frontend() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&service(f, proto::TCP));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        lab.ignores(Ingress, &tcp(&ends).ack());
    }
}

#[test]
fn a_translated_answer_is_not_resumed() {
    // The client of a service is itself where another service is reached.
    for f in FAMILIES {
        let mut lab = Lab::new();
        let client = format!("{}:80", f.vip);
        put(&mut lab, &service(f, proto::TCP));
        lab.put(&Service::tcp(&format!("{}:80", f.vip2)).backends(&[&format!("{}:9090", f.pod)]));
        let sent = tcp(&format!("{client} -> {}:80", f.vip2)).syn();
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let answer = tcp(&format!("{} -> {client}", there.dst)).ack();
        lab.ignores(Ingress, &answer);
        let back = lab.through(Egress, &answer, Reason::Reply);
        assert_eq!(back.dst, sent.src);
    }
}

#[test]
fn a70_a_client_stays_by_its_entry_and_without_by_its_address() {
    everywhere(|lab, f, proto| {
        let id = put(lab, &service(f, proto).affinity(10));
        let to = format!("{}:80", f.vip);
        let homes = dial(lab, proto, f.pod2, &to);
        assert!(homes.iter().all(|home| *home == homes[0]), "the port does not matter: {homes:?}");
        // The entry has expired, or is another node's (A71): the address leads there again.
        lab.stay_away(std::time::Duration::from_secs(11));
        lab.forget_flows();
        assert_eq!(dial(lab, proto, f.pod2, &to), homes);
        // The table has changed: the entry counts (A70, C16).
        let others: Vec<String> =
            (1..=9).rev().map(|i| format!("{}:{}", f.pod, 8080 + i)).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        let changed = Service::new(&to, proto).hashed().affinity(10).backends(&others);
        lab.replace(id, &changed);
        lab.forget_flows();
        assert_eq!(dial(lab, proto, f.pod2, &to), homes);
    });
}
