//! Packets' lives: there and back again.

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    FIN,
    Hook::{Egress, Ingress},
    RST, Service, tcp,
};

use super::{FAMILIES, Through, everywhere, first, later, simple};

#[test]
fn a40_pod_dials_cluster_ip_and_keeps_its_address() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let (client, vip) = (format!("{}:40000", f.pod2), format!("{}:80", f.vip));
        let sent = first(proto, &format!("{client} -> {vip}"));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        assert_eq!(there.dst.to_string(), format!("{}:8080", f.pod));
        assert_eq!(there.src.to_string(), client);
        lab.ignores(Egress, &there);

        let back = lab.through(Egress, &there.reply(), Reason::Reply);
        assert_eq!((back.src.to_string(), back.dst.to_string()), (vip.clone(), client.clone()));

        let next =
            lab.through(Ingress, &later(proto, &format!("{client} -> {vip}")), Reason::Forward);
        assert_eq!(next.dst, there.dst);
    });
}

#[test]
fn a40_cluster_ip_from_outside_is_masqueraded() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.outside, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        assert_eq!(gone.src.to_string(), format!("{}:40000", f.node), "the free port is kept");
        assert_eq!(gone.dst, there.dst);

        let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
        assert_eq!((home.src, home.dst), (there.dst, there.src));
        let back = lab.through(Egress, &home, Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    });
}

#[test]
fn a41_node_port_is_masqueraded_for_pods_too() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, false));
        for (client, port) in [(f.outside, 40000), (f.pod2, 40001)] {
            let sent = first(proto, &format!("{client}:{port} -> {}:30080", f.node));
            let there = lab.through(Ingress, &sent, Reason::NewFlow);
            let gone = lab.through(Egress, &there, Reason::Masquerade);
            assert_eq!(gone.src.to_string(), format!("{}:{port}", f.node));
            let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
            let back = lab.through(Egress, &home, Reason::Reply);
            assert_eq!((back.src, back.dst), (sent.dst, sent.src));
        }
    });
}

#[test]
fn a46_pod_reaches_itself_through_its_service() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        let gone = lab.through(Egress, &there, Reason::Masquerade);
        assert_eq!(gone.src.to_string(), format!("{}:40000", f.node));
        let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
        let back = lab.through(Egress, &home, Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    });
}

#[test]
fn a26_established_tcp_keeps_a_backend_that_left() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::TCP));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        let there = lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
        let service =
            Service::tcp(&format!("{}:80", f.vip)).backends(&[&format!("{}:9090", f.pod)]);
        lab.put(&service);
        lab.retire(&format!("{}:8080", f.pod), proto::TCP);
        let next = lab.through(Ingress, &tcp(&ends).ack(), Reason::Forward);
        assert_eq!(next.dst, there.dst);
        // A new connection from the same port goes to the new backend (C39).
        let again = lab.through(Ingress, &tcp(&ends).syn(), Reason::Rechosen);
        assert_eq!(again.dst.port(), 9090);
    }
}

#[test]
fn a73_datagrams_leave_a_backend_that_left() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::UDP));
        let sent = first(proto::UDP, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        lab.through(Ingress, &sent, Reason::NewFlow);
        let service =
            Service::udp(&format!("{}:80", f.vip)).backends(&[&format!("{}:9090", f.pod)]);
        lab.put(&service);
        lab.retire(&format!("{}:8080", f.pod), proto::UDP);
        let moved = lab.through(Ingress, &sent, Reason::Rechosen);
        assert_eq!(moved.dst.port(), 9090);
        let back = lab.through(Egress, &moved.reply(), Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    }
}

#[test]
fn a_syn_after_a_fin_begins_anew() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::TCP));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
        lab.through(Ingress, &tcp(&ends).ack(), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).flags(FIN), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).syn(), Reason::Rechosen);
    }
}

/// A RST ends a connection if nobody goes on: a forged one is not believed, and does not count.
#[test]
fn a_syn_after_a_rst_begins_anew_unless_the_connection_went_on() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::TCP));
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        lab.through(Ingress, &tcp(&ends).syn(), Reason::NewFlow);
        lab.through(Ingress, &tcp(&ends).ack(), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).flags(RST), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).ack(), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).syn(), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).flags(RST), Reason::Forward);
        lab.through(Ingress, &tcp(&ends).syn(), Reason::Rechosen);
    }
}

#[test]
fn c37_only_a_syn_begins_a_connection() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::TCP).node_port(30080, false));
        for dst in [format!("{}:80", f.vip), format!("{}:30080", f.node)] {
            let ends = format!("{}:40000 -> {dst}", f.outside);
            lab.ignores(Ingress, &tcp(&ends).ack());
            lab.ignores(Ingress, &tcp(&ends).syn().reply());
        }
    }
}

#[test]
fn c37_a_datagram_from_a_node_port_number_gets_its_answer() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::UDP).node_port(30080, false));
        let query = first(proto::UDP, &format!("{}:30080 -> {}:53", f.node, f.outside));
        lab.through(Egress, &query, Reason::Claim);
        let answer = lab.through(Ingress, &query.reply(), Reason::Direct);
        assert_eq!(answer, query.reply());
    }
}

#[test]
fn c32_datagrams_follow_their_address_to_another_service() {
    for f in FAMILIES {
        let mut lab = testbed::packet::Lab::new();
        lab.put(&simple(f, proto::UDP).node_port(30053, false));
        let sent = first(proto::UDP, &format!("{}:40000 -> {}:30053", f.outside, f.node));
        let blue = lab.through(Ingress, &sent, Reason::NewFlow);
        // The NodePort is now green's; blue's endpoint serves on.
        let green = Service::udp(&format!("{}:80", f.vip2)).node_port(30053, false);
        lab.put(&green.backends(&[&format!("{}:9090", f.pod)]));
        lab.age();
        let moved = lab.through(Ingress, &sent, Reason::Rechosen);
        assert_eq!((blue.dst.port(), moved.dst.port()), (8080, 9090));
        let gone = lab.through(Egress, &moved, Reason::Masquerade);
        let home = lab.through(Ingress, &gone.reply(), Reason::MasqueradeReply);
        let back = lab.through(Egress, &home, Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    }
}
