//! Garbage, conflicts, full maps and large worlds.

use std::{collections::BTreeMap, net::Ipv4Addr, time::Instant};

use super::super::{
    limits::Limits,
    spec::{Change, Event, ServiceSpec},
};
use super::build::{World, endpoint, ip, name, port, service, slice};

fn problems(world: &mut World) -> Vec<String> {
    world.step();
    world.model.problems().map(ToString::to_string).collect()
}

#[test]
fn garbage_is_named_and_the_rest_goes_on() {
    let mut world = World::new();
    let mut spec = service("10.96.0.10");
    spec.ports.push(port("zero", 0));
    spec.ports.push(port(&"x".repeat(64), 81));
    for garbage in ["0.0.0.0", "127.0.0.1", "224.0.0.1", "169.254.1.1", "fe80::1", "::1"] {
        spec.external_ips.push(ip(garbage));
    }
    world.add("web", spec);
    world.slice("web", &["10.1.0.1", "127.0.0.1", "0.0.0.0"]);
    assert_eq!(world.frontends(), ["10.96.0.10:80/tcp default/web cluster -> 10.1.0.1:8080"]);
    let problems = problems(&mut world);
    assert_eq!(problems.len(), 9, "{problems:#?}");
    assert!(
        problems.contains(&"Service default/web: port zero has number 0; it is ignored".into())
    );
    assert!(problems[8].starts_with("EndpointSlice default/web: endpoint 127.0.0.1 and 1 more"));
    world.delete("web");
    world.model.handle(Event::Slices(Change::Delete(name("web"))));
    assert_eq!(problems_after(&mut world), 0);
}

fn problems_after(world: &mut World) -> usize {
    problems(world).len()
}

#[test]
fn the_lowest_name_has_a_disputed_address() {
    for order in [["a", "b"], ["b", "a"]] {
        let mut world = World::new();
        for object in order {
            let mut spec = service(if object == "a" { "10.96.0.1" } else { "10.96.0.2" });
            spec.ports[0].node_port = 30080;
            world.add(object, spec);
            world.step();
        }
        assert!(world.frontends()[0].starts_with("nodeport 30080/tcp default/a "));
        let text = "Service default/b: nodeport 30080/tcp of default/b already belongs to \
                    default/a, which keeps it; change one of them";
        assert_eq!(problems(&mut world), [text]);
        world.delete("a");
        assert!(world.frontends()[0].starts_with("nodeport 30080/tcp default/b "));
        assert_eq!(problems_after(&mut world), 0);
    }
}

#[test]
fn full_maps_are_named_and_served_when_there_is_room() {
    let limits =
        Limits { frontends: 100, slots: 100, backends: 12, services: 3, ..Limits::default() };
    let mut world = World::with(limits);
    world.add("big", service("10.96.0.1"));
    world.slice("big", &["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    world.step();
    let problems = problems(&mut world);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("1 IPv4 endpoints of default/big get no traffic"));
    for (object, vip) in [("x", "10.96.0.2"), ("y", "10.96.0.3")] {
        world.add(object, service(vip));
    }
    assert_eq!(world.frontends().len(), 2, "ids 1 and 2 of SERVICES");
    world.delete("big");
    world.step();
    world.wait();
    assert_eq!(world.frontends().len(), 2, "y came in when big was gone");
}

#[test]
fn full_frontends_are_named() {
    let mut world = World::with(Limits { frontends: 4, ..Limits::default() });
    for (object, vip) in [("a", "10.96.0.1"), ("b", "10.96.0.2"), ("c", "10.96.0.3")] {
        world.add(object, service(vip));
    }
    assert_eq!(world.frontends().len(), 2);
    assert!(problems(&mut world)[0].contains("map FRONTENDS_V4 is full; raise --max-frontends"));
    world.delete("a");
    world.step();
    world.wait();
    assert_eq!(world.frontends().len(), 2);
    assert_eq!(problems_after(&mut world), 0);
}

#[test]
fn few_slots_still_serve_somebody() {
    let mut world = World::with(Limits { slots: 3, ..Limits::default() });
    world.add("a", service("10.96.0.1"));
    world.slice("a", &["10.1.0.1", "10.1.0.2", "10.1.0.3", "10.1.0.4"]);
    let lines = world.frontends();
    assert!(lines[0].ends_with("-> 10.1.0.1:8080, 10.1.0.2:8080"), "{lines:?}");
    assert!(problems(&mut world)[0].contains("map SLOTS is full; raise --max-slots"));
}

fn big_world(services: u32, endpoints: u32) -> World {
    let mut world = World::new();
    let mut specs = BTreeMap::new();
    let mut slices = BTreeMap::new();
    for i in 0..services {
        let object = format!("s{i}");
        let vip = Ipv4Addr::from_bits(0x0a60_0000 + i + 1).to_string();
        specs.insert(name(&object), ServiceSpec { ..service(&vip) });
        let mut all = slice(&object, &[]);
        for j in 0..endpoints {
            let pod = Ipv4Addr::from_bits(0x0b00_0000 + i * endpoints + j + 1).to_string();
            all.endpoints.push(endpoint(&pod));
        }
        slices.insert(name(&object), all);
    }
    world.model.handle(Event::Services(Change::Replace(specs)));
    world.model.handle(Event::Slices(Change::Replace(slices)));
    world
}

fn confirm_all(world: &mut World) -> usize {
    let (plan, _) = world.model.plan();
    for op in plan.ops() {
        assert!(world.model.allows(&op));
        world.model.wrote(&op);
    }
    plan.len()
}

#[test]
fn ten_thousand_services_and_one_change() {
    let mut world = big_world(10_000, 10);
    let writes = confirm_all(&mut world);
    // A name, a frontend, a cluster IP; and for each endpoint a backend, a slot, a mark. And the
    // settings.
    assert_eq!(writes, 10_000 * (3 + 3 * 10) + 1);
    let start = Instant::now();
    world.slice("s77", &["11.99.0.1"]);
    let writes = confirm_all(&mut world);
    assert_eq!(writes, 3 + 1 + 2 * 10, "one in, ten out, one switch");
    assert!(start.elapsed().as_millis() < 100, "took {:?}", start.elapsed());
}

#[test]
fn a_million_endpoints_do_not_starve_the_rest() {
    let mut world = World::new();
    let mut all = slice("huge", &[]);
    for i in 0..1_000_000 {
        all.endpoints.push(endpoint("11.0.0.1"));
        all.endpoints[i as usize].address = Ipv4Addr::from_bits(0x0b00_0000 + i).into();
    }
    world.add("huge", service("10.96.0.1"));
    world.model.handle(Event::Slices(Change::Apply(name("huge"), all)));
    world.add("small", service("10.96.0.2"));
    world.slice("small", &["10.1.0.1"]);
    confirm_all(&mut world);
    let text = super::super::text::dump(&world.model.written());
    assert!(text.contains("10.96.0.2:80/tcp default/small cluster -> 10.1.0.1:8080"));
    let problem = world.model.problems().next().expect("a problem").to_string();
    assert!(problem.contains("endpoints of default/huge get no traffic"), "{problem}");
}
