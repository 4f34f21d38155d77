//! Endpoints that come, move and go while traffic flows.

use anyhow::{Result, anyhow, ensure};
use testbed::address::Family;
use testbed::wire::{Ask, Transport};
use testbed::{Cluster, Held, Place, Topology};

use crate::cases::{Cases, SLOW, answered, refused, within};
use crate::state::holds;
use crate::world::{World, name, on_node, vip};

/// What somebody asks, by family.
type Target = fn(Family) -> std::net::SocketAddr;

/// Where the datapath differs: a bridge, and routed devices; the others differ below it.
const TOPOLOGIES: [Topology; 2] = [Topology::Bridge, Topology::Routed];

#[test]
fn traffic_follows_endpoints() {
    for topology in TOPOLOGIES {
        let mut world = World::bare(topology);
        world.serve(1, &[]);
        world.start();
        let mut cases = Cases::new(format!("changes, {topology:?}"));
        for (step, pods, who) in
            [("appear", vec![1], "pod1"), ("move", vec![3], "pod3"), ("move back", vec![1], "pod1")]
        {
            moved(&world, &pods).unwrap();
            everywhere(&world, &mut cases, step, |from, ask| answered(ask, from, who).map(drop));
        }
        moved(&world, &[]).unwrap();
        everywhere(&world, &mut cases, "all leave", |from, ask| match ask.transport {
            Transport::Tcp | Transport::Udp | Transport::Sctp => refused(ask, from),
            // It hears of no ICMP error; silence is all it can tell.
            Transport::UdpUnconnected => match from.once(ask.timeout_ms(200)) {
                Err(_nothing) => Ok(()),
                Ok(reply) => Err(anyhow!("answered: {reply:?}")),
            },
        });
        moved(&world, &[2]).unwrap();
        everywhere(&world, &mut cases, "one comes", |from, ask| {
            answered(ask, from, "pod2").map(drop)
        });
        world.manifests.delete(&name(1)).unwrap();
        within(SLOW, || holds(&world.cluster, &[])).unwrap();
        cases.case("deleted", || deleted(&world));
        udp_moves(&world, &mut cases);
        cases.finish();
    }
}

/// Changes the endpoints of Service 1 and waits until the maps follow.
fn moved(world: &World, pods: &[usize]) -> Result<()> {
    world.endpoints(1, pods)?;
    within(SLOW, || holds(&world.cluster, &[(1, pods)]))
}

fn everywhere(
    world: &World,
    cases: &mut Cases,
    step: &str,
    check: impl Fn(&Place, Ask) -> Result<()> + Sync,
) {
    let cluster = &world.cluster;
    let (pod, far, host) =
        (cluster.pod(2).unwrap(), cluster.pod(4).unwrap(), cluster.node(1).unwrap());
    let people: [(&Place, Target); 4] = [
        (pod, |family| vip(1, family)),
        (far, |family| vip(1, family)),
        (host, |family| vip(1, family)),
        (cluster.client(), |family| on_node(1, 1, family)),
    ];
    for (from, target) in people {
        cases.each(format!("{step}, {}", from.name()), |family, transport| {
            check(from, Ask::new(transport, target(family)))
        });
    }
}

/// Nothing answers at a ClusterIP that is nobody's, and the NodePort is a closed port.
fn deleted(world: &World) -> Result<()> {
    for family in Family::BOTH {
        refused(Ask::new(Transport::Tcp, on_node(1, 1, family)), world.cluster.client())?;
        let reply =
            world.cluster.pod(1)?.once(Ask::new(Transport::Tcp, vip(1, family)).timeout_ms(300));
        ensure!(reply.is_err(), "{reply:?}");
    }
    Ok(())
}

/// A73, A74: a UDP socket that keeps sending, from one port, goes where the endpoints are, with the
/// very next datagram. It begins to send before there is any.
fn udp_moves(world: &World, cases: &mut Cases) {
    world.serve(1, &[]);
    let held = senders(&world.cluster).unwrap();
    let steps: [(&[usize], &str); 6] =
        [(&[], ""), (&[1], "pod1"), (&[3], "pod3"), (&[], ""), (&[4], "pod4"), (&[1], "pod1")];
    for (pods, who) in steps {
        moved(world, pods).unwrap();
        cases.together(&held, |(name, held)| {
            let check = match held.echo() {
                Ok(reply) if reply.who == who => Ok(()),
                Err(_lost) if who.is_empty() => Ok(()),
                other => Err(anyhow!("{other:?}")),
            };
            (format!("A73 {name} with {pods:?}"), check)
        });
    }
}

/// Sockets of everybody who may keep one. (Connected ones of a node's own processes are bound to
/// the endpoint when they connect.)
fn senders(cluster: &Cluster) -> Result<Vec<(String, Held<'_>)>> {
    let kinds = [Transport::Udp, Transport::UdpUnconnected];
    let (pod, server, host) = (cluster.pod(2)?, cluster.pod(1)?, cluster.node(1)?);
    let people: [(&Place, Target, &[Transport]); 6] = [
        (pod, |family| vip(1, family), &kinds),
        (pod, |family| on_node(1, 1, family), &kinds),
        (server, |family| vip(1, family), &kinds),
        (cluster.client(), |family| on_node(1, 1, family), &kinds),
        (host, |family| vip(1, family), &kinds[1..]),
        (host, |family| on_node(1, 1, family), &kinds[1..]),
    ];
    let mut senders = Vec::new();
    for (from, target, transports) in people {
        for family in Family::BOTH {
            for transport in transports {
                let target = target(family);
                let held = from.open(Ask::new(*transport, target))?;
                senders.push((format!("{} to {target} by {transport:?}", from.name()), held));
            }
        }
    }
    Ok(senders)
}
