//! From a service port to what the maps should say about it, for one address family (A11).

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use sluice_common::{
    backend,
    frontend::{Frontend, FrontendKey, Range, flags},
    net::Addr,
};

use super::{
    endpoint::{Choice, Endpoints, Policy, Target, choose},
    family,
    sources::Guard,
    spec::{Algorithm, ServicePort, ServiceSpec, TrafficPolicy},
    topology::Place,
    validate::usable,
};

/// What governs a frontend (A37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A cluster IP: internalTrafficPolicy.
    Cluster,
    /// NodePort, load-balancer address, external IP: externalTrafficPolicy.
    External,
}

/// What the node contributes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Site<'a> {
    /// Where the node is.
    pub(super) place: Place<'a>,
    /// Addresses bound on a local interface.
    pub(super) addresses: &'a BTreeSet<IpAddr>,
    /// The node's primary addresses, at most one a family.
    pub(super) primary: &'a [IpAddr],
    /// How backends are chosen for Services that do not say.
    pub(super) algorithm: Algorithm,
}

/// What the maps should say about one service port, without ids and slots.
#[derive(Clone, Debug)]
pub(super) struct Wanted<const N: usize> {
    /// Where it is reached.
    pub(super) frontends: BTreeMap<FrontendKey<N>, Kind>,
    /// Its backends' flags.
    pub(super) backends: BTreeMap<Target<N>, u8>,
    /// Its lists.
    pub(super) choice: Choice<N>,
    /// Who may reach its load-balancer addresses; anybody without it.
    pub(super) guard: Option<Guard<N>>,
    /// Its Service's cluster IPs, where ports that no Service has are rejected (A51).
    pub(super) cluster_ips: BTreeSet<Addr<N>>,
    /// How a backend is chosen.
    pub(super) algorithm: Algorithm,
    policy: Policy,
    affinity_timeout: u32,
}

impl<const N: usize> Wanted<N> {
    /// What is wanted of a service port that is gone, or not of this family.
    pub(super) fn nothing() -> Self {
        Self {
            frontends: BTreeMap::new(),
            backends: BTreeMap::new(),
            choice: Choice { cluster: Vec::new(), local: Vec::new(), has_endpoints: false },
            guard: None,
            cluster_ips: BTreeSet::new(),
            policy: Policy {
                internal: TrafficPolicy::Cluster,
                external: TrafficPolicy::Cluster,
                exposed: false,
            },
            algorithm: Algorithm::Random,
            affinity_timeout: 0,
        }
    }

    /// What is wanted of a service port.
    pub(super) fn of(
        spec: &ServiceSpec,
        port: &ServicePort,
        endpoints: &Endpoints<'_, N>,
        site: &Site<'_>,
    ) -> Self {
        let policy = Policy::of::<N>(spec, port);
        let choice = choose(endpoints, policy, &site.place);
        let cluster_ips = cluster_ips(spec, site);
        let frontends = frontends(spec, port, &cluster_ips);
        Self {
            guard: Guard::of(spec, site.primary).filter(|_| !frontends.is_empty()),
            frontends,
            cluster_ips,
            backends: backends(endpoints, &choice),
            choice,
            policy,
            algorithm: spec.algorithm.unwrap_or(site.algorithm),
            affinity_timeout: spec.affinity_timeout,
        }
    }

    /// The value of one of [`Self::frontends`], given the id and the ranges of [`Self::choice`]'s
    /// lists.
    pub(super) fn value(
        &self,
        (key, kind): (&FrontendKey<N>, Kind),
        service: u32,
        (cluster, local): (Range, Range),
    ) -> Frontend {
        let none = Range::default();
        let rejects = if self.choice.has_endpoints { 0 } else { flags::NO_ENDPOINTS };
        let (flags, cluster, local) = match (kind, self.policy.internal, self.policy.external) {
            (Kind::Cluster, TrafficPolicy::Cluster, _) => (0, cluster, none),
            (Kind::Cluster, TrafficPolicy::Local, _) => (flags::LOCAL_POLICY, local, none),
            (Kind::External, _, TrafficPolicy::Cluster) => (flags::EXTERNAL, cluster, none),
            (Kind::External, _, TrafficPolicy::Local) => {
                (flags::EXTERNAL | flags::LOCAL_POLICY, cluster, local)
            }
        };
        let affinity_timeout = self.affinity_timeout;
        let chooses = match self.algorithm {
            Algorithm::Random => 0,
            Algorithm::Maglev => flags::HASHED,
        };
        let flags = flags | rejects | chooses | self.guarding(&key.addr);
        Frontend { service, flags, cluster, local, affinity_timeout }
    }

    fn guarding(&self, addr: &Addr<N>) -> u32 {
        match &self.guard {
            Some(guard) if !guard.addrs.contains(addr) => 0,
            Some(guard) if guard.admits_node => flags::SOURCE_RANGES | flags::NODE_ALLOWED,
            Some(_) => flags::SOURCE_RANGES,
            None => 0,
        }
    }
}

/// Those of the family; but one that is bound here is answered here: NodeLocal DNS.
fn cluster_ips<const N: usize>(spec: &ServiceSpec, site: &Site<'_>) -> BTreeSet<Addr<N>> {
    let elsewhere = |ip: &&IpAddr| !site.addresses.contains(&ip.to_canonical());
    spec.cluster_ips.iter().filter(elsewhere).copied().filter_map(usable).collect()
}

/// A20–A22. A Service without a cluster IP of the family has nothing in it (A11).
fn frontends<const N: usize>(
    spec: &ServiceSpec,
    port: &ServicePort,
    cluster_ips: &BTreeSet<Addr<N>>,
) -> BTreeMap<FrontendKey<N>, Kind> {
    let mut frontends = BTreeMap::new();
    let is_of_family = |ip: &IpAddr| family::addr::<N>(ip.to_canonical()).is_some();
    if !spec.cluster_ips.iter().any(is_of_family) {
        return frontends;
    }
    let proto = family::number(port.protocol);
    if port.node_port != 0 {
        let anywhere = Addr::UNSPECIFIED;
        frontends.insert(family::key(anywhere, port.node_port, proto), Kind::External);
    }
    for addr in spec.external_ips.iter().chain(&spec.load_balancer_ips).copied().filter_map(usable)
    {
        frontends.insert(family::key(addr, port.port, proto), Kind::External);
    }
    for addr in spec.cluster_ips.iter().copied().filter_map(usable) {
        let key = family::key(addr, port.port, proto);
        if cluster_ips.contains(&addr) {
            frontends.insert(key, Kind::Cluster);
        } else {
            frontends.remove(&key);
        }
    }
    frontends
}

/// Every endpoint that serves keeps its backend, so that UDP flows may stay (A73, A75). They may
/// stay as well with one that new flows choose although it does not serve: that is what
/// publishNotReadyAddresses asks for (A12), and leaving it with every datagram would only lead back.
fn backends<const N: usize>(
    endpoints: &Endpoints<'_, N>,
    choice: &Choice<N>,
) -> BTreeMap<Target<N>, u8> {
    let serving = endpoints.iter().filter(|(_, e)| e.serving);
    let mut backends: BTreeMap<_, _> =
        serving.map(|(target, _)| (*target, backend::flags::SERVING)).collect();
    let cluster = choice.cluster.iter().map(|target| (target, backend::flags::CLUSTER));
    let local = choice.local.iter().map(|target| (target, backend::flags::LOCAL));
    for (target, list) in cluster.chain(local) {
        *backends.entry(*target).or_default() |= list | backend::flags::SERVING;
    }
    backends
}
