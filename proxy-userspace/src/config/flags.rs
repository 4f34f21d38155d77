//! The command line, with kube-proxy's own names.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{
    ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, parser::ValueSource,
};
use sluice_common::limits;

use super::{
    SocketLb, UnknownClusterIp, Xdp,
    args::{self, go_bool},
    kube_flags::KubeFlags,
};
use crate::{cli::Output, model::spec::Algorithm};

/// An eBPF service proxy for Kubernetes, in kube-proxy's place, with any CNI.
///
/// Without a subcommand it runs as kube-proxy does, until SIGTERM; the datapath then stays in
/// place and goes on forwarding. A flag given twice counts as given last, as with kube-proxy.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "sluice",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_override_self = true
)]
pub struct Flags {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// kube-proxy's configuration file, as kubeadm writes it. Given, all flags that stand for one of
    /// its fields are ignored, but for --hostname-override, --master, --proxy-mode and -v. The
    /// process ends when the file changes.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Write the configuration that is in force, defaults included, to a file, and end.
    #[arg(long, value_name = "FILE")]
    pub write_config_to: Option<PathBuf>,
    /// Do what `sluice cleanup` does, and end.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_parser = go_bool)]
    pub cleanup: Option<bool>,
    /// Mount bpffs, set the sysctls, and end.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_parser = go_bool)]
    pub init_only: Option<bool>,
    /// Print the version, and end; `raw` in one word.
    #[arg(long, value_name = "WHEN", num_args = 0..=1, default_missing_value = "true",
          require_equals = true)]
    pub version: Option<String>,
    /// This node's name in the cluster; the hostname otherwise.
    #[arg(long, value_name = "NODE")]
    pub hostname_override: Option<String>,
    /// Follow the Services and EndpointSlices in a folder of YAML files instead of an API server.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["kubeconfig", "master"])]
    pub manifests: Option<PathBuf>,

    /// Whose sockets are translated when they connect; other traffic is translated by packet.
    #[arg(long, value_enum, default_value = "host")]
    pub socket_lb: SocketLb,
    /// Whether XDP forwards, on the node's uplinks, what belongs to flows between a client and a
    /// backend that are both elsewhere. Attaching may interrupt a network card for a moment.
    #[arg(long, value_enum, default_value = "off")]
    pub xdp: Xdp,
    /// What to do with traffic to a cluster IP's unknown port (reject) or to an unallocated cluster
    /// IP (drop); kube-proxy's iptables mode ignores both.
    #[arg(long, value_enum, default_value = "reject")]
    pub unknown_cluster_ip: UnknownClusterIp,
    /// How backends are chosen for Services without the annotation sluice.io/lb-algorithm: random, or
    /// maglev: by a hash of the client's address and port, from the same table on every node.
    #[arg(long, value_name = "NAME", default_value = Algorithm::Random.name())]
    pub lb_algorithm: Algorithm,
    /// Folder for pinned maps, programs and links, on a bpffs.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPF_ROOT)]
    pub bpf_root: PathBuf,
    /// cgroup2 folder whose processes are the node's; found in /proc/self/mountinfo otherwise.
    #[arg(long, value_name = "DIR")]
    pub cgroup_root: Option<PathBuf>,

    /// Sizes of the maps.
    #[command(flatten)]
    pub sizes: Sizes,

    /// Verbosity, as klog's: 0 errors and warnings, 2 information, 4 debugging, 6 everything; 2
    /// unless given.
    #[arg(short, long = "v", value_name = "N")]
    pub v: Option<u8>,

    /// kube-proxy's own.
    #[command(flatten)]
    pub kube: KubeFlags,

    /// What stood on the command line, by name.
    #[arg(skip)]
    pub given: Vec<GivenFlag>,
}

/// A flag of the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenFlag {
    /// Its name, without dashes.
    pub name: String,
    /// Its value as it was written.
    pub value: String,
    /// Whether it stands for a field of kube-proxy's configuration file.
    pub is_field: bool,
}

impl Flags {
    /// Reads a command line as kube-proxy would, and remembers what stood on it.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(args::normalise(args))?;
        let mut flags = Self::from_arg_matches(&matches)?;
        flags.given = given(&matches);
        Ok(flags)
    }
}

fn given(matches: &ArgMatches) -> Vec<GivenFlag> {
    let fields = KubeFlags::augment_args(clap::Command::new("fields"));
    // kube-proxy, too, lets these two win over the file.
    let is_field = |id: &str| {
        !["master", "logging_format"].contains(&id)
            && fields.get_arguments().any(|arg| arg.get_id() == id)
    };
    let command = Flags::command();
    let from_user = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let value = |id: &str| {
        let words = matches.get_raw(id).into_iter().flatten();
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(",")
    };
    let flags = command.get_arguments().filter(|arg| from_user(arg.get_id().as_str()));
    flags
        .map(|arg| GivenFlag {
            name: arg.get_long().unwrap_or_default().to_owned(),
            value: value(arg.get_id().as_str()),
            is_field: is_field(arg.get_id().as_str()),
        })
        .collect()
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
    /// Take over from kube-proxy on this node, or give the node back.
    #[command(subcommand)]
    Migrate(MigrateCommand),
}

/// The steps of a migration; docs/migration.md has the order.
#[derive(Clone, Debug, Subcommand)]
pub enum MigrateCommand {
    /// Show what kube-proxy left on this node and what `apply` would do; change nothing.
    Plan(PlanArgs),
    /// Check that Sluice serves all that kube-proxy's rules do, then remove these, and only these.
    Apply(ApplyArgs),
    /// Check that kube-proxy's rules serve all that Sluice does, hand open connections to netfilter,
    /// then remove everything of Sluice's.
    Rollback(RollbackArgs),
}

/// Where the commands of a migration look.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// Folder of the pins.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_BPF_ROOT)]
    pub bpf_root: PathBuf,
    /// The metrics port of the proxy that runs, kube-proxy's or Sluice's.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10249")]
    pub metrics_bind_address: SocketAddr,
}

/// What `plan` looks at and how it prints.
#[derive(Clone, Debug, Args)]
pub struct PlanArgs {
    /// Where to look.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Form of the output.
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Output,
}

/// What `rollback` insists on.
#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    /// Where to look.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Remove Sluice although it serves what kube-proxy's rules do not.
    #[arg(long)]
    pub ignore_missing: bool,
}

/// What `apply` insists on.
#[derive(Clone, Debug, Args)]
pub struct ApplyArgs {
    /// Where to look.
    #[command(flatten)]
    pub node: NodeArgs,
    /// Remove kube-proxy's rules although it runs. It writes them again at its next change.
    #[arg(long)]
    pub while_kube_proxy_runs: bool,
    /// Remove kube-proxy's rules although they serve what Sluice does not.
    #[arg(long)]
    pub ignore_missing: bool,
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
