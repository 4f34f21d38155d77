//! How a service port's lists came about: what its endpoints' addresses alone do not tell.

use sluice_common::net::{V4, V6};

use super::{
    Model,
    endpoint::{Endpoints, Policy, falls_back, union},
    name::PortKey,
    spec::Endpoint,
    topology::{Mode, Place},
};

/// The rules that shaped a service port's lists in one family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Why {
    /// Hints name this node, and left the others' endpoints out (A32).
    pub node_hints: bool,
    /// Hints name this node's zone, and left the others' endpoints out (A32).
    pub zone_hints: bool,
    /// No endpoint is ready; those that terminate still serve (A33).
    pub cluster_terminates: bool,
    /// No endpoint on this node is ready; those that terminate still serve (A34).
    pub local_terminates: bool,
}

impl Model {
    /// How the lists of a service port came about, IPv4 and IPv6; `None` for an unknown id.
    pub fn why(&self, service: u32) -> Option<[Why; 2]> {
        let key = PortKey::parse(self.services.delta.wanted().get(&service)?)?;
        Some([self.why_of::<V4>(&key)?, self.why_of::<V6>(&key)?])
    }

    fn why_of<const N: usize>(&self, key: &PortKey) -> Option<Why> {
        let spec = self.objects.service(&key.object)?;
        let port = spec.ports.iter().find(|p| p.name == key.port && p.protocol == key.protocol)?;
        let slices = self.objects.slices(&key.object).map(|(_, slice)| slice);
        let endpoints = union::<N>(slices, port);
        let place = Place { node: &self.node_name, zone: &self.zone };
        Some(why(&endpoints, Policy::of::<N>(spec, port), &place))
    }
}

fn why<const N: usize>(endpoints: &Endpoints<'_, N>, policy: Policy, place: &Place<'_>) -> Why {
    let all = || endpoints.values().copied();
    let ready: Vec<&Endpoint> = all().filter(|e| e.ready).collect();
    let mode = place.mode(&ready);
    let narrows = policy.uses_cluster() && ready.iter().any(|e| !mode.allows(e, place));
    let here = || all().filter(|e| place.has(e));
    let ready_here = here().any(|e| e.ready);
    Why {
        node_hints: narrows && mode == Mode::SameNode,
        zone_hints: narrows && mode == Mode::SameZone,
        cluster_terminates: ready.is_empty() && all().any(falls_back),
        local_terminates: !ready_here && here().any(falls_back),
    }
}
