//! A cluster whose controllers follow an API server on the underlay.

use std::{fs, net::TcpListener, path::PathBuf};

use serde_json::json;
use testbed::{
    Cluster, Node, Sluice, Source, Topology,
    address::{self, Family},
    apiserver::{ApiServer, kubeconfig},
};

use crate::world::{name, service, slice};

/// The first token of the controllers.
const TOKEN: &str = "one";
const PORT: u16 = 6443;

/// The fields end in their order: controllers before the namespaces they live in.
pub(crate) struct Kube {
    pub(crate) sluices: Vec<Sluice>,
    pub(crate) server: ApiServer,
    pub(crate) cluster: Cluster,
    token: PathBuf,
    kubeconfig: PathBuf,
}

impl Kube {
    /// The server listens on node 1's address; no controller runs yet.
    pub(crate) fn new() -> Self {
        let cluster = Cluster::builder(Topology::Bridge).build().unwrap();
        let at = (address::node(1).v4, PORT);
        let listener = cluster.node(1).unwrap().run(|| TcpListener::bind(at)).unwrap().unwrap();
        let server = ApiServer::on(listener).unwrap();
        let dir = cluster.dir("kube").unwrap();
        let token = dir.join("token");
        fs::write(&token, TOKEN).unwrap();
        server.rotate_token(TOKEN);
        let kubeconfig = kubeconfig(&dir, &server.url(), Some(&token)).unwrap();
        for n in 1..=2 {
            let own = address::node(n);
            let addresses =
                Family::BOTH.map(|f| json!({"type": "InternalIP", "address": own.ip(f)}));
            let node = json!({
                "kind": "Node", "metadata": {"name": format!("node{n}")},
                "spec": {"podCIDRs": [format!("10.244.{n}.0/24"), format!("fd00:10:244:{n}::/64")]},
                "status": {"addresses": addresses},
            });
            server.apply_value(node).unwrap();
        }
        Self { sluices: Vec::new(), server, cluster, token, kubeconfig }
    }

    /// Starts the controllers of all nodes; [`Self::wait_ready`] waits for them.
    pub(crate) fn start(&mut self) {
        let source = Source::Kubeconfig(&self.kubeconfig);
        // Both need what the Node object says.
        let flags = ["--nodeport-addresses=primary", "--detect-local-mode=NodeCIDR"];
        let start = |node: &Node| Sluice::start_with(node, source, &flags).unwrap();
        self.sluices = self.cluster.nodes().iter().map(start).collect();
    }

    pub(crate) fn wait_ready(&mut self) {
        for sluice in &mut self.sluices {
            sluice.wait_ready().unwrap();
        }
    }

    /// Applies a Service and its pods.
    pub(crate) fn serve(&self, number: u8, pods: &[usize]) {
        self.server.apply_value(service(number).to_value()).unwrap();
        self.endpoints(number, 0, pods);
    }

    /// Applies one of a Service's pairs of slices.
    pub(crate) fn endpoints(&self, number: u8, part: u8, pods: &[usize]) {
        let slice = slice(&self.cluster, number, pods).unwrap();
        for value in slice.named(&format!("{}-{part}", name(number))).to_values() {
            self.server.apply_value(value).unwrap();
        }
    }

    /// Deletes a Service and its first slices.
    pub(crate) fn delete(&self, number: u8) {
        let name = name(number);
        self.server.delete("Service", "default", &name);
        for family in ["ipv4", "ipv6"] {
            self.server.delete("EndpointSlice", "default", &format!("{name}-0-{family}"));
        }
    }

    /// Has the server return where it was.
    pub(crate) fn restart_server(&mut self) {
        let node = self.cluster.node(1).unwrap();
        let server = &mut self.server;
        node.run(|| server.restart()).unwrap().unwrap();
    }

    /// Gives the controllers another token, as the kubelet does.
    pub(crate) fn write_token(&self, token: &str) {
        let draft = self.token.with_extension("draft");
        fs::write(&draft, token).and_then(|()| fs::rename(&draft, &self.token)).unwrap();
    }
}
