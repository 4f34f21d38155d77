//! After every single write of a change, whatever fails: what held before and after it holds.

use proptest::prelude::*;
use sluice_common::{
    frontend::{FrontendKey, flags},
    net::{Addr, V4},
    prefix::{PrefixKey, SCOPE_BITS, SERVICE_CIDRS},
    settings,
};

use super::super::{
    frontends::cluster_ip_key,
    mirror::{FamilyMirror, Mirror},
    spec::Event,
};
use super::{
    build::World,
    generate::some_event,
    properties::{run, tight},
};
use crate::dataplane::Maps;

/// Sources inside and outside of the ranges that are generated, and what nobody has.
const CLIENTS: [[u8; 4]; 6] = [
    [198, 51, 100, 7],
    [198, 51, 100, 8],
    [198, 51, 100, 200],
    [192, 0, 2, 100],
    [203, 0, 113, 1],
    [8, 8, 8, 8],
];

fn holds(prefix: &PrefixKey<V4>, addr: Addr<V4>) -> bool {
    let bits = prefix.bits - SCOPE_BITS;
    let different = u32::from_be_bytes(prefix.addr.bytes) ^ u32::from_be_bytes(addr.bytes);
    different.leading_zeros() >= bits
}

fn is_in_set(maps: &FamilyMirror<V4>, scope: u32, addr: Addr<V4>) -> bool {
    maps.prefixes.iter().any(|prefix| prefix.scope == scope && holds(prefix, addr))
}

/// Whether a frontend is there and lets a client in.
fn admits(maps: &FamilyMirror<V4>, key: &FrontendKey<V4>, client: [u8; 4]) -> bool {
    maps.frontends.get(key).is_some_and(|frontend| {
        frontend.flags & flags::SOURCE_RANGES == 0
            || is_in_set(maps, frontend.service, Addr::new(client))
    })
}

/// Whether a host process is let in before it has a source address.
fn admits_node(maps: &FamilyMirror<V4>, key: &FrontendKey<V4>) -> bool {
    maps.frontends.get(key).is_some_and(|frontend| {
        frontend.flags & flags::SOURCE_RANGES == 0 || frontend.flags & flags::NODE_ALLOWED != 0
    })
}

/// What becomes of a packet to a port that no frontend has.
#[derive(Debug, PartialEq, Eq)]
enum Unknown {
    Reject,
    Drop,
    Ignore,
}

fn unknown(mirror: &Mirror, addr: Addr<V4>) -> Unknown {
    let covers = |s: &settings::Settings| {
        s.flags & settings::flags::CLUSTER_IPS_V4 != 0 && s.services_v4.contains(&addr)
    };
    if !mirror.settings.as_ref().is_some_and(covers) {
        return Unknown::Ignore;
    }
    let mark = mirror.v4.frontends.get(&cluster_ip_key(addr));
    match mark.is_some_and(|mark| mark.flags == flags::CLUSTER_IP) {
        true => Unknown::Reject,
        false if is_in_set(&mirror.v4, SERVICE_CIDRS, addr) => Unknown::Drop,
        false => Unknown::Ignore,
    }
}

/// The contents after every write that leads to a settled model, the first ones before.
fn states(world: &mut World, fails: fn(usize) -> bool) -> Vec<Mirror> {
    let mut states = vec![world.maps.content().clone()];
    world.maps.fault = Some(fails);
    for _ in 0..50 {
        let (plan, _) = world.model.plan();
        for op in plan.ops() {
            if world.model.allows(&op) && world.maps.write(&op).is_ok() {
                world.model.wrote(&op);
                states.push(world.maps.content().clone());
            }
        }
    }
    world.maps.fault = None;
    assert!(world.model.is_settled());
    assert_eq!(world.maps.violations, [""; 0]);
    states
}

/// An address that goes from one Service to another, or whose deletion failed, follows the ranges of
/// the Service that still has it.
fn check_sources(old: &FamilyMirror<V4>, now: &FamilyMirror<V4>, new: &FamilyMirror<V4>) {
    for key in old.frontends.keys().chain(new.frontends.keys()) {
        let [was, is, will] = [old, now, new].map(|maps| maps.frontends.get(key));
        let stays = was.map(|f| f.service) == will.map(|f| f.service);
        for client in CLIENTS {
            let [before, during, after] = [old, now, new].map(|maps| admits(maps, key, client));
            let by_service = is.is_some_and(|f| is_in_set(new, f.service, Addr::new(client)));
            assert!(during || !(before && after && stays), "{client:?} kept out of {key:?}");
            assert!(!during || before || after || by_service, "{client:?} let in to {key:?}");
        }
        let [before, during, after] = [old, now, new].map(|maps| admits_node(maps, key));
        assert!(during || !(before && after), "the node was kept out of {key:?}");
        assert!(!during || before || after, "the node was let in to {key:?}");
    }
}

fn check_unknown_ports(old: &Mirror, now: &Mirror, new: &Mirror) {
    for last in 0..6 {
        for net in [[10, 96, 0], [10, 97, 0]] {
            let addr = Addr::new([net[0], net[1], net[2], last]);
            let [before, during, after] = [old, now, new].map(|mirror| unknown(mirror, addr));
            assert!(during == before || before != after, "{addr:?}");
            if before != Unknown::Reject && during == Unknown::Reject {
                let missing = |key: &&FrontendKey<V4>| {
                    key.addr == addr && !now.v4.frontends.contains_key(key)
                };
                assert_eq!(new.v4.frontends.keys().find(missing), None, "rejected too early");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a51_to_a53_hold_between_any_two_writes(
        events in proptest::collection::vec(some_event(), 1..20),
        more in proptest::collection::vec(some_event(), 1..10),
        fails in 0..5usize,
    ) {
        const FAULTS: [fn(usize) -> bool; 5] = [
            |_| false,
            |n| n.is_multiple_of(2),
            |n| n.is_multiple_of(3),
            |n| n % 5 > 1,
            |n| n % 7 == 1,
        ];
        let mut world = World::with(tight());
        run(&mut world, &events, &[0]);
        more.iter().cloned().for_each(|event: Event| world.model.handle(event));
        let states = states(&mut world, FAULTS[fails]);
        let (old, new) = (&states[0], &states[states.len() - 1]);
        for now in &states {
            check_sources(&old.v4, &now.v4, &new.v4);
            check_unknown_ports(old, now, new);
        }
    }
}
