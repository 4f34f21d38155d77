//! What the command line asks for, checked and in the program's own terms.

pub mod flags;

use std::{fmt, net::IpAddr, path::PathBuf};

use ipnet::IpNet;

pub use flags::{Command, Flags, ListArgs, Sizes};

/// How a source is recognised as a local pod (A.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DetectLocal {
    /// By the cluster's pod addresses, at most one network a family (A60).
    ClusterCidr(Vec<IpNet>),
    /// By this node's pod addresses, which its Node object tells (A61).
    NodeCidr,
    /// By the bridge that a packet enters through (A62).
    BridgeInterface(String),
    /// By the name's start of the interface that a packet enters through (A63).
    InterfaceNamePrefix(String),
}

/// Where Services and EndpointSlices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Kubernetes API server: kubeconfig file and server address, each optional (in-cluster).
    Kubernetes {
        /// `--kubeconfig`.
        kubeconfig: Option<PathBuf>,
        /// `--master`: overrides the kubeconfig's server.
        master: Option<String>,
    },
    /// A folder of manifests.
    Manifests(PathBuf),
}

/// Whose sockets the socket hooks serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum SocketLb {
    /// Those of the host's network namespace.
    Host,
    /// Those of every process.
    All,
}

/// What becomes of traffic to a port that a cluster IP does not have, and to an address of a
/// ServiceCIDR that no Service has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum UnknownClusterIp {
    /// The one is rejected (A51), the other dropped (A52), as in kube-proxy's nftables mode.
    Reject,
    /// Both are left alone, as in its iptables mode (A102): they go wherever the node's routes lead.
    Ignore,
}

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of this node.
    pub node_name: String,
    /// Where objects come from.
    pub source: Source,
    /// How local pods are recognised.
    pub detect_local: DetectLocal,
    /// `--masquerade-all` (A40).
    pub masquerade_all: bool,
    /// `--nodeport-addresses`: networks, or the word `primary` (A23).
    pub node_port_addresses: Vec<String>,
    /// `--bind-address`, when it names an address: the node's primary one.
    pub node_ip: Option<IpAddr>,
    /// Folder of pins; its filesystem is bpffs.
    pub bpf_root: PathBuf,
    /// cgroup2 folder whose processes get the socket hooks; found when absent.
    pub cgroup_root: Option<PathBuf>,
    /// Whose sockets are served.
    pub socket_lb: SocketLb,
    /// What becomes of traffic to cluster IPs and ports that no Service has.
    pub unknown_cluster_ip: UnknownClusterIp,
    /// Sizes of the maps.
    pub sizes: Sizes,
}

/// A flag that cannot be obeyed: one line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Checks what clap could not.
    pub fn from_flags(flags: Flags) -> Result<Self, ConfigError> {
        let node_name = match &flags.hostname_override {
            Some(name) => name.trim().to_lowercase(),
            None => hostname()?,
        };
        if node_name.is_empty() {
            return fail("--hostname-override is empty; give this node's name in the cluster");
        }
        Ok(Self {
            node_name,
            source: source(&flags),
            detect_local: detect_local(&flags)?,
            masquerade_all: flags.masquerade_all,
            node_port_addresses: node_port_addresses(&flags.nodeport_addresses)?,
            node_ip: flags.bind_address.filter(|address| !address.is_unspecified()),
            bpf_root: flags.bpf_root,
            cgroup_root: flags.cgroup_root,
            socket_lb: flags.socket_lb,
            unknown_cluster_ip: flags.unknown_cluster_ip,
            sizes: flags.sizes,
        })
    }
}

fn fail<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(text.into()))
}

fn hostname() -> Result<String, ConfigError> {
    let name = nix::unistd::gethostname()
        .map_err(|e| ConfigError(format!("reading the hostname: {e}; use --hostname-override")))?;
    // kube-proxy, too, lower-cases it.
    Ok(name.to_string_lossy().trim().to_lowercase())
}

fn source(flags: &Flags) -> Source {
    match &flags.manifests {
        Some(folder) => Source::Manifests(folder.clone()),
        None => Source::Kubernetes {
            kubeconfig: flags.kubeconfig.clone(),
            master: flags.master.clone(),
        },
    }
}

fn detect_local(flags: &Flags) -> Result<DetectLocal, ConfigError> {
    match flags.detect_local_mode {
        flags::DetectLocalMode::ClusterCIDR => Ok(DetectLocal::ClusterCidr(cluster_cidrs(flags)?)),
        flags::DetectLocalMode::NodeCIDR => Ok(DetectLocal::NodeCidr),
        flags::DetectLocalMode::BridgeInterface => {
            needed(&flags.pod_bridge_interface, "BridgeInterface", "--pod-bridge-interface")
                .map(DetectLocal::BridgeInterface)
        }
        flags::DetectLocalMode::InterfaceNamePrefix => {
            let prefix = &flags.pod_interface_name_prefix;
            needed(prefix, "InterfaceNamePrefix", "--pod-interface-name-prefix")
                .map(DetectLocal::InterfaceNamePrefix)
        }
    }
}

fn needed(value: &str, mode: &str, flag: &str) -> Result<String, ConfigError> {
    match value {
        "" => fail(format!("--detect-local-mode={mode} needs {flag}")),
        value => Ok(value.to_owned()),
    }
}

/// The first network of each family counts (A60).
fn cluster_cidrs(flags: &Flags) -> Result<Vec<IpNet>, ConfigError> {
    let mut networks: Vec<IpNet> = Vec::new();
    for text in words(&flags.cluster_cidr) {
        let Ok(network) = text.parse::<IpNet>() else {
            return fail(format!(
                "--cluster-cidr: {text:?} is not a network such as 10.244.0.0/16"
            ));
        };
        if !networks.iter().any(|known| same_family(known, &network)) {
            networks.push(network.trunc());
        }
    }
    Ok(networks)
}

fn same_family(a: &IpNet, b: &IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

fn node_port_addresses(list: &[String]) -> Result<Vec<String>, ConfigError> {
    let words: Vec<String> = words(list).map(str::to_owned).collect();
    for word in &words {
        if word == "primary" {
            if words.len() > 1 {
                return fail("--nodeport-addresses: \"primary\" stands alone");
            }
        } else if word.parse::<IpNet>().is_err() {
            let text = "is not a network such as 192.168.0.0/16, nor \"primary\"";
            return fail(format!("--nodeport-addresses: {word:?} {text}"));
        }
    }
    Ok(words)
}

fn words(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|item| item.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(args: &[&str]) -> Result<Config, ConfigError> {
        let args = ["sluice", "--hostname-override=n1"].iter().chain(args);
        Config::from_flags(Flags::try_parse_from(args).expect("flags"))
    }

    #[test]
    fn a60_takes_the_first_network_of_each_family() {
        let config = config(&["--cluster-cidr=10.244.0.0/16,10.0.0.0/8,fd00:10:244::/56"]).unwrap();
        let networks = ["10.244.0.0/16", "fd00:10:244::/56"].map(|n| n.parse().unwrap());
        assert_eq!(config.detect_local, DetectLocal::ClusterCidr(networks.to_vec()));
    }

    #[test]
    fn a62_and_a63_need_their_interface() {
        let error = config(&["--detect-local-mode=BridgeInterface"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--detect-local-mode=BridgeInterface needs --pod-bridge-interface"
        );
    }

    #[test]
    fn a23_refuses_what_is_no_network() {
        assert!(config(&["--nodeport-addresses=primary"]).is_ok());
        assert!(config(&["--nodeport-addresses=192.168.0.0/16", "-v", "4"]).is_ok());
        for bad in ["primary,10.0.0.0/8", "10.0.0.1.2/8", "eth0"] {
            assert!(config(&["--nodeport-addresses", bad]).is_err(), "{bad}");
        }
    }
}
