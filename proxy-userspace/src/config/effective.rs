//! From the flags, or the file, to the configuration that is in force: kube-proxy's own rules about
//! which wins, and its defaults.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    ConfigError, args::go_bool, duration::GoDuration, fail, file::KubeProxyConfiguration,
    kube_flags::KubeFlags, words,
};

/// The mode that this program has.
pub const MODE: &str = "ebpf";
/// Ports, where none is said.
const HEALTHZ_PORT: u16 = 10_256;
const METRICS_PORT: u16 = 10_249;

/// What the flags say, as a file would say it.
pub(super) fn from_flags(flags: &KubeFlags) -> Result<KubeProxyConfiguration, ConfigError> {
    let mut config = KubeProxyConfiguration::default();
    set_defaults(&mut config);
    let flags = flags.clone();
    config.feature_gates = feature_gates(&flags.feature_gates)?;
    put(&mut config.client_connection.content_type, flags.kube_api_content_type);
    put(&mut config.client_connection.burst, flags.kube_api_burst);
    put(&mut config.client_connection.qps, flags.kube_api_qps);
    let kubeconfig = flags.kubeconfig.map(|path| path.display().to_string());
    put(&mut config.client_connection.kubeconfig, kubeconfig);
    put(&mut config.bind_address, flags.bind_address);
    put(&mut config.bind_address_hard_fail, flags.bind_address_hard_fail);
    put(&mut config.enable_profiling, flags.profiling);
    put(&mut config.show_hidden_metrics_for_version, flags.show_hidden_metrics_for_version);
    put(&mut config.iptables.masquerade_bit, flags.iptables_masquerade_bit.map(Some));
    put(&mut config.iptables.localhost_node_ports, flags.iptables_localhost_nodeports.map(Some));
    put(&mut config.iptables.masquerade_all, flags.masquerade_all);
    put(&mut config.iptables.sync_period, flags.iptables_sync_period);
    put(&mut config.iptables.min_sync_period, flags.iptables_min_sync_period);
    put(&mut config.ipvs.sync_period, flags.ipvs_sync_period);
    put(&mut config.ipvs.min_sync_period, flags.ipvs_min_sync_period);
    put(&mut config.ipvs.scheduler, flags.ipvs_scheduler);
    config.ipvs.exclude_cidrs = words(&flags.ipvs_exclude_cidrs).map(str::to_owned).collect();
    put(&mut config.ipvs.strict_arp, flags.ipvs_strict_arp);
    put(&mut config.ipvs.tcp_timeout, flags.ipvs_tcp_timeout);
    put(&mut config.ipvs.tcp_fin_timeout, flags.ipvs_tcpfin_timeout);
    put(&mut config.ipvs.udp_timeout, flags.ipvs_udp_timeout);
    put(&mut config.detect_local_mode, flags.detect_local_mode);
    put(&mut config.detect_local.bridge_interface, flags.pod_bridge_interface);
    put(&mut config.detect_local.interface_name_prefix, flags.pod_interface_name_prefix);
    put(&mut config.cluster_cidr, flags.cluster_cidr);
    config.node_port_addresses = words(&flags.nodeport_addresses).map(str::to_owned).collect();
    put(&mut config.oom_score_adj, flags.oom_score_adj.map(Some));
    put(&mut config.conntrack.max_per_core, flags.conntrack_max_per_core.map(Some));
    put(&mut config.conntrack.min, flags.conntrack_min.map(Some));
    put(
        &mut config.conntrack.tcp_established_timeout,
        flags.conntrack_tcp_timeout_established.map(Some),
    );
    put(
        &mut config.conntrack.tcp_close_wait_timeout,
        flags.conntrack_tcp_timeout_close_wait.map(Some),
    );
    put(&mut config.conntrack.tcp_be_liberal, flags.conntrack_tcp_be_liberal);
    put(&mut config.conntrack.udp_timeout, flags.conntrack_udp_timeout);
    put(&mut config.conntrack.udp_stream_timeout, flags.conntrack_udp_timeout_stream);
    put(&mut config.config_sync_period, flags.config_sync_period);
    let (any, own) = (IpAddr::from([0; 4]), IpAddr::from([127, 0, 0, 1]));
    let healthz = address(flags.healthz_bind_address, flags.healthz_port, (any, HEALTHZ_PORT));
    put(&mut config.healthz_bind_address, healthz);
    let metrics = address(flags.metrics_bind_address, flags.metrics_port, (own, METRICS_PORT));
    put(&mut config.metrics_bind_address, metrics);
    Ok(config)
}

fn put<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// An address of the flags: an empty one, or a port of 0, turns the server off, which no file can.
fn address(text: Option<String>, port: Option<i32>, default: (IpAddr, u16)) -> Option<String> {
    let default_port = default.1.to_string();
    match (text, port) {
        (None, None) => None,
        (_, Some(0)) => Some(String::new()),
        (None, Some(port)) => Some(at_port(&default.0.to_string(), &port.to_string())),
        (Some(text), port) => {
            Some(at_port(&text, &port.map_or(default_port, |port| port.to_string())))
        }
    }
}

/// What is an address alone gets the port; anything else is left for the checks.
fn at_port(text: &str, port: &str) -> String {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Ok(IpAddr::V4(ip)) => format!("{ip}:{port}"),
        Err(_) => text.to_owned(),
    }
}

fn feature_gates(list: &[String]) -> Result<BTreeMap<String, bool>, ConfigError> {
    let mut gates = BTreeMap::new();
    for word in words(list) {
        let pair = word.split_once('=');
        let gate = pair.and_then(|(name, value)| Some((name.trim(), go_bool(value.trim()).ok()?)));
        match gate {
            Some((name, value)) if !name.is_empty() => gates.insert(name.to_owned(), value),
            Some(_) | None => {
                return fail(format!("--feature-gates: {word:?} is not a pair such as Name=true"));
            }
        };
    }
    Ok(gates)
}

/// Fills in what was left open (A.8), as kube-proxy does.
pub(super) fn set_defaults(config: &mut KubeProxyConfiguration) {
    or(&mut config.bind_address, String::is_empty, || "0.0.0.0".to_owned());
    let v4 = config.bind_address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4());
    let (any, own) = if v4 { ("0.0.0.0", "127.0.0.1") } else { ("::", "::1") };
    for (field, ip, port) in [
        (&mut config.healthz_bind_address, any, HEALTHZ_PORT),
        (&mut config.metrics_bind_address, own, METRICS_PORT),
    ] {
        or(field, String::is_empty, || ip.to_owned());
        *field = at_port(field, &port.to_string());
    }
    config.oom_score_adj.get_or_insert(-999);
    config.iptables.masquerade_bit.get_or_insert(14);
    config.iptables.localhost_node_ports.get_or_insert(true);
    config.nftables.masquerade_bit.get_or_insert(14);
    let conntrack = &mut config.conntrack;
    conntrack.max_per_core.get_or_insert(32 * 1024);
    conntrack.min.get_or_insert(128 * 1024);
    conntrack.tcp_established_timeout.get_or_insert(GoDuration::from_secs(24 * 3600));
    conntrack.tcp_close_wait_timeout.get_or_insert(GoDuration::from_secs(3600));
    let zero = |period: &GoDuration| period.is_zero();
    for (sync, min_sync) in [
        (&mut config.iptables.sync_period, Some(&mut config.iptables.min_sync_period)),
        (&mut config.nftables.sync_period, Some(&mut config.nftables.min_sync_period)),
        (&mut config.ipvs.sync_period, None),
    ] {
        or(sync, zero, || GoDuration::from_secs(30));
        if let Some(min_sync) = min_sync {
            or(min_sync, zero, || GoDuration::from_secs(1));
        }
    }
    or(&mut config.config_sync_period, zero, || GoDuration::from_secs(15 * 60));
    let client = &mut config.client_connection;
    or(&mut client.content_type, String::is_empty, || "application/json".to_owned());
    or(&mut client.qps, |qps| *qps == 0.0, || 5.0);
    or(&mut client.burst, |burst| *burst == 0, || 10);
    or(&mut config.detect_local_mode, String::is_empty, || "ClusterCIDR".to_owned());
    or(&mut config.logging.format, String::is_empty, || "text".to_owned());
}

fn or<T>(field: &mut T, is_open: impl Fn(&T) -> bool, value: impl Fn() -> T) {
    if is_open(field) {
        *field = value();
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Flags;

    fn addresses(flags: &[&str]) -> (String, String) {
        let flags = Flags::try_parse_from(["sluice"].iter().chain(flags)).unwrap();
        let config = from_flags(&flags.kube).unwrap();
        (config.healthz_bind_address, config.metrics_bind_address)
    }

    #[test]
    fn addresses_of_the_servers() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(addresses(&[]), pair("0.0.0.0:10256", "127.0.0.1:10249"));
        assert_eq!(addresses(&["--healthz-bind-address=", "--metrics-port=0"]), pair("", ""));
        assert_eq!(
            addresses(&["--healthz-bind-address=::", "--metrics-port=9000"]),
            pair("[::]:10256", "127.0.0.1:9000")
        );
        assert_eq!(
            addresses(&["--healthz-bind-address=10.0.0.1:7", "--metrics-bind-address=0.0.0.0"]),
            pair("10.0.0.1:7", "0.0.0.0:10249")
        );
    }

    #[test]
    fn an_ipv6_file_has_ipv6_servers() {
        let mut config = KubeProxyConfiguration { bind_address: "::".into(), ..Default::default() };
        set_defaults(&mut config);
        assert_eq!(config.healthz_bind_address, "[::]:10256");
        assert_eq!(config.metrics_bind_address, "[::1]:10249");
    }

    #[test]
    fn feature_gates_are_pairs() {
        let gates = feature_gates(&["A=true,B=0".into(), "C=F".into()]).unwrap();
        assert_eq!(gates.values().copied().collect::<Vec<_>>(), [true, false, false]);
        assert!(feature_gates(&["A".into()]).is_err());
    }
}
