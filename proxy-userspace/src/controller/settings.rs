//! From the configuration to what the programs read.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use sluice_common::{
    iface::addr_flags,
    limits::MASQUERADE_PORTS,
    net::{Addr, Prefix, V4, V6},
    settings::{Settings, detector, flags},
};

use crate::{
    config::{Config, DetectLocal, SocketLb, UnknownClusterIp},
    dataplane::aya::load,
    model::{ModelConfig, limits::Limits, spec::NodeSpec},
    node::{self, NodePortAddresses, NodeState, PodInterfaces},
};

/// A51 and A52 in both families.
const CLUSTER_IPS: u32 = flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6;

/// The settings for a node. The ranges of NodePorts and cluster IPs belong to the model.
pub(crate) fn settings(
    config: &Config,
    node: &NodeSpec,
    netns_cookie: u64,
    csum_ipv6: bool,
) -> Settings {
    let bit = |set, bit| if set { bit } else { 0 };
    let (v4, v6) = pods(&config.detect_local, node);
    let by_interface = matches!(
        config.detect_local,
        DetectLocal::BridgeInterface(_) | DetectLocal::InterfaceNamePrefix(_)
    );
    let mode = |found: bool| match (by_interface, found) {
        (true, _) => detector::IFACE,
        (false, true) => detector::PREFIX,
        (false, false) => detector::NONE, // A45
    };
    Settings {
        netns_cookie,
        flags: bit(config.masquerade_all, flags::MASQUERADE_ALL)
            | bit(config.socket_lb == SocketLb::All, flags::SOCKETS_EVERYWHERE)
            | bit(csum_ipv6, flags::CSUM_IPV6)
            | bit(config.unknown_cluster_ip == UnknownClusterIp::Reject, CLUSTER_IPS),
        node_port_min: 1,
        node_port_max: 0,
        masquerade_min: MASQUERADE_PORTS.0,
        masquerade_max: MASQUERADE_PORTS.1,
        detector_v4: mode(v4.is_some()),
        detector_v6: mode(v6.is_some()),
        pad: [0; 2],
        pods_v4: v4.map_or(Prefix::ANY, |net| prefix4(&net)),
        pods_v6: v6.map_or(Prefix::ANY, |net| prefix6(&net)),
        services_v4: Prefix::ANY,
        services_v6: Prefix::ANY,
    }
}

/// How the programs and their maps are loaded.
pub(super) fn load_options(config: &Config) -> load::Options {
    let sizes = config.sizes;
    let map_sizes = [
        ("FRONTENDS", sizes.max_frontends),
        ("SLOTS", sizes.max_slots),
        ("BACKENDS", sizes.max_backends),
        ("SERVICES", sizes.max_services),
        ("FLOWS", sizes.max_flows),
        ("PREFIXES", sizes.max_prefixes),
        ("AFFINITIES", sizes.max_affinities),
    ];
    load::Options {
        map_sizes: map_sizes.map(|(map, size)| (map.to_owned(), size)).into(),
        ..load::Options::new(&config.bpf_root)
    }
}

/// What the model is told once.
pub(crate) fn model_config(config: &Config) -> ModelConfig {
    let limits = Limits {
        frontends: config.sizes.max_frontends,
        slots: config.sizes.max_slots,
        backends: config.sizes.max_backends,
        services: config.sizes.max_services,
        prefixes: config.sizes.max_prefixes,
    };
    ModelConfig { node_name: config.node_name.clone(), limits, algorithm: config.lb_algorithm }
}

/// What the node's watch has to know.
pub(crate) fn node_config(config: &Config, node: &NodeSpec) -> node::Config {
    let node_ports = match config.node_port_addresses.as_slice() {
        [] => NodePortAddresses::All,
        // The configuration lets only loopback stand beside it.
        words if words.iter().any(|word| word == "primary") => {
            NodePortAddresses::Primary { localhost: words.len() > 1 }
        }
        words => {
            // The configuration has checked them.
            NodePortAddresses::Within(words.iter().filter_map(|word| word.parse().ok()).collect())
        }
    };
    let pods = match &config.detect_local {
        DetectLocal::BridgeInterface(name) => PodInterfaces::Bridge(name.clone()),
        DetectLocal::InterfaceNamePrefix(prefix) => PodInterfaces::Prefix(prefix.clone()),
        DetectLocal::ClusterCidr(_) | DetectLocal::NodeCidr => PodInterfaces::Unknown,
    };
    let without_loopback = !config.localhost_node_ports;
    let node_addresses = primary_addresses(config, node);
    node::Config { node_ports, without_loopback, node_addresses, pods, provisional: false }
}

/// The node's primary addresses (A17a): `--bind-address`, and what the Node object has of the other
/// family.
pub(crate) fn primary_addresses(config: &Config, node: &NodeSpec) -> Vec<IpAddr> {
    let mut addresses: Vec<_> = config.node_ip.into_iter().collect();
    for address in &node.addresses {
        if !addresses.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
            addresses.push(*address);
        }
    }
    addresses
}

/// The addresses that serve NodePorts, if not all do: health checks listen there (A80).
pub(super) fn restricted_node_ports(
    config: &Config,
    state: &NodeState,
) -> Option<BTreeSet<IpAddr>> {
    let all = || {
        let v4 = state.addrs_v4.iter().map(|(addr, flags)| (IpAddr::from(addr.bytes), *flags));
        v4.chain(state.addrs_v6.iter().map(|(addr, flags)| (IpAddr::from(addr.bytes), *flags)))
    };
    let serving = || all().filter(|(_, flags)| flags & addr_flags::NODE_PORTS != 0);
    (!config.node_port_addresses.is_empty()).then(|| serving().map(|(ip, _)| ip).collect())
}

/// The pods' network of each family.
fn pods(detect: &DetectLocal, node: &NodeSpec) -> (Option<Ipv4Net>, Option<Ipv6Net>) {
    let networks = match detect {
        DetectLocal::ClusterCidr(networks) => networks.as_slice(),
        DetectLocal::NodeCidr => node.pod_cidrs.as_slice(),
        DetectLocal::BridgeInterface(_) | DetectLocal::InterfaceNamePrefix(_) => &[],
    };
    let v4 = networks.iter().find_map(|net| match net {
        IpNet::V4(net) => Some(*net),
        IpNet::V6(_) => None,
    });
    let v6 = networks.iter().find_map(|net| match net {
        IpNet::V6(net) => Some(*net),
        IpNet::V4(_) => None,
    });
    (v4, v6)
}

fn prefix4(net: &Ipv4Net) -> Prefix<V4> {
    Prefix { addr: Addr::new(net.network().octets()), mask: Addr::new(net.netmask().octets()) }
}

fn prefix6(net: &Ipv6Net) -> Prefix<V6> {
    Prefix { addr: Addr::new(net.network().octets()), mask: Addr::new(net.netmask().octets()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Flags;

    fn config(detect_local: DetectLocal) -> Config {
        let flags = Flags::try_parse_from(["sluice", "--hostname-override=n1"]).expect("flags");
        Config { detect_local, ..Config::from_flags(flags).expect("a configuration") }
    }

    #[test]
    fn a45_a_family_without_network_has_no_detector() {
        let v4_only = DetectLocal::ClusterCidr(vec!["10.244.0.0/16".parse().unwrap()]);
        let settings = settings(&config(v4_only), &NodeSpec::default(), 7, false);
        assert_eq!(
            (settings.detector_v4, settings.detector_v6),
            (detector::PREFIX, detector::NONE)
        );
        assert!(settings.pods_v4.contains(&Addr::new([10, 244, 9, 9])));
        assert!(!settings.pods_v4.contains(&Addr::new([10, 245, 0, 1])));
    }

    #[test]
    fn a102_unknown_cluster_ips_may_be_ignored() {
        let mut config = config(DetectLocal::NodeCidr);
        let flags = |config: &Config| settings(config, &NodeSpec::default(), 0, false).flags;
        assert_eq!(flags(&config), CLUSTER_IPS);
        config.unknown_cluster_ip = UnknownClusterIp::Ignore;
        assert_eq!(flags(&config), 0);
    }

    #[test]
    fn a61_node_cidr_waits_for_the_node() {
        let detect = config(DetectLocal::NodeCidr);
        let before = settings(&detect, &NodeSpec::default(), 0, false);
        assert_eq!(before.detector_v4, detector::NONE);
        let node = NodeSpec {
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap(), "fd00::/64".parse().unwrap()],
            ..NodeSpec::default()
        };
        let after = settings(&detect, &node, 0, true);
        assert_eq!((after.detector_v4, after.detector_v6), (detector::PREFIX, detector::PREFIX));
        assert_eq!(after.flags, flags::CSUM_IPV6 | CLUSTER_IPS);
    }

    #[test]
    fn a62_a63_interfaces_detect_both_families() {
        let prefix = DetectLocal::InterfaceNamePrefix("cali".into());
        let settings = settings(&config(prefix), &NodeSpec::default(), 0, false);
        assert_eq!(
            (settings.detector_v4, settings.detector_v6),
            (detector::IFACE, detector::IFACE)
        );
    }
}
