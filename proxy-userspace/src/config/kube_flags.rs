//! kube-proxy's flags, every one, by its own name. What a flag does not say is left open, so that
//! the configuration file and the defaults can say it.

use std::path::PathBuf;

use clap::Args;

use super::{args::go_bool, duration::GoDuration};

/// The flags that stand for fields of the configuration file.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "kube-proxy's options")]
pub struct KubeFlags {
    /// Feature gates, as KEY=BOOL pairs; none has an effect.
    #[arg(long, value_name = "KEY=BOOL,...")]
    pub feature_gates: Vec<String>,
    /// Kubeconfig file; without it the pod's service account is used.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Address of the API server; overrides the kubeconfig's.
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
    /// Content type of requests to the API server; JSON is always used.
    #[arg(long, value_name = "TEXT")]
    pub kube_api_content_type: Option<String>,
    /// Burst of requests to the API server; there are a handful in all.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub kube_api_burst: Option<i32>,
    /// Rate of requests to the API server; there are a handful in all.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub kube_api_qps: Option<f32>,
    /// The address of the node; NodePorts with `primary` are served there.
    #[arg(long, value_name = "IP")]
    pub bind_address: Option<String>,
    /// End when a port cannot be bound, instead of trying again.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool
    )]
    pub bind_address_hard_fail: Option<bool>,
    /// Where /healthz and /livez are served; 0.0.0.0:10256 unless given, nowhere if empty.
    #[arg(long, value_name = "IP:PORT")]
    pub healthz_bind_address: Option<String>,
    /// The port of --healthz-bind-address, 0 for nowhere. Deprecated.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, hide = true)]
    pub healthz_port: Option<i32>,
    /// Where /metrics is served; 127.0.0.1:10249 unless given, nowhere if empty.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_bind_address: Option<String>,
    /// The port of --metrics-bind-address, 0 for nowhere. Deprecated.
    #[arg(long, value_name = "PORT", allow_hyphen_values = true, hide = true)]
    pub metrics_port: Option<i32>,
    /// Go profiles at /debug/pprof; there are none.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool
    )]
    pub profiling: Option<bool>,
    /// Metrics hidden in an older version; none is hidden.
    #[arg(long, value_name = "TEXT")]
    pub show_hidden_metrics_for_version: Option<String>,
    /// The proxy mode: `ebpf`. Given, it wins over the mode of --config.
    #[arg(long, value_name = "MODE")]
    pub proxy_mode: Option<String>,
    /// Masquerade all traffic to ClusterIPs.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool
    )]
    pub masquerade_all: Option<bool>,
    /// The mark of packets to masquerade; none is marked.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub iptables_masquerade_bit: Option<i32>,
    /// Whether NodePorts are served on loopback addresses; true unless given.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool
    )]
    pub iptables_localhost_nodeports: Option<bool>,
    /// How late a write may be before /healthz fails: twice this; 30s unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub iptables_sync_period: Option<GoDuration>,
    /// Pause between two syncs; changes are written at once.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub iptables_min_sync_period: Option<GoDuration>,
    /// Of ipvs mode.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide = true)]
    pub ipvs_sync_period: Option<GoDuration>,
    /// Of ipvs mode.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide = true)]
    pub ipvs_min_sync_period: Option<GoDuration>,
    /// Of ipvs mode.
    #[arg(long, value_name = "TEXT", hide = true)]
    pub ipvs_scheduler: Option<String>,
    /// Of ipvs mode.
    #[arg(long, value_name = "CIDR,...", hide = true)]
    pub ipvs_exclude_cidrs: Vec<String>,
    /// Of ipvs mode.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool,
        hide = true
    )]
    pub ipvs_strict_arp: Option<bool>,
    /// Of ipvs mode.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide = true)]
    pub ipvs_tcp_timeout: Option<GoDuration>,
    /// Of ipvs mode.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide = true)]
    pub ipvs_tcpfin_timeout: Option<GoDuration>,
    /// Of ipvs mode.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, hide = true)]
    pub ipvs_udp_timeout: Option<GoDuration>,
    /// How a packet's source is recognised as a local pod: ClusterCIDR unless given, NodeCIDR,
    /// BridgeInterface or InterfaceNamePrefix.
    #[arg(long, value_name = "MODE")]
    pub detect_local_mode: Option<String>,
    /// The bridge of --detect-local-mode=BridgeInterface.
    #[arg(long, value_name = "NAME")]
    pub pod_bridge_interface: Option<String>,
    /// The start of names of --detect-local-mode=InterfaceNamePrefix.
    #[arg(long, value_name = "PREFIX")]
    pub pod_interface_name_prefix: Option<String>,
    /// The pods' addresses in the cluster, at most one network a family.
    #[arg(long, value_name = "CIDR,...")]
    pub cluster_cidr: Option<String>,
    /// Networks of the node's addresses that serve NodePorts, or `primary`; all otherwise.
    #[arg(long, value_name = "CIDR,...")]
    pub nodeport_addresses: Vec<String>,
    /// This process's oom_score_adj; -999 unless given.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub oom_score_adj: Option<i32>,
    /// nf_conntrack_max for each processor, 0 to leave it; 32768 unless given.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub conntrack_max_per_core: Option<i32>,
    /// The least nf_conntrack_max; 131072 unless given.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub conntrack_min: Option<i32>,
    /// nf_conntrack_tcp_timeout_established, 0 to leave it; 24h unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub conntrack_tcp_timeout_established: Option<GoDuration>,
    /// nf_conntrack_tcp_timeout_close_wait, 0 to leave it; 1h unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub conntrack_tcp_timeout_close_wait: Option<GoDuration>,
    /// Set nf_conntrack_tcp_be_liberal.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        default_missing_value = "true",
        require_equals = true,
        value_parser = go_bool
    )]
    pub conntrack_tcp_be_liberal: Option<bool>,
    /// nf_conntrack_udp_timeout; left unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub conntrack_udp_timeout: Option<GoDuration>,
    /// nf_conntrack_udp_timeout_stream; left unless given.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub conntrack_udp_timeout_stream: Option<GoDuration>,
    /// Full refresh from the API server; watches need none.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub config_sync_period: Option<GoDuration>,
    /// Form of the log: text, unless given, or json. Given, it wins over the form of --config.
    #[arg(long, value_name = "FORM")]
    pub logging_format: Option<String>,
    /// Delay of log lines; none is delayed.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub log_flush_frequency: Option<GoDuration>,
    /// Verbosity by Go file.
    #[arg(long, value_name = "PATTERN=N,...")]
    pub vmodule: Vec<String>,
    /// Of the text log.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_parser = go_bool, hide = true)]
    pub log_text_split_stream: Option<bool>,
    /// Of the text log.
    #[arg(long, value_name = "SIZE", hide = true)]
    pub log_text_info_buffer_size: Option<String>,
    /// Of the JSON log.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true",
          require_equals = true, value_parser = go_bool, hide = true)]
    pub log_json_split_stream: Option<bool>,
    /// Of the JSON log.
    #[arg(long, value_name = "SIZE", hide = true)]
    pub log_json_info_buffer_size: Option<String>,
    /// Of cAdvisor.
    #[arg(long, value_name = "TEXT", hide = true)]
    pub boot_id_file: Option<String>,
    /// Of cAdvisor.
    #[arg(long, value_name = "TEXT", hide = true)]
    pub machine_id_file: Option<String>,
}
