//! Whether a configuration can be run. What is refused is named as its author wrote it: as a flag,
//! or as a field of the file.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    ConfigError, DetectLocal, Flags, duration::GoDuration, effective::MODE, fail,
    file::KubeProxyConfiguration, words,
};

/// How an error names a setting.
pub(super) struct Names {
    file: Option<PathBuf>,
}

impl Names {
    pub(super) fn new(file: Option<&Path>) -> Self {
        Self { file: file.map(Path::to_owned) }
    }

    pub(super) fn of(&self, flag: &str, field: &str) -> String {
        match &self.file {
            Some(path) => format!("{}: {field}", path.display()),
            None => format!("--{flag}"),
        }
    }
}

/// Modes of kube-proxy that an operator may leave in the file.
const OTHER_MODES: [&str; 3] = ["iptables", "ipvs", "nftables"];

/// There is one mode. The flag wins over the file: that is how a cluster is switched, by the image
/// and one argument. Returns the file's mode, whose section counts, and says so if it loses.
pub(super) fn mode(
    config: &mut KubeProxyConfiguration,
    flags: &Flags,
    notes: &mut Vec<String>,
) -> Result<String, ConfigError> {
    let given = flags.kube.proxy_mode.as_deref().filter(|mode| !mode.is_empty());
    if let Some(other) = given.filter(|mode| *mode != MODE) {
        return fail(format!(
            "--proxy-mode={other}: this is Sluice, which has the mode ebpf only; say \
             --proxy-mode=ebpf, or run kube-proxy"
        ));
    }
    let written = std::mem::replace(&mut config.mode, MODE.to_owned());
    let Some(file) = flags.config.as_deref().map(Path::display) else { return Ok(written) };
    let overridable = OTHER_MODES.contains(&written.as_str());
    match written.as_str() {
        "" | MODE => Ok(written),
        other if overridable && given.is_some() => {
            notes.push(format!("mode {other:?} of {file} gives way to --proxy-mode=ebpf"));
            Ok(written)
        }
        other if overridable => fail(format!(
            "{file}: mode {other:?} is kube-proxy's; add --proxy-mode=ebpf to the command line, or \
             write mode: ebpf"
        )),
        other => fail(format!("{file}: mode {other:?} is unknown; write mode: ebpf")),
    }
}

/// The ranges that kube-proxy checks.
pub(super) fn ranges(config: &KubeProxyConfiguration, names: &Names) -> Result<(), ConfigError> {
    let oom = config.oom_score_adj.unwrap_or(0);
    within(oom, -1000..=1000, &names.of("oom-score-adj", "oomScoreAdj"))?;
    let conntrack = &config.conntrack;
    let per_core = names.of("conntrack-max-per-core", "conntrack.maxPerCore");
    within(conntrack.max_per_core.unwrap_or(0), 0..=i32::MAX, &per_core)?;
    let min = names.of("conntrack-min", "conntrack.min");
    within(conntrack.min.unwrap_or(0), 0..=i32::MAX, &min)?;
    for (duration, flag, field) in [
        (
            conntrack.tcp_established_timeout.unwrap_or_default(),
            "conntrack-tcp-timeout-established",
            "conntrack.tcpEstablishedTimeout",
        ),
        (
            conntrack.tcp_close_wait_timeout.unwrap_or_default(),
            "conntrack-tcp-timeout-close-wait",
            "conntrack.tcpCloseWaitTimeout",
        ),
        (conntrack.udp_timeout, "conntrack-udp-timeout", "conntrack.udpTimeout"),
        (
            conntrack.udp_stream_timeout,
            "conntrack-udp-timeout-stream",
            "conntrack.udpStreamTimeout",
        ),
    ] {
        not_negative(duration, &names.of(flag, field))?;
    }
    for (period, flag, field) in [
        (config.iptables.sync_period, "iptables-sync-period", "iptables.syncPeriod"),
        (config.nftables.sync_period, "iptables-sync-period", "nftables.syncPeriod"),
        (config.ipvs.sync_period, "ipvs-sync-period", "ipvs.syncPeriod"),
        (config.config_sync_period, "config-sync-period", "configSyncPeriod"),
    ] {
        if period.is_zero() || period.is_negative() {
            return fail(format!("{}: {period} is not above 0", names.of(flag, field)));
        }
    }
    Ok(())
}

fn within(value: i32, range: std::ops::RangeInclusive<i32>, name: &str) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    fail(format!("{name}: {value} is not within {} and {}", range.start(), range.end()))
}

fn not_negative(duration: GoDuration, name: &str) -> Result<(), ConfigError> {
    match duration.is_negative() {
        true => fail(format!("{name}: {duration} is below 0")),
        false => Ok(()),
    }
}

/// The forms of the log.
pub(super) fn json_log(
    config: &KubeProxyConfiguration,
    names: &Names,
) -> Result<bool, ConfigError> {
    match config.logging.format.as_str() {
        "text" | "" => Ok(false),
        "json" => Ok(true),
        other => {
            let name = names.of("logging-format", "logging.format");
            fail(format!("{name}: {other:?} is neither text nor json"))
        }
    }
}

/// `IP:port`; empty for none.
pub(super) fn address(text: &str, name: &str) -> Result<Option<SocketAddr>, ConfigError> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        Ok(_) | Err(_) => fail(format!("{name}: {text:?} is not IP:port, such as 0.0.0.0:10256")),
    }
}

/// `bindAddress` only says which address is the node's; unspecified ones say nothing.
pub(super) fn node_ip(
    config: &KubeProxyConfiguration,
    names: &Names,
) -> Result<Option<IpAddr>, ConfigError> {
    let text = &config.bind_address;
    let Ok(ip) = text.parse::<IpAddr>() else {
        let name = names.of("bind-address", "bindAddress");
        return fail(format!("{name}: {text:?} is not an IP address"));
    };
    Ok(Some(ip).filter(|ip| !ip.is_unspecified()))
}

pub(super) fn detect_local(
    config: &KubeProxyConfiguration,
    names: &Names,
) -> Result<DetectLocal, ConfigError> {
    let detect = &config.detect_local;
    let mode = config.detect_local_mode.as_str();
    let is = |name: &str| mode.eq_ignore_ascii_case(name);
    let needed = |value: &str, flag, field| match value {
        "" => {
            let setting = names.of("detect-local-mode", "detectLocalMode");
            fail(format!("{setting}={mode} needs {}", names.of(flag, field)))
        }
        value => Ok(value.to_owned()),
    };
    if is("ClusterCIDR") {
        return Ok(DetectLocal::ClusterCidr(cluster_cidrs(config, names)?));
    }
    if is("NodeCIDR") {
        return Ok(DetectLocal::NodeCidr);
    }
    if is("BridgeInterface") {
        let field = "detectLocal.bridgeInterface";
        let bridge = needed(&detect.bridge_interface, "pod-bridge-interface", field)?;
        return Ok(DetectLocal::BridgeInterface(bridge));
    }
    if is("InterfaceNamePrefix") {
        let field = "detectLocal.interfaceNamePrefix";
        let prefix = needed(&detect.interface_name_prefix, "pod-interface-name-prefix", field)?;
        return Ok(DetectLocal::InterfaceNamePrefix(prefix));
    }
    let setting = names.of("detect-local-mode", "detectLocalMode");
    fail(format!(
        "{setting}: {mode:?} is none of ClusterCIDR, NodeCIDR, BridgeInterface and \
         InterfaceNamePrefix"
    ))
}

/// One network, or one of each family (A60).
fn cluster_cidrs(
    config: &KubeProxyConfiguration,
    names: &Names,
) -> Result<Vec<IpNet>, ConfigError> {
    let name = || names.of("cluster-cidr", "clusterCIDR");
    let mut networks: Vec<IpNet> = Vec::new();
    for text in words(std::slice::from_ref(&config.cluster_cidr)) {
        let Ok(network) = text.parse::<IpNet>() else {
            return fail(format!("{}: {text:?} is not a network such as 10.244.0.0/16", name()));
        };
        if let Some(known) = networks.iter().find(|known| same_family(known, &network)) {
            return fail(format!(
                "{}: {known} and {text} are of one family; name one network, or one of each family",
                name()
            ));
        }
        networks.push(network.trunc());
    }
    Ok(networks)
}

fn same_family(a: &IpNet, b: &IpNet) -> bool {
    a.addr().is_ipv4() == b.addr().is_ipv4()
}

/// A23, and the keywords that Kubernetes 1.37 has (KEP-6032): `all` is no restriction, `localhost` both
/// loopback networks, also beside `primary`.
pub(super) fn node_port_addresses(
    config: &KubeProxyConfiguration,
    names: &Names,
) -> Result<Vec<String>, ConfigError> {
    let name = names.of("nodeport-addresses", "nodePortAddresses");
    let words: Vec<&str> = words(&config.node_port_addresses).collect();
    let mut found = Vec::new();
    for word in &words {
        match *word {
            "primary"
                if !words.iter().all(|word| ["primary", "localhost", "all"].contains(word)) =>
            {
                return fail(format!(
                    "{name}: \"primary\" stands alone, or with \"localhost\": it takes no networks"
                ));
            }
            "localhost" => found.extend(["127.0.0.0/8", "::1/128"].map(str::to_owned)),
            "all" | "primary" => found.push((*word).to_owned()),
            word if word.parse::<IpNet>().is_ok() => found.push(word.to_owned()),
            word => {
                let text = "is not a network such as 192.168.0.0/16, nor \"primary\"";
                return fail(format!("{name}: {word:?} {text}"));
            }
        }
    }
    if words.contains(&"all") {
        found.clear();
    }
    Ok(found)
}
