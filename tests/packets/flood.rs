//! A SYN flood from one client: the established flows of others stay.

use sluice_common::{handshake::FADING, limits::HALF_OPEN, net::proto};
use testbed::packet::{
    Datagram,
    Hook::{self, Egress, Ingress},
    Lab, NEXT, Service, tcp,
};

use super::{FAMILIES, Family, simple};

/// Flows of others, each of them established.
const FLOWS: u16 = 1_000;
/// Every so many of them comes from outside and is masqueraded: it has four entries.
const OUTSIDE: u16 = 4;
/// What the flow table holds.
const TABLE: u32 = 65_536;
/// SYNs of the flood.
const FLOOD: u32 = 2 * TABLE;
/// What a test may take at most: the flooder is granted a few more flows every second.
const SECONDS: u32 = 60;

/// A client's packets and those of its backend.
struct Flow {
    sent: Datagram,
    /// As it leaves the node, towards the backend.
    gone: Datagram,
    is_masqueraded: bool,
}

#[test]
fn a_syn_flood_from_one_client_leaves_the_established_flows_of_others() {
    for family in FAMILIES {
        let mut lab = Lab::with_flows(TABLE);
        lab.put(&simple(family, proto::TCP));
        let flows: Vec<_> = (0..FLOWS).map(|n| establish(&mut lab, family, n)).collect();
        let served = flood(&mut lab, family);
        assert!(served >= HALF_OPEN, "{served}: nobody is refused so many");
        assert!(served <= HALF_OPEN + SECONDS * HALF_OPEN / FADING, "{served}: too many");
        let lost: Vec<_> = flows.iter().filter(|flow| !flow.lives(&mut lab)).collect();
        println!("{}: {} of {} lost", family.vip, lost.len(), flows.len());
        assert!(lost.is_empty(), "{} of {} lost", lost.len(), flows.len());
        establish(&mut lab, family, FLOWS);
    }
}

/// SYNs of one client to all ports that it has; returns how many were served.
fn flood(lab: &mut Lab, family: Family) -> u32 {
    let client = if family.vip.starts_with('[') { "[fd00:10:244:1::66]" } else { "10.244.1.66" };
    lab.put(
        &Service::tcp(&format!("{}:80", family.vip2)).backends(&[&format!("{}:81", family.pod)]),
    );
    let mut served = 0;
    for number in 0..FLOOD {
        let to = if number.is_multiple_of(2) { family.vip } else { family.vip2 };
        let port = 1 + number / 2 % u32::from(u16::MAX);
        let seen = lab.pass(Ingress, &tcp(&format!("{client}:{port} -> {to}:80")).syn().bytes());
        served += u32::from(seen.action == NEXT);
    }
    served
}

/// Handshakes that end as they should are not counted.
#[test]
fn a_client_may_open_any_number_of_connections() {
    for family in FAMILIES {
        let mut lab = Lab::with_flows(TABLE);
        lab.put(&simple(family, proto::TCP));
        for number in 0..FLOWS * 5 {
            establish(&mut lab, family, number);
        }
    }
}

/// A connection that has shaken hands.
fn establish(lab: &mut Lab, family: Family, number: u16) -> Flow {
    let is_masqueraded = number.is_multiple_of(OUTSIDE);
    let client = if is_masqueraded { family.outside } else { family.pod2 };
    let ends = format!("{client}:{} -> {}:80", 20_000 + number, family.vip);
    let sent = tcp(&ends).ack();
    let mut gone = pass(lab, Ingress, &tcp(&ends).syn());
    if is_masqueraded {
        gone = pass(lab, Egress, &gone);
    }
    let flow = Flow { sent, gone, is_masqueraded };
    assert!(flow.gone.dst != flow.sent.dst && flow.lives(lab), "no connection {number}");
    flow
}

impl Flow {
    /// Whether a segment of the client and one of the backend still find their way.
    fn lives(&self, lab: &mut Lab) -> bool {
        let mut there = pass(lab, Ingress, &self.sent);
        let mut back = self.gone.reply();
        back.flags = self.sent.flags;
        if self.is_masqueraded {
            there = pass(lab, Egress, &there);
            back = pass(lab, Ingress, &back);
        }
        back = pass(lab, Egress, &back);
        (there.src, there.dst) == (self.gone.src, self.gone.dst)
            && (back.src, back.dst) == (self.sent.dst, self.sent.src)
    }
}

fn pass(lab: &mut Lab, hook: Hook, packet: &Datagram) -> Datagram {
    Datagram::parse(&lab.pass(hook, &packet.bytes()).frame)
}
