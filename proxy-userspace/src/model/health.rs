//! What load balancers and operators ask of a Service: its health check (A80, A82), and whether a
//! Local policy leaves it without an endpoint here.

use std::collections::{BTreeMap, BTreeSet};

use sluice_common::net::{V4, V6};

use super::{
    Model,
    endpoint::{Policy, choose, union},
    family,
    spec::{ObjectName, ServiceSpec, TrafficPolicy},
    topology::Place,
};

/// A Service's health check. A family that the Service does not have has no count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// spec.healthCheckNodePort.
    pub port: u16,
    /// Distinct addresses of ready IPv4 endpoints on this node, over all ports.
    pub v4: Option<usize>,
    /// The same for IPv6.
    pub v6: Option<usize>,
}

/// A Local policy that leaves a family of a Service without an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NoLocal {
    /// Whether it is the IPv6 side.
    pub v6: bool,
    /// Whether it is externalTrafficPolicy rather than internalTrafficPolicy.
    pub external: bool,
}

/// Both, for every Service that has them.
#[derive(Debug, Default)]
pub(super) struct Outward {
    checks: BTreeMap<ObjectName, HealthCheck>,
    no_local: BTreeMap<ObjectName, BTreeSet<NoLocal>>,
    changed: bool,
}

impl Model {
    /// Every health check, if any changed since the last call.
    pub fn changed_health_checks(&mut self) -> Option<BTreeMap<ObjectName, HealthCheck>> {
        std::mem::take(&mut self.outward.changed).then(|| self.outward.checks.clone())
    }

    /// How many Services a Local policy leaves without an endpoint here, by family and policy.
    pub fn no_local_endpoints(&self) -> BTreeMap<NoLocal, usize> {
        let mut counts = BTreeMap::new();
        for cause in self.outward.no_local.values().flatten() {
            *counts.entry(*cause).or_default() += 1;
        }
        counts
    }

    /// Recomputes both for one Service.
    pub(super) fn refresh_outward(&mut self, name: &ObjectName) {
        let spec = self.objects.service(name);
        let check = spec.and_then(|spec| self.health_check(name, spec));
        let no_local = spec.map(|spec| self.no_local(name, spec)).unwrap_or_default();
        let old = match check {
            Some(check) => self.outward.checks.insert(name.clone(), check),
            None => self.outward.checks.remove(name),
        };
        self.outward.changed |= old != check;
        match no_local.is_empty() {
            true => self.outward.no_local.remove(name),
            false => self.outward.no_local.insert(name.clone(), no_local),
        };
    }

    fn health_check(&self, name: &ObjectName, spec: &ServiceSpec) -> Option<HealthCheck> {
        let port = spec.health_check_node_port;
        if port == 0 {
            return None;
        }
        let place = Place { node: &self.node_name, zone: &self.zone };
        let slices = self.objects.slices(name).filter(|(_, slice)| !slice.ports.is_empty());
        let endpoints = slices.flat_map(|(_, slice)| &slice.endpoints);
        let ready = endpoints.filter(|endpoint| endpoint.ready && place.has(endpoint));
        let addresses: BTreeSet<_> = ready.map(|e| e.address.to_canonical()).collect();
        let count = |v4: bool| {
            let has_family = spec.cluster_ips.iter().any(|ip| ip.to_canonical().is_ipv4() == v4);
            has_family.then(|| addresses.iter().filter(|ip| ip.is_ipv4() == v4).count())
        };
        Some(HealthCheck { port, v4: count(true), v6: count(false) })
    }

    fn no_local(&self, name: &ObjectName, spec: &ServiceSpec) -> BTreeSet<NoLocal> {
        let mut found = BTreeSet::new();
        // Most Services have no Local policy, and cost nothing here.
        if [spec.internal_policy, spec.external_policy].contains(&TrafficPolicy::Local) {
            self.note_no_local::<V4>(name, spec, false, &mut found);
            self.note_no_local::<V6>(name, spec, true, &mut found);
        }
        found
    }

    fn note_no_local<const N: usize>(
        &self,
        name: &ObjectName,
        spec: &ServiceSpec,
        v6: bool,
        found: &mut BTreeSet<NoLocal>,
    ) {
        if !spec.cluster_ips.iter().any(|ip| family::addr::<N>(ip.to_canonical()).is_some()) {
            return;
        }
        let place = Place { node: &self.node_name, zone: &self.zone };
        for port in &spec.ports {
            let policy = Policy::of::<N>(spec, port);
            let endpoints = union::<N>(self.objects.slices(name).map(|(_, slice)| slice), port);
            let choice = choose(&endpoints, policy, &place);
            if policy.uses_local() && choice.has_endpoints && choice.local.is_empty() {
                let external = policy.external == TrafficPolicy::Local && policy.exposed;
                let internal = policy.internal == TrafficPolicy::Local;
                found.extend(internal.then_some(NoLocal { v6, external: false }));
                found.extend(external.then_some(NoLocal { v6, external: true }));
            }
        }
    }
}
