//! What holds for any world.

use proptest::prelude::*;

use super::super::{limits::Limits, spec::Event};
use super::build::{World, model};
use super::generate::{Objects, objects, some_event};
use crate::dataplane::{apply, fake::FakeMaps};

/// Runs events with steps between them, and time passing now and then.
pub(super) fn run(world: &mut World, events: &[Event], pauses: &[u8]) {
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

pub(super) fn tight() -> Limits {
    Limits { frontends: 64, slots: 64, backends: 64, services: 16, prefixes: 64 }
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
        objects(&events).list(&mut other.model);
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
        objects(&events).list(&mut sound.model);
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
        let mut model = model(Limits::default(), content.clone());
        prop_assert!(model.plan().0.is_empty());
        objects(&events).list(&mut model);
        let (mut plan, problems) = model.plan();
        let mut written = model.written();
        if !problems.is_empty() {
            // A Service that lost all its addresses to others has ranges that no frontend names.
            // Nothing in the maps says whose they were, so it gets new ones.
            plan.v4.fill_slots.clear();
            plan.v6.fill_slots.clear();
            (written.v4.slots, written.v6.slots) =
                (content.v4.slots.clone(), content.v6.slots.clone());
        }
        // Tables are written once more where they are, to be sure of them.
        plan.tables.clear();
        prop_assert!(plan.is_empty(), "{:?}", plan);
        prop_assert_eq!(written, content);
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
        for build in &plan.tables {
            crate::dataplane::Maps::build(&mut world.maps, build);
        }
        for op in plan.ops().take(crash) {
            crate::dataplane::Maps::write(&mut world.maps, &op).expect("no fault");
        }
        let content = world.maps.content().clone();
        let mut after = World {
            model: model(Limits::default(), content.clone()),
            maps: FakeMaps::holding(content),
        };
        let all = objects(&[events, more].concat());
        all.clone().list(&mut after.model);
        let mut sound = World::new();
        all.list(&mut sound.model);
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
        let mut model = model(tight(), mirror);
        Objects::default().list(&mut model);
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
