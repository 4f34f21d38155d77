//! What must not be noticed: endpoint changes by established connections (A26), and the
//! controller's end and return by anything (A90).

use anyhow::{Result, ensure};
use testbed::{
    Sluice, Source, Topology,
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    cases::{SLOW, within},
    state::holds,
    streams::Streams,
    world::{World, on_node, vip},
};

/// Connections held from a pod; a tenth of it from the node and from outside.
const CONNECTIONS: u32 = 1_000;

#[test]
fn open_connections_survive_their_endpoints_leaving() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1, 3]);
    world.start();
    let cluster = &world.cluster;
    for family in Family::BOTH {
        world.endpoints(1, &[1, 3]).unwrap();
        within(SLOW, || holds(cluster, &[(1, &[1, 3])])).unwrap();
        let held = [
            cluster.pod(2).unwrap().hold(vip(1, family), CONNECTIONS).unwrap(),
            cluster.node(1).unwrap().hold(vip(1, family), CONNECTIONS / 10).unwrap(),
            cluster.client().hold(on_node(1, 1, family), CONNECTIONS / 10).unwrap(),
        ];
        world.endpoints(1, &[4]).unwrap();
        within(SLOW, || holds(cluster, &[(1, &[4])])).unwrap();
        for held in &held {
            let answers = held.echo_all().unwrap();
            let lost: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
            assert!(lost.is_empty(), "{} of {} lost: {:?}", lost.len(), answers.len(), lost[0]);
        }
    }
}

#[test]
fn the_controller_s_end_and_return_are_not_noticed() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1, 3]);
    world.start();
    let cluster = &world.cluster;
    let before = services(&world);
    for end in [Sluice::stop, Sluice::kill] {
        let streams = Streams::start(cluster, 1);
        for sluice in &mut world.sluices {
            end(sluice).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        assert_eq!(services(&world), before);
        for (n, sluice) in world.sluices.iter_mut().enumerate() {
            let source = Source::Manifests(world.manifests.dir());
            *sluice = Sluice::start(cluster.node(n + 1).unwrap(), source).unwrap();
            sluice.wait_ready().unwrap();
        }
        streams.unharmed();
        assert_eq!(services(&world), before, "ids and ranges stay");
    }
}

#[test]
fn cleanup_leaves_nothing() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1, 3]);
    world.start();
    let pod = world.cluster.pod(2).unwrap();
    pod.tcp(vip(1, Family::V4)).unwrap();
    for n in 1..=2 {
        let node = world.cluster.node(n).unwrap();
        world.sluices[n - 1].stop().unwrap();
        Sluice::cleanup(node).unwrap();
        assert!(!node.bpf_root().join("sluice").exists(), "pins");
    }
    let ask = Ask::new(Transport::Tcp, vip(1, Family::V4)).timeout_ms(300);
    assert!(pod.once(ask).is_err(), "nobody translates any more");
}

/// What the maps hold, frontends' ids and ranges resolved.
pub(crate) fn services(world: &World) -> String {
    let listing = |n| -> Result<String> {
        let node = world.cluster.node(n)?;
        let output = Sluice::inspect(node, &["service", "list", "-o", "json"])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    listing(1).unwrap() + &listing(2).unwrap()
}
