//! What the sources hand to the model: small plain structs, already free of Kubernetes types.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A transport protocol that Services know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// Which endpoints a traffic policy allows (A37).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// Any.
    #[default]
    Cluster,
    /// Those on the node.
    Local,
}

/// How a backend is chosen for a new flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Any, with equal chances (A38).
    #[default]
    Random,
    /// By the hash of the client's address and port, from the same table on every node.
    Maglev,
}

impl Algorithm {
    /// Its name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Maglev => "maglev",
        }
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::Random, Self::Maglev];
        let found = known.into_iter().find(|algorithm| algorithm.name() == text);
        found.ok_or_else(|| format!("{text:?} is neither random nor maglev"))
    }
}

/// A Service that has rules: not headless, not ExternalName (A2), not another proxy's (A1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSpec {
    /// Cluster addresses, at most one a family (A11).
    pub cluster_ips: Vec<IpAddr>,
    /// spec.externalIPs (A15).
    pub external_ips: Vec<IpAddr>,
    /// status.loadBalancer.ingress with an IP and ipMode VIP (A14).
    pub load_balancer_ips: Vec<IpAddr>,
    /// spec.loadBalancerSourceRanges, both families, not yet normalised (A16).
    pub source_ranges: Vec<IpNet>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// externalTrafficPolicy.
    pub external_policy: TrafficPolicy,
    /// internalTrafficPolicy.
    pub internal_policy: TrafficPolicy,
    /// Session affinity timeout in seconds; 0 without affinity (A71).
    pub affinity_timeout: u32,
    /// spec.healthCheckNodePort; 0 when there is none (A80).
    pub health_check_node_port: u16,
    /// How its backends are chosen, where the Service says so.
    pub algorithm: Option<Algorithm>,
}

/// An address of a Service that has no rules, by design.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// The Service.
    pub service: ObjectName,
    /// The address.
    pub address: IpAddr,
    /// Number of the rule that leaves it alone.
    pub rule: &'static str,
    /// What of the Service makes it so.
    pub why: &'static str,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty for an only port.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the cluster, external and load-balancer addresses.
    pub port: u16,
    /// NodePort; 0 when there is none (A13).
    pub node_port: u16,
}

/// An EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceSpec {
    /// The Service it belongs to (A3).
    pub service: ObjectName,
    /// Ports with a name and a number (A5).
    pub ports: Vec<SlicePort>,
    /// Endpoints with a usable address (A6).
    pub endpoints: Vec<Endpoint>,
    /// What made the control plane write it, where it says so (A97).
    pub trigger: Option<Trigger>,
}

/// The change of a Service or Pod that an EndpointSlice follows (A97).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// When, since the Unix epoch.
    pub at: Duration,
    /// Whether the slice holds IPv6 addresses.
    pub v6: bool,
}

/// A port of an EndpointSlice; joins a Service's port by name and protocol (A4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name; empty for an only port.
    pub name: String,
    /// Protocol.
    pub protocol: Protocol,
    /// Number.
    pub port: u16,
}

/// An endpoint of a slice, with the defaults of A7 applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `addresses[0]`.
    pub address: IpAddr,
    /// conditions.ready.
    pub ready: bool,
    /// conditions.serving.
    pub serving: bool,
    /// conditions.terminating.
    pub terminating: bool,
    /// nodeName; empty when unknown, which is remote (A8).
    pub node: String,
    /// hints.forZones (A32).
    pub zone_hints: Vec<String>,
    /// hints.forNodes (A32).
    pub node_hints: Vec<String>,
}

/// What the model has to know of its node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSpec {
    /// Value of `topology.kubernetes.io/zone`; empty when there is none (A17b).
    pub zone: String,
    /// Primary addresses, at most one a family (A17a).
    pub addresses: Vec<IpAddr>,
    /// spec.podCIDRs (A17c).
    pub pod_cidrs: Vec<IpNet>,
    /// Deleted, about to be, or not there: load balancers should send no more (A17d).
    pub leaving: bool,
}

/// An object, or a set of objects, changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change<K, T> {
    /// The whole set, after a first or a repeated list: what is not in it is gone.
    Replace(BTreeMap<K, T>),
    /// One object was added or changed.
    Apply(K, T),
    /// One object was deleted.
    Delete(K),
}

/// What a source reports. Sources never hand over half a list (A90).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Services changed.
    Services(Change<ObjectName, ServiceSpec>),
    /// EndpointSlices changed.
    Slices(Change<ObjectName, SliceSpec>),
    /// The own Node changed.
    Node(NodeSpec),
    /// All ServiceCIDRs (A18).
    ServiceCidrs(Vec<IpNet>),
    /// Something in an object could not be used; everything else was.
    Problem(super::problem::Problem),
    /// The object no longer has the problems it had: sent before the ones it still has.
    Cleared(super::problem::Subject),
}

/// `addr:port` of an endpoint.
pub type BackendAddr = SocketAddr;
