//! Steps and what the maps say after them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_common::{
    net::{Addr, Prefix},
    settings::{Settings, detector},
};

use super::super::{
    limits::Limits,
    mirror::Mirror,
    spec::{Change, Event, NodeSpec, ServiceSpec},
    text,
};
use super::build::{World, ip, list, model, name, port, service, settings, slice};

#[test]
fn a_service_comes_changes_and_goes() {
    let mut world = World::new();
    world.add("web", service("10.96.0.10"));
    let expected = "10.96.0.10 cluster IP\n\
                    10.96.0.10:80/tcp default/web cluster -> none; reject\n";
    assert_eq!(world.text(), expected);
    world.slice("web", &["10.1.0.1"]);
    let expected = "10.1.0.1:8080/tcp endpoint\n\
                    10.96.0.10 cluster IP\n\
                    10.96.0.10:80/tcp default/web cluster -> 10.1.0.1:8080\n\
                    backend 10.1.0.1:8080 of default/web serving cluster\n";
    assert_eq!(world.text(), expected);
    assert_eq!(world.step().0, 0, "nothing changed, nothing is written");
    world.slice("web", &["10.1.0.1"]);
    assert_eq!(world.step().0, 0, "the same again");
    world.delete("web");
    assert_eq!(world.text(), "");
    assert!(world.maps.content().services.is_empty());
}

#[test]
fn a90_nothing_but_settings_is_written_before_both_lists_and_the_node() {
    let mut model = model(Limits::default(), Mirror::default());
    let events = [
        Event::Services(Change::Replace([(name("web"), service("10.96.0.10"))].into())),
        Event::Slices(Change::Replace(BTreeMap::new())),
        Event::Node(NodeSpec::default()),
    ];
    for event in events {
        let (plan, _) = model.plan();
        assert_eq!(plan.len(), 1);
        assert_eq!(plan.settings.map(node_ports), Some((1, 0)));
        model.handle(event);
    }
    assert_eq!(model.plan().0.v4.len(), 2);
}

#[test]
fn a90_what_the_settings_say_of_the_node_stays_until_the_node_is_known() {
    let written = Settings {
        detector_v4: detector::PREFIX,
        pods_v4: Prefix { addr: Addr::new([10, 1, 0, 0]), mask: Addr::new([255, 255, 0, 0]) },
        node_port_min: 30_000,
        node_port_max: 30_001,
        ..settings()
    };
    // A61: no Node, no pod CIDR, no detector.
    let mut model =
        model(Limits::default(), Mirror { settings: Some(written), ..Mirror::default() });
    assert_eq!(model.plan().0.settings, None);
    list(&mut model, BTreeMap::new(), BTreeMap::new());
    assert_eq!(model.plan().0.settings.map(|s| s.detector_v4), Some(detector::NONE));
}

#[test]
fn a17_a_node_that_does_not_come_is_waited_for_half_a_minute() {
    let mut model = model(Limits::default(), Mirror::default());
    model.handle(Event::Services(Change::Replace([(name("web"), service("10.96.0.10"))].into())));
    model.handle(Event::Slices(Change::Replace(BTreeMap::new())));
    for (second, listed) in [(5, false), (34, false), (35, true)] {
        model.tick(Duration::from_secs(second));
        assert_eq!(model.is_listed(), listed, "{second} s");
    }
    assert!(!model.is_settled(), "so the controller asks for a plan");
    assert_eq!(model.plan().0.name_services.len(), 1);
}

#[test]
fn named_ports_join_by_name_and_number_may_differ() {
    // A4, and A9's union over slices.
    let mut world = World::new();
    let mut spec = service("10.96.0.10");
    spec.ports = vec![port("http", 80), port("admin", 81)];
    world.add("web", spec);
    for (object, number, pod) in [("one", 8080, "10.1.0.1"), ("two", 9090, "10.1.0.2")] {
        let mut part = slice("web", &[pod]);
        part.ports[0].name = "http".to_owned();
        part.ports[0].port = number;
        world.model.handle(Event::Slices(Change::Apply(name(object), part)));
    }
    assert_eq!(
        world.frontends(),
        [
            "10.96.0.10:80/tcp default/web:http cluster -> 10.1.0.1:8080, 10.1.0.2:9090",
            "10.96.0.10:81/tcp default/web:admin cluster -> none; reject",
        ]
    );
}

#[test]
fn of_two_entries_the_one_that_stays_wins() {
    // A9.
    for (first, second) in [("", " terminating"), (" terminating", "")] {
        let mut world = World::new();
        world.add("web", service("10.96.0.10"));
        for (object, state) in [("one", first), ("two", second)] {
            let pod = format!("10.1.0.1{state}");
            let part = slice("web", &[&pod, "10.1.0.2"]);
            world.model.handle(Event::Slices(Change::Apply(name(object), part)));
        }
        assert!(world.frontends()[0].ends_with("10.1.0.1:8080, 10.1.0.2:8080"));
    }
}

#[test]
fn an_address_bound_here_is_left_alone() {
    // NodeLocal DNS (PEERS C44): the cluster IP is local, external addresses are not touched.
    let mut world = World::new();
    world.add("dns", ServiceSpec { external_ips: vec![ip("192.0.2.1")], ..service("10.96.0.10") });
    let bound = BTreeSet::from([ip("10.96.0.10"), ip("192.0.2.1")]);
    world.model.set_local_addresses(bound);
    assert_eq!(world.frontends(), ["192.0.2.1:80/tcp default/dns external -> none; reject"]);
    world.model.set_local_addresses(BTreeSet::new());
    assert_eq!(world.frontends().len(), 2);
}

#[test]
fn a_frontend_goes_before_an_endpoint_mark() {
    let mut world = World::new();
    world.add("web", service("10.96.0.10"));
    world.slice("web", &["10.1.0.1"]);
    let mut spec = service("10.96.0.11");
    spec.external_ips = vec![ip("10.1.0.1")];
    spec.ports[0].port = 8080;
    world.add("odd", spec);
    assert!(world.text().contains("10.1.0.1:8080/tcp default/odd external"));
    world.delete("odd");
    assert!(world.text().contains("10.1.0.1:8080/tcp endpoint"));
}

#[test]
fn a_reused_id_has_a_new_generation() {
    let mut world = World::new();
    world.add("web", service("10.96.0.10"));
    world.slice("web", &["10.1.0.1"]);
    world.step();
    world.slice("web", &["10.1.0.2"]);
    world.step();
    world.wait();
    world.slice("web", &["10.1.0.2", "10.1.0.3"]);
    world.step();
    let backends = &world.maps.content().v4.backends;
    let of = |id: u32| (backends[&id].addr.bytes[3], backends[&id].generation);
    assert_eq!([of(1), of(2)], [(3, 2), (2, 1)]);
}

#[test]
fn node_ports_are_reported_when_they_change() {
    let mut world = World::new();
    world.step();
    let mut spec = service("10.96.0.10");
    spec.ports[0].node_port = 30080;
    world.add("web", spec);
    assert_eq!(world.model.plan().0.settings.map(node_ports), Some((30080, 30080)));
    world.step();
    assert_eq!(world.maps.content().settings.map(node_ports), Some((30080, 30080)));
    assert_eq!(world.model.plan().0.settings, None);
}

fn node_ports(settings: Settings) -> (u16, u16) {
    (settings.node_port_min, settings.node_port_max)
}

#[test]
fn what_is_stale_after_a_restart_goes_with_the_first_plan() {
    let mut world = World::new();
    for (object, vip, pod) in [("a", "10.96.0.1", "10.1.0.1"), ("b", "10.96.0.2", "10.1.0.2")] {
        world.add(object, service(vip));
        world.slice(object, &[pod]);
    }
    world.step();
    let mut after = World {
        model: model(Limits::default(), world.maps.content().clone()),
        maps: crate::dataplane::fake::FakeMaps::holding(world.maps.content().clone()),
    };
    let services = BTreeMap::from([(name("b"), service("10.96.0.2"))]);
    let slices = BTreeMap::from([(name("b"), slice("b", &["10.1.0.2"]))]);
    list(&mut after.model, services, slices);
    after.step();
    assert!(!text::dump(after.maps.content()).contains("default/a"));
    assert_eq!(after.maps.writes, 6, "frontend, marks, backend, name of a, and the settings");
}

#[test]
fn a_failure_reads_like_a_sentence() {
    let mut world = World::new();
    world.step();
    world.add("web", service("10.96.0.10"));
    world.slice("web", &["10.1.0.1", "10.1.0.2"]);
    world.maps.fault = Some(|write| write == 4);
    let (plan, _) = world.model.plan();
    let report = crate::dataplane::apply(&plan, &mut world.maps, &mut world.model);
    let line = "writing 1 of 2 backends failed: map FAKE: injected at write 4";
    assert_eq!(report.failures, [line]);
    assert_eq!(
        (report.failed, report.deferred),
        (1, 3),
        "its slot, the frontend and the cluster IP wait"
    );
    world.maps.fault = None;
    assert!(world.frontends()[0].ends_with("-> 10.1.0.1:8080, 10.1.0.2:8080"));
}
