//! The command line, with kube-proxy's own names.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use sluice_common::limits;

use super::{SocketLb, UnknownClusterIp};
use crate::cli::Output;

/// An eBPF service proxy for Kubernetes, in kube-proxy's place, with any CNI.
///
/// Without a subcommand it runs as kube-proxy does, until SIGTERM; the datapath then stays in
/// place and goes on forwarding. A flag given twice counts as given last, as with kube-proxy.
#[derive(Clone, Debug, Parser)]
#[command(name = "sluice", version, disable_help_subcommand = true, args_override_self = true)]
pub struct Flags {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The proxy mode; this program has one.
    #[arg(long, default_value = "ebpf")]
    pub proxy_mode: ProxyMode,
    /// Kubeconfig file; without it the pod's service account is used.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server; overrides the kubeconfig's.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Follow the Services and EndpointSlices in a folder of YAML files instead of an API server.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,
    /// This node's name in the cluster; the hostname otherwise.
    #[arg(long, value_name = "NODE")]
    pub hostname_override: Option<String>,
    /// The address of the node; NodePorts with `primary` are served there.
    #[arg(long, value_name = "IP")]
    pub bind_address: Option<IpAddr>,

    /// How a packet's source is recognised as a local pod.
    #[arg(long, default_value = "ClusterCIDR", ignore_case = true)]
    pub detect_local_mode: DetectLocalMode,
    /// The pods' addresses in the cluster, at most one network a family.
    #[arg(long, value_name = "CIDR,...")]
    pub cluster_cidr: Vec<String>,
    /// The bridge of --detect-local-mode=BridgeInterface.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub pod_bridge_interface: String,
    /// The start of names of --detect-local-mode=InterfaceNamePrefix.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub pod_interface_name_prefix: String,
    /// Masquerade all traffic to ClusterIPs.
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true",
          require_equals = true, action = clap::ArgAction::Set)]
    pub masquerade_all: bool,
    /// Networks of the node's addresses that serve NodePorts, or `primary`; all otherwise.
    #[arg(long, value_name = "CIDR,...")]
    pub nodeport_addresses: Vec<String>,

    /// Whose sockets are translated when they connect; other traffic is translated by packet.
    #[arg(long, value_enum, default_value = "host")]
    pub socket_lb: SocketLb,
    /// What to do with traffic to a cluster IP's unknown port (reject) or to an unallocated cluster
    /// IP (drop); kube-proxy's iptables mode ignores both.
    #[arg(long, value_enum, default_value = "reject")]
    pub unknown_cluster_ip: UnknownClusterIp,
    /// Folder for pinned maps, programs and links, on a bpffs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPF_ROOT)]
    pub bpf_root: PathBuf,
    /// cgroup2 folder whose processes are the node's; found in /proc/self/mountinfo otherwise.
    #[arg(long, value_name = "DIR")]
    pub cgroup_root: Option<PathBuf>,

    /// Sizes of the maps.
    #[command(flatten)]
    pub sizes: Sizes,

    /// Verbosity, as klog's: 0 errors and warnings, 2 information, 4 debugging, 6 everything.
    #[arg(short, long = "v", value_name = "N", default_value_t = 2)]
    pub v: u8,
}

/// How many of each kind fit, per address family where there are two. Maps that are pinned with
/// another size are refused: change one after `sluice cleanup`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct Sizes {
    /// Frontends, endpoints included.
    #[arg(long, value_name = "N", default_value_t = limits::FRONTENDS, value_parser = at_least_one())]
    pub max_frontends: u32,
    /// Slots: endpoints of both policies of all services, twice.
    #[arg(long, value_name = "N", default_value_t = limits::SLOTS, value_parser = at_least_one())]
    pub max_slots: u32,
    /// Endpoints of all service ports.
    #[arg(long, value_name = "N", default_value_t = limits::BACKENDS, value_parser = at_least_one())]
    pub max_backends: u32,
    /// Service ports, both families together.
    #[arg(long, value_name = "N", default_value_t = limits::SERVICES, value_parser = at_least_one())]
    pub max_services: u32,
    /// Entries of the flow table, two to four a flow.
    #[arg(long, value_name = "N", default_value_t = limits::FLOWS, value_parser = at_least_one())]
    pub max_flows: u32,
    /// Prefixes of all Services' loadBalancerSourceRanges, and ServiceCIDRs.
    #[arg(long, value_name = "N", default_value_t = limits::PREFIXES, value_parser = at_least_one())]
    pub max_prefixes: u32,
    /// Clients that session affinity remembers, by service port.
    #[arg(long, value_name = "N", default_value_t = limits::AFFINITIES, value_parser = at_least_one())]
    pub max_affinities: u32,
}

fn at_least_one() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..)
}

/// The bpffs below which pins go, in a folder `sluice`, unless told otherwise.
pub const DEFAULT_BPF_ROOT: &str = "/sys/fs/bpf";

/// The proxy modes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProxyMode {
    /// Kernel programs at tc and on sockets.
    Ebpf,
}

/// kube-proxy's names for the detectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(clippy::upper_case_acronyms, reason = "these are kube-proxy's spellings")]
pub enum DetectLocalMode {
    /// A60.
    #[value(name = "ClusterCIDR")]
    ClusterCIDR,
    /// A61.
    #[value(name = "NodeCIDR")]
    NodeCIDR,
    /// A62.
    #[value(name = "BridgeInterface")]
    BridgeInterface,
    /// A63.
    #[value(name = "InterfaceNamePrefix")]
    InterfaceNamePrefix,
}

/// What to do instead of running.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Services, from the pinned maps.
    #[command(subcommand)]
    Service(ListCommand),
    /// Flows, from the pinned maps.
    #[command(subcommand)]
    Flow(ListCommand),
    /// What becomes of a packet, and why: on this node, or on any, from manifests alone.
    #[command(disable_help_flag = true)]
    Explain(ExplainArgs),
    /// Detach everything and remove the pins.
    Cleanup(CleanupArgs),
}

/// The one verb of the inspecting commands.
#[derive(Clone, Debug, Subcommand)]
pub enum ListCommand {
    /// List them.
    List(ListArgs),
}

/// What a list reads and how it prints.
#[derive(Clone, Debug, Args)]
pub struct ListArgs {
    /// Folder of the pinned maps.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPF_ROOT)]
    pub bpf_root: PathBuf,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// The question to explain, parsed by [`crate::cli::explain::Explain`]: it takes the proxy's own
/// flags too, which no subcommand of theirs could declare again.
#[derive(Clone, Debug, Args)]
pub struct ExplainArgs {
    /// See `sluice explain --help`.
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// What cleanup removes.
#[derive(Clone, Debug, Args)]
pub struct CleanupArgs {
    /// Folder of the pins.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPF_ROOT)]
    pub bpf_root: PathBuf,
}
