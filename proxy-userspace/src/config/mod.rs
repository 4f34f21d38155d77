//! What the command line asks for, checked and in the program's own terms.

pub mod args;
mod check;
pub mod decode;
pub mod duration;
mod effective;
pub mod file;
pub mod flags;
pub mod kube_flags;
mod notes;
pub mod watch;
mod xdp;

use std::{
    fmt, fs,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;

use crate::model::spec::Algorithm;
pub use effective::MODE;
use file::KubeProxyConfiguration;
pub use flags::{Command, Flags, GivenFlag, ListArgs, Sizes};
pub use xdp::Xdp;

/// Verbosity of the log, where nothing is said.
pub const DEFAULT_VERBOSITY: u8 = 2;

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
#[derive(Clone, Debug, PartialEq)]
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
    /// Whether loopback addresses serve NodePorts (A101).
    pub localhost_node_ports: bool,
    /// `--bind-address`, when it names an address: the node's primary one.
    pub node_ip: Option<IpAddr>,
    /// Where /healthz and /livez are served, if anywhere.
    pub healthz: Option<SocketAddr>,
    /// Where /metrics is served, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// A write that waits for longer than twice this makes the proxy unhealthy (A84).
    pub sync_period: Duration,
    /// Folder of pins; its filesystem is bpffs.
    pub bpf_root: PathBuf,
    /// cgroup2 folder whose processes get the socket hooks; found when absent.
    pub cgroup_root: Option<PathBuf>,
    /// Whose sockets are served.
    pub socket_lb: SocketLb,
    /// Where XDP forwards.
    pub xdp: Xdp,
    /// What becomes of traffic to cluster IPs and ports that no Service has.
    pub unknown_cluster_ip: UnknownClusterIp,
    /// How backends are chosen for Services that do not say.
    pub lb_algorithm: Algorithm,
    /// Sizes of the maps.
    pub sizes: Sizes,
    /// Verbosity of the log.
    pub verbosity: u8,
    /// Whether the log is JSON.
    pub json_log: bool,
    /// All of it in kube-proxy's terms, defaults included.
    pub kube: KubeProxyConfiguration,
    /// What stood on the command line.
    pub given: Vec<GivenFlag>,
    /// What to say once about flags and fields that do nothing.
    pub notes: Vec<String>,
    /// What to warn of.
    pub warnings: Vec<String>,
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
    /// Reads the file, if one is named, fills in what nobody said, and checks the whole.
    pub fn from_flags(flags: Flags) -> Result<Self, ConfigError> {
        let (mut kube, mut notes, warnings) = match &flags.config {
            None => (effective::from_flags(&flags.kube)?, notes::notes(&flags, None), Vec::new()),
            Some(path) => {
                let mut decoded = read(path)?;
                let notes = notes::notes(&flags, Some(&decoded.config));
                effective::set_defaults(&mut decoded.config);
                (decoded.config, notes, decoded.warnings)
            }
        };
        if let Some(format) = flags.kube.logging_format.clone() {
            kube.logging.format = format;
        }
        let names = check::Names::new(flags.config.as_deref());
        let mode = check::mode(&mut kube, &flags, &mut notes)?;
        check::ranges(&kube, &names)?;
        let node_name = node_name(&flags, &kube)?;
        kube.hostname_override.clone_from(&node_name);
        Ok(Self {
            node_name,
            source: source(&flags, &kube),
            detect_local: check::detect_local(&kube, &names)?,
            masquerade_all: masquerade_all(&mode, &kube),
            node_port_addresses: check::node_port_addresses(&kube, &names)?,
            localhost_node_ports: kube.iptables.localhost_node_ports.unwrap_or(true),
            node_ip: check::node_ip(&kube, &names)?,
            healthz: check::address(
                &kube.healthz_bind_address,
                &names.of("healthz-bind-address", "healthzBindAddress"),
            )?,
            metrics: check::address(
                &kube.metrics_bind_address,
                &names.of("metrics-bind-address", "metricsBindAddress"),
            )?,
            sync_period: sync_period(&mode, &kube),
            bpf_root: flags.bpf_root,
            cgroup_root: flags.cgroup_root,
            socket_lb: flags.socket_lb,
            xdp: flags.xdp,
            unknown_cluster_ip: flags.unknown_cluster_ip,
            lb_algorithm: flags.lb_algorithm,
            sizes: flags.sizes,
            verbosity: verbosity(flags.v, &kube),
            json_log: check::json_log(&kube, &names)?,
            kube,
            given: flags.given,
            notes,
            warnings,
        })
    }

    /// Whether the kubeconfig that is named can be read: a path that is wrong now will be wrong
    /// later. What is in the file may change, and is tried again.
    pub fn check_kubeconfig(&self) -> Result<(), ConfigError> {
        let Source::Kubernetes { kubeconfig: Some(path), .. } = &self.source else { return Ok(()) };
        match fs::File::open(path) {
            Ok(_) => Ok(()),
            Err(error) => fail(format!(
                "reading the kubeconfig {}: {error}; correct --kubeconfig, or \
                 clientConnection.kubeconfig in the file",
                path.display()
            )),
        }
    }
}

fn read(path: &Path) -> Result<decode::Decoded, ConfigError> {
    let failed = |cause: String| {
        let path = path.display();
        ConfigError(format!(
            "reading --config {path}: {cause}; correct the file, as kubeadm writes it"
        ))
    };
    let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
    let mut decoded = decode::decode(&text).map_err(failed)?;
    let file = path.display();
    for warning in &mut decoded.warnings {
        *warning = format!("{file} was read leniently: {warning}; correct it");
    }
    Ok(decoded)
}

/// A mode's own section counts, and either where the mode has none.
fn masquerade_all(mode: &str, kube: &KubeProxyConfiguration) -> bool {
    match mode {
        "nftables" => kube.nftables.masquerade_all,
        MODE => kube.nftables.masquerade_all || kube.iptables.masquerade_all,
        _ => kube.iptables.masquerade_all,
    }
}

fn sync_period(mode: &str, kube: &KubeProxyConfiguration) -> Duration {
    let period = match mode {
        "nftables" => kube.nftables.sync_period,
        "ipvs" => kube.ipvs.sync_period,
        _ => kube.iptables.sync_period,
    };
    period.get()
}

/// The flag wins over the file, and both over the hostname.
fn node_name(flags: &Flags, kube: &KubeProxyConfiguration) -> Result<String, ConfigError> {
    // kube-proxy takes an empty flag for one that was not given.
    let flag = flags.hostname_override.as_deref().filter(|name| !name.is_empty());
    let field = Some(kube.hostname_override.as_str()).filter(|name| !name.is_empty());
    let name = match flag.or(field) {
        Some(name) => name.trim().to_lowercase(),
        None => hostname()?,
    };
    if name.is_empty() {
        return fail("--hostname-override is blank; give this node's name in the cluster");
    }
    Ok(name)
}

/// A verbosity of 0 in a file is what kubeadm writes for "not set".
fn verbosity(flag: Option<u8>, kube: &KubeProxyConfiguration) -> u8 {
    let field = Some(kube.logging.verbosity).filter(|v| *v != 0);
    flag.or(field.map(|v| u8::try_from(v).unwrap_or(u8::MAX))).unwrap_or(DEFAULT_VERBOSITY)
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

fn source(flags: &Flags, kube: &KubeProxyConfiguration) -> Source {
    let kubeconfig = &kube.client_connection.kubeconfig;
    match &flags.manifests {
        Some(folder) => Source::Manifests(folder.clone()),
        None => Source::Kubernetes {
            kubeconfig: (!kubeconfig.is_empty()).then(|| PathBuf::from(kubeconfig)),
            master: flags.kube.master.clone().filter(|url| !url.is_empty()),
        },
    }
}

fn words(list: &[String]) -> impl Iterator<Item = &str> {
    list.iter().flat_map(|item| item.split(',')).map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
