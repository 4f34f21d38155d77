//! Random worlds, small enough for everything to meet.

use std::collections::BTreeMap;

use ipnet::IpNet;
use proptest::prelude::*;

use super::super::{
    Model,
    spec::{
        Algorithm, Change, Endpoint, Event, ObjectName, Protocol, ServicePort, ServiceSpec,
        SliceSpec, TrafficPolicy,
    },
};
use super::build::{HERE, ip, list, name, net, slice};

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    prop_oneof![Just(TrafficPolicy::Cluster), Just(TrafficPolicy::Local)]
}

fn some_endpoint() -> impl Strategy<Value = Endpoint> {
    let hints = || prop_oneof![Just(vec![]), Just(vec!["z"]), Just(vec!["y"]), Just(vec![HERE])];
    let pods = prop_oneof![
        (1..6u8).prop_map(|i| format!("10.1.0.{i}")),
        (1..4u8).prop_map(|i| format!("fd01::{i}"))
    ];
    (pods, any::<(bool, bool, bool, bool)>(), hints(), hints()).prop_map(
        |(pod, (ready, serving, terminating, here), zones, nodes)| Endpoint {
            address: ip(&pod),
            ready,
            serving,
            terminating,
            node: if here { HERE } else { "there" }.to_owned(),
            zone_hints: zones.into_iter().map(str::to_owned).collect(),
            node_hints: nodes.into_iter().map(str::to_owned).collect(),
        },
    )
}

fn some_slice() -> impl Strategy<Value = SliceSpec> {
    (0..4u8, proptest::collection::vec(some_endpoint(), 0..5)).prop_map(|(service, endpoints)| {
        SliceSpec { endpoints, ..slice(&format!("s{service}"), &[]) }
    })
}

/// Ranges that hold the node's address, clients' addresses, everything, or nothing of a family.
fn some_ranges() -> impl Strategy<Value = Vec<IpNet>> {
    let range = proptest::sample::select(vec![
        "198.51.100.0/24",
        "198.51.100.0/25",
        "198.51.100.7/32",
        "192.0.2.0/24",
        "0.0.0.0/0",
        "2001:db8:1::/48",
        "2001:db8:1::7/128",
        "fd02::/16",
    ]);
    let ranges = proptest::collection::vec(range, 0..4);
    ranges.prop_map(|texts| texts.into_iter().map(net).collect())
}

fn some_service() -> impl Strategy<Value = ServiceSpec> {
    let node_ports = prop_oneof![Just(0u16), 30000..30003u16];
    let outside = (0..4u8, proptest::collection::vec(1..4u8, 0..3), some_ranges());
    (1..5u8, any::<bool>(), policy(), policy(), node_ports, outside).prop_map(
        |(vip, dual, internal, external, node_port, (outside, balancers, source_ranges))| {
            let mut cluster_ips = vec![ip(&format!("10.96.0.{vip}"))];
            let mut load_balancer_ips: Vec<_> =
                balancers.iter().map(|i| ip(&format!("203.0.113.{i}"))).collect();
            if dual {
                cluster_ips.push(ip(&format!("fd00::{vip}")));
                load_balancer_ips.extend(balancers.iter().map(|i| ip(&format!("2001:db8::{i}"))));
            }
            let external_ips = match outside {
                0 => vec![ip("203.0.113.1")],
                1 => vec![ip("10.1.0.1")],
                _ => vec![],
            };
            let port = if outside == 1 { 8080 } else { 80 };
            ServiceSpec {
                cluster_ips,
                external_ips,
                load_balancer_ips,
                source_ranges,
                internal_policy: internal,
                external_policy: external,
                ports: vec![ServicePort {
                    name: String::new(),
                    protocol: Protocol::Tcp,
                    port,
                    node_port,
                }],
                // Few: tables take their time. (Where slots are few, there is no room for them.)
                algorithm: (outside == 2 && vip == 4).then_some(Algorithm::Maglev),
                ..ServiceSpec::default()
            }
        },
    )
}

fn some_cidrs() -> impl Strategy<Value = Vec<IpNet>> {
    let cidr = proptest::sample::select(vec!["10.96.0.0/24", "10.97.0.0/16", "fd00::/112"]);
    let cidrs = proptest::collection::btree_set(cidr, 0..3);
    cidrs.prop_map(|texts| texts.into_iter().map(net).collect())
}

/// An event on one of a few objects, so that they meet.
pub(super) fn some_event() -> impl Strategy<Value = Event> {
    let service = (0..4u8).prop_map(|i| name(&format!("s{i}")));
    let slice = (0..6u8).prop_map(|i| name(&format!("e{i}")));
    prop_oneof![
        4 => (service.clone(), some_service()).prop_map(|(n, s)| Event::Services(Change::Apply(n, s))),
        1 => service.prop_map(|n| Event::Services(Change::Delete(n))),
        4 => (slice.clone(), some_slice()).prop_map(|(n, s)| Event::Slices(Change::Apply(n, s))),
        1 => slice.prop_map(|n| Event::Slices(Change::Delete(n))),
        1 => some_cidrs().prop_map(Event::ServiceCidrs),
    ]
}

/// Everything that sources list.
#[derive(Clone, Debug, Default)]
pub(super) struct Objects {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
    cidrs: Option<Vec<IpNet>>,
}

/// The objects that are there after some events.
pub(super) fn objects(events: &[Event]) -> Objects {
    let mut objects = Objects::default();
    for event in events {
        match event.clone() {
            Event::Services(Change::Apply(name, spec)) => {
                drop(objects.services.insert(name, spec));
            }
            Event::Services(Change::Delete(name)) => drop(objects.services.remove(&name)),
            Event::Slices(Change::Apply(name, spec)) => drop(objects.slices.insert(name, spec)),
            Event::Slices(Change::Delete(name)) => drop(objects.slices.remove(&name)),
            Event::ServiceCidrs(nets) => objects.cidrs = Some(nets),
            other => panic!("not generated: {other:?}"),
        }
    }
    objects
}

impl Objects {
    /// Tells a model everything.
    pub(super) fn list(self, model: &mut Model) {
        list(model, self.services, self.slices);
        if let Some(nets) = self.cidrs {
            model.handle(Event::ServiceCidrs(nets));
        }
    }
}
