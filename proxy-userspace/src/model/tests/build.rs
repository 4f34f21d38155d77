//! Short ways to say what a test's world looks like.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use ipnet::IpNet;
use sluice_common::{
    net::Prefix,
    settings::{Settings, flags},
};

use super::super::{
    Model, ModelConfig,
    limits::Limits,
    mirror::Mirror,
    problem::Problem,
    quarantine::GRACE,
    spec::{
        Change, Endpoint, Event, NodeSpec, ObjectName, Protocol, ServicePort, ServiceSpec,
        SlicePort, SliceSpec,
    },
    text,
};
use crate::dataplane::{apply, fake::FakeMaps};

pub(super) const HERE: &str = "here";

pub(super) fn name(text: &str) -> ObjectName {
    ObjectName { namespace: "default".to_owned(), name: text.to_owned() }
}

/// `10.96.0.1`, `fd00::1`.
pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// `10.0.0.0/8`, `fd00::/64`.
pub(super) fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

pub(super) fn port(name: &str, port: u16) -> ServicePort {
    ServicePort { name: name.to_owned(), protocol: Protocol::Tcp, port, node_port: 0 }
}

/// A Service with one unnamed TCP port 80.
pub(super) fn service(cluster_ip: &str) -> ServiceSpec {
    ServiceSpec {
        cluster_ips: vec![ip(cluster_ip)],
        ports: vec![port("", 80)],
        ..ServiceSpec::default()
    }
}

/// A ready endpoint; the words after the address change that: `here`, `unready`, `terminating`
/// (serving), `dead` (terminating, not serving), `zone=Z`, `node=N`.
pub(super) fn endpoint(text: &str) -> Endpoint {
    let mut words = text.split(' ');
    let mut endpoint = Endpoint {
        address: ip(words.next().expect("an address")),
        ready: true,
        serving: true,
        terminating: false,
        node: "there".to_owned(),
        zone_hints: Vec::new(),
        node_hints: Vec::new(),
    };
    for word in words {
        match word.split_once('=') {
            Some(("zone", zone)) => endpoint.zone_hints.push(zone.to_owned()),
            Some(("node", node)) => endpoint.node_hints.push(node.to_owned()),
            _ => apply_word(&mut endpoint, word),
        }
    }
    endpoint
}

fn apply_word(endpoint: &mut Endpoint, word: &str) {
    match word {
        "here" => endpoint.node = HERE.to_owned(),
        "unready" => (endpoint.ready, endpoint.serving) = (false, false),
        "terminating" => (endpoint.ready, endpoint.terminating) = (false, true),
        "dead" => {
            (endpoint.ready, endpoint.serving, endpoint.terminating) = (false, false, true);
        }
        other => panic!("unknown word {other}"),
    }
}

/// A slice of a Service, with one unnamed TCP port 8080.
pub(super) fn slice(service: &str, endpoints: &[&str]) -> SliceSpec {
    SliceSpec {
        service: name(service),
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
        endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
        trigger: None,
    }
}

/// A model and the maps it writes to.
pub(super) struct World {
    pub(super) model: Model,
    pub(super) maps: FakeMaps,
}

pub(super) fn config(limits: Limits) -> ModelConfig {
    ModelConfig { node_name: HERE.to_owned(), limits, ..ModelConfig::default() }
}

/// What a controller decides that asks for A51 and A52.
pub(super) fn settings() -> Settings {
    Settings {
        netns_cookie: 7,
        flags: flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6,
        node_port_min: 0,
        node_port_max: 0,
        masquerade_min: 0,
        masquerade_max: 0,
        detector_v4: 0,
        detector_v6: 0,
        pad: [0; 2],
        pods_v4: Prefix::ANY,
        pods_v6: Prefix::ANY,
        services_v4: Prefix::ANY,
        services_v6: Prefix::ANY,
    }
}

/// A model of a controller that starts, on a node with the primary addresses 192.0.2.100 and
/// fd02::100.
pub(super) fn model(limits: Limits, content: Mirror) -> Model {
    let mut model = Model::adopt(config(limits), content);
    model.set_settings(settings());
    model.set_primary_addresses(vec![ip("192.0.2.100"), ip("fd02::100")]);
    model
}

/// Tells a model everything that it waits for.
pub(super) fn list(
    model: &mut Model,
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
) {
    model.handle(Event::Slices(Change::Replace(slices)));
    model.handle(Event::Services(Change::Replace(services)));
    model.handle(Event::Node(NodeSpec::default()));
}

impl World {
    /// A world without objects, already listed.
    pub(super) fn new() -> Self {
        Self::with(Limits::default())
    }

    pub(super) fn with(limits: Limits) -> Self {
        let mut world = Self { model: model(limits, Mirror::default()), maps: FakeMaps::default() };
        list(&mut world.model, BTreeMap::new(), BTreeMap::new());
        world
    }

    pub(super) fn add(&mut self, object: &str, spec: ServiceSpec) {
        self.model.handle(Event::Services(Change::Apply(name(object), spec)));
    }

    pub(super) fn delete(&mut self, object: &str) {
        self.model.handle(Event::Services(Change::Delete(name(object))));
    }

    /// The slice named like its Service.
    pub(super) fn slice(&mut self, service: &str, endpoints: &[&str]) {
        let event = Change::Apply(name(service), slice(service, endpoints));
        self.model.handle(Event::Slices(event));
    }

    /// Plans and writes once; returns the number of writes tried and the new problems.
    pub(super) fn step(&mut self) -> (usize, Vec<Problem>) {
        let (plan, problems) = self.model.plan();
        let before = self.maps.writes;
        let report = apply(&plan, &mut self.maps, &mut self.model);
        assert_eq!(self.maps.violations, Vec::<String>::new());
        if self.maps.fault.is_none() {
            assert!(report.is_complete(), "{report:?}");
            assert!(self.model.is_settled());
        }
        (self.maps.writes - before, problems)
    }

    /// Lets the grace period pass.
    pub(super) fn wait(&mut self) {
        self.model.tick(self.maps.now);
        self.maps.now += GRACE;
        self.model.tick(self.maps.now);
        self.maps.now += Duration::from_secs(1);
    }

    /// What the maps say, after a step.
    pub(super) fn text(&mut self) -> String {
        self.step();
        assert_eq!(text::dump(self.maps.content()), text::dump(&self.model.written()));
        text::dump(self.maps.content())
    }

    /// The lines of [`Self::text`] about service ports' frontends.
    pub(super) fn frontends(&mut self) -> Vec<String> {
        let text = self.text();
        let wanted = |line: &&str| line.contains(" -> ");
        text.lines().filter(wanted).map(str::to_owned).collect()
    }
}
