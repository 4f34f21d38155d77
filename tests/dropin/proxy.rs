//! A node, an API server on it, and the binary under test.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use testbed::{
    Cluster, Node, Place, Pod, Sluice, Topology,
    apiserver::{ApiServer, kubeconfig},
    http::get,
};

/// What kubeadm 1.31 writes into its ConfigMap.
pub(crate) const KUBEADM: &str =
    include_str!("../../proxy-userspace/src/config/fixtures/kubeadm.yaml");

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The fields end in their order: the server before the namespace it listens in.
pub(crate) struct Stage {
    pub(crate) server: ApiServer,
    pub(crate) dir: PathBuf,
    cluster: Cluster,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let cluster = Cluster::builder(Topology::Bridge).nodes(1).pods_per_node(1).build().unwrap();
        let dir = cluster.dir("dropin").unwrap();
        let node = cluster.node(1).unwrap();
        let listener = node.run(|| TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        let stage = Self { server: ApiServer::on(listener).unwrap(), dir, cluster };
        stage.node_object();
        stage
    }

    pub(crate) fn node(&self) -> &Node {
        self.cluster.node(1).unwrap()
    }

    pub(crate) fn pod(&self) -> &Pod {
        self.cluster.pod(1).unwrap()
    }

    /// Somebody outside the node.
    pub(crate) fn client(&self) -> &Place {
        self.cluster.client()
    }

    pub(crate) fn node_object(&self) {
        let v4 = self.node().address().v4;
        let node = format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: node1}}\n\
             status: {{addresses: [{{type: InternalIP, address: {v4}}}]}}\n"
        );
        self.server.apply(&node).unwrap();
    }

    /// kubeadm's file with the kubeconfig of this stage, changed.
    pub(crate) fn config(&self, change: impl FnOnce(String) -> String) -> PathBuf {
        let kubeconfig = kubeconfig(&self.dir, &self.server.url(), None).unwrap();
        let file = KUBEADM
            .replace("/var/lib/kube-proxy/kubeconfig.conf", &kubeconfig.display().to_string())
            .replace("10.244.0.0/16", "10.244.0.0/16,fd00:10:244::/56");
        let path = self.dir.join("config.conf");
        fs::write(&path, change(file)).unwrap();
        path
    }

    /// The binary in the node's namespace, with the flags that every test needs.
    pub(crate) fn command(&self, program: &str) -> Command {
        let node = self.node();
        let mut command = node.command(program).unwrap();
        command
            .arg(format!("--bpf-root={}", node.bpf_root().display()))
            .arg(format!("--cgroup-root={}", node.cgroup_root().display()));
        command
    }

    /// As kubeadm's DaemonSet starts it.
    pub(crate) fn start(&self, config: &Path, more: &[&str]) -> Proxy {
        self.start_as(&program(), config, more)
    }

    pub(crate) fn start_as(&self, program: &str, config: &Path, more: &[&str]) -> Proxy {
        let log = self.dir.join("log");
        let out = fs::File::create(&log).unwrap();
        let mut command = self.command(program);
        command.arg(format!("--config={}", config.display())).arg("--hostname-override=node1");
        command.args(more).stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        Proxy::of(command.spawn().unwrap(), log)
    }

    /// Status and body of a GET on the node's loopback.
    pub(crate) fn try_get(&self, port: u16, path: &str) -> Option<(u16, String)> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.node().run(|| get(address, path)).unwrap()
    }

    pub(crate) fn get(&self, port: u16, path: &str) -> (u16, String) {
        self.try_get(port, path).unwrap_or_else(|| panic!("no answer at port {port}"))
    }

    /// The status of /healthz as the client outside the node sees it.
    pub(crate) fn get_from_outside(&self, port: u16) -> Option<u16> {
        let address = SocketAddr::new(self.node().address().v4.into(), port);
        self.cluster.client().run(|| get(address, "/healthz")).unwrap().map(|it| it.0)
    }

    /// The value of a series.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let page = self.get(10_249, "/metrics").1;
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
    }

    /// A process of the node tries to connect.
    pub(crate) fn knock(&self, address: SocketAddr) {
        let line =
            format!("timeout 1 bash -c '</dev/tcp/{}/{}' || true", address.ip(), address.port());
        self.node().shell(&line).unwrap();
    }

    /// Somebody else has a port of the node.
    pub(crate) fn listen(&self, port: u16) -> TcpListener {
        self.node().run(|| TcpListener::bind(("0.0.0.0", port)).unwrap()).unwrap()
    }

    pub(crate) fn events(&self, namespace: &str) -> Vec<Value> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events");
        let address = self.server.url().replace("http://", "").parse().unwrap();
        let (_, body) = self.node().run(|| get(address, &path)).unwrap().unwrap();
        let list: Value = serde_json::from_str(&body).unwrap();
        list["items"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What a test's failure leaves, its own panic explains.
        let _cleaned = Sluice::cleanup(self.node());
    }
}

/// The binary under test.
pub(crate) fn program() -> String {
    std::env::var("SLUICE_BIN").expect("SLUICE_BIN names the binary; use `cargo xtask test dropin`")
}

/// Waits for something that has to come.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running process of ours.
pub(crate) struct Proxy {
    child: Child,
    log: PathBuf,
}

impl Proxy {
    pub(crate) fn of(child: Child, log: PathBuf) -> Self {
        Self { child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn wait_ready(&self) {
        eventually("readiness", || self.log().contains("datapath ready"));
    }

    /// How it ends, without being asked to.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it goes on:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log ---\n{}", self.log());
        }
        // One that has ended already is what is wanted.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}
