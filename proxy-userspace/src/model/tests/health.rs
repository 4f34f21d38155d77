//! What is told to load balancers and operators.

use super::{
    super::{
        health::{HealthCheck, NoLocal},
        spec::{Change, Event, ServiceSpec, TrafficPolicy},
    },
    build::{World, ip, name, port, service, slice},
};

fn dual() -> ServiceSpec {
    let mut port = port("", 80);
    port.node_port = 30_080;
    ServiceSpec {
        cluster_ips: vec![ip("10.96.0.1"), ip("fd00::1")],
        external_policy: TrafficPolicy::Local,
        health_check_node_port: 32_000,
        ports: vec![port],
        ..service("10.96.0.1")
    }
}

fn world(spec: ServiceSpec, endpoints: &[&str]) -> World {
    let mut world = World::new();
    world.model.handle(Event::Services(Change::Apply(name("web"), spec)));
    let mut web = slice("web", endpoints);
    web.ports.push(web.ports[0].clone());
    web.ports[1].name = "b".to_owned();
    world.model.handle(Event::Slices(Change::Apply(name("web-1"), web)));
    world.model.plan();
    world
}

fn check(world: &mut World) -> Option<HealthCheck> {
    world.model.changed_health_checks().expect("a change").get(&name("web")).copied()
}

#[test]
fn a82_counts_distinct_addresses_of_local_ready_endpoints() {
    let endpoints = [
        "10.1.0.1 here",
        "10.1.0.1 here",
        "10.1.0.2 here",
        "10.1.0.3 here terminating",
        "10.1.0.4 here unready",
        "10.1.0.5",
        "fd01::1 here",
    ];
    let mut world = world(dual(), &endpoints);
    let expected = HealthCheck { port: 32_000, v4: Some(2), v6: Some(1) };
    assert_eq!(check(&mut world), Some(expected));
    assert_eq!(world.model.changed_health_checks(), None);
    let v4 = ServiceSpec { cluster_ips: vec![ip("10.96.0.1")], ..dual() };
    world.model.handle(Event::Services(Change::Apply(name("web"), v4)));
    world.model.plan();
    assert_eq!(check(&mut world), Some(HealthCheck { v6: None, ..expected }));
    world.model.handle(Event::Services(Change::Delete(name("web"))));
    world.model.plan();
    assert_eq!(check(&mut world), None);
}

#[test]
fn a80_only_services_with_a_port_are_checked() {
    let mut world = world(service("10.96.0.1"), &["10.1.0.1 here"]);
    assert_eq!(world.model.changed_health_checks(), None);
}

#[test]
fn a_local_policy_without_an_endpoint_here_is_counted() {
    let spec = ServiceSpec { internal_policy: TrafficPolicy::Local, ..dual() };
    let world = world(spec.clone(), &["10.1.0.1", "fd01::1 here"]);
    let counts = world.model.no_local_endpoints();
    let expected = [false, true].map(|external| (NoLocal { v6: false, external }, 1));
    assert_eq!(counts, expected.into());
    let none = self::world(spec, &[]);
    assert!(none.model.no_local_endpoints().is_empty(), "no endpoint anywhere is another matter");
}
