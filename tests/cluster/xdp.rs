//! XDP on the nodes' uplinks.

use aya::maps::{Map, MapData, PerCpuArray};
use sluice::dataplane::aya::pin::Pins;
use sluice_common::reason::Reason;
use testbed::{
    Sluice, Source, Topology, Wires,
    address::Family,
    wire::{Ask, Transport},
};

use crate::world::{World, on_node};

/// A cluster whose node 1 forwards a NodePort to the other node's pod.
fn world() -> (World, Wires) {
    let world = World::bare(Topology::Bridge);
    let wires = Wires::lay(&world.cluster).unwrap();
    world.serve(1, &[3]);
    (world, wires)
}

/// How often a node's programs gave a reason.
fn counted(world: &World, node: usize, reason: Reason) -> u64 {
    let path = Pins::new(world.cluster.node(node).unwrap().bpf_root()).map("REASONS");
    let map = Map::PerCpuArray(MapData::from_pin(path).unwrap());
    let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(map).unwrap();
    counters.get(&(reason as u32), 0).unwrap().iter().sum()
}

#[test]
fn node_ports_of_remote_backends_are_forwarded_by_xdp() {
    for mode in ["--xdp=native", "--xdp=generic"] {
        let (mut world, _wires) = world();
        world.start_with(&[mode]);
        for family in Family::BOTH {
            let target = on_node(1, 1, family);
            let before = counted(&world, 1, Reason::XdpForward);
            world.cluster.client().bulk(target, 4 << 20).unwrap();
            world.cluster.outsider().bulk(target, 1 << 20).unwrap();
            assert!(counted(&world, 1, Reason::XdpForward) > before + 100, "{mode} {family:?}");
        }
        let replies = counted(&world, 1, Reason::XdpReply);
        assert!(replies > 200, "{replies}");
        assert_eq!(counted(&world, 1, Reason::Rewrite), 0);
    }
}

#[test]
fn xdp_comes_and_goes_unnoticed() {
    let (mut world, _wires) = world();
    world.start();
    let cluster = &world.cluster;
    let streams: Vec<_> = Family::BOTH
        .into_iter()
        .flat_map(|family| {
            [(Transport::Tcp, true), (Transport::Tcp, false), (Transport::Udp, false)].map(
                |(transport, fresh)| {
                    let ask = Ask::new(transport, on_node(1, 1, family));
                    let name = format!("{family:?} {transport:?}, fresh: {fresh}");
                    (name, cluster.client().traffic(ask, 2, fresh).unwrap())
                },
            )
        })
        .collect();
    for mode in ["--xdp=native", "--xdp=off", "--xdp=generic", "--xdp=off", "--xdp=native"] {
        let before = counted(&world, 1, Reason::XdpReply);
        world.sluices[0].stop().unwrap();
        let source = Source::Manifests(world.manifests.dir());
        let sluice = Sluice::start_with(cluster.node(1).unwrap(), source, &[mode]).unwrap();
        world.sluices[0] = sluice;
        world.sluices[0].wait_ready().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(300));
        let used = counted(&world, 1, Reason::XdpReply) > before;
        assert!(used || mode == "--xdp=off", "{mode}");
    }
    for (name, stream) in streams {
        let tally = stream.stop().unwrap();
        assert!(tally.answered > 100 && tally.failed == 0, "{name}: {tally:?}");
    }
}
