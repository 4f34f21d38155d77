//! The verdict matrix (A40–A53), as in `proxy-ebpf/src/lb/select.rs`.

use sluice_common::{
    frontend::{
        Frontend, Range,
        flags::{
            CLUSTER_IP, ENDPOINT, EXTERNAL, LOCAL_POLICY, NO_ENDPOINTS, NODE_ALLOWED, SOURCE_RANGES,
        },
    },
    iface::flags::POD,
    net::{Addr, Port},
    prefix::SERVICE_CIDRS,
    settings::{detector, flags::MASQUERADE_ALL},
};

use super::{
    Answer, Detection, Verdict, lookup,
    side::{Packet, Side, ip, socket},
    steps::Steps,
};
use crate::model::why::Why;

/// Whom a packet is from, as the traffic policies see it (A42–A44).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Pod,
    Node,
    Other,
}

/// What the policies allow a packet.
#[derive(Clone, Copy)]
struct Allowed {
    /// Whether its source becomes the node.
    masquerade: bool,
    /// Whether it may reach the local range only.
    local: bool,
}

impl Allowed {
    fn range(self, frontend: &Frontend) -> Range {
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
    forward((side, packet), frontend, allowed, steps)
}

/// A packet that is nobody's.
pub(super) fn nobodys() -> Answer {
    end(Verdict::Untouched, String::new(), Steps::default())
}

fn end(verdict: Verdict, service: String, steps: Steps) -> Answer {
    Answer { verdict, backends: Vec::new(), masquerade: false, service, steps: steps.finish() }
}

fn rejects(steps: &mut Steps) {
    steps.rule("A50", "the sender gets ICMP port unreachable; its socket, ECONNREFUSED");
}

/// What no frontend serves: A51, A52, or not ours at all.
fn unserved<const N: usize>(side: &Side<'_, N>, packet: &Packet<N>, steps: &mut Steps) -> Verdict {
    let at = ip(&packet.dst);
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

fn forward<const N: usize>(
    (side, packet): (&Side<'_, N>, &Packet<N>),
    frontend: &Frontend,
    allowed: Allowed,
    mut steps: Steps,
) -> Answer {
    let service = side.name(frontend.service);
    let range = allowed.range(frontend);
    // A cluster IP with the Local policy has this node's endpoints for its only list.
    let internal_local = frontend.flags & (EXTERNAL | LOCAL_POLICY) == LOCAL_POLICY;
    match allowed.local || internal_local {
        true => local_list(side.why(frontend.service), &mut steps),
        false => cluster_list(side.why(frontend.service), &mut steps),
    }
    let (candidates, missing) = side.resolve(range);
    if missing > 0 {
        let text = format!("{missing} of {} slots name no backend, whose packets drop", range.len);
        steps.note(text);
    }
    if candidates.is_empty() {
        return end(Verdict::Drop, service, steps);
    }
    if frontend.affinity_timeout != 0 {
        let text = format!(
            "session affinity: a client stays with its endpoint until {}s after its last \
             connection",
            frontend.affinity_timeout
        );
        steps.rule("A71", text);
    }
    let own = candidates.iter().filter(|backend| backend.addr == packet.src).count();
    let hairpin = hairpin(own, candidates.len(), &packet.src, &mut steps);
    let masquerade = allowed.masquerade || hairpin;
    let backends = candidates.iter().map(socket).collect();
    Answer { verdict: Verdict::Forward, backends, masquerade, service, steps: steps.finish() }
}

/// A34.
fn local_list(why: Why, steps: &mut Steps) {
    if why.local_terminates {
        let text = "the candidates are the service's endpoints on this node: none is ready, and \
                    these terminate but still serve";
        return steps.rule("A34", text);
    }
    steps.rule("A34", "the candidates are the service's ready endpoints on this node");
}

/// A32, A33.
fn cluster_list(why: Why, steps: &mut Steps) {
    if why.node_hints {
        steps.rule("A32", "every ready endpoint has node hints: those that name this node count");
    }
    if why.zone_hints {
        let text = "every ready endpoint has zone hints: those that name this node's zone count";
        steps.rule("A32", text);
    }
    if why.cluster_terminates {
        let text = "the candidates are the service's endpoints that terminate but still serve: \
                    none is ready";
        return steps.rule("A33", text);
    }
    steps.rule("A33", "the candidates are the service's ready endpoints, on any node");
}

/// A46: whether every candidate is the source itself, so that whichever is chosen is masqueraded.
fn hairpin<const N: usize>(own: usize, all: usize, source: &Addr<N>, steps: &mut Steps) -> bool {
    let from = ip(source);
    match own {
        0 => {}
        own if own == all => {
            steps.rule("A46", format!("{from} is the only candidate itself: masquerade"));
        }
        _ => {
            let text = format!("{from} is a candidate itself: masqueraded if it is the one chosen");
            steps.rule("A46", text);
        }
    }
    own == all
}
