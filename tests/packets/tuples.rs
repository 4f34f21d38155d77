//! One tuple, one flow (C31, C41): one client port towards several addresses of one backend.

use sluice_common::{
    flow::flags::MASQUERADE,
    net::{V4, V6, proto},
    reason::Reason,
};
use testbed::packet::{
    ACK, DROP, Datagram, FIN, Hook,
    Hook::{Egress, EgressUpper, Ingress, IngressUpper},
    Lab, RST, Service, tcp,
};

use super::{FAMILIES, Family, Through, everywhere, first};

/// Two flow entries for each port of a client, with room to spare: a table that is nearly full evicts.
const MANY: u32 = 3 << 16;

/// Two services with one backend.
fn twins(lab: &mut Lab, f: Family, proto: u8) {
    for vip in [f.vip, f.vip2] {
        let service = Service::new(&format!("{vip}:80"), proto);
        lab.put(&service.backends(&[&format!("{}:8080", f.pod)]));
    }
}

/// Asserts that the answer to `there` comes back as one to `sent`.
fn answered(lab: &mut Lab, sent: &Datagram, there: &Datagram, reason: Reason) {
    let back = lab.through(Egress, &there.reply(), reason);
    assert_eq!((back.src, back.dst), (sent.dst, sent.src));
}

#[test]
fn two_services_at_once() {
    everywhere(|lab, f, proto| {
        twins(lab, f, proto);
        let a = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let b = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip2));
        let there_a = lab.through(Ingress, &a, Reason::NewFlow);
        let there_b = lab.through(Ingress, &b, Reason::NewFlow);
        assert_eq!(there_a.dst, there_b.dst);
        assert_eq!(there_a.src, a.src, "the first keeps its port");
        assert_ne!(there_b.src, b.src, "the second gives way");
        answered(lab, &a, &there_a, Reason::Reply);
        answered(lab, &b, &there_b, Reason::Reply);
    });
}

#[test]
fn a_service_and_its_endpoint_at_once() {
    everywhere(|lab, f, proto| {
        twins(lab, f, proto);
        let service = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let direct = first(proto, &format!("{}:40000 -> {}:8080", f.pod2, f.pod));
        let there = lab.through(Ingress, &service, Reason::NewFlow);
        let there_direct = lab.through(Ingress, &direct, Reason::Claim);
        assert_eq!(there_direct.dst, direct.dst);
        assert_ne!(there_direct.src, direct.src);
        answered(lab, &service, &there, Reason::Reply);
        answered(lab, &direct, &there_direct, Reason::Reply);
    });
}

#[test]
fn an_endpoint_and_then_its_service_at_once() {
    everywhere(|lab, f, proto| {
        twins(lab, f, proto);
        let direct = first(proto, &format!("{}:40000 -> {}:8080", f.pod2, f.pod));
        let service = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there_direct = lab.through(Ingress, &direct, Reason::Claim);
        assert_eq!(there_direct, direct, "direct traffic is only noted");
        let there = lab.through(Ingress, &service, Reason::NewFlow);
        assert_ne!(there.src, service.src);
        answered(lab, &direct, &there_direct, Reason::Direct);
        answered(lab, &service, &there, Reason::Reply);
    });
}

#[test]
fn two_node_ports_from_outside_at_once() {
    everywhere(|lab, f, proto| {
        for (vip, port) in [(f.vip, 30080), (f.vip2, 30081)] {
            let service = Service::new(&format!("{vip}:80"), proto).node_port(port, false);
            lab.put(&service.backends(&[&format!("{}:8080", f.pod)]));
        }
        let mut sources = vec![];
        for port in [30080, 30081] {
            let sent = first(proto, &format!("{}:40000 -> {}:{port}", f.outside, f.node));
            let there = lab.through(Ingress, &sent, Reason::NewFlow);
            let gone = lab.through(Egress, &there, Reason::Masquerade);
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            answered(lab, &sent, &home.reply(), Reason::Reply);
            sources.push(gone.src);
        }
        assert_ne!(sources[0], sources[1]);
    });
}

#[test]
fn two_clients_with_one_port_are_masqueraded_apart() {
    everywhere(|lab, f, proto| {
        lab.put(&super::simple(f, proto).node_port(30080, false));
        let mut sources = vec![];
        for client in [f.outside, f.pod2] {
            let sent = first(proto, &format!("{client}:40000 -> {}:30080", f.node));
            let there = lab.through(Ingress, &sent, Reason::NewFlow);
            let gone = lab.through(Egress, &there, Reason::Masquerade);
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            assert_eq!(home.dst, there.src);
            answered(lab, &sent, &home.reply(), Reason::Reply);
            sources.push(gone.src);
        }
        assert_ne!(sources[0], sources[1]);
    });
}

#[test]
fn a_flow_in_time_wait_keeps_its_tuple() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        twins(&mut lab, f, proto::TCP);
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        let there = lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
        lab.through(Ingress, &tcp(&ends).flags(FIN), Reason::Forward);
        lab.through(Egress, &there.reply().flags(FIN), Reason::Reply);
        let next = first(proto::TCP, &format!("{}:40000 -> {}:80", f.pod2, f.vip2));
        let there = lab.through(Ingress, &next, Reason::NewFlow);
        assert_ne!(there.src, next.src, "the backend may still be in TIME_WAIT");
        answered(&mut lab, &next, &there, Reason::Reply);
    }
}

#[test]
fn where_no_port_is_free_one_of_a_flow_that_ended_is_taken() {
    for f in FAMILIES {
        for ended in [true, false] {
            let mut lab = Lab::with_flows(MANY);
            twins(&mut lab, f, proto::TCP);
            let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
            lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
            let last = tcp(&ends).flags(if ended { RST } else { ACK });
            lab.through(Ingress, &last, Reason::Forward);
            crowd(&mut lab, f, |_| true);
            let next = first(proto::TCP, &format!("{}:40000 -> {}:80", f.pod2, f.vip2));
            if !ended {
                drops(&mut lab, Ingress, &next, Reason::ClientPorts);
                continue;
            }
            let there = lab.through(Ingress, &next, Reason::NewFlow);
            answered(&mut lab, &next, &there, Reason::Reply);
        }
    }
}

#[test]
fn where_no_masquerade_port_is_free_one_of_a_flow_that_ended_is_taken() {
    for f in FAMILIES {
        for ended in [true, false] {
            let mut lab = Lab::with_flows(MANY);
            lab.put(&super::simple(f, proto::TCP).node_port(30080, false));
            let [a, b] = [f.outside, f.pod2].map(|it| format!("{it}:40000 -> {}:30080", f.node));
            let there = lab.through(Ingress, &tcp(&a).syn(), Reason::NewFlow);
            lab.through(Egress, &there, Reason::Masquerade);
            let last = there.clone().flags(if ended { RST } else { ACK });
            lab.through(Egress, &last, Reason::Masquerade);
            crowd(&mut lab, f, |flags| flags & MASQUERADE != 0);
            let there = lab.through(Ingress, &tcp(&b).syn(), Reason::NewFlow);
            if !ended {
                drops(&mut lab, Egress, &there, Reason::MasqueradePorts);
                continue;
            }
            let gone = lab.through(Egress, &there, Reason::Masquerade);
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            assert_eq!((home.src, home.dst), (there.dst, there.src));
        }
    }
}

fn drops(lab: &mut Lab, hook: Hook, packet: &Datagram, reason: Reason) {
    let seen = lab.run(hook, &packet.bytes());
    assert_eq!((seen.action, seen.reasons), (DROP, vec![reason]));
}

fn crowd(lab: &mut Lab, f: Family, wanted: impl Fn(u32) -> bool) {
    match f.vip.contains(':') {
        false => lab.crowd::<V4>(40000, wanted),
        true => lab.crowd::<V6>(40000, wanted),
    }
}

#[test]
fn an_idle_flow_gives_its_tuple_up() {
    everywhere(|lab, f, proto| {
        twins(lab, f, proto);
        let a = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let b = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip2));
        let there_a = lab.through(Ingress, &a, Reason::NewFlow);
        lab.age();
        let there_b = lab.through(Ingress, &b, Reason::NewFlow);
        assert_eq!(there_b.src, b.src);
        answered(lab, &b, &there_b, Reason::Reply);
        // The old flow begins anew, and now has to give way.
        let again = lab.through(Ingress, &a, Reason::NewFlow);
        assert_ne!(again.src, there_a.src);
        answered(lab, &a, &again, Reason::Reply);
        answered(lab, &b, &there_b, Reason::Reply);
    });
}

#[test]
fn a_masquerade_that_is_taken_over_begins_anew() {
    everywhere(|lab, f, proto| {
        lab.put(&super::simple(f, proto).node_port(30080, false));
        let [a, b] = [f.outside, f.pod2]
            .map(|client| first(proto, &format!("{client}:40000 -> {}:30080", f.node)));
        let there_a = lab.through(Ingress, &a, Reason::NewFlow);
        let gone_a = lab.through(Egress, &there_a, Reason::Masquerade);
        lab.age();
        let there_b = lab.through(Ingress, &b, Reason::NewFlow);
        let gone_b = lab.through(Egress, &there_b, Reason::Masquerade);
        assert_eq!(gone_a.src, gone_b.src, "an idle flow's port is free");
        let there_a = lab.through(Ingress, &a, Reason::NewFlow);
        let gone_a = lab.through(Egress, &there_a, Reason::Masquerade);
        assert_ne!(gone_a.src, gone_b.src);
        for (sent, gone) in [(a, gone_a), (b, gone_b)] {
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            answered(lab, &sent, &home.reply(), Reason::Reply);
        }
    });
}

#[test]
fn the_node_itself_gives_way_to_a_masqueraded_flow() {
    everywhere(|lab, f, proto| {
        lab.put(&super::simple(f, proto).node_port(30080, false));
        let sent = first(proto, &format!("{}:40000 -> {}:30080", f.outside, f.node));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        let own = first(proto, &format!("{}:40000 -> {}:8080", f.node, f.pod));
        let gone_own = lab.through(Egress, &own, Reason::Masquerade);
        assert_ne!(gone_own.src, gone.src);
        let home = lab.through(Ingress, &gone_own.reply(), Reason::MasqueradeReply);
        assert_eq!((home.src, home.dst), (own.dst, own.src));
        // On the bridge above, the restored answer looks like the other flow's.
        lab.ignores(IngressUpper, &home);
        // At the next device down nothing changes any more.
        lab.ignores(Egress, &gone_own);
        // Once the other flow has ended, its port is the node's again.
        lab.age();
        let own = first(proto, &format!("{}:40000 -> {}:8080", f.node, f.pod));
        let again = lab.run(Egress, &own.bytes());
        assert_eq!(again.action, testbed::packet::NEXT);
    });
}

#[test]
fn direct_traffic_is_the_lowest_device_s_business() {
    everywhere(|lab, f, proto| {
        twins(lab, f, proto);
        let service = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let direct = first(proto, &format!("{}:40000 -> {}:8080", f.pod2, f.pod));
        let there = lab.through(Ingress, &service, Reason::NewFlow);
        let there_direct = lab.through(Ingress, &direct, Reason::Claim);
        // On the bridge above, the translated packet looks like the direct one.
        lab.ignores(IngressUpper, &there);
        lab.ignores(EgressUpper, &there_direct.reply());
    });
}

#[test]
fn a46_from_the_service_s_own_port() {
    everywhere(|lab, f, proto| {
        lab.put(&super::simple(f, proto));
        let sent = first(proto, &format!("{}:8080 -> {}:80", f.pod, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
        answered(lab, &sent, &home.reply(), Reason::Reply);
    });
}
