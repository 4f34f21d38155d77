//! The cluster: nodes, pods and the people outside.

use std::fs;
use std::net::SocketAddr;
use std::ops::Deref;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};

use crate::address::{self, Pair, SERVER_PORT};
use crate::fabric;
use crate::netns;
use crate::place::Place;
use crate::pod::Pod;
use crate::rules::CniRules;
use crate::scope::{Scope, sweep};
use crate::topology::{Attachment, Topology};

/// What to build.
#[derive(Clone, Copy, Debug)]
pub struct Builder {
    topology: Topology,
    nodes: u8,
    pods_per_node: u8,
    rules: CniRules,
    rp_filter: u8,
    bridge_netfilter: bool,
}

impl Builder {
    /// How many nodes, up to nine.
    pub fn nodes(self, nodes: u8) -> Self {
        Self { nodes, ..self }
    }

    /// How many pods each node has.
    pub fn pods_per_node(self, pods_per_node: u8) -> Self {
        Self { pods_per_node, ..self }
    }

    /// The netfilter rules of each node.
    pub fn rules(self, rules: CniRules) -> Self {
        Self { rules, ..self }
    }

    /// 1 is strict (many distributions), 2 loose (Debian's systemd).
    pub fn rp_filter(self, rp_filter: u8) -> Self {
        Self { rp_filter, ..self }
    }

    /// Whether bridged packets pass netfilter (`bridge-nf-call-iptables`).
    pub fn bridge_netfilter(self, bridge_netfilter: bool) -> Self {
        Self { bridge_netfilter, ..self }
    }

    /// Builds it, after removing what crashed runs left.
    pub fn build(self) -> Result<Cluster> {
        ensure!(nix::unistd::geteuid().is_root(), "a testbed needs root; run it with sudo");
        ensure!(self.nodes <= 9 && self.nodes * self.pods_per_node <= 99, "no room for that many");
        sweep();
        let scope = Scope::create()?;
        let names: Vec<String> = fabric::PEOPLE
            .iter()
            .map(ToString::to_string)
            .chain([fabric::SWITCH.to_owned()])
            .chain((1..=self.nodes).map(|n| format!("node{n}")))
            .chain((1..=self.nodes * self.pods_per_node).map(|p| format!("pod{p}")))
            .map(|name| scope.netns(&name))
            .collect();
        netns::create(&names)?;
        for name in &names {
            fabric::prepare(name, self.rp_filter)?;
        }
        fabric::build(&scope, self.nodes)?;
        let mut nodes = Vec::new();
        let mut pods = Vec::new();
        for n in 1..=self.nodes {
            nodes.push(self.node(&scope, n).with_context(|| format!("building node{n}"))?);
            for p in (n - 1) * self.pods_per_node + 1..=n * self.pods_per_node {
                pods.push(self.pod(&scope, n, p).with_context(|| format!("building pod{p}"))?);
            }
        }
        for node in &nodes {
            self.topology.wire_peers(&scope, node, node.number, self.nodes)?;
        }
        let settle = |name| Place::settle(name, scope.netns(name), scope.cgroup().join("outside"));
        let (client, outsider) = (settle("client")?, settle("outsider")?);
        Ok(Cluster { builder: self, nodes, pods, client, outsider, scope })
    }

    fn node(self, scope: &Scope, n: u8) -> Result<Node> {
        let name = format!("node{n}");
        let namespace = scope.netns(&name);
        fabric::forward(&namespace)?;
        let filter = if self.bridge_netfilter { "1" } else { "0" };
        netns::sysctl(
            &namespace,
            &[
                ("net/bridge/bridge-nf-call-iptables", filter),
                ("net/bridge/bridge-nf-call-ip6tables", filter),
            ],
        )?;
        fabric::plug_node(scope, self.topology.uplink(), n)?;
        self.topology.wire_node(scope, n)?;
        let (cgroup_root, dir) = (scope.cgroup().join(&name), scope.run_dir().join(&name));
        let bpf_root = dir.join("bpf");
        fs::create_dir_all(&bpf_root)?;
        nix::mount::mount(
            Some("bpf"),
            &bpf_root,
            Some("bpf"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )
        .with_context(|| format!("mounting bpffs on {}", bpf_root.display()))?;
        let host = Place::settle(&name, namespace, cgroup_root.join("host"))?;
        let address = address::node(n);
        host.serve(&name, &address.ports(SERVER_PORT))?;
        self.rules.load(&host)?;
        Ok(Node { number: n, host, address, cgroup_root, bpf_root, dir })
    }

    fn pod(self, scope: &Scope, n: u8, p: u8) -> Result<Pod> {
        let name = format!("pod{p}");
        let attachment = self.topology.wire_pod(scope, n, p)?;
        let cgroup = scope.cgroup().join(format!("node{n}/pods/{name}"));
        let place = Place::settle(&name, scope.netns(&name), cgroup)?;
        let any: [SocketAddr; 2] = [([0; 4], SERVER_PORT).into(), ([0_u16; 8], SERVER_PORT).into()];
        place.serve(&name, &any)?;
        Ok(Pod { node: n, place, address: address::pod(n, p), _attachment: attachment })
    }
}

/// A running cluster; everything goes when it is dropped.
///
/// The order of the fields is the order of their end: agents before the namespaces they live in.
#[derive(Debug)]
pub struct Cluster {
    builder: Builder,
    nodes: Vec<Node>,
    pods: Vec<Pod>,
    client: Place,
    outsider: Place,
    pub(crate) scope: Scope,
}

impl Cluster {
    /// Two nodes with two pods each, no netfilter rules, loose reverse path filter.
    pub fn builder(topology: Topology) -> Builder {
        Builder {
            topology,
            nodes: 2,
            pods_per_node: 2,
            rules: CniRules::default(),
            rp_filter: 2,
            bridge_netfilter: false,
        }
    }

    /// The nodes in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The pods in order.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// Node `n`, counted from 1.
    pub fn node(&self, n: usize) -> Result<&Node> {
        self.nodes.get(n.wrapping_sub(1)).ok_or_else(|| anyhow!("there is no node{n}"))
    }

    /// Pod `p`, counted from 1 over all nodes.
    pub fn pod(&self, p: usize) -> Result<&Pod> {
        self.pods.get(p.wrapping_sub(1)).ok_or_else(|| anyhow!("there is no pod{p}"))
    }

    /// Adds a pod to node `n` while everything runs, as a CNI plugin does.
    pub fn add_pod(&mut self, n: u8) -> Result<&Pod> {
        let p = u8::try_from(self.pods.len() + 1).context("no room for another pod")?;
        let namespace = self.scope.netns(&format!("pod{p}"));
        netns::create(std::slice::from_ref(&namespace))?;
        fabric::prepare(&namespace, self.builder.rp_filter)?;
        let pod = self.builder.pod(&self.scope, n, p).with_context(|| format!("adding pod{p}"))?;
        self.pods.push(pod);
        self.pod(p.into())
    }

    /// Removes the pod that was added last, and its node's end of it.
    pub fn remove_pod(&mut self) -> Result<()> {
        let pod = self.pods.pop().context("there is no pod")?;
        let namespace = pod.netns().to_owned();
        drop(pod);
        netns::delete(&namespace)
    }

    /// Gives pod `p` ports of its node, by CNI's `portmap`, until what it returns is dropped.
    pub fn map_ports(&self, p: u8, mappings: &serde_json::Value) -> Result<Attachment> {
        Attachment::map_ports(&self.scope, self.pod(p.into())?.node, p, mappings)
    }

    /// The addresses under which a pod appears to servers on node `n`.
    pub fn seen_as(&self, pod: &Pod, n: u8) -> Pair {
        let masked = pod.node != n && self.builder.topology.masquerades_between_nodes();
        if masked { address::node(pod.node) } else { pod.address }
    }

    /// Whether nodes forward nothing but what comes from pods or goes to them.
    pub fn drops_forwarded(&self) -> bool {
        self.builder.rules.forward_drop
    }

    /// The client on the underlay, 192.168.100.100.
    pub fn client(&self) -> &Place {
        &self.client
    }

    /// The client behind the router, 203.0.113.5.
    pub fn outsider(&self) -> &Place {
        &self.outsider
    }

    /// Gives the hops between the ends a smaller unit (MTU) than any device of theirs has. For
    /// topologies whose nodes route pods' packets to each other over the underlay.
    pub fn narrow(&self, mtu: u16) -> Result<()> {
        fabric::narrow(&self.scope, self.builder.nodes, mtu)
    }

    /// A folder of the cluster's own, for manifests and the like.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.scope.run_dir().join(name);
        fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
        Ok(dir)
    }
}

/// A node. As a [`Place`] it is the node's own processes and its host-network pods.
#[derive(Debug)]
pub struct Node {
    number: u8,
    host: Place,
    address: Pair,
    cgroup_root: PathBuf,
    bpf_root: PathBuf,
    dir: PathBuf,
}

impl Node {
    /// The addresses on the underlay.
    pub fn address(&self) -> Pair {
        self.address
    }

    /// What `--cgroup-root` is given.
    pub fn cgroup_root(&self) -> &PathBuf {
        &self.cgroup_root
    }

    /// What `--bpf-root` is given.
    pub fn bpf_root(&self) -> &PathBuf {
        &self.bpf_root
    }

    pub(crate) fn dir(&self) -> &PathBuf {
        &self.dir
    }
}

impl Deref for Node {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.host
    }
}
