//! Pods made by the real CNI plugins, called as a container runtime calls them.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::address::{self, Family, Pair};
use crate::netns;
use crate::place::command_in;
use crate::scope::Scope;

/// Where Debian's containernetworking-plugins are.
const PLUGINS: &str = "/usr/lib/cni";

/// The plugins that make an interface. Both have `host-local` assign its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugin {
    /// `bridge`: a port of a bridge that is the pods' gateway.
    Bridge,
    /// `ptp`: a point-to-point link, and a route for each pod.
    Ptp,
}

impl Plugin {
    /// The configuration of a network on node `n`. `ipMasq` masquerades what leaves the addresses'
    /// subnet, which is the node's own with a bridge: between nodes, too. A point-to-point link
    /// does without a subnet on the link, so there it is the whole cluster's.
    fn network(self, n: u8, state: &Path) -> Value {
        let subnets = match self {
            Self::Bridge => format!("10.244.{n}.0/24,fd00:10:244:{n}::/64"),
            Self::Ptp => address::CLUSTER_CIDRS.to_owned(),
        };
        let gateway = address::gateway(n);
        let range = |(subnet, family)| json!([{"subnet": subnet, "gateway": gateway.ip(family)}]);
        let ranges: Vec<_> = subnets.split(',').zip(Family::BOTH).map(range).collect();
        let routes = json!([{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]);
        let ipam =
            json!({"type": "host-local", "dataDir": state, "ranges": ranges, "routes": routes});
        let own = match self {
            Self::Bridge => json!({"type": "bridge", "bridge": "cni0", "isGateway": true}),
            Self::Ptp => json!({"type": "ptp"}),
        };
        let mut network = json!({
            "cniVersion": "1.0.0", "name": "pods", "ipMasq": true, "mtu": 1500, "ipam": ipam,
        });
        for (name, value) in own.as_object().into_iter().flatten() {
            network[name] = value.clone();
        }
        network
    }
}

/// What a plugin did for a pod; taken back when this is dropped.
#[derive(Debug)]
pub struct Attachment {
    network: Value,
    pod: String,
    node_netns: String,
    pod_netns: String,
    cgroup: PathBuf,
}

impl Attachment {
    /// Has the plugin wire a pod that has a namespace and nothing else.
    pub(super) fn add(plugin: Plugin, scope: &Scope, n: u8, p: u8) -> Result<Self> {
        let state = scope.run_dir().join(format!("cni-node{n}"));
        let mut network = plugin.network(n, &state);
        let own = address::pod(n, p);
        network["runtimeConfig"] = json!({"ips": [own.v4, own.v6]});
        let pod = format!("pod{p}");
        let (node_netns, pod_netns) = (scope.netns(&format!("node{n}")), scope.netns(&pod));
        let attachment = Self { network, pod, node_netns, pod_netns, cgroup: scope.cgroup() };
        let answer = attachment.call("ADD")?;
        ensure!(addresses(&answer) == both(own), "the plugin assigned other addresses: {answer}");
        Ok(attachment)
    }

    /// Has `portmap` give a wired pod ports of its node, as a runtime does after the first plugin.
    /// `mappings` is what `runtimeConfig.portMappings` holds.
    pub(crate) fn map_ports(scope: &Scope, n: u8, p: u8, mappings: &Value) -> Result<Self> {
        let own = address::pod(n, p);
        let network = json!({
            "cniVersion": "1.0.0", "name": "pods", "type": "portmap",
            "capabilities": {"portMappings": true},
            "runtimeConfig": {"portMappings": mappings},
            "prevResult": {
                "cniVersion": "1.0.0",
                "interfaces": [{"name": "eth0", "sandbox": "pod"}],
                "ips": [
                    {"address": format!("{}/24", own.v4), "interface": 0},
                    {"address": format!("{}/64", own.v6), "interface": 0},
                ],
            },
        });
        let pod = format!("pod{p}");
        let (node_netns, pod_netns) = (scope.netns(&format!("node{n}")), scope.netns(&pod));
        let attachment = Self { network, pod, node_netns, pod_netns, cgroup: scope.cgroup() };
        attachment.call("ADD")?;
        Ok(attachment)
    }

    /// Calls the plugin in the node's namespace and returns what it printed.
    fn call(&self, verb: &str) -> Result<String> {
        let name = self.network["type"].as_str().context("a network has a type")?;
        let plugin = Path::new(PLUGINS).join(name);
        let mut child = command_in(&plugin, &self.node_netns, &self.cgroup)?
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &self.pod)
            .env("CNI_NETNS", netns::path(&self.pod_netns))
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", plugin.display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(self.network.to_string().as_bytes())?;
        }
        let output = child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let more = String::from_utf8_lossy(&output.stderr);
            bail!("{name} {verb} for {}: {} {}", self.pod, said.trim(), more.trim());
        }
        Ok(said)
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if let Err(error) = self.call("DEL") {
            eprintln!("testbed: {error:#}");
        }
    }
}

/// The addresses of a plugin's answer to ADD.
fn addresses(answer: &str) -> BTreeSet<IpAddr> {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let listed = answer["ips"].as_array().into_iter().flatten();
    let text = listed.filter_map(|ip| ip["address"].as_str()?.split('/').next());
    text.filter_map(|address| address.parse().ok()).collect()
}

fn both(pair: Pair) -> BTreeSet<IpAddr> {
    Family::BOTH.map(|family| pair.ip(family)).into()
}
