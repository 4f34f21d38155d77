//! Whom a packet may reach, and what follows from its being one of them: A32–A34, A46, A71.

use sluice_common::{
    backend::Backend,
    frontend::{
        Frontend, Range,
        flags::{EXTERNAL, HASHED, LOCAL_POLICY},
    },
    hash,
    net::Addr,
};

use super::{
    Answer, Verdict,
    decide::{Allowed, end},
    side::{Packet, Side, ip, socket},
    steps::Steps,
};
use crate::model::why::Why;

/// The answer where the policies leave somebody to choose from.
pub(super) fn forward<const N: usize>(
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
    let candidates = hashed((side, packet), frontend, range, candidates, &mut steps);
    let own = candidates.iter().filter(|backend| backend.addr == packet.src).count();
    if candidates.is_empty() {
        return end(Verdict::Drop, service, steps);
    }
    let hairpin = hairpin(own, candidates.len(), &packet.src, &mut steps);
    let masquerade = allowed.masquerade || hairpin;
    let backends = candidates.iter().map(socket).collect();
    Answer { verdict: Verdict::Forward, backends, masquerade, service, steps: steps.finish() }
}

/// The candidate that the service's Maglev table has for the packet's flow, where it can be told;
/// else all of them.
fn hashed<const N: usize>(
    (side, packet): (&Side<'_, N>, &Packet<N>),
    frontend: &Frontend,
    range: Range,
    candidates: Vec<Backend<N>>,
    steps: &mut Steps,
) -> Vec<Backend<N>> {
    let sticks = frontend.affinity_timeout != 0;
    if frontend.flags & HASHED == 0 {
        return candidates;
    }
    if side.own(&packet.src).is_some() {
        steps.note("maglev: a process of the node gets an endpoint by its socket's number");
        return candidates;
    }
    let (point, what) = match (sticks, packet.src_port) {
        (true, _) => (hash::of_client(&packet.src), "address, unless affinity remembers it,"),
        (false, Some(port)) => {
            let point = hash::of_flow(&packet.src, port, packet.port, packet.proto);
            (point, "address and port")
        }
        (false, None) => {
            steps.note("maglev: the client's port decides; name one with --from-port");
            return candidates;
        }
    };
    let chosen = side.at(range.slot(point));
    match chosen {
        Some(backend) => steps.note(format!(
            "maglev: the client's {what} leads to {}, on every node",
            socket(&backend)
        )),
        None => steps.note("maglev: the slot that the flow leads to names no backend"),
    }
    // With affinity, a client that is remembered goes on to where it went.
    if sticks { candidates } else { chosen.into_iter().collect() }
}

/// A34.
fn local_list(why: Option<Why>, steps: &mut Steps) {
    let text = match why {
        Some(why) if why.local_terminates => {
            "the candidates are the service's endpoints on this node that terminate but still \
             serve: none there is ready"
        }
        Some(_) => "the candidates are the service's ready endpoints on this node",
        None => "the candidates are the service's endpoints on this node",
    };
    steps.rule("A34", text);
}

/// A32, A33.
fn cluster_list(why: Option<Why>, steps: &mut Steps) {
    let text = match why {
        Some(why) if why.cluster_terminates => {
            "the candidates are the service's endpoints that terminate but still serve: none is \
             ready"
        }
        Some(why) if why.node_hints => {
            steps.rule("A32", "every ready endpoint has node hints, and some name this node");
            "the candidates are the ready endpoints with a hint to this node"
        }
        Some(why) if why.zone_hints => {
            steps.rule("A32", "every ready endpoint has zone hints, and some name this zone");
            "the candidates are the ready endpoints with a hint to this node's zone"
        }
        Some(_) => "the candidates are the service's ready endpoints, on any node",
        None => "the candidates are the service's endpoints, on any node",
    };
    steps.rule("A33", text);
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
