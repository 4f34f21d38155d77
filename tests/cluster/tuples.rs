//! One client port towards several addresses of one backend (C31, C41), and bytes in bulk.

use testbed::{
    Place, Topology,
    address::{Family, SERVER_PORT},
    wire::{Ask, Transport},
};

use crate::world::{World, on_node, vip};

/// Two Services with pod3, on the other node, behind them.
fn twins(topology: Topology) -> World {
    let mut world = World::bare(topology);
    world.serve(1, &[3]);
    world.serve(2, &[3]);
    world.start();
    world
}

#[test]
fn one_port_to_two_services_and_their_endpoint_and_bulk() {
    for topology in [Topology::Bridge, Topology::Routed] {
        let world = twins(topology);
        bulk_arrives_whole(&world);
        let cluster = &world.cluster;
        for family in Family::BOTH {
            let direct = cluster.pod(3).unwrap().address().port(family, SERVER_PORT);
            let pod: &Place = cluster.pod(1).unwrap();
            let outside = [on_node(1, 1, family), on_node(1, 2, family)];
            let inside = [vip(1, family), vip(2, family), direct];
            for (from, targets) in [(pod, &inside[..]), (cluster.client(), &outside[..])] {
                for (port, transport) in [(41_000, Transport::Tcp), (42_000, Transport::Udp)] {
                    let ask = |target| Ask::new(transport, target).from_port(port);
                    // At once: all are open before the first one speaks.
                    let open: Vec<_> =
                        targets.iter().map(|target| from.open(ask(*target)).unwrap()).collect();
                    for (held, target) in open.iter().zip(targets) {
                        let reply = held.echo().unwrap_or_else(|e| panic!("{target}: {e:?}"));
                        assert_eq!(reply.who, "pod3", "{topology:?} {transport:?} {target}");
                    }
                    drop(open);
                    // One after the other.
                    for target in targets {
                        let ask = Ask::new(transport, *target).from_port(port + 1);
                        let reply = from.once(ask).unwrap_or_else(|e| panic!("{target}: {e:?}"));
                        assert_eq!(reply.who, "pod3", "{topology:?} {transport:?} {target}");
                    }
                }
            }
        }
    }
}

fn bulk_arrives_whole(world: &World) {
    let cluster = &world.cluster;
    for family in Family::BOTH {
        for bytes in [200_000, 50_000_000] {
            cluster.pod(1).unwrap().bulk(vip(1, family), bytes).unwrap();
            cluster.node(1).unwrap().bulk(vip(1, family), bytes).unwrap();
            cluster.client().bulk(on_node(1, 1, family), bytes).unwrap();
        }
    }
}
