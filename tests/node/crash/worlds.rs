//! Small worlds, and the changes that lead from one to the next.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use sluice::model::{
    Model,
    spec::{
        Change, Endpoint, Event, NodeSpec, ObjectName, Protocol, ServicePort, ServiceSpec,
        SlicePort, SliceSpec, TrafficPolicy,
    },
};

/// The node under test; other endpoints are elsewhere.
pub(super) const HERE: &str = "here";

/// Everything that sources list.
#[derive(Clone, Debug, Default)]
pub(super) struct World {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
    cidrs: Vec<IpNet>,
}

fn name(text: &str) -> ObjectName {
    ObjectName { namespace: "ns".to_owned(), name: text.to_owned() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

impl World {
    /// Tells a model everything.
    pub(super) fn list(&self, model: &mut Model) {
        model.handle(Event::Services(Change::Replace(self.services.clone())));
        model.handle(Event::Slices(Change::Replace(self.slices.clone())));
        model.handle(Event::ServiceCidrs(self.cidrs.clone()));
        model.handle(Event::Node(NodeSpec::default()));
    }

    /// The same world with one thing different.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut next = self.clone();
        change(&mut next);
        next
    }

    /// Adds a Service with every kind of frontend. `number` is in all its addresses and ports.
    fn serve(&mut self, service: &str, number: u8, pods: &[&str]) {
        let spec = ServiceSpec {
            cluster_ips: vec![ip(&format!("10.96.0.{number}")), ip(&format!("fd00::{number}"))],
            external_ips: vec![ip(&format!("203.0.113.{number}"))],
            load_balancer_ips: vec![ip(&format!("198.51.100.{number}"))],
            ports: [Protocol::Tcp, Protocol::Udp]
                .map(|p| port(p, 30_000 + u16::from(number)))
                .into(),
            ..ServiceSpec::default()
        };
        self.services.insert(name(service), spec);
        self.endpoints(service, pods);
    }

    /// Replaces a Service's endpoints. `10.1.0.1 here` is one on this node, `10.1.0.1 leaving` one
    /// that terminates.
    fn endpoints(&mut self, service: &str, pods: &[&str]) {
        let ports = [Protocol::Tcp, Protocol::Udp].map(|protocol| SlicePort {
            name: port(protocol, 0).name,
            protocol,
            port: 8080,
        });
        let slice = SliceSpec {
            service: name(service),
            ports: ports.into(),
            endpoints: pods.iter().map(|text| endpoint(text)).collect(),
            trigger: None,
        };
        self.slices.insert(name(service), slice);
    }

    fn change(&mut self, service: &str, change: impl FnOnce(&mut ServiceSpec)) {
        change(self.services.get_mut(&name(service)).expect("a Service"));
    }

    fn delete(&mut self, service: &str) {
        self.services.remove(&name(service));
        self.slices.remove(&name(service));
    }
}

fn port(protocol: Protocol, node_port: u16) -> ServicePort {
    let name = format!("{protocol:?}").to_lowercase();
    ServicePort { name, protocol, port: 80, node_port }
}

fn endpoint(text: &str) -> Endpoint {
    let (address, state) = text.split_once(' ').unwrap_or((text, ""));
    let leaving = state == "leaving";
    Endpoint {
        address: ip(address),
        ready: !leaving,
        serving: true,
        terminating: leaving,
        node: if state == HERE { HERE } else { "there" }.to_owned(),
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    }
}

/// A world to begin with: two Services, one of them guarded.
fn first() -> World {
    let mut world = World { cidrs: vec!["10.96.0.0/16".parse().unwrap()], ..World::default() };
    world.serve("web", 1, &["10.1.0.1 here", "10.1.0.2", "fd01::1 here", "fd01::2"]);
    world.serve("db", 2, &["10.1.0.2", "10.1.0.3", "fd01::2"]);
    world.change("db", |spec| {
        spec.source_ranges =
            ["192.0.2.0/24", "198.18.0.0/16"].map(|net| net.parse().unwrap()).into();
    });
    world
}

fn make_local(spec: &mut ServiceSpec) {
    (spec.external_policy, spec.internal_policy) = (TrafficPolicy::Local, TrafficPolicy::Local);
}

/// Every kind of change: what it is called, the world before, the world after.
pub(super) fn changes() -> Vec<(&'static str, World, World)> {
    let first = first();
    let local = first.with(|w| w.change("web", make_local));
    let moved = local.with(|w| {
        w.endpoints("web", &["10.1.0.1", "10.1.0.2 here", "fd01::1", "fd01::2 here"]);
    });
    let changed = |name, change: fn(&mut World)| (name, first.clone(), first.with(change));
    vec![
        ("from nothing", World::default(), first.clone()),
        ("everything goes", first.clone(), World::default()),
        changed("a Service more", |w| w.serve("new", 3, &["10.1.0.1", "fd01::9"])),
        changed("a Service less", |w| w.delete("web")),
        changed("other endpoints", |w| {
            w.endpoints("web", &["10.1.0.2", "10.1.0.7 here", "fd01::1"]);
        }),
        changed("the last endpoint leaves", |w| w.endpoints("web", &[])),
        changed("an endpoint terminates", |w| {
            w.endpoints("web", &["10.1.0.1 leaving", "10.1.0.2", "fd01::1 leaving"]);
        }),
        changed("affinity", |w| w.change("web", |spec| spec.affinity_timeout = 60)),
        changed("other ports", |w| {
            w.change("web", |spec| {
                spec.ports.iter_mut().for_each(|p| {
                    (p.port, p.node_port) = (81, p.node_port + 100);
                });
            });
        }),
        changed("a port less", |w| w.change("web", |spec| spec.ports.truncate(1))),
        ("Local policies", first.clone(), local.clone()),
        ("an endpoint moves here", local, moved),
        changed("source ranges appear", |w| {
            w.change("web", |spec| spec.source_ranges = vec!["192.0.2.0/25".parse().unwrap()]);
        }),
        changed("source ranges go", |w| w.change("db", |spec| spec.source_ranges.clear())),
        changed("source ranges move", |w| {
            w.change("db", |spec| {
                spec.source_ranges =
                    vec!["192.0.2.0/25".parse().unwrap(), "10.0.0.0/8".parse().unwrap()];
            });
        }),
        changed("another Service has the cluster IP", |w| {
            w.delete("web");
            w.serve("heir", 1, &["10.1.0.8", "fd01::8"]);
        }),
        changed("two Services change places", |w| {
            w.delete("web");
            w.delete("db");
            w.serve("web", 2, &["10.1.0.1 here", "fd01::1 here"]);
            w.serve("db", 1, &["10.1.0.2", "fd01::2"]);
        }),
        changed("other ServiceCIDRs", |w| w.cidrs = vec!["fd00::/112".parse().unwrap()]),
    ]
}
