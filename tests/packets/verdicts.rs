//! Reject, drop, untouched (A42–A50), and packets that are not what they claim.

use sluice_common::{net::proto, reason::Reason, settings::flags};
use testbed::packet::{
    DROP,
    Hook::{Egress, Ingress, IngressUpper},
    IcmpError, Lab, NEXT, REDIRECT, Service, tcp, udp,
};

use super::{FAMILIES, Through, everywhere, first, simple};

#[test]
fn a47_a50_no_endpoint_is_a_port_unreachable() {
    everywhere(|lab, f, proto| {
        lab.put(&Service::new(&format!("{}:80", f.vip), proto).node_port(30080, false));
        for dst in [format!("{}:80", f.vip), format!("{}:30080", f.node)] {
            let sent = first(proto, &format!("{}:40000 -> {dst}", f.pod2));
            let seen = lab.run(Ingress, &sent.bytes());
            assert_eq!((seen.action, seen.reasons), (REDIRECT, vec![Reason::NoEndpoints]));
            let error = IcmpError::parse(&seen.frame);
            assert_eq!((error.src, error.dst), (sent.dst.ip(), sent.src.ip()));
            assert_eq!(error.kind, if sent.dst.is_ipv4() { (3, 3) } else { (1, 4) });
            assert_eq!(error.quoted, (sent.src, sent.dst));
            assert_eq!(seen.frame[..6], sent.bytes()[6..12], "back to the sender");
        }
    });
}

#[test]
fn a47_large_datagrams_are_quoted_in_part() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&Service::udp(&format!("{}:80", f.vip)));
        let mut sent = udp(&format!("{}:40000 -> {}:80", f.pod2, f.vip));
        sent.payload = vec![7; 1200];
        let seen = lab.run(Ingress, &sent.bytes());
        assert_eq!(IcmpError::parse(&seen.frame).quoted, (sent.src, sent.dst));
    }
}

#[test]
fn a49_local_policy_without_local_endpoint_drops_outsiders_only() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, true));
        let outside = first(proto, &format!("{}:40000 -> {}:30080", f.outside, f.node));
        let seen = lab.run(Ingress, &outside.bytes());
        assert_eq!((seen.action, seen.reasons), (DROP, vec![Reason::NoLocalEndpoint]));
        // A42: a pod is short-circuited, and keeps its address.
        let pod = first(proto, &format!("{}:40000 -> {}:30080", f.pod2, f.node));
        let there = lab.through(Ingress, &pod, Reason::NewFlow);
        lab.ignores(Egress, &there);
    });
}

#[test]
fn a43_the_node_itself_is_short_circuited_and_masqueraded() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, true));
        let sent = first(proto, &format!("{}:40000 -> {}:30080", f.node, f.node));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        lab.through(Egress, &there, Reason::Masquerade);
    });
}

#[test]
fn a44_local_policy_keeps_the_client() {
    everywhere(|lab, f, proto| {
        let backend = format!("{}:8080", f.pod);
        lab.put(&simple(f, proto).local(&[&backend]).node_port(30080, true));
        let sent = first(proto, &format!("{}:40000 -> {}:30080", f.outside, f.node));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        assert_eq!((there.src, there.dst.to_string()), (sent.src, backend));
        lab.ignores(Egress, &there);
        let back = lab.through(Egress, &there.reply(), Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    });
}

#[test]
fn a40_masquerade_all() {
    everywhere(|lab, f, proto| {
        lab.set(|settings| settings.flags |= flags::MASQUERADE_ALL);
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        lab.through(Egress, &there, Reason::Masquerade);
    });
}

#[test]
fn a45_without_detector_cluster_ip_keeps_every_source() {
    everywhere(|lab, f, proto| {
        lab.set(|settings| (settings.detector_v4, settings.detector_v6) = (0, 0));
        lab.put(&simple(f, proto));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.outside, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        lab.ignores(Egress, &there);
    });
}

#[test]
fn what_is_no_service_is_not_touched() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto).node_port(30080, false));
        let other = if proto == proto::TCP { proto::UDP } else { proto::TCP };
        for packet in [
            first(proto, &format!("{}:40000 -> {}:81", f.pod2, f.vip)),
            first(other, &format!("{}:40000 -> {}:80", f.pod2, f.vip)),
            first(proto, &format!("{}:40000 -> {}:30080", f.pod2, f.outside)),
            first(proto, &format!("{}:40000 -> {}:443", f.pod2, f.outside)),
        ] {
            lab.ignores(Ingress, &packet);
            lab.ignores(Egress, &packet);
        }
    });
}

#[test]
fn a_translated_packet_passes_a_bridge_untouched() {
    everywhere(|lab, f, proto| {
        lab.put(&simple(f, proto));
        // The backend's own address is a service as well.
        let inner = Service::new(&format!("{}:8080", f.pod), proto);
        lab.put(&inner.backends(&[&format!("{}:9090", f.pod)]));
        let sent = first(proto, &format!("{}:40000 -> {}:80", f.pod2, f.vip));
        let there = lab.through(Ingress, &sent, Reason::NewFlow);
        lab.ignores(IngressUpper, &there);
    });
}

#[test]
fn truncated_and_lying_packets_are_not_translated() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&simple(f, proto::TCP));
        lab.put(&simple(f, proto::UDP));
        for packet in [
            tcp(&format!("{}:40000 -> {}:80", f.pod2, f.vip)).syn(),
            udp(&format!("{}:40000 -> {}:80", f.pod2, f.vip)),
        ] {
            let whole = packet.bytes();
            let (header, l4) = if packet.src.is_ipv4() { (20, 34) } else { (40, 54) };
            let minimum = if packet.proto == proto::TCP { 20 } else { 8 };
            // The kernel itself refuses a test run without the whole IP header.
            let mut cases: Vec<Vec<u8>> =
                (14 + header..l4 + minimum).map(|length| whole[..length].to_vec()).collect();
            // A length that promises more than there is.
            let at = if header == 20 { 16 } else { 18 };
            let mut lying = whole.clone();
            lying[at] = 0xff;
            cases.push(lying);
            // Another version, and for TCP a header longer than the packet.
            let mut version = whole.clone();
            version[14] = 0x75;
            cases.push(version);
            if packet.proto == proto::TCP {
                let mut offset = whole.clone();
                offset[l4 + 12] = 0xf0;
                cases.push(offset);
            }
            for case in cases {
                let seen = lab.run(Ingress, &case);
                assert_eq!((seen.action, seen.reasons), (NEXT, vec![]), "{case:02x?}");
                assert_eq!(seen.frame, case);
            }
        }
    }
}
