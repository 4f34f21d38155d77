//! Random clusters and settings, as one node's maps hold them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::{select, subsequence},
};
use sluice::{
    explain::{Detection, View},
    model::{
        Model, ModelConfig,
        limits::Limits,
        spec::{
            Algorithm, Change, Endpoint, Event, NodeSpec, ObjectName, Protocol, ServicePort,
            ServiceSpec, SlicePort, SliceSpec, TrafficPolicy,
        },
    },
};
use sluice_common::{
    iface::addr_flags::{LOOPBACK, NODE_PORTS},
    limits::MASQUERADE_PORTS,
    net::{Addr, Prefix, V4, V6, proto},
    settings::{Settings, detector, flags},
};
use testbed::packet::SLOTS;

use super::packets::parse;

/// The node.
const HERE: &str = "n1";
/// Its primary addresses.
const NODE: [&str; 2] = ["192.168.100.11", "fd00:192:168::11"];

/// All its addresses but loopback.
pub(super) const OWN: [&str; 3] = ["192.168.100.11", "10.244.1.1", "fd00:192:168::11"];

/// Objects, and how the proxy is run.
#[derive(Clone, Debug)]
pub(super) struct World {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
    zone: &'static str,
    settings: Settings,
    /// Flags of the second address of the node, and of loopback.
    second: u32,
    loopback: u32,
}

pub(super) fn world() -> impl Strategy<Value = World> {
    let services = btree_map(name(&["a", "b", "c"]), service(), 1..4);
    let slices = btree_map(name(&["1", "2", "3", "4", "5", "6", "7"]), slice(), 1..8);
    let flags = select(vec![0, NODE_PORTS]);
    (services, slices, select(vec!["", "z"]), settings(), flags.clone(), flags).prop_map(
        |(services, slices, zone, settings, second, loopback)| World {
            services,
            slices,
            zone,
            settings,
            second,
            loopback: loopback | LOOPBACK,
        },
    )
}

impl World {
    /// What the programs of the node know.
    pub(super) fn view(&self) -> View {
        let node = NODE.map(parse).to_vec();
        let limits = Limits { slots: SLOTS, ..Limits::default() };
        let config = ModelConfig { node_name: HERE.to_owned(), limits, ..ModelConfig::default() };
        let mut model = Model::new(config);
        model.set_settings(self.settings);
        model.set_primary_addresses(node.clone());
        model.set_local_addresses(OWN.map(parse).into());
        model.handle(Event::Services(Change::Replace(self.services.clone())));
        model.handle(Event::Slices(Change::Replace(self.slices.clone())));
        model.handle(Event::Node(NodeSpec {
            zone: self.zone.to_owned(),
            addresses: node,
            ..NodeSpec::default()
        }));
        let cidrs = ["10.96.0.0/16", "fd00:10:96::/112"].map(|net| net.parse().expect("a network"));
        model.handle(Event::ServiceCidrs(cidrs.to_vec()));
        let _ = model.plan();
        let maps = model.wanted();
        let settings = maps.settings.expect("settings");
        let addresses = (
            BTreeMap::from([
                (v4("192.168.100.11"), NODE_PORTS),
                (v4("10.244.1.1"), self.second),
                (v4("127.0.0.1"), self.loopback),
            ]),
            BTreeMap::from([(v6("fd00:192:168::11"), NODE_PORTS)]),
        );
        View {
            maps,
            settings,
            addresses,
            detection: Detection::ClusterCidr,
            why: None,
            unserved: Vec::new(),
        }
    }

    pub(super) fn endpoints(&self) -> Vec<IpAddr> {
        let all = self.slices.values().flat_map(|slice| &slice.endpoints);
        all.map(|endpoint| endpoint.address).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Where the services are reached.
    pub(super) fn destinations(&self) -> Vec<(SocketAddr, u8)> {
        let mut found = Vec::new();
        for spec in self.services.values() {
            for port in &spec.ports {
                let proto = if port.protocol == Protocol::Tcp { proto::TCP } else { proto::UDP };
                let ips = spec.cluster_ips.iter().chain(&spec.external_ips);
                for ip in ips.chain(&spec.load_balancer_ips) {
                    found.push((SocketAddr::new(*ip, port.port), proto));
                }
                for ip in NODE.map(parse) {
                    let number = if port.node_port == 0 { 81 } else { port.node_port };
                    found.push((SocketAddr::new(ip, number), proto));
                }
            }
        }
        found
    }
}

fn v4(text: &str) -> Addr<V4> {
    Addr::new(text.parse::<std::net::Ipv4Addr>().expect("an address").octets())
}

fn v6(text: &str) -> Addr<V6> {
    Addr::new(text.parse::<std::net::Ipv6Addr>().expect("an address").octets())
}

/// Settings: detectors of all kinds, switches on and off.
fn settings() -> impl Strategy<Value = Settings> {
    let modes = vec![detector::NONE, detector::PREFIX, detector::PREFIX, detector::IFACE];
    let all = select(vec![0, 0, 0, flags::MASQUERADE_ALL]);
    let both = flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6;
    let unknown = select(vec![both, both, both, 0]);
    (select(modes.clone()), select(modes), all, unknown).prop_map(|(v4, v6, all, unknown)| {
        Settings {
            netns_cookie: 0,
            flags: all | unknown,
            node_port_min: 1,
            node_port_max: 0,
            masquerade_min: MASQUERADE_PORTS.0,
            masquerade_max: MASQUERADE_PORTS.1,
            detector_v4: v4,
            detector_v6: v6,
            pad: [0; 2],
            pods_v4: Prefix { addr: Addr::new([10, 244, 0, 0]), mask: Addr::new([255, 255, 0, 0]) },
            pods_v6: Prefix {
                addr: self::v6("fd00:10:244::"),
                mask: Addr::new((u128::MAX << 80).to_be_bytes()),
            },
            services_v4: Prefix::ANY,
            services_v6: Prefix::ANY,
        }
    })
}

fn name(names: &'static [&'static str]) -> impl Strategy<Value = ObjectName> {
    select(names).prop_map(|name| ObjectName { namespace: "default".into(), name: name.into() })
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp])
}

fn some(texts: &[&str], at_most: usize) -> impl Strategy<Value = Vec<IpAddr>> + use<> {
    subsequence(texts.iter().map(|text| parse(text)).collect::<Vec<_>>(), 0..=at_most)
}

prop_compose! {
    fn service()(
        v4 in 1..4u8,
        v6 in 1..4u8,
        dual in any::<bool>(),
        external_ips in some(&["198.51.100.1", "192.168.100.11", "2001:db8:1::1"], 1),
        load_balancer_ips in some(&["198.51.100.1", "198.51.100.2", "2001:db8:2::1"], 2),
        source_ranges in subsequence(
            vec!["10.244.1.0/24", "192.168.100.11/32", "203.0.113.0/24", "2001:db8::/32"], 0..=2),
        ports in ports(),
        external_policy in policy(),
        internal_policy in policy(),
        affinity_timeout in select(vec![0, 0, 60]),
        algorithm in select(vec![None, None, None, None, None, Some(Algorithm::Maglev)]),
    ) -> ServiceSpec {
        let mut cluster_ips = vec![parse(&format!("10.96.0.{v4}"))];
        if dual {
            cluster_ips.push(parse(&format!("fd00:10:96::{v6}")));
        }
        let source_ranges = source_ranges.iter().map(|net| net.parse().expect("a network")).collect();
        ServiceSpec {
            cluster_ips, external_ips, load_balancer_ips, source_ranges, ports, external_policy,
            internal_policy, affinity_timeout, health_check_node_port: 0, algorithm,
        }
    }
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let key = (select(vec!["", "a"]), protocol());
    let numbers = (select(vec![53u16, 80]), select(vec![0u16, 30_000, 30_001]));
    btree_map(key, numbers, 1..4).prop_map(|ports| {
        let port = |((name, protocol), (port, node_port)): ((&str, _), _)| ServicePort {
            name: name.to_owned(),
            protocol,
            port,
            node_port,
        };
        ports.into_iter().map(port).collect()
    })
}

fn slice() -> impl Strategy<Value = SliceSpec> {
    let key = (select(vec!["", "", "a"]), protocol());
    let ports = btree_map(key, select(vec![8080u16, 9090]), 2..5).prop_map(|ports| {
        let port = |((name, protocol), port): ((&str, _), u16)| SlicePort {
            name: name.to_owned(),
            protocol,
            port,
        };
        ports.into_iter().map(port).collect()
    });
    (name(&["a", "b", "c"]), ports, vec(endpoint(), 1..4)).prop_map(
        |(service, ports, endpoints)| SliceSpec { service, ports, endpoints, trigger: None },
    )
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let address = select(vec![
        "10.244.1.2",
        "10.244.1.3",
        "10.244.2.2",
        "192.168.100.11",
        "fd00:10:244:1::2",
        "fd00:10:244:2::2",
    ]);
    let hints = subsequence(vec!["z".to_owned(), "y".to_owned()], 0..=1);
    let likely = prop::bool::weighted(0.7);
    (address, likely, any::<(bool, bool)>(), select(vec![HERE, "n2", ""]), hints).prop_map(
        |(address, ready, (serving, terminating), node, zone_hints)| Endpoint {
            address: parse(address),
            ready,
            serving: ready || serving,
            terminating,
            node: node.to_owned(),
            zone_hints,
            node_hints: Vec::new(),
        },
    )
}
