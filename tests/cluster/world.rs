//! A cluster with the real `sluice` on every node.

use anyhow::Result;
use testbed::address::{self, Family, Pair};
use testbed::{Builder, Cluster, CniRules, Manifests, Service, Slice, Sluice, Source, Topology};

/// The port of every test Service.
pub(crate) const PORT: u16 = 80;

/// The fields end in their order: controllers before the namespaces they live in.
pub(crate) struct World {
    pub(crate) sluices: Vec<Sluice>,
    pub(crate) manifests: Manifests,
    pub(crate) cluster: Cluster,
}

impl World {
    /// A cluster whose controllers do not run yet.
    pub(crate) fn build(builder: Builder) -> Self {
        let cluster = builder.build().unwrap();
        let manifests = Manifests::new(cluster.dir("manifests").unwrap());
        Self { sluices: Vec::new(), manifests, cluster }
    }

    /// A topology with nothing else on its nodes.
    pub(crate) fn bare(topology: Topology) -> Self {
        Self::build(Cluster::builder(topology))
    }

    /// Starts the controllers of all nodes.
    pub(crate) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&mut self, more: &[&str]) {
        self.sluices = self.started(more);
    }

    /// The same for a world that is lent out meanwhile.
    pub(crate) fn started(&self, more: &[&str]) -> Vec<Sluice> {
        let source = Source::Manifests(self.manifests.dir());
        let start = |node| Sluice::start_with(node, source, more).unwrap();
        let mut sluices: Vec<Sluice> = self.cluster.nodes().iter().map(start).collect();
        for sluice in &mut sluices {
            sluice.wait_ready().unwrap();
        }
        sluices
    }

    /// Writes a [`service`].
    pub(crate) fn service(&self, number: u8, change: impl FnOnce(Service) -> Service) {
        self.manifests.service(&change(service(number))).unwrap();
    }

    /// Writes a Service and its pods.
    pub(crate) fn serve(&self, number: u8, pods: &[usize]) {
        self.service(number, |service| service);
        self.endpoints(number, pods).unwrap();
    }

    /// Writes a Service and its host-network endpoint.
    pub(crate) fn serve_host(&self, number: u8, node: u8) {
        self.service(number, |service| service);
        let slice = Slice::new(&name(number));
        let slice = slice.endpoint(address::node(node), &format!("node{node}"));
        self.manifests.slice(&slice).unwrap();
    }

    /// Writes a Service's endpoints anew.
    pub(crate) fn endpoints(&self, number: u8, pods: &[usize]) -> Result<()> {
        self.manifests.slice(&slice(&self.cluster, number, pods)?)
    }
}

/// A Service for TCP and UDP with a NodePort, [`node_port`].
pub(crate) fn service(number: u8) -> Service {
    Service::new(&name(number), address::service(number))
        .tcp(PORT, Some(node_port(number)))
        .udp(PORT, Some(node_port(number)))
}

/// A Service's endpoints.
pub(crate) fn slice(cluster: &Cluster, number: u8, pods: &[usize]) -> Result<Slice> {
    let mut slice = Slice::new(&name(number));
    for pod in pods {
        slice = slice.pod(cluster.pod(*pod)?);
    }
    Ok(slice)
}

/// A Service's name.
pub(crate) fn name(number: u8) -> String {
    format!("s{number}")
}

/// A Service's NodePort.
pub(crate) fn node_port(number: u8) -> u16 {
    30_000 + u16::from(number)
}

/// A Service's ClusterIP and port.
pub(crate) fn vip(number: u8, family: Family) -> std::net::SocketAddr {
    address::service(number).port(family, PORT)
}

/// The NodePort of a Service on a node.
pub(crate) fn on_node(node: u8, number: u8, family: Family) -> std::net::SocketAddr {
    address::node(node).port(family, node_port(number))
}

/// Whether an address is one of a node's own: masquerade takes the egress device's.
pub(crate) fn is_nodes(node: u8, family: Family, ip: std::net::IpAddr) -> bool {
    [address::node(node), address::gateway(node), address::overlay(node)]
        .iter()
        .any(|pair: &Pair| pair.ip(family) == ip)
}

/// Netfilter rules, and a topology that has to live with them.
pub(crate) fn ruled(topology: Topology) -> Builder {
    Cluster::builder(topology)
        .rules(CniRules { masquerade: true, forward_drop: true })
        .rp_filter(1)
        .bridge_netfilter(true)
}
