//! Random clusters, and random histories that lead to them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use ipnet::IpNet;
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::{select, subsequence},
};

use super::super::super::spec::{
    Change, Endpoint, Event, NodeSpec, ObjectName, Protocol, ServicePort, ServiceSpec, SlicePort,
    SliceSpec, TrafficPolicy,
};
use super::super::build::{HERE, ip, net};

/// Everything the model is told, as last told.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) node_name: String,
    pub(super) services: BTreeMap<ObjectName, ServiceSpec>,
    pub(super) slices: BTreeMap<ObjectName, SliceSpec>,
    pub(super) node: NodeSpec,
    /// The node's primary addresses.
    pub(super) primary: Vec<IpAddr>,
    /// ServiceCIDRs.
    pub(super) cidrs: Vec<IpNet>,
    /// Addresses of services that the node's interfaces have.
    pub(super) bound: BTreeSet<IpAddr>,
}

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            node_name: HERE.to_owned(),
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            node: node(""),
            primary: node("").addresses,
            cidrs: Vec::new(),
            bound: BTreeSet::new(),
        }
    }

    pub(super) fn take(&mut self, step: &Step) {
        match step.clone() {
            Step::Event(Event::Services(change)) => take(&mut self.services, change),
            Step::Event(Event::Slices(change)) => take(&mut self.slices, change),
            Step::Event(Event::Node(node)) => self.node = node,
            Step::Event(Event::ServiceCidrs(cidrs)) => self.cidrs = cidrs,
            Step::Event(other) => panic!("not generated: {other:?}"),
            Step::Bound(addresses) => self.bound = addresses,
            Step::Primary(addresses) => self.primary = addresses,
            Step::Write | Step::Wait | Step::Restart => {}
        }
    }
}

fn take<T>(objects: &mut BTreeMap<ObjectName, T>, change: Change<ObjectName, T>) {
    match change {
        Change::Replace(all) => *objects = all,
        Change::Apply(name, object) => drop(objects.insert(name, object)),
        Change::Delete(name) => drop(objects.remove(&name)),
    }
}

/// What happens in a history.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Event(Event),
    /// The node's interfaces have these addresses now.
    Bound(BTreeSet<IpAddr>),
    /// The node's primary addresses are these now.
    Primary(Vec<IpAddr>),
    /// What is pending gets written.
    Write,
    /// The grace period passes.
    Wait,
    /// A new controller starts with what the maps hold, and everything is listed again (A90).
    Restart,
}

pub(super) fn history() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..25)
}

fn step() -> impl Strategy<Value = Step> {
    let primary = subsequence(vec![ip("198.51.100.1"), ip("2001:db8::1")], 0..=2);
    let bound = subsequence(vec![ip("10.96.0.1"), ip("fd00::1"), ip("192.0.2.1")], 0..=3);
    prop_oneof![
        6 => (service_name(), service())
            .prop_map(|(n, s)| Step::Event(Event::Services(Change::Apply(n, s)))),
        2 => service_name().prop_map(|n| Step::Event(Event::Services(Change::Delete(n)))),
        9 => (slice_name(), slice())
            .prop_map(|(n, s)| Step::Event(Event::Slices(Change::Apply(n, s)))),
        2 => slice_name().prop_map(|n| Step::Event(Event::Slices(Change::Delete(n)))),
        1 => services().prop_map(|all| Step::Event(Event::Services(Change::Replace(all)))),
        1 => slices().prop_map(|all| Step::Event(Event::Slices(Change::Replace(all)))),
        2 => zone().prop_map(|zone| Step::Event(Event::Node(node(zone)))),
        1 => bound.prop_map(|bound| Step::Bound(bound.into_iter().collect())),
        1 => primary.prop_map(Step::Primary),
        2 => cidrs().prop_map(|cidrs| Step::Event(Event::ServiceCidrs(cidrs))),
        5 => Just(Step::Write),
        1 => Just(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// A cluster all at once.
pub(super) fn cluster() -> impl Strategy<Value = Cluster> {
    (services(), slices(), zone(), cidrs()).prop_map(|(services, slices, zone, cidrs)| Cluster {
        services,
        slices,
        node: node(zone),
        cidrs,
        ..Cluster::new()
    })
}

fn cidrs() -> impl Strategy<Value = Vec<IpNet>> {
    subsequence(["10.96.0.0/12", "10.96.0.0/28", "fd00::/108"].map(net).to_vec(), 0..=3)
}

/// Ranges with clients, with the node, with everything, and with nothing of interest.
fn source_ranges() -> impl Strategy<Value = Vec<IpNet>> {
    let v4 = ["10.1.0.0/16", "198.51.100.0/24", "203.0.113.200/32", "203.0.113.0/24", "0.0.0.0/0"];
    let v6 = ["fd01::/16", "2001:db8::/64", "2001:db8:f::/48", "::/0"];
    let all: Vec<IpNet> = v4.into_iter().chain(v6).map(net).collect();
    prop_oneof![1 => Just(Vec::new()), 2 => subsequence(all, 1..=3)]
}

fn services() -> impl Strategy<Value = BTreeMap<ObjectName, ServiceSpec>> {
    btree_map(service_name(), service(), 0..4)
}

fn slices() -> impl Strategy<Value = BTreeMap<ObjectName, SliceSpec>> {
    btree_map(slice_name(), slice(), 0..6)
}

fn zone() -> impl Strategy<Value = &'static str> {
    select(vec!["", "z", "z", "y"])
}

fn node(zone: &str) -> NodeSpec {
    let addresses = vec![ip("198.51.100.1"), ip("2001:db8::1")];
    NodeSpec { zone: zone.to_owned(), addresses, ..NodeSpec::default() }
}

/// Two namespaces share a name.
fn service_name() -> impl Strategy<Value = ObjectName> {
    select(vec![("default", "a"), ("default", "b"), ("shop", "a")]).prop_map(object)
}

fn slice_name() -> impl Strategy<Value = ObjectName> {
    select(vec!["1", "2", "3", "4", "5", "6"]).prop_map(|name| object(("default", name)))
}

fn object((namespace, name): (&str, &str)) -> ObjectName {
    ObjectName { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Tcp, Protocol::Udp, Protocol::Sctp])
}

/// Addresses of one kind: each family may be there or not. Few enough to be disputed.
fn ips(v4: &[&str], v6: &[&str]) -> impl Strategy<Value = Vec<IpAddr>> + use<> {
    let all: Vec<IpAddr> = v4.iter().chain(v6).map(|text| ip(text)).collect();
    let len = all.len();
    subsequence(all, 0..=len.min(2))
}

/// At most one address a family (A11), and at least one.
fn cluster_ips() -> impl Strategy<Value = Vec<IpAddr>> {
    (1..4u8, 1..4u8, 0..4u8).prop_map(|(v4, v6, families)| {
        let (v4, v6) = (ip(&format!("10.96.0.{v4}")), ip(&format!("fd00::{v6}")));
        match families {
            0 => vec![v4],
            1 => vec![v6],
            2 => vec![v6, v4],
            _ => vec![v4, v6],
        }
    })
}

prop_compose! {
    fn service()(
        cluster_ips in cluster_ips(),
        external_ips in prop_oneof![
            2 => Just(Vec::new()),
            1 => ips(&["192.0.2.1", "192.0.2.2", "198.51.100.1", "10.1.0.1"], &["2001:db8:1::1"]),
        ],
        load_balancer_ips in prop_oneof![
            2 => Just(Vec::new()),
            1 => ips(&["192.0.2.2", "203.0.113.1", "10.96.0.2"], &["2001:db8:2::1", "fd00::2"]),
        ],
        source_ranges in source_ranges(),
        ports in ports(),
        external_policy in policy(),
        internal_policy in policy(),
        affinity_timeout in select(vec![0, 0, 60]),
    ) -> ServiceSpec {
        ServiceSpec {
            cluster_ips, external_ips, load_balancer_ips, source_ranges, ports, external_policy,
            internal_policy, affinity_timeout, health_check_node_port: 0, algorithm: None,
        }
    }
}

/// Names may repeat over protocols, and so may numbers; name and protocol are unique (A4).
fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let key = (select(vec!["", "a", "b"]), protocol());
    let numbers = (select(vec![53u16, 80]), select(vec![0u16, 0, 30000, 30001]));
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
    let key = (select(vec!["", "", "a", "b"]), protocol());
    let ports = btree_map(key, select(vec![80u16, 8080, 9090]), 1..4).prop_map(|ports| {
        let port = |((name, protocol), port): ((&str, _), u16)| SlicePort {
            name: name.to_owned(),
            protocol,
            port,
        };
        ports.into_iter().map(port).collect()
    });
    let endpoints = (any::<bool>(), any::<bool>())
        .prop_flat_map(|(zones, nodes)| vec(endpoint(zones, nodes), 0..5));
    (service_name(), ports, endpoints).prop_map(|(service, ports, endpoints)| SliceSpec {
        service,
        ports,
        endpoints,
        trigger: None,
    })
}

/// An endpoint in any condition. With `zones` or `nodes` it is likely to have such hints, so
/// that now and then all of them do (A32).
fn endpoint(zones: bool, nodes: bool) -> impl Strategy<Value = Endpoint> {
    let pods = (1..6u8, prop::bool::weighted(0.6)).prop_map(|(i, v4)| {
        if v4 { ip(&format!("10.1.0.{i}")) } else { ip(&format!("fd01::{i}")) }
    });
    let hints = |names: [&'static str; 2], likely: bool| {
        (prop::bool::weighted(if likely { 0.9 } else { 0.1 }), subsequence(names.to_vec(), 1..=2))
            .prop_map(|(hinted, names)| {
                let names = if hinted { names } else { Vec::new() };
                names.into_iter().map(str::to_owned).collect::<Vec<String>>()
            })
    };
    let where_ = select(vec![HERE, HERE, "there", ""]);
    let conditions = any::<(bool, bool, bool)>();
    (pods, conditions, where_, hints(["z", "y"], zones), hints([HERE, "there"], nodes)).prop_map(
        |(address, (ready, serving, terminating), node, zone_hints, node_hints)| Endpoint {
            address,
            ready,
            serving,
            terminating,
            node: node.to_owned(),
            zone_hints,
            node_hints,
        },
    )
}
