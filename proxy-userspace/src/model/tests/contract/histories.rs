//! Random histories, after which the model's maps and the contract have to agree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluice_common::{
    net::{Addr, Prefix},
    settings::{Settings, detector, flags},
};

use super::super::super::{
    Model,
    limits::Limits,
    spec::{Change, Event},
    text,
};
use super::super::build::{self, World, config};
use super::{
    agree::check,
    packet::Switches,
    worlds::{Cluster, Step, cluster, history},
};
use crate::dataplane::fake::FakeMaps;

/// A new controller that takes over what the maps hold, and was told everything.
fn restarted(world: &World, cluster: &Cluster, how: Switches) -> World {
    let maps = world.maps.content();
    let mut model = Model::adopt(config(Limits::default()), maps.clone());
    tell(&mut model, cluster, how);
    model.set_local_addresses(cluster.bound.clone());
    list(&mut model, cluster);
    World { model, maps: FakeMaps::holding(maps.clone()) }
}

fn list(model: &mut Model, cluster: &Cluster) {
    model.handle(Event::Node(cluster.node.clone()));
    model.handle(Event::ServiceCidrs(cluster.cidrs.clone()));
    model.handle(Event::Slices(Change::Replace(cluster.slices.clone())));
    model.handle(Event::Services(Change::Replace(cluster.services.clone())));
}

fn switches() -> impl Strategy<Value = Switches> {
    any::<(bool, bool, bool)>().prop_map(|(masquerade_all, detector, unknown_rejected)| Switches {
        masquerade_all,
        detector,
        unknown_rejected,
    })
}

/// What the controller makes of the switches.
fn settings(how: Switches) -> Settings {
    let bits = |set: bool, bits: u32| if set { bits } else { 0 };
    let unknown = flags::CLUSTER_IPS_V4 | flags::CLUSTER_IPS_V6;
    let mode = if how.detector { detector::PREFIX } else { detector::NONE };
    let mask = |bytes: [u8; 2]| [bytes[0], bytes[1], 0, 0];
    let mut settings = Settings {
        flags: bits(how.masquerade_all, flags::MASQUERADE_ALL)
            | bits(how.unknown_rejected, unknown),
        detector_v4: mode,
        detector_v6: mode,
        ..build::settings()
    };
    settings.pods_v4 = Prefix { addr: Addr::new(mask([10, 1])), mask: Addr::new(mask([255, 255])) };
    settings.pods_v6.addr.bytes[..2].copy_from_slice(&[0xfd, 0x01]);
    settings.pods_v6.mask.bytes[..2].copy_from_slice(&[255, 255]);
    settings
}

fn tell(model: &mut Model, cluster: &Cluster, how: Switches) {
    model.set_settings(settings(how));
    model.set_primary_addresses(cluster.primary.clone());
}

/// The final objects one by one, in an order drawn by lot.
fn arrivals() -> impl Strategy<Value = (Cluster, Vec<Event>)> {
    cluster().prop_flat_map(|cluster| {
        let services = cluster.services.clone().into_iter();
        let slices = cluster.slices.clone().into_iter();
        let events: Vec<Event> = services
            .map(|(name, spec)| Event::Services(Change::Apply(name, spec)))
            .chain(slices.map(|(name, spec)| Event::Slices(Change::Apply(name, spec))))
            .chain([Event::Node(cluster.node.clone()), Event::ServiceCidrs(cluster.cidrs.clone())])
            .collect();
        (Just(cluster), Just(events).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_maps_say_what_the_contract_says_after_any_history(
        steps in history(),
        how in switches(),
    ) {
        let mut cluster = Cluster::new();
        let mut world = World::new();
        world.model.handle(Event::Node(cluster.node.clone()));
        tell(&mut world.model, &cluster, how);
        for step in steps.into_iter().chain([Step::Write]) {
            cluster.take(&step);
            match step {
                Step::Event(event) => world.model.handle(event),
                Step::Bound(addresses) => world.model.set_local_addresses(addresses),
                Step::Primary(addresses) => world.model.set_primary_addresses(addresses),
                Step::Wait => world.wait(),
                Step::Restart => world = restarted(&world, &cluster, how),
                Step::Write => {
                    world.step();
                    check(world.maps.content(), &cluster, how)?;
                }
            }
        }
    }

    #[test]
    fn the_maps_say_what_the_contract_says_in_any_order_of_arrival(
        (cluster, events) in arrivals(),
        pauses in proptest::collection::vec(any::<bool>(), 1..8),
        how in switches(),
    ) {
        let mut model = Model::new(config(Limits::default()));
        tell(&mut model, &cluster, how);
        model.handle(Event::Services(Change::Replace(BTreeMap::new())));
        model.handle(Event::Slices(Change::Replace(BTreeMap::new())));
        for (event, pause) in events.into_iter().zip(pauses.iter().cycle()) {
            model.handle(event);
            if *pause {
                model.plan();
            }
        }
        model.plan();
        check(&model.wanted(), &cluster, how)?;

        let mut at_once = Model::new(config(Limits::default()));
        tell(&mut at_once, &cluster, how);
        list(&mut at_once, &cluster);
        at_once.plan();
        prop_assert_eq!(text::dump(&model.wanted()), text::dump(&at_once.wanted()));
    }
}
