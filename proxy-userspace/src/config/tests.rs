//! From command lines and files to what is run.

use std::{fs, path::PathBuf};

use super::*;

const KUBEADM: &str = include_str!("fixtures/kubeadm.yaml");

fn config(args: &[&str]) -> Result<Config, ConfigError> {
    let args = ["sluice", "--hostname-override=n1"].iter().chain(args);
    Config::from_flags(Flags::read(args.map(Into::into)).expect("flags"))
}

/// A file with `text`, and what became of reading it with more flags.
fn with_file(text: &str, args: &[&str]) -> (PathBuf, Result<Config, ConfigError>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.conf");
    fs::write(&path, text).unwrap();
    let flag = format!("--config={}", path.display());
    let args: Vec<&str> = std::iter::once(flag.as_str()).chain(args.iter().copied()).collect();
    (path, config(&args))
}

fn with(change: (&str, &str), args: &[&str]) -> Result<Config, ConfigError> {
    assert!(KUBEADM.contains(change.0), "{change:?}");
    with_file(&KUBEADM.replace(change.0, change.1), args).1
}

#[test]
fn a60_takes_one_network_of_each_family() {
    let config = |cidrs: &str| config(&[&format!("--cluster-cidr={cidrs}")]);
    let networks = ["10.244.0.0/16", "fd00:10:244::/56"].map(|n| n.parse().unwrap());
    let both = config("10.244.0.0/16,fd00:10:244::/56").unwrap();
    assert_eq!(both.detect_local, DetectLocal::ClusterCidr(networks.to_vec()));
    // kube-proxy refuses these, too: nobody knows which was meant.
    for two in ["10.244.0.0/16,10.0.0.0/8", "10.244.0.0/16,fd00::/56,fd01::/56"] {
        let error = config(two).unwrap_err().to_string();
        assert!(error.contains("are of one family"), "{error}");
    }
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
    let loopback = config(&["--nodeport-addresses=localhost"]).unwrap();
    assert_eq!(loopback.node_port_addresses, ["127.0.0.0/8", "::1/128"]);
    let both = config(&["--nodeport-addresses=primary,localhost"]).unwrap();
    assert_eq!(both.node_port_addresses, ["primary", "127.0.0.0/8", "::1/128"]);
    let all = config(&["--nodeport-addresses=10.0.0.0/8,all"]).unwrap();
    assert!(all.node_port_addresses.is_empty());
}

#[test]
fn a99_kubeadms_file_and_flags_run_with_the_defaults() {
    let config = with_file(KUBEADM, &["--proxy-mode=ebpf"]).1.unwrap();
    assert_eq!(config.node_name, "n1");
    let kubeconfig = Some(PathBuf::from("/var/lib/kube-proxy/kubeconfig.conf"));
    assert_eq!(config.source, Source::Kubernetes { kubeconfig, master: None });
    let pods = vec!["10.244.0.0/16".parse().unwrap()];
    assert_eq!(config.detect_local, DetectLocal::ClusterCidr(pods));
    assert_eq!(config.healthz, Some("0.0.0.0:10256".parse().unwrap()));
    assert_eq!(config.metrics, Some("127.0.0.1:10249".parse().unwrap()));
    // A100: nothing said is every address.
    assert!(config.node_port_addresses.is_empty() && config.localhost_node_ports);
    assert_eq!((config.node_ip, config.verbosity), (None, 2));
    assert_eq!(config.sync_period, Duration::from_secs(30));
    assert_eq!((config.kube.mode.as_str(), config.kube.oom_score_adj), ("ebpf", Some(-999)));
    let conntrack = &config.kube.conntrack;
    assert_eq!((conntrack.max_per_core, conntrack.min), (Some(32_768), Some(131_072)));
    assert_eq!(conntrack.tcp_established_timeout.unwrap().to_string(), "24h0m0s");
    assert_eq!((config.notes, config.warnings), (Vec::new(), Vec::new()));
}

#[test]
fn the_file_counts_and_its_flags_do_not() {
    let change = ("clusterCIDR: 10.244.0.0/16", "clusterCIDR: 10.9.0.0/16,fd00:9::/48");
    let args = ["--cluster-cidr=10.1.0.0/16", "--healthz-bind-address=127.0.0.1:1", "--v=4"];
    let config = with(change, &args).unwrap();
    let pods = ["10.9.0.0/16", "fd00:9::/48"].map(|net| net.parse().unwrap()).to_vec();
    assert_eq!(config.detect_local, DetectLocal::ClusterCidr(pods));
    assert_eq!(config.healthz, Some("0.0.0.0:10256".parse().unwrap()));
    assert_eq!((config.notes.len(), config.verbosity), (2, 4));
}

#[test]
fn the_flag_names_the_node_before_the_file_does() {
    let change = ("hostnameOverride: \"\"", "hostnameOverride: other");
    assert_eq!(with(change, &[]).unwrap().node_name, "n1");
    assert_eq!(with(change, &["--hostname-override="]).unwrap().node_name, "other");
    assert_eq!(with(change, &["--hostname-override", "N2"]).unwrap().node_name, "n2");
    assert!(with(change, &["--hostname-override= "]).is_err());
}

#[test]
fn modes() {
    let mode = |mode: &str, args: &[&str]| {
        with(("mode: \"\"", &format!("mode: {mode:?}")), args).map(|config| config.kube.mode)
    };
    for written in ["", "ebpf", "iptables", "nftables", "ipvs"] {
        assert_eq!(mode(written, &["--proxy-mode=ebpf"]).unwrap(), "ebpf", "{written}");
    }
    assert_eq!(mode("", &[]).unwrap(), "ebpf");
    assert_eq!(mode("ebpf", &[]).unwrap(), "ebpf");
    for refused in ["iptables", "nftables", "ipvs"] {
        let error = mode(refused, &[]).unwrap_err().to_string();
        assert!(error.contains("add --proxy-mode=ebpf"), "{error}");
    }
    assert!(mode("kernelspace", &["--proxy-mode=ebpf"]).is_err());
    assert!(mode("", &["--proxy-mode=iptables"]).is_err());
    assert!(config(&["--proxy-mode=nftables"]).is_err());
}

#[test]
fn a_modes_own_section_counts() {
    let text = KUBEADM
        .replace("mode: \"\"", "mode: nftables")
        .replace("nftables:\n  masqueradeAll: false", "nftables:\n  masqueradeAll: true");
    let text = text.replacen("syncPeriod: 0s\nnodePort", "syncPeriod: 10s\nnodePort", 1);
    let config = with_file(&text, &["--proxy-mode=ebpf"]).1.unwrap();
    assert!(config.masquerade_all);
    assert_eq!(config.sync_period, Duration::from_secs(10));
    let other = text.replace("mode: nftables", "mode: iptables");
    let config = with_file(&other, &["--proxy-mode=ebpf"]).1.unwrap();
    assert!(!config.masquerade_all);
    assert_eq!(config.sync_period, Duration::from_secs(30));
}

#[test]
fn errors_name_the_file_and_the_field() {
    for (change, part) in [
        (("oomScoreAdj: null", "oomScoreAdj: 1001"), "oomScoreAdj: 1001 is not within"),
        (("healthzBindAddress: \"\"", "healthzBindAddress: x:1"), "healthzBindAddress: \"x:1\""),
        (("clusterCIDR: 10.244.0.0/16", "clusterCIDR: x"), "clusterCIDR: \"x\" is not a network"),
        (("detectLocalMode: \"\"", "detectLocalMode: x"), "detectLocalMode: \"x\" is none of"),
        (("bindAddress: 0.0.0.0", "bindAddress: x"), "bindAddress: \"x\" is not an IP"),
        (("maxPerCore: null", "maxPerCore: -1"), "conntrack.maxPerCore: -1"),
        (("nodePortAddresses: null", "nodePortAddresses: [x]"), "nodePortAddresses: \"x\""),
    ] {
        let error = with(change, &[]).unwrap_err().to_string();
        assert!(error.contains("config.conf: ") && error.contains(part), "{error}");
    }
    let error = config(&["--config=/nowhere/config.conf"]).unwrap_err().to_string();
    assert!(error.starts_with("reading --config /nowhere/config.conf: No such file"), "{error}");
}

#[test]
fn what_is_written_is_read_again() {
    let written = serde_saphyr::to_string(&with_file(KUBEADM, &[]).1.unwrap().kube).unwrap();
    let decoded = decode::decode(&written).unwrap();
    assert_eq!(decoded.warnings, Vec::<String>::new());
    assert_eq!(decoded.config, with_file(&written, &[]).1.unwrap().kube);
}

#[test]
fn the_log_can_be_json() {
    let change = ("logging:\n", "logging:\n  format: json\n");
    assert!(with(change, &[]).unwrap().json_log);
    assert!(!with(change, &["--logging-format=text"]).unwrap().json_log);
    assert!(config(&["--logging-format=json"]).unwrap().json_log);
    assert!(config(&["--logging-format=xml"]).is_err());
}

#[test]
fn lists_add_up_and_single_values_are_replaced() {
    let args = ["--nodeport-addresses=10.0.0.0/8", "--nodeport-addresses=fd00::/8,192.0.2.0/24"];
    let config = config(&args).unwrap();
    assert_eq!(config.node_port_addresses, ["10.0.0.0/8", "fd00::/8", "192.0.2.0/24"]);
    let config =
        self::config(&["--v=1", "-v", "4", "--socket-lb=all", "--socket-lb=host"]).unwrap();
    assert_eq!((config.verbosity, config.socket_lb), (4, SocketLb::Host));
}

#[test]
fn every_flag_of_kube_proxy_is_accepted() {
    let flags = [
        "--bind-address=10.0.0.1 --bind-address-hard-fail --feature-gates=A=true,B=false",
        "--iptables-localhost-nodeports=false --iptables-masquerade-bit=3 --iptables-sync-period=5s",
        "--iptables-min-sync-period=1s --ipvs-exclude-cidrs=10.0.0.0/8 --ipvs-min-sync-period=1s",
        "--ipvs-scheduler=rr --ipvs-strict-arp=true --ipvs-sync-period=1s --ipvs-tcp-timeout=1s",
        "--ipvs-tcpfin-timeout=1s --ipvs-udp-timeout=1s --kube-api-burst=10 --kube-api-qps=5.5",
        "--kube-api-content-type=application/vnd.kubernetes.protobuf --kubeconfig=/k --master=http://m",
        "--masquerade-all --oom-score-adj=-998 --pod-bridge-interface=b --profiling=T -v=3 --v=2",
        "--pod-interface-name-prefix=p --show-hidden-metrics-for-version=1.35 --vmodule=a=1",
        "--conntrack-max-per-core=0 --conntrack-min 0 --conntrack-tcp-be-liberal=0",
        "--conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0s",
        "--conntrack-udp-timeout=30s --conntrack-udp-timeout-stream=180s --config-sync-period=1m",
        "--logging-format=text --log-flush-frequency=5s --nodeport_addresses=primary --init-only=0",
        "--log-text-split-stream --log-json-info-buffer-size=0 --boot-id-file=/b --machine-id-file=/m",
        "--healthz-port=10256 --metrics-port=10249 --cleanup=false --detect-local-mode=ClusterCIDR",
    ];
    let flags: Vec<&str> = flags.iter().flat_map(|line| line.split(' ')).collect();
    let config = config(&flags).unwrap();
    assert_eq!((config.masquerade_all, config.localhost_node_ports), (true, false));
    assert_eq!((config.kube.oom_score_adj, config.verbosity), (Some(-998), 2));
    assert_eq!(config.sync_period, Duration::from_secs(5));
    assert_eq!(config.node_ip, Some("10.0.0.1".parse().unwrap()));
}
