//! The cluster that all cases share, and the Services that each makes in it.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{
    Cluster, Node, Place, Pod, Service, Sluice, Source,
    address::{self, Family, Pair},
    apiserver::{ApiServer, kubeconfig},
};

use crate::endpoint::{Endpoint, slices};

/// The port of every Service that needs only one.
pub(crate) const PORT: u16 = 80;
/// Where the test API server listens, on node 1.
const API_PORT: u16 = 6443;
/// Services that one hundred of addresses has: the last byte stays below 200.
const BLOCK: u16 = 150;

/// The fields end in their order: controllers before the namespaces they live in.
pub(crate) struct Bed {
    pub(crate) sluices: Vec<Sluice>,
    pub(crate) server: ApiServer,
    pub(crate) cluster: Cluster,
    kubeconfig: PathBuf,
    last: AtomicU16,
}

impl Bed {
    /// On a cluster of two nodes, which are in two zones, and four pods: one API server, and
    /// `sluice` on both nodes.
    pub(crate) fn new(cluster: Cluster) -> Self {
        let at = (address::node(1).v4, API_PORT);
        let listener = cluster.node(1).unwrap().run(|| TcpListener::bind(at)).unwrap().unwrap();
        let server = ApiServer::on(listener).unwrap();
        for n in 1..=2 {
            let addresses = Family::BOTH
                .map(|f| json!({"type": "InternalIP", "address": address::node(n).ip(f)}));
            let labels = json!({"topology.kubernetes.io/zone": format!("zone{n}")});
            let metadata = json!({"name": format!("node{n}"), "labels": labels});
            let status = json!({"addresses": addresses});
            let node = json!({"kind": "Node", "metadata": metadata, "status": status});
            server.apply_value(node).unwrap();
        }
        let dir = cluster.dir("kube").unwrap();
        let kubeconfig = kubeconfig(&dir, &server.url(), None).unwrap();
        let sluices = Vec::new();
        let mut bed = Self { sluices, server, cluster, kubeconfig, last: AtomicU16::new(0) };
        bed.sluices = [1, 2].map(|n| bed.start(n)).into();
        bed.sluices.iter_mut().for_each(|sluice| sluice.wait_ready().unwrap());
        bed
    }

    /// Starts the controller of a node.
    pub(crate) fn start(&self, n: usize) -> Sluice {
        Sluice::start(self.node(n), Source::Kubeconfig(&self.kubeconfig)).unwrap()
    }

    /// Node `n`, counted from 1: its own processes, so a host-network pod too.
    pub(crate) fn node(&self, n: usize) -> &Node {
        self.cluster.node(n).unwrap()
    }

    /// Pod `p`: 1 and 2 are on node 1, 3 and 4 on node 2.
    pub(crate) fn pod(&self, p: usize) -> &Pod {
        self.cluster.pod(p).unwrap()
    }

    /// The client outside.
    pub(crate) fn client(&self) -> &Place {
        self.cluster.client()
    }

    /// A Service that is not in the cluster yet.
    pub(crate) fn unborn(&self) -> Svc<'_> {
        self.born(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A Service that was left, by its number.
    pub(crate) fn born(&self, number: u16) -> Svc<'_> {
        Svc { bed: self, number }
    }

    /// A dual-stack NodePort Service for TCP and UDP, changed, with these endpoints.
    pub(crate) fn service(
        &self,
        change: impl FnOnce(Service) -> Service,
        endpoints: &[Endpoint],
    ) -> Result<Svc<'_>> {
        let service = self.unborn();
        service.update(change)?;
        service.endpoints(endpoints)?;
        Ok(service)
    }

    /// The same with the type ClusterIP.
    pub(crate) fn inward(&self, endpoints: &[Endpoint]) -> Result<Svc<'_>> {
        let service = self.unborn();
        service.inward(|it| it)?;
        service.endpoints(endpoints)?;
        Ok(service)
    }

    /// The same with the type LoadBalancer and an ingress address.
    pub(crate) fn load_balancer(
        &self,
        change: impl FnOnce(Service) -> Service,
        endpoints: &[Endpoint],
    ) -> Result<Svc<'_>> {
        let service = self.unborn();
        service.balance(change)?;
        service.endpoints(endpoints)?;
        Ok(service)
    }
}

/// A Service of a case; it is deleted when this is dropped.
pub(crate) struct Svc<'a> {
    bed: &'a Bed,
    number: u16,
}

impl Svc<'_> {
    /// Lets it stay, for a case that has to let go of the bed for a while.
    pub(crate) fn leave(self) -> u16 {
        std::mem::ManuallyDrop::new(self).number
    }

    pub(crate) fn name(&self) -> String {
        format!("e2e-{}", self.number)
    }

    pub(crate) fn node_port(&self) -> u16 {
        30_000 + self.number
    }

    pub(crate) fn health_port(&self) -> u16 {
        31_000 + self.number
    }

    /// The addresses of a purpose: `block` tells ClusterIPs from those of a load balancer. The
    /// router sends all of them to node 1.
    fn address(&self, block: u8) -> Pair {
        let (high, low) = (self.number / BLOCK, self.number % BLOCK + 1);
        let v4 = Ipv4Addr::new(10, 96, block + high as u8, low as u8);
        let last = u16::from(block) * 0x100 + self.number;
        Pair { v4, v6: Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, last) }
    }

    pub(crate) fn cluster_ip(&self) -> Pair {
        self.address(10)
    }

    pub(crate) fn ingress_ip(&self) -> Pair {
        self.address(100)
    }

    pub(crate) fn vip(&self, family: Family) -> SocketAddr {
        self.cluster_ip().port(family, PORT)
    }

    pub(crate) fn ingress(&self, family: Family) -> SocketAddr {
        self.ingress_ip().port(family, PORT)
    }

    /// The NodePort on a node.
    pub(crate) fn on_node(&self, n: u8, family: Family) -> SocketAddr {
        address::node(n).port(family, self.node_port())
    }

    /// The Service that `update` starts from.
    fn base(&self) -> Service {
        Service::new(&self.name(), self.cluster_ip())
            .tcp(PORT, Some(self.node_port()))
            .udp(PORT, Some(self.node_port()))
    }

    /// Creates or replaces it.
    pub(crate) fn update(&self, change: impl FnOnce(Service) -> Service) -> Result<()> {
        self.put(change(self.base()).to_value())
    }

    /// The same with the type ClusterIP: the API server takes the NodePorts away.
    pub(crate) fn inward(&self, change: impl FnOnce(Service) -> Service) -> Result<()> {
        let base = Service::new(&self.name(), self.cluster_ip()).tcp(PORT, None).udp(PORT, None);
        self.put(change(base).to_value())
    }

    /// The same as a load balancer.
    pub(crate) fn balance(&self, change: impl FnOnce(Service) -> Service) -> Result<()> {
        let mut value = change(self.base().with("type", "LoadBalancer")).to_value();
        let ip = Family::BOTH.map(|f| json!({"ip": self.ingress_ip().ip(f)}));
        value["status"] = json!({"loadBalancer": {"ingress": ip}});
        self.put(value)
    }

    /// The same with labels.
    pub(crate) fn label(&self, labels: Value) -> Result<()> {
        let mut value = self.base().to_value();
        value["metadata"]["labels"] = labels;
        self.put(value)
    }

    /// The same with an object of the case's own.
    pub(crate) fn put(&self, value: Value) -> Result<()> {
        self.bed.server.apply_value(value)
    }

    /// Deletes the Service, but not its slices.
    pub(crate) fn delete(&self) {
        self.bed.server.delete("Service", "default", &self.name());
    }

    /// Its only slices, one of each family.
    pub(crate) fn endpoints(&self, endpoints: &[Endpoint]) -> Result<()> {
        let ports = [("tcp", "TCP", address::SERVER_PORT), ("udp", "UDP", address::SERVER_PORT)];
        self.part(0, &ports, endpoints)
    }

    /// The same, with the Service's labels, as the EndpointSlice controller copies them.
    pub(crate) fn labelled_endpoints(&self, endpoints: &[Endpoint], labels: &Value) -> Result<()> {
        let ports = [("tcp", "TCP", address::SERVER_PORT), ("udp", "UDP", address::SERVER_PORT)];
        for mut slice in slices(&self.name(), 0, &ports, endpoints) {
            for (name, value) in labels.as_object().into_iter().flatten() {
                slice["metadata"]["labels"][name] = value.clone();
            }
            self.bed.server.apply_value(slice)?;
        }
        Ok(())
    }

    /// One of several pairs of slices, up to three.
    pub(crate) fn part(
        &self,
        part: u8,
        ports: &[(&str, &str, u16)],
        endpoints: &[Endpoint],
    ) -> Result<()> {
        slices(&self.name(), part, ports, endpoints)
            .into_iter()
            .try_for_each(|slice| self.bed.server.apply_value(slice))
    }
}

/// [`Svc::vip`] as a value.
pub(crate) fn vip(service: &Svc<'_>, family: Family) -> SocketAddr {
    service.vip(family)
}

/// [`Svc::ingress`] as a value.
pub(crate) fn ingress(service: &Svc<'_>, family: Family) -> SocketAddr {
    service.ingress(family)
}

impl Drop for Svc<'_> {
    fn drop(&mut self) {
        self.delete();
        for part in 0..3 {
            for kind in ["ipv4", "ipv6"] {
                let name = format!("{}-{part}-{kind}", self.name());
                self.bed.server.delete("EndpointSlice", "default", &name);
            }
        }
    }
}
