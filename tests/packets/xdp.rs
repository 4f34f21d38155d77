//! The same packets through XDP and through tc.

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    ACK, Crossroads, Datagram, FIN, Hook, Lab, PASS, REDIRECTED, SENT, Seen, Service,
};

use crate::{FAMILIES, Family, first, later};

/// A pod behind node `n` of [`Crossroads`].
fn pod(f: Family, n: u8) -> String {
    let v6 = f.vip.starts_with('[');
    if v6 { format!("[fd00:10:244:{n}::2]") } else { format!("10.244.{n}.2") }
}

/// A NodePort with one endpoint.
fn node_port(f: Family, proto: u8, endpoint: &str) -> Service {
    let service = Service::new(&format!("{}:80", f.vip), proto);
    service.backends(&[&format!("{endpoint}:8080")]).node_port(30080, false)
}

/// A flow to a service's NodePort, established by tc.
struct Begun {
    /// A packet of the client's.
    there: Datagram,
    /// A packet of the backend's.
    back: Datagram,
}

fn begin(lab: &mut Lab, f: Family, proto: u8, endpoint: &str) -> Begun {
    lab.put(&node_port(f, proto, endpoint));
    let ends = format!("{}:40000 -> {}:30080", f.outside, f.node);
    let sent = through_tc(lab, &first(proto, &ends)).pop().expect("a packet");
    through_tc(lab, &Datagram::parse(&sent).reply());
    let there = later(proto, &ends);
    let back = Datagram::parse(through_tc(lab, &there).last().expect("a packet")).reply();
    through_tc(lab, &back);
    Begun { there, back }
}

/// A packet's frame after ingress and after egress.
fn through_tc(lab: &mut Lab, packet: &Datagram) -> Vec<Vec<u8>> {
    let middle = lab.run(Hook::Ingress, &packet.bytes()).frame;
    let after = lab.run(Hook::Egress, &middle).frame;
    vec![middle, after]
}

/// Where the TTL and what follows it stand, in an untagged frame.
fn limit(frame: &[u8]) -> usize {
    if frame[12..14] == [8, 0] { 14 + 8 } else { 14 + 7 }
}

/// What a frame says from its IP header on, but for the hop limit and the checksum that covers it.
fn essence(frame: &[u8]) -> Vec<u8> {
    Datagram::parse(frame);
    let mut bytes = frame.to_vec();
    let at = limit(frame);
    bytes[at] = 0;
    if frame[12..14] == [8, 0] {
        bytes[at + 2..at + 4].fill(0);
    }
    bytes.split_off(14)
}

/// A frame through XDP. (The first datagram of a second is tc's.)
fn through_xdp(lab: &mut Lab, packet: &Datagram, frame: &[u8]) -> Seen {
    for _ in 0..5 {
        let seen = lab.run(Hook::Uplink, frame);
        if seen.action != PASS {
            return seen;
        }
        lab.pass(Hook::Ingress, &packet.bytes());
    }
    panic!("XDP leaves it to tc: {packet:?}");
}

/// A frame that XDP must leave to tc as it is.
fn left(lab: &mut Lab, frame: &[u8], reasons: &[Reason]) {
    let seen = lab.run(Hook::Uplink, frame);
    assert_eq!((seen.action, seen.reasons.as_slice()), (PASS, reasons));
    assert_eq!(seen.frame, frame);
}

/// The frame with the tag of vlan 7 and some priority.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0x60, 7], &frame[12..]].concat()
}

/// What stands behind the tag of vlan 7, with the link-layer header.
fn untagged(frame: &[u8]) -> Vec<u8> {
    assert_eq!((&frame[12..14], frame[15]), ([0x81, 0].as_slice(), 7));
    [&frame[..12], &frame[16..]].concat()
}

const PROTOS: [u8; 2] = [proto::TCP, proto::UDP];

fn everywhere(case: impl Fn(&mut Lab, Family, u8) + Sync) {
    for f in FAMILIES {
        for proto in PROTOS {
            Crossroads::visit(|crossroads| case(&mut crossroads.lab, f, proto));
        }
    }
}

#[test]
fn an_established_flow_is_rewritten_as_tc_does() {
    everywhere(|lab, f, proto| {
        let begun = begin(lab, f, proto, &pod(f, 2));
        for (packet, reason, next_hop) in [
            (&begun.there, Reason::XdpForward, [2, 0, 0, 0, 1, 2]),
            (&begun.back, Reason::XdpReply, [2, 0, 0, 0, 1, 1]),
        ] {
            let by_tc = through_tc(lab, packet).pop().expect("a packet");
            let seen = through_xdp(lab, packet, &packet.bytes());
            assert_eq!((seen.action, seen.reasons.as_slice()), (SENT, [reason].as_slice()));
            assert_eq!(essence(&seen.frame), essence(&by_tc));
            assert_eq!(seen.frame[limit(&seen.frame)], 63, "one hop");
            assert_eq!(seen.frame[..6], next_hop);
            assert_eq!(seen.frame[6..12], packet.bytes()[..6], "from this node");
        }
    });
}

#[test]
fn the_way_out_may_be_another_uplink_or_a_vlan() {
    everywhere(|lab, f, proto| {
        let begun = begin(lab, f, proto, &pod(f, 3));
        let by_tc = through_tc(lab, &begun.there).pop().expect("a packet");
        let seen = through_xdp(lab, &begun.there, &begun.there.bytes());
        assert_eq!(seen.action, REDIRECTED);
        assert_eq!(essence(&seen.frame), essence(&by_tc));
        assert_eq!(seen.frame[..12], [2, 0, 0, 0, 2, 2, 2, 0, 0, 0, 0, 3]);
    });
    everywhere(|lab, f, proto| {
        let begun = begin(lab, f, proto, &pod(f, 7));
        let by_tc = through_tc(lab, &begun.there).pop().expect("a packet");
        // Into the vlan, back out of it, and the same way out as in.
        let seen = through_xdp(lab, &begun.there, &begun.there.bytes());
        assert_eq!(seen.action, SENT);
        assert_eq!(essence(&untagged(&seen.frame)), essence(&by_tc));
        assert_eq!(seen.frame[..6], [2, 0, 0, 0, 7, 2]);
        let home = through_tc(lab, &begun.back).pop().expect("a packet");
        let seen = through_xdp(lab, &begun.back, &tagged(&begun.back.bytes()));
        assert_eq!(seen.action, SENT);
        assert_eq!(essence(&seen.frame), essence(&home));
        let seen = through_xdp(lab, &begun.there, &tagged(&begun.there.bytes()));
        assert_eq!(essence(&untagged(&seen.frame)), essence(&by_tc));
        assert_eq!(seen.frame[14], 0x60, "the priority stays");
    });
}

#[test]
fn what_begins_a_flow_is_left_to_tc() {
    everywhere(|lab, f, proto| {
        let ends = format!("{}:40000 -> {}:30080", f.outside, f.node);
        let service = node_port(f, proto, &pod(f, 2));
        lab.put(&service);
        left(lab, &first(proto, &ends).bytes(), &[]);
        begin(lab, f, proto, &pod(f, 2));
        if proto == proto::TCP {
            left(lab, &first(proto, &ends).bytes(), &[]);
        }
    });
}

#[test]
fn what_does_not_leave_by_an_uplink_is_left_to_tc() {
    everywhere(|lab, f, proto| {
        // A pod of this node, and one whose node's MAC address is not known.
        for n in [1, 9] {
            let begun = begin(lab, f, proto, &pod(f, n));
            lab.pass(Hook::Ingress, &begun.there.bytes());
            let seen = lab.run(Hook::Uplink, &begun.there.bytes());
            assert_eq!((seen.action, seen.frame), (PASS, begun.there.bytes()));
            assert!(seen.reasons == [Reason::XdpRoute] || proto == proto::UDP);
            lab.forget_flows();
        }
    });
}

#[test]
fn unusual_packets_are_left_to_tc() {
    everywhere(|lab, f, proto| {
        let frame = begin(lab, f, proto, &pod(f, 2)).there.bytes();
        let v4 = frame[12..14] == [8, 0];
        let mut stranger = frame.clone();
        stranger[5] ^= 1;
        left(lab, &stranger, &[]);
        let mut last_hop = frame.clone();
        last_hop[limit(&frame)] = 1;
        left(lab, &last_hop, &[]);
        let mut options = frame.clone();
        if v4 {
            options[14] = 0x46;
            options[17] += 4;
            options.splice(34..34, [1; 4]);
            let mut fragment = frame.clone();
            fragment[20] = 0x20;
            left(lab, &fragment, &[]);
        } else {
            options[19] += 8;
            options.splice(54..54, [options[20], 0, 1, 4, 0, 0, 0, 0]);
            options[20] = 0;
        }
        left(lab, &options, &[]);
    });
}

#[test]
fn an_incomplete_checksum_is_left_to_tc() {
    everywhere(|lab, f, proto| {
        let begun = begin(lab, f, proto, &pod(f, 2));
        let mut frame = begun.there.bytes();
        let (addresses, l4) = if frame[12..14] == [8, 0] { (26..34, 34) } else { (22..54, 54) };
        let mut sum = u32::from(proto) + (frame.len() - l4) as u32;
        for word in frame[addresses].chunks(2) {
            sum += u32::from(u16::from_be_bytes([word[0], word[1]]));
        }
        let sum = (sum & 0xffff) + (sum >> 16);
        let at = l4 + if proto == proto::TCP { 16 } else { 6 };
        frame[at..at + 2].copy_from_slice(&((sum & 0xffff) + (sum >> 16)).to_be_bytes()[2..]);
        lab.pass(Hook::Ingress, &begun.there.bytes());
        let seen = lab.run(Hook::Uplink, &frame);
        assert_eq!((seen.action, seen.frame), (PASS, frame));
        assert!(seen.reasons == [Reason::XdpChecksum] || proto == proto::UDP);
    });
}

#[test]
fn a_datagram_without_a_checksum_stays_without() {
    Crossroads::visit(|crossroads| {
        let (lab, f) = (&mut crossroads.lab, FAMILIES[0]);
        let begun = begin(lab, f, proto::UDP, &pod(f, 2));
        let mut frame = begun.there.bytes();
        frame[40..42].fill(0);
        let seen = through_xdp(lab, &begun.there, &frame);
        assert_eq!((seen.action, &seen.frame[40..42]), (SENT, [0, 0].as_slice()));
    });
}

/// The state of a connection is kept by either path for the other.
#[test]
fn a_syn_after_a_fin_by_xdp_begins_anew() {
    for f in FAMILIES {
        Crossroads::visit(|crossroads| {
            let lab = &mut crossroads.lab;
            let begun = begin(lab, f, proto::TCP, &pod(f, 2));
            let fin = begun.there.clone().flags(FIN | ACK);
            through_xdp(lab, &begun.there, &fin.bytes());
            let again = first(proto::TCP, &format!("{} -> {}", begun.there.src, begun.there.dst));
            assert_eq!(lab.run(Hook::Ingress, &again.bytes()).reasons, [Reason::Rechosen]);
        });
    }
}

#[test]
fn a73_datagrams_for_a_backend_that_left_are_left_to_tc() {
    for f in FAMILIES {
        Crossroads::visit(|crossroads| {
            let lab = &mut crossroads.lab;
            let begun = begin(lab, f, proto::UDP, &pod(f, 2));
            lab.put(&node_port(f, proto::UDP, &pod(f, 3)));
            lab.retire(&format!("{}:8080", pod(f, 2)), proto::UDP);
            left(lab, &begun.there.bytes(), &[]);
        });
    }
}

/// What other flows of the node look like, which have entries as well.
#[test]
fn direct_traffic_is_left_to_tc() {
    everywhere(|lab, f, proto| {
        lab.put(&node_port(f, proto, &pod(f, 2)));
        let ends = format!("{}:40000 -> {}:8080", f.outside, pod(f, 2));
        through_tc(lab, &first(proto, &ends));
        left(lab, &later(proto, &ends).bytes(), &[]);
    });
}
