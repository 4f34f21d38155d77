//! What holds for any world.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{
    Model,
    limits::Limits,
    spec::{
        Change, Endpoint, Event, ObjectName, Protocol, ServicePort, ServiceSpec, SlicePort,
        SliceSpec, TrafficPolicy,
    },
};
use super::build::{HERE, World, config, ip, name};
use crate::dataplane::{apply, fake::FakeMaps};

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
        SliceSpec {
            service: name(&format!("s{service}")),
            ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: 8080 }],
            endpoints,
        }
    })
}

fn some_service() -> impl Strategy<Value = ServiceSpec> {
    let node_ports = prop_oneof![Just(0u16), 30000..30003u16];
    (1..5u8, any::<bool>(), policy(), policy(), node_ports, 0..4u8).prop_map(
        |(vip, dual, internal, external, node_port, outside)| {
            let mut cluster_ips = vec![ip(&format!("10.96.0.{vip}"))];
            if dual {
                cluster_ips.push(ip(&format!("fd00::{vip}")));
            }
            let external_ips = match outside {
                0 => vec![ip("192.0.2.1")],
                1 => vec![ip("10.1.0.1")],
                _ => vec![],
            };
            let port = if outside == 1 { 8080 } else { 80 };
            ServiceSpec {
                cluster_ips,
                external_ips,
                internal_policy: internal,
                external_policy: external,
                ports: vec![ServicePort {
                    name: String::new(),
                    protocol: Protocol::Tcp,
                    port,
                    node_port,
                }],
                ..ServiceSpec::default()
            }
        },
    )
}

/// An event on one of a few objects, so that they meet.
fn some_event() -> impl Strategy<Value = Event> {
    let service = (0..4u8).prop_map(|i| name(&format!("s{i}")));
    let slice = (0..6u8).prop_map(|i| name(&format!("e{i}")));
    prop_oneof![
        3 => (service.clone(), some_service()).prop_map(|(n, s)| Event::Services(Change::Apply(n, s))),
        1 => service.prop_map(|n| Event::Services(Change::Delete(n))),
        4 => (slice.clone(), some_slice()).prop_map(|(n, s)| Event::Slices(Change::Apply(n, s))),
        1 => slice.prop_map(|n| Event::Slices(Change::Delete(n))),
    ]
}

type Objects = (BTreeMap<ObjectName, ServiceSpec>, BTreeMap<ObjectName, SliceSpec>);

/// The objects that are there after some events.
fn objects(events: &[Event]) -> Objects {
    let mut objects = Objects::default();
    for event in events {
        match event.clone() {
            Event::Services(Change::Apply(name, spec)) => drop(objects.0.insert(name, spec)),
            Event::Services(Change::Delete(name)) => drop(objects.0.remove(&name)),
            Event::Slices(Change::Apply(name, spec)) => drop(objects.1.insert(name, spec)),
            Event::Slices(Change::Delete(name)) => drop(objects.1.remove(&name)),
            other => panic!("not generated: {other:?}"),
        }
    }
    objects
}

fn list(model: &mut Model, (services, slices): Objects) {
    model.handle(Event::Slices(Change::Replace(slices)));
    model.handle(Event::Services(Change::Replace(services)));
}

/// Runs events with steps between them, and time passing now and then.
fn run(world: &mut World, events: &[Event], pauses: &[u8]) {
    for (event, pause) in events.iter().zip(pauses.iter().cycle()) {
        world.model.handle(event.clone());
        if pause & 1 != 0 {
            world.step();
        }
        if pause & 2 != 0 {
            world.wait();
        }
    }
    world.step();
}

fn tight() -> Limits {
    Limits { frontends: 64, slots: 64, backends: 64, services: 16 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_arrival_does_not_matter(
        events in proptest::collection::vec(some_event(), 1..40),
        pauses in proptest::collection::vec(any::<u8>(), 1..10),
    ) {
        let mut one = World::new();
        run(&mut one, &events, &pauses);
        let mut other = World::new();
        list(&mut other.model, objects(&events));
        prop_assert_eq!(one.text(), other.text());
        let one: Vec<_> = one.model.problems().cloned().collect();
        let other: Vec<_> = other.model.problems().cloned().collect();
        prop_assert_eq!(one, other);
    }

    #[test]
    fn every_prefix_is_sound_and_failures_converge(
        events in proptest::collection::vec(some_event(), 1..40),
        pauses in proptest::collection::vec(any::<u8>(), 1..10),
        every in 2..6usize,
    ) {
        const FAULTS: [fn(usize) -> bool; 4] =
            [|n| n.is_multiple_of(2), |n| n.is_multiple_of(3), |n| n % 5 > 1, |n| n % 7 == 1];
        let mut world = World::with(tight());
        world.maps.fault = Some(FAULTS[every - 2]);
        run(&mut world, &events, &pauses);
        world.maps.fault = None;
        world.step();
        let mut sound = World::new();
        list(&mut sound.model, objects(&events));
        // What found a full map under the faults gets its turn now.
        for _ in 0..3 {
            world.wait();
            world.step();
        }
        prop_assert_eq!(world.text(), sound.text());
    }

    #[test]
    fn a_restart_writes_nothing(
        events in proptest::collection::vec(some_event(), 1..40),
        pauses in proptest::collection::vec(any::<u8>(), 1..10),
    ) {
        let mut world = World::new();
        run(&mut world, &events, &pauses);
        let content = world.maps.content().clone();
        let mut model = Model::adopt(config(Limits::default()), content.clone());
        prop_assert!(model.plan().0.is_empty());
        list(&mut model, objects(&events));
        let (mut plan, problems) = model.plan();
        if !problems.is_empty() {
            // A Service that lost all its addresses to others has ranges that no frontend names.
            // Nothing in the maps says whose they were, so it gets new ones.
            plan.v4.fill_slots.clear();
            plan.v6.fill_slots.clear();
        }
        prop_assert!(plan.is_empty(), "{:?}", plan);
        prop_assert_eq!(model.written(), content);
    }

    #[test]
    fn a_crash_anywhere_is_mended(
        events in proptest::collection::vec(some_event(), 1..30),
        more in proptest::collection::vec(some_event(), 1..10),
        crash in 0..60usize,
    ) {
        let mut world = World::new();
        run(&mut world, &events, &[0]);
        for event in &more {
            world.model.handle(event.clone());
        }
        let (plan, _) = world.model.plan();
        for op in plan.ops().take(crash) {
            crate::dataplane::Maps::write(&mut world.maps, &op).expect("no fault");
        }
        let content = world.maps.content().clone();
        let mut after = World {
            model: Model::adopt(config(Limits::default()), content.clone()),
            maps: FakeMaps::holding(content),
        };
        let all = objects(&[events, more].concat());
        list(&mut after.model, all.clone());
        let mut sound = World::new();
        list(&mut sound.model, all);
        prop_assert_eq!(after.text(), sound.text());
    }

    #[test]
    fn any_mirror_can_be_adopted(
        frontends in proptest::collection::vec((0..4u32, any::<(u8, u8)>(), any::<(u8, u8)>()), 0..8),
        slots in proptest::collection::vec(any::<(u8, u8)>(), 0..20),
    ) {
        use sluice_common::{frontend::{Frontend, Range}, net::Addr};
        let mut mirror = super::super::mirror::Mirror::default();
        for (i, (service, cluster, local)) in frontends.into_iter().enumerate() {
            let range = |(start, len): (u8, u8)| Range { start: start.into(), len: if len > 200 { u32::MAX } else { (len / 16).into() } };
            let key = super::super::family::key(Addr::new([10, 9, 0, i as u8]), 80, 6);
            let value = Frontend { service, flags: 0, cluster: range(cluster), local: range(local), affinity_timeout: 0 };
            mirror.v4.frontends.insert(key, value);
        }
        mirror.v4.slots.extend(slots.into_iter().map(|(slot, id)| (u32::from(slot), u32::from(id))));
        let mut model = Model::adopt(config(tight()), mirror);
        list(&mut model, Objects::default());
        for _ in 0..2 {
            let (plan, _) = model.plan();
            for op in plan.ops() {
                prop_assert!(model.allows(&op));
                model.wrote(&op);
            }
        }
        prop_assert!(model.is_settled());
        prop_assert!(model.written().v4.frontends.is_empty());
    }
}

#[test]
fn a_range_in_quarantine_is_not_reused_early() {
    let mut world = World::with(Limits { slots: 2, ..Limits::default() });
    world.add("web", super::build::service("10.96.0.10"));
    for (pod, fits) in [("10.1.0.1", true), ("10.1.0.2", true), ("10.1.0.3", false)] {
        world.slice("web", &[pod]);
        let line = world.frontends().remove(0);
        assert_eq!(line.ends_with(&format!("{pod}:8080")), fits, "{line}");
    }
    world.wait();
    assert!(world.frontends()[0].ends_with("10.1.0.3:8080"));
    let (plan, _) = world.model.plan();
    assert!(apply(&plan, &mut world.maps, &mut world.model).is_complete());
}
