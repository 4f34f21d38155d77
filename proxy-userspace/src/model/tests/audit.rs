//! What an audit finds and undoes.

use proptest::prelude::*;
use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey, Range},
    net::{Addr, Port, V4},
    prefix::PrefixKey,
    service::ServiceName,
    settings::Settings,
};

use super::super::{mirror::Mirror, spec::ServiceSpec};
use super::build::{World, ip, net, service};
use crate::dataplane::audit::audit;

fn world() -> World {
    let mut world = World::new();
    for i in 1..5 {
        let spec = ServiceSpec {
            load_balancer_ips: vec![ip(&format!("203.0.113.{i}"))],
            source_ranges: vec![net("198.51.100.0/24"), net("192.0.2.0/24")],
            ..service(&format!("10.96.0.{i}"))
        };
        world.add(&format!("s{i}"), spec);
        world.slice(&format!("s{i}"), &["10.1.0.1", "10.1.0.2"]);
    }
    world.step();
    world.slice("s1", &["10.1.0.3"]);
    world.delete("s4");
    world.step();
    world
}

fn settled(world: &mut World) -> usize {
    let content = world.maps.content().clone();
    let findings = audit(&content, &mut world.maps, &world.model);
    assert_eq!(findings.failures, Vec::<String>::new());
    findings.repairs()
}

/// What something else might do to the maps.
#[derive(Clone, Debug)]
enum Damage {
    NoFrontend(usize),
    OtherFrontend(usize),
    StrangeFrontend(u8),
    NoBackend(usize),
    OtherBackend(usize),
    StrangeBackend(u32),
    OtherSlot(usize),
    NoName(usize),
    StrangeName(u32),
    NoPrefix,
    StrangePrefix(u32),
    Settings,
}

fn some_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        any::<usize>().prop_map(Damage::NoFrontend),
        any::<usize>().prop_map(Damage::OtherFrontend),
        any::<u8>().prop_map(Damage::StrangeFrontend),
        any::<usize>().prop_map(Damage::NoBackend),
        any::<usize>().prop_map(Damage::OtherBackend),
        (100..200_u32).prop_map(Damage::StrangeBackend),
        any::<usize>().prop_map(Damage::OtherSlot),
        any::<usize>().prop_map(Damage::NoName),
        (100..200_u32).prop_map(Damage::StrangeName),
        Just(Damage::NoPrefix),
        (0..9_u32).prop_map(Damage::StrangePrefix),
        Just(Damage::Settings),
    ]
}

fn pick<K: Copy>(keys: impl Iterator<Item = K>, number: usize) -> Option<K> {
    let keys: Vec<K> = keys.collect();
    keys.get(number % keys.len().max(1)).copied()
}

fn harm(maps: &mut Mirror, damage: &Damage, slots: &[u32]) {
    let v4 = &mut maps.v4;
    let garbage = Frontend { service: 77, flags: 1, ..Frontend::default() };
    match damage {
        Damage::NoFrontend(i) => {
            let key = pick(v4.frontends.keys().copied(), *i);
            key.and_then(|key| v4.frontends.remove(&key));
        }
        Damage::OtherFrontend(i) => {
            let range = Range { start: 3, len: 900 };
            let key = pick(v4.frontends.keys().copied(), *i);
            key.and_then(|key| v4.frontends.insert(key, Frontend { cluster: range, ..garbage }));
        }
        Damage::StrangeFrontend(i) => {
            let key = FrontendKey::<V4>::new(Addr::new([9, 9, 9, *i]), Port::new(9), 6);
            v4.frontends.insert(key, garbage);
        }
        Damage::NoBackend(i) => {
            let id = pick(v4.backends.keys().copied(), *i);
            id.and_then(|id| v4.backends.remove(&id));
        }
        Damage::OtherBackend(i) => {
            let id = pick(v4.backends.keys().copied(), *i);
            id.and_then(|id| v4.backends.get_mut(&id)).into_iter().for_each(|b| b.service ^= 1);
        }
        Damage::StrangeBackend(id) => {
            if let Some((_, some)) = v4.backends.first_key_value() {
                let strange = Backend { flags: 7, ..*some };
                v4.backends.insert(*id, strange);
            }
        }
        Damage::OtherSlot(i) => {
            pick(slots.iter().copied(), *i).and_then(|slot| v4.slots.insert(slot, 12_345));
        }
        Damage::NoName(i) => {
            let id = pick(maps.services.keys().copied(), *i);
            id.and_then(|id| maps.services.remove(&id));
        }
        Damage::StrangeName(id) => {
            let name = ServiceName {
                namespace: [1; 64],
                name: [1; 64],
                port_name: [0; 64],
                proto: 6,
                pad: [0; 3],
            };
            maps.services.insert(*id, name);
        }
        Damage::NoPrefix => drop(v4.prefixes.pop_first()),
        Damage::StrangePrefix(scope) => {
            let addr = Addr::new([9, 0, 0, 0]);
            v4.prefixes.insert(PrefixKey { bits: 40, scope: *scope, addr });
        }
        Damage::Settings => {
            maps.settings = maps.settings.map(|s| Settings { node_port_max: 65_535, ..s });
        }
    }
}

proptest! {
    /// Whatever was done to the maps is undone, once, and the model goes on as if nothing had been.
    #[test]
    fn damage_is_undone(damages in proptest::collection::vec(some_damage(), 1..6)) {
        let mut world = world();
        let whole = world.maps.content().clone();
        let slots: Vec<u32> = world.model.wanted().v4.slots.keys().copied().collect();
        world.maps.damage(|maps| damages.iter().for_each(|damage| harm(maps, damage, &slots)));
        settled(&mut world);
        prop_assert_eq!(&used(world.maps.content()), &used(&whole));
        prop_assert_eq!(settled(&mut world), 0);
        world.maps.violations.clear();
        world.wait();
        world.slice("s2", &["10.1.0.9"]);
        world.add("s5", service("10.96.0.5"));
        world.text();
    }
}

/// A backend that never was is not there, or is nothing but zeros.
fn used(maps: &Mirror) -> Mirror {
    let mut maps = maps.clone();
    maps.v4.backends.retain(|_, backend| backend.flags != 0 || backend.generation != 0);
    maps
}

#[test]
fn whole_maps_are_left_alone() {
    let mut world = world();
    let writes = world.maps.writes;
    assert_eq!(settled(&mut world), 0);
    assert_eq!(world.maps.writes, writes);
}

#[test]
fn an_old_mirror_does_no_harm() {
    let mut world = world();
    let old = world.maps.content().clone();
    world.slice("s2", &["10.1.0.7"]);
    world.delete("s3");
    world.step();
    let (now, writes) = (world.maps.content().clone(), world.maps.writes);
    assert_eq!(audit(&old, &mut world.maps, &world.model).repairs(), 0);
    assert_eq!((world.maps.content(), world.maps.writes), (&now, writes));
}

#[test]
fn an_unfinished_plan_is_not_audited() {
    let mut world = world();
    world.maps.fault = Some(|_| true);
    world.slice("s2", &["10.1.0.7"]);
    world.step();
    assert!(!world.model.is_settled());
    let empty = Mirror::default();
    let findings = audit(&empty, &mut world.maps, &world.model);
    assert_eq!((findings.repairs(), findings.failures), (0, vec![]));
}

#[test]
fn what_cannot_be_repaired_is_told() {
    let mut world = world();
    world.maps.damage(|maps| maps.v4.frontends.clear());
    world.maps.fault = Some(|_| true);
    let content = world.maps.content().clone();
    let findings = audit(&content, &mut world.maps, &world.model);
    assert_eq!(findings.repairs(), 0);
    assert!(findings.failures[0].starts_with("repairing frontends failed: "), "{findings:?}");
    world.maps.fault = None;
    assert!(settled(&mut world) > 0, "the next audit does it");
}
