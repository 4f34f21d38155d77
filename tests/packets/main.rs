//! What the tc programs do to single packets, in both families, with every checksum checked.

mod affinity;
mod explain;
mod flood;
mod fragments;
mod icmp;
mod life;
mod maglev;
mod ranges;
mod reorder;
mod sctp;
mod tuples;
mod unserved;
mod verdicts;
mod xdp;

use testbed::packet::{Datagram, Hook, Lab, NEXT, Seen, Service, sctp, tcp, udp};

use sluice_common::{net::proto, reason::Reason};

/// The addresses of one family's test node and its neighbours.
#[derive(Clone, Copy)]
struct Family {
    /// A ClusterIP, and another.
    vip: &'static str,
    vip2: &'static str,
    /// An address of this node.
    node: &'static str,
    /// Pods on this node.
    pod: &'static str,
    pod2: &'static str,
    /// Someone outside the cluster.
    outside: &'static str,
}

const FAMILIES: [Family; 2] = [
    Family {
        vip: "10.96.0.10",
        vip2: "10.96.0.11",
        node: "192.168.100.11",
        pod: "10.244.1.2",
        pod2: "10.244.1.3",
        outside: "203.0.113.5",
    },
    Family {
        vip: "[fd00:10:96::10]",
        vip2: "[fd00:10:96::11]",
        node: "[fd00:192:168::11]",
        pod: "[fd00:10:244:1::2]",
        pod2: "[fd00:10:244:1::3]",
        outside: "[2001:db8::5]",
    },
];

/// The transports that the cases are run with.
const PROTOS: [u8; 3] = [proto::TCP, proto::UDP, proto::SCTP];

/// A first packet of a flow: a SYN, an INIT, or a datagram.
fn first(proto: u8, ends: &str) -> Datagram {
    match proto {
        proto::TCP => tcp(ends).syn(),
        proto::SCTP => sctp(ends),
        _ => udp(ends),
    }
}

/// A later packet of a flow.
fn later(proto: u8, ends: &str) -> Datagram {
    match proto {
        proto::TCP => tcp(ends).ack(),
        proto::SCTP => sctp(ends).data(&[b"hello sluice"]),
        _ => udp(ends),
    }
}

/// Runs a case for both families and every transport (A29), each in fresh maps.
fn everywhere(case: impl Fn(&mut Lab, Family, u8)) {
    for family in FAMILIES {
        for proto in PROTOS {
            case(&mut Lab::new(), family, proto);
        }
    }
}

/// What a packet became.
trait Through {
    /// Sends a packet through a program that must let it go on, for `reason`.
    fn through(&mut self, hook: Hook, packet: &Datagram, reason: Reason) -> Datagram;
    /// Sends a packet that must not be touched, nor counted.
    fn ignores(&mut self, hook: Hook, packet: &Datagram);
}

impl Through for Lab {
    fn through(&mut self, hook: Hook, packet: &Datagram, reason: Reason) -> Datagram {
        let Seen { action, reasons, frame } = self.run(hook, &packet.bytes());
        assert_eq!((action, reasons.as_slice()), (NEXT, [reason].as_slice()), "{packet:?}");
        let after = Datagram::parse(&frame);
        assert_eq!((after.flags, &after.payload), (packet.flags, &packet.payload));
        after
    }

    fn ignores(&mut self, hook: Hook, packet: &Datagram) {
        let seen = self.run(hook, &packet.bytes());
        assert_eq!((seen.action, seen.reasons.as_slice()), (NEXT, [].as_slice()), "{packet:?}");
        assert_eq!(seen.frame, packet.bytes());
    }
}

/// A service at `vip:80` with `pod:8080` behind it.
fn simple(f: Family, proto: u8) -> Service {
    Service::new(&format!("{}:80", f.vip), proto).backends(&[&format!("{}:8080", f.pod)])
}
