//! Endpoints that come, move and go while traffic flows.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use testbed::address::Family;
use testbed::wire::{Ask, Transport};
use testbed::{Place, Topology};

use crate::cases::{Cases, answered, refused, soon, within};
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
            world.endpoints(1, &pods).unwrap();
            everywhere(&world, &mut cases, step, |from, ask| answered(ask, from, who).map(drop));
        }
        world.endpoints(1, &[]).unwrap();
        everywhere(&world, &mut cases, "all leave", |from, ask| match ask.transport {
            Transport::Tcp | Transport::Udp => refused(ask, from),
            // It hears of no ICMP error; silence is all it can tell.
            Transport::UdpUnconnected => match from.once(ask.timeout_ms(200)) {
                Err(_nothing) => Ok(()),
                Ok(reply) => Err(anyhow!("answered: {reply:?}")),
            },
        });
        world.endpoints(1, &[2]).unwrap();
        everywhere(&world, &mut cases, "one comes", |from, ask| {
            answered(ask, from, "pod2").map(drop)
        });
        world.manifests.delete(&name(1)).unwrap();
        cases.case("deleted", || deleted(&world));
        cases.finish();
    }
}

fn everywhere(
    world: &World,
    cases: &mut Cases,
    step: &str,
    check: impl Fn(&Place, Ask) -> Result<()>,
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
            soon(|| check(from, Ask::new(transport, target(family))))
        });
    }
}

/// Nothing answers at a ClusterIP that is nobody's, and the NodePort is a closed port.
fn deleted(world: &World) -> Result<()> {
    for family in Family::BOTH {
        soon(|| refused(Ask::new(Transport::Tcp, on_node(1, 1, family)), world.cluster.client()))?;
        let reply =
            world.cluster.pod(1)?.once(Ask::new(Transport::Tcp, vip(1, family)).timeout_ms(300));
        ensure!(reply.is_err(), "{reply:?}");
    }
    Ok(())
}

/// A73, A74: a UDP socket that keeps sending goes where the endpoints are.
#[test]
fn udp_moves() {
    for topology in TOPOLOGIES {
        let mut world = World::bare(topology);
        world.serve(1, &[1]);
        world.start();
        let mut cases = Cases::new(format!("A73, {topology:?}"));
        let cluster = &world.cluster;
        let people: [(&Place, Target); 3] = [
            (cluster.pod(2).unwrap(), |family| vip(1, family)),
            (cluster.pod(1).unwrap(), |family| vip(1, family)),
            (cluster.client(), |family| on_node(1, 1, family)),
        ];
        for (from, target) in people {
            for family in Family::BOTH {
                for transport in [Transport::Udp, Transport::UdpUnconnected] {
                    let name = format!("{} {family:?} {transport:?}", from.name());
                    let ask = Ask::new(transport, target(family)).timeout_ms(300);
                    cases.case(name, || follows(&world, from, ask));
                }
            }
        }
        cases.finish();
    }
}

fn follows(world: &World, from: &Place, ask: Ask) -> Result<()> {
    world.endpoints(1, &[1])?;
    soon(|| answered(ask, from, "pod1").map(drop))?;
    let held = from.open(ask)?;
    // A question that is lost while the endpoint changes is given up after two seconds.
    let goes_to = |step: &str, who: &str| {
        let check = || {
            let reply = held.echo()?;
            ensure!(reply.who == who, "{} answers", reply.who);
            Ok(())
        };
        within(Duration::from_secs(5), check)
            .map_err(|error| error.context(format!("{step}: {who} does not answer")))
    };
    goes_to("at first", "pod1")?;
    world.endpoints(1, &[3])?;
    goes_to("A73", "pod3")?;
    world.endpoints(1, &[])?;
    soon(|| match from.once(ask) {
        Ok(reply) => Err(anyhow!("{} answers", reply.who)),
        Err(_refused) => Ok(()),
    })?;
    // It goes on sending into nothing.
    for _ in 0..3 {
        let reply = held.echo();
        ensure!(reply.is_err(), "A74: {reply:?}");
    }
    world.endpoints(1, &[4])?;
    goes_to("A74", "pod4")?;
    world.endpoints(1, &[1])?;
    goes_to("back", "pod1")
}
