//! The same packets through XDP and through tc.

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{Crossroads, Datagram, Hook, Lab, SENT, Service};

use crate::{FAMILIES, Family, first, later};

/// A pod of another node.
fn far(f: Family) -> &'static str {
    if f.vip.starts_with('[') { "[fd00:10:244:2::2]" } else { "10.244.2.2" }
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

fn begin(lab: &mut Lab, f: Family, proto: u8) -> Begun {
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
        lab.put(&node_port(f, proto, far(f)));
        let begun = begin(lab, f, proto);
        for (packet, reason, next_hop) in [
            (&begun.there, Reason::XdpForward, [2, 0, 0, 0, 1, 2]),
            (&begun.back, Reason::XdpReply, [2, 0, 0, 0, 1, 1]),
        ] {
            let by_tc = through_tc(lab, packet).pop().expect("a packet");
            let seen = lab.run(Hook::Uplink, &packet.bytes());
            assert_eq!((seen.action, seen.reasons.as_slice()), (SENT, [reason].as_slice()));
            assert_eq!(essence(&seen.frame), essence(&by_tc));
            assert_eq!(seen.frame[limit(&seen.frame)], 63, "one hop");
            assert_eq!(seen.frame[..6], next_hop);
            assert_eq!(seen.frame[6..12], packet.bytes()[..6], "from this node");
        }
    });
}
