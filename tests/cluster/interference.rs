//! A93: what something else does to the datapath while the controller runs.

use std::{os::fd::AsFd, time::Duration};

use anyhow::{Result, ensure};
use sluice::dataplane::aya::{
    maps::hash,
    pin::{Pins, entries},
    sys,
};
use sluice_common::{
    frontend::{Frontend, FrontendKey},
    net::{Addr, Port, V4, proto},
};
use testbed::{
    Topology,
    address::Family,
    wire::{Ask, Transport},
};

use crate::cases::{SLOW, answered, within};
use crate::world::{PORT, World, vip};

/// Within seconds, the issue says; the controller looks every five.
const SECONDS: Duration = Duration::from_secs(8);

#[test]
fn detached_programs_and_deleted_pins_come_back() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1, 3]);
    world.start();
    let node = world.cluster.node(1).unwrap();
    let pins = Pins::new(node.bpf_root());
    let (pod, before) = (world.cluster.pod(2).unwrap(), entries(&pins.links()));
    let reached = || -> Result<()> {
        for family in Family::BOTH {
            pod.once(Ask::new(Transport::Tcp, vip(1, family)).timeout_ms(300))?;
            node.once(Ask::new(Transport::Udp, vip(1, family)).timeout_ms(300))?;
        }
        Ok(())
    };
    within(SLOW, reached).unwrap();
    for link in &before {
        let link = sys::open(link, false).unwrap();
        sys::link_detach(link.as_fd()).unwrap();
    }
    assert!(pod.once(Ask::new(Transport::Tcp, vip(1, Family::V4)).timeout_ms(300)).is_err());
    within(SECONDS, reached).unwrap();
    for link in &before {
        std::fs::remove_file(link).unwrap();
    }
    within(SECONDS, || {
        ensure!(entries(&pins.links()) == before, "pins");
        reached()
    })
    .unwrap();
    let log = world.sluices[0].log();
    assert!(log.contains("something else took away"), "{log}");
}

#[test]
fn an_audit_repairs_the_maps() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    world.start();
    let (node, pod) = (world.cluster.node(1).unwrap(), world.cluster.pod(2).unwrap());
    let ask = Ask::new(Transport::Tcp, vip(1, Family::V4)).timeout_ms(300);
    within(SLOW, || answered(ask, pod, "pod1").map(drop)).unwrap();
    let std::net::IpAddr::V4(address) = ask.target.ip() else { panic!("an IPv4 address") };
    let key = FrontendKey::<V4>::new(Addr::new(address.octets()), Port::new(PORT), proto::TCP);
    let pins = Pins::new(node.bpf_root());
    let mut frontends = hash::<FrontendKey<V4>, Frontend>(&pins, "FRONTENDS_V4", false).unwrap();
    frontends.remove(&key).unwrap();
    assert!(pod.once(ask).is_err(), "nobody serves the ClusterIP");
    world.sluices[0].audit().unwrap();
    within(SLOW, || answered(ask, pod, "pod1").map(drop)).unwrap();
    let log = world.sluices[0].log();
    assert!(log.contains("repaired 1 frontends"), "{log}");
    // A second one finds nothing.
    world.sluices[0].audit().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(world.sluices[0].log().matches("repaired").count(), 1);
}
