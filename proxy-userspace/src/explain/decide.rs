//! The verdict matrix (A40–A53), as in `proxy-ebpf/src/lb/select.rs`.

use sluice_common::{
    frontend::{
        Frontend, Range,
        flags::{
            CLUSTER_IP, ENDPOINT, EXTERNAL, LOCAL_POLICY, NO_ENDPOINTS, NODE_ALLOWED, SOURCE_RANGES,
        },
    },
    iface::flags::POD,
    net::Port,
    prefix::SERVICE_CIDRS,
    settings::{detector, flags::MASQUERADE_ALL},
};

use super::{
    Answer, Detection, Verdict, candidates, lookup,
    side::{Packet, Side, ip},
    steps::Steps,
};

/// Whom a packet is from, as the traffic policies see it (A42–A44).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Pod,
    Node,
    Other,
}

/// What the policies allow a packet.
#[derive(Clone, Copy)]
pub(super) struct Allowed {
    /// Whether its source becomes the node.
    pub(super) masquerade: bool,
    /// Whether it may reach the local range only.
    pub(super) local: bool,
}

impl Allowed {
    pub(super) fn range(self, frontend: &Frontend) -> Range {
        if self.local { frontend.local } else { frontend.cluster }
    }
}

/// Decides about a packet.
pub(super) fn decide<const N: usize>(side: &Side<'_, N>, packet: &Packet<N>) -> Answer {
    let mut steps = Steps::default();
    let Some(frontend) = lookup::frontend(side, packet, &mut steps) else {
        let verdict = unserved(side, packet, &mut steps);
        return end(verdict, String::new(), steps);
    };
    let service = side.name(frontend.service);
    if !may_come(side, packet, frontend, &mut steps) {
        return end(Verdict::Drop, service, steps);
    }
    if frontend.flags & NO_ENDPOINTS != 0 {
        steps.rule("A47", format!("{service} has no usable endpoint on any node: reject"));
        rejects(&mut steps);
        return end(Verdict::Reject, service, steps);
    }
    let allowed = policy(side, packet, frontend, &mut steps);
    if allowed.range(frontend).len == 0 {
        none_here(frontend, &mut steps);
        return end(Verdict::Drop, service, steps);
    }
    candidates::forward((side, packet), frontend, allowed, steps)
}

/// A packet that is nobody's.
pub(super) fn nobodys() -> Answer {
    end(Verdict::Untouched, String::new(), Steps::default())
}

pub(super) fn end(verdict: Verdict, service: String, steps: Steps) -> Answer {
    Answer { verdict, backends: Vec::new(), masquerade: false, service, steps: steps.finish() }
}

fn rejects(steps: &mut Steps) {
    steps.rule("A50", "the sender gets ICMP port unreachable; its socket, ECONNREFUSED");
}

/// What no frontend serves: A51, A52, or not ours at all.
fn unserved<const N: usize>(side: &Side<'_, N>, packet: &Packet<N>, steps: &mut Steps) -> Verdict {
    let at = ip(&packet.dst);
    for unserved in side.unserved.iter().filter(|unserved| unserved.address == at) {
        let text = format!("{at} is {}'s, but {}: it has no rules", unserved.service, unserved.why);
        steps.rule(unserved.rule, text);
    }
    let exact = side.frontend(packet.dst, packet.port, packet.proto);
    if exact.is_some_and(|f| f.flags & ENDPOINT != 0) {
        steps.note(format!("{at} is an endpoint's own address: the packet goes there directly"));
        return Verdict::Untouched;
    }
    if side.own(&packet.dst).is_some() {
        steps.note(format!("{at} is the node's own address: what listens there answers"));
        return Verdict::Untouched;
    }
    if !side.in_services(&packet.dst) {
        return Verdict::Untouched;
    }
    let mark = side.frontend(packet.dst, Port::new(0), 0);
    if mark.is_some_and(|f| f.flags & CLUSTER_IP != 0) {
        let text = format!("{at} is a service's cluster IP, which has no such port: reject");
        steps.rule("A51", text);
        rejects(steps);
        return Verdict::Reject;
    }
    if side.lists(SERVICE_CIDRS, &packet.dst) {
        steps.rule("A52", format!("{at} is in a ServiceCIDR, but no service's cluster IP: drop"));
        return Verdict::Drop;
    }
    Verdict::Untouched
}

/// A53: whether loadBalancerSourceRanges let the source in.
fn may_come<const N: usize>(
    side: &Side<'_, N>,
    packet: &Packet<N>,
    frontend: &Frontend,
    steps: &mut Steps,
) -> bool {
    if frontend.flags & SOURCE_RANGES == 0 {
        return true;
    }
    let from = ip(&packet.src);
    // A loopback source is one of the node's sockets before it has an address.
    let listed = side.lists(frontend.service, &packet.src)
        || from.is_loopback() && frontend.flags & NODE_ALLOWED != 0;
    let text = match listed {
        true => format!("loadBalancerSourceRanges allow {from}"),
        false => format!("loadBalancerSourceRanges do not list {from}: drop"),
    };
    steps.rule("A53", text);
    listed
}

/// Whether the packet's source becomes the node, and the endpoints it may reach (A40–A45).
fn policy<const N: usize>(
    side: &Side<'_, N>,
    packet: &Packet<N>,
    frontend: &Frontend,
    steps: &mut Steps,
) -> Allowed {
    if frontend.flags & EXTERNAL == 0 {
        let masquerade = masquerades_cluster_ip(side, packet, steps);
        return Allowed { masquerade, local: false };
    }
    if frontend.flags & LOCAL_POLICY == 0 {
        let text = "externalTrafficPolicy is Cluster: any endpoint, and masquerade";
        steps.rule("A41", text);
        return Allowed { masquerade: true, local: false };
    }
    match source(side, packet, steps) {
        Source::Pod => {
            let text = "externalTrafficPolicy is Local, but a local pod may reach any endpoint; \
                        its address is kept";
            steps.rule("A42", text);
            Allowed { masquerade: false, local: false }
        }
        Source::Node => {
            let text = "externalTrafficPolicy is Local, but the node itself may reach any \
                        endpoint; masquerade";
            steps.rule("A43", text);
            Allowed { masquerade: true, local: false }
        }
        Source::Other => {
            let text = "externalTrafficPolicy is Local: endpoints on this node only; the client's \
                        address is kept";
            steps.rule("A44", text);
            Allowed { masquerade: false, local: true }
        }
    }
}

/// A40.
fn masquerades_cluster_ip<const N: usize>(
    side: &Side<'_, N>,
    packet: &Packet<N>,
    steps: &mut Steps,
) -> bool {
    if side.settings.flags & MASQUERADE_ALL != 0 {
        steps.rule("A40", "--masquerade-all: masquerade");
        return true;
    }
    let is_pod = source(side, packet, steps) == Source::Pod;
    let (masquerade, text) = match (side.detector, is_pod) {
        (detector::NONE, _) => (false, "nothing tells pods from others: the source is kept"),
        (_, true) => (false, "a local pod dials a cluster IP: its address is kept"),
        (_, false) => (true, "not a local pod dials a cluster IP: masquerade"),
    };
    steps.rule("A40", text);
    masquerade
}

/// Classifies the source (A.5).
fn source<const N: usize>(side: &Side<'_, N>, packet: &Packet<N>, steps: &mut Steps) -> Source {
    let from = ip(&packet.src);
    let is_pod = match side.detector {
        detector::PREFIX => side.pods.contains(&packet.src),
        detector::IFACE => packet.input & POD != 0,
        _ => false,
    };
    let node = side.own(&packet.src).is_some();
    let who = match (is_pod, node) {
        (true, _) => "a local pod",
        (false, true) => "this node itself, no pod",
        (false, false) => "no local pod",
    };
    match side.detector {
        detector::PREFIX | detector::IFACE => {
            let (rule, by) = match side.detection {
                Detection::ClusterCidr => ("A60", "cluster CIDR"),
                Detection::NodeCidr => ("A61", "node's pod CIDR"),
                Detection::BridgeInterface => ("A62", "input interface"),
                Detection::InterfaceNamePrefix => ("A63", "input interface's name"),
            };
            steps.rule(rule, format!("by the {by}, {from} is {who}"));
        }
        _ => steps.rule("A45", format!("no detector of local pods: {from} counts as none")),
    }
    match (is_pod, node) {
        (true, _) => Source::Pod,
        (false, true) => Source::Node,
        (false, false) => Source::Other,
    }
}

/// A48, A49: there are endpoints, but none that the policy allows.
fn none_here(frontend: &Frontend, steps: &mut Steps) {
    if frontend.flags & EXTERNAL == 0 {
        let text = "internalTrafficPolicy is Local, and no endpoint is on this node: drop";
        steps.rule("A48", text);
    } else {
        steps.rule("A49", "no endpoint is on this node: drop");
    }
}
