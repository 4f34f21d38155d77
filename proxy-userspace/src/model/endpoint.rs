//! Which endpoints a service port may use: A4–A9 and A30–A35, for one address family.

use std::collections::{BTreeMap, btree_map::Entry};

use sluice_common::net::{Addr, Port};

use super::{
    spec::{Endpoint, ServicePort, ServiceSpec, SlicePort, SliceSpec, TrafficPolicy},
    topology::Place,
    validate,
};

/// Address and port of an endpoint: the identity of a backend within its service port.
pub(super) type Target<const N: usize> = (Addr<N>, Port);

/// The endpoints of a service port, ordered, so that what is derived from them is.
pub(super) type Endpoints<'a, const N: usize> = BTreeMap<Target<N>, &'a Endpoint>;

/// The choice for one service port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice<const N: usize> {
    /// A33; empty unless [`Policy::uses_cluster`].
    pub(super) cluster: Vec<Target<N>>,
    /// A34; empty unless [`Policy::uses_local`].
    pub(super) local: Vec<Target<N>>,
    /// A35.
    pub(super) has_endpoints: bool,
}

/// What a Service asks for, as far as the choice depends on it (A37).
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// internalTrafficPolicy.
    pub(super) internal: TrafficPolicy,
    /// externalTrafficPolicy.
    pub(super) external: TrafficPolicy,
    /// Whether the port can be reached from outside.
    pub(super) exposed: bool,
}

impl Policy {
    /// The policy of one port in one family.
    pub(super) fn of<const N: usize>(spec: &ServiceSpec, port: &ServicePort) -> Self {
        let mut vips = spec.load_balancer_ips.iter().chain(&spec.external_ips);
        let exposed = port.node_port != 0 || vips.any(|ip| validate::usable::<N>(*ip).is_some());
        Self { internal: spec.internal_policy, external: spec.external_policy, exposed }
    }

    /// A30.
    pub(super) fn uses_cluster(self) -> bool {
        self.internal == TrafficPolicy::Cluster || self.exposed
    }

    /// A31.
    pub(super) fn uses_local(self) -> bool {
        self.internal == TrafficPolicy::Local
            || (self.external == TrafficPolicy::Local && self.exposed)
    }
}

/// The union of a service port's endpoints over its slices (A4, A9).
///
/// Of two entries for one address the one that does not terminate wins, then the one whose slice
/// comes first.
pub(super) fn union<'a, const N: usize>(
    slices: impl Iterator<Item = &'a SliceSpec>,
    port: &ServicePort,
) -> Endpoints<'a, N> {
    let mut union = Endpoints::new();
    for slice in slices {
        for number in numbers(slice, port) {
            for endpoint in &slice.endpoints {
                if let Some(target) = target(endpoint, number) {
                    add(&mut union, target, endpoint);
                }
            }
        }
    }
    union
}

/// The numbers that a service port has in a slice: by name and protocol (A4), never 0 (A5).
fn numbers(slice: &SliceSpec, port: &ServicePort) -> impl Iterator<Item = u16> {
    let joins = |p: &&SlicePort| p.name == port.name && p.protocol == port.protocol && p.port != 0;
    slice.ports.iter().filter(joins).map(|p| p.port)
}

fn add<'a, const N: usize>(
    union: &mut Endpoints<'a, N>,
    target: Target<N>,
    endpoint: &'a Endpoint,
) {
    match union.entry(target) {
        Entry::Vacant(entry) => {
            entry.insert(endpoint);
        }
        Entry::Occupied(mut entry) => {
            if entry.get().terminating && !endpoint.terminating {
                entry.insert(endpoint);
            }
        }
    }
}

fn target<const N: usize>(endpoint: &Endpoint, port: u16) -> Option<Target<N>> {
    validate::usable(endpoint.address).map(|addr| (addr, Port::new(port)))
}

/// Chooses: A30–A35.
pub(super) fn choose<const N: usize>(
    endpoints: &Endpoints<'_, N>,
    policy: Policy,
    place: &Place<'_>,
) -> Choice<N> {
    let cluster = if policy.uses_cluster() { cluster(endpoints, place) } else { Vec::new() };
    let local = if policy.uses_local() { local(endpoints, place) } else { Vec::new() };
    let has_endpoints = if policy.uses_local() {
        endpoints.values().any(|e| e.ready || falls_back(e))
    } else {
        !cluster.is_empty()
    };
    Choice { cluster, local, has_endpoints }
}

/// A33: ready and allowed by the hints, or else whatever terminates and still serves.
fn cluster<const N: usize>(endpoints: &Endpoints<'_, N>, place: &Place<'_>) -> Vec<Target<N>> {
    let ready: Vec<&Endpoint> = endpoints.values().copied().filter(|e| e.ready).collect();
    let mode = place.mode(&ready);
    let usable = select(endpoints, |e| e.ready && mode.allows(e, place));
    if usable.is_empty() { select(endpoints, falls_back) } else { usable }
}

/// A34: the same on this node, whatever the hints say.
fn local<const N: usize>(endpoints: &Endpoints<'_, N>, place: &Place<'_>) -> Vec<Target<N>> {
    let ready = select(endpoints, |e| place.has(e) && e.ready);
    if ready.is_empty() { select(endpoints, |e| place.has(e) && falls_back(e)) } else { ready }
}

pub(super) fn falls_back(endpoint: &Endpoint) -> bool {
    endpoint.serving && endpoint.terminating
}

fn select<const N: usize>(
    endpoints: &Endpoints<'_, N>,
    wanted: impl Fn(&Endpoint) -> bool,
) -> Vec<Target<N>> {
    endpoints.iter().filter(|(_, e)| wanted(e)).map(|(target, _)| *target).collect()
}
