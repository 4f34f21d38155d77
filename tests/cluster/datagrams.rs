//! Packets that do not fit: datagrams in fragments, and paths with a smaller unit (A28, C43).

use anyhow::Result;
use testbed::{
    Cluster, Place, Service, Topology,
    address::{Family, SERVER_PORT},
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, answered},
    world::{World, on_node, vip},
};

/// Bytes beyond a question's own: no fragment, just above the unit, many fragments.
const SIZES: [u16; 3] = [1_000, 1_500, 20_000];
/// The unit of the narrow hop.
const NARROW: u16 = 1_400;
/// Enough for windows to open beyond one segment.
const BYTES: u64 = 1_000_000;

#[test]
fn packets_that_do_not_fit() {
    for topology in Topology::OWN {
        let mut world = World::bare(topology);
        world.serve(1, &[1]);
        world.serve(2, &[3]);
        world.service(3, Service::external_local);
        world.endpoints(3, &[1]).unwrap();
        world.start();
        let mut cases = Cases::new(format!("large packets, {topology:?}"));
        let cluster = &world.cluster;
        let (pod, host, client) =
            (cluster.pod(2).unwrap(), cluster.node(1).unwrap(), cluster.client());
        for (number, who) in [(1, "pod1"), (2, "pod3")] {
            large(&mut cases, pod, who, |family| vip(number, family));
            large(&mut cases, pod, who, |family| on_node(1, number, family));
            large(&mut cases, host, who, |family| vip(number, family));
            large(&mut cases, host, who, |family| on_node(1, number, family));
            large(&mut cases, client, who, |family| vip(number, family));
            large(&mut cases, client, who, |family| on_node(1, number, family));
        }
        let server = cluster.pod(1).unwrap();
        large(&mut cases, server, "pod1", |family| vip(1, family));
        if matches!(topology, Topology::Bridge | Topology::Routed) {
            a_narrow_hop_is_found(&world, &mut cases);
        }
        cases.finish();
    }
}

/// Questions and answers of every size.
fn large(
    cases: &mut Cases,
    from: &Place,
    who: &str,
    target: impl Fn(Family) -> std::net::SocketAddr + Sync,
) {
    for transport in [Transport::Udp, Transport::UdpUnconnected] {
        for family in Family::BOTH {
            let target = target(family);
            cases.case(format!("{} to {target} of {who}, {transport:?}", from.name()), || {
                SIZES.iter().try_for_each(|size| {
                    let ask = Ask::new(transport, target).padding(*size).timeout_ms(500);
                    // The first may be the one that learns of a narrower path: routers do not
                    // fragment IPv6, and a datagram that is lost is not sent again.
                    let _learnt = answered(ask, from, who);
                    answered(ask.timeout_ms(2_000), from, who).map(drop)
                })
            });
        }
    }
}

/// Streams find the unit of a hop that neither end sees: a router's ICMP error quotes a translated
/// packet, and has to reach the end that sent it as that end sent it.
fn a_narrow_hop_is_found(world: &World, cases: &mut Cases) {
    let cluster = &world.cluster;
    cluster.narrow(NARROW).unwrap();
    let (pod, host, outsider) =
        (cluster.pod(2).unwrap(), cluster.node(1).unwrap(), cluster.outsider());
    for family in Family::BOTH {
        let direct = cluster.pod(3).unwrap().address().port(family, SERVER_PORT);
        let paths: [(&Place, std::net::SocketAddr); 9] = [
            (pod, direct),
            (pod, vip(2, family)),
            (pod, on_node(1, 2, family)),
            (host, vip(2, family)),
            (outsider, vip(1, family)),
            (outsider, vip(2, family)),
            (outsider, on_node(1, 1, family)),
            (outsider, on_node(1, 2, family)),
            (outsider, on_node(1, 3, family)),
        ];
        for (from, target) in paths {
            forget_units(cluster).unwrap();
            cases.case(format!("{} to {target}", from.name()), || Ok(from.bulk(target, BYTES)?));
        }
    }
}

/// What one path has learnt shall not help the next.
fn forget_units(cluster: &Cluster) -> Result<()> {
    let people = [cluster.outsider(), cluster.node(1)?, cluster.node(2)?];
    let pods = cluster.pods().iter().map(std::ops::Deref::deref);
    for place in people.into_iter().chain(pods) {
        place.shell("ip route flush cache; ip -6 route flush cache")?;
    }
    Ok(())
}
