//! Pods made by the real `bridge` plugin, whose `ipMasq` gives pods their node's address on other
//! nodes: netfilter's choice of ports, and ours, towards one endpoint.

use std::time::Duration;

use anyhow::{Result, ensure};
use testbed::{
    Cluster, CniRules, Held, Place, Plugin, Topology,
    address::{self, Family},
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, SLOW, answered, within},
    world::{World, on_node, vip},
};

/// The port of every client, the same on purpose; more for more rounds.
const CLIENT_PORT: u16 = 40_000;

fn started(rules: CniRules) -> World {
    let builder = Cluster::builder(Topology::Plugin(Plugin::Bridge));
    let mut world = World::build(builder.rules(rules).bridge_netfilter(rules.forward_drop));
    world.serve(1, &[3]);
    world.start();
    world
}

/// Sluice masquerades the client, netfilter the pod, both from one port to one endpoint.
#[test]
fn a54_ports_that_netfilter_chose_are_left_alone() {
    let world = started(CniRules { forward_drop: true, ..CniRules::default() });
    let (cluster, mut cases) = (&world.cluster, Cases::new("netfilter's ports"));
    let pod = cluster.pod(2).unwrap();
    let mut port = CLIENT_PORT;
    for transport in [Transport::Tcp, Transport::Udp] {
        for family in Family::BOTH {
            let inside = |port| open(pod, transport, vip(1, family), port);
            let outside = |port| open(cluster.client(), transport, on_node(1, 1, family), port);
            cases.case(format!("netfilter first, {family:?} {transport:?}"), || {
                let first = inside(port)?;
                let second = outside(port)?;
                apart(&[first, second], family)
            });
            cases.case(format!("Sluice first, {family:?} {transport:?}"), || {
                let first = outside(port + 1)?;
                if transport == Transport::Udp {
                    // For a second, a datagram could be the flow's own.
                    std::thread::sleep(Duration::from_millis(2_100));
                }
                let second = inside(port + 1)?;
                apart(&[second, first], family)
            });
            port += 2;
        }
    }
    cases.finish();
}

/// A socket that has been answered once.
fn open(
    from: &Place,
    transport: Transport,
    target: std::net::SocketAddr,
    port: u16,
) -> Result<Held<'_>> {
    let held = from.open(Ask::new(transport, target).from_port(port))?;
    let reply = held.echo()?;
    ensure!(reply.who == "pod3", "{reply:?}");
    Ok(held)
}

/// Both sockets get their own answers, more than once.
fn apart(held: &[Held<'_>], family: Family) -> Result<()> {
    for _round in 0..2 {
        let mut ports = Vec::new();
        for socket in held {
            let reply = socket.echo()?;
            ensure!(reply.seen_source.ip() == address::node(1).ip(family), "{reply:?}");
            ports.push(reply.seen_source.port());
        }
        ensure!(ports[0] != ports[1], "both appear from port {}", ports[0]);
    }
    Ok(())
}

/// A plugin's interfaces come and go while the controller runs. Without br_netfilter, answers on
/// one bridge are not seen by conntrack, which the policy of a firewall would have to bear with.
#[test]
fn pods_come_and_go() {
    let mut world = started(CniRules::default());
    let name = world.cluster.add_pod(1).unwrap().name().to_owned();
    world.endpoints(1, &[5]).unwrap();
    let pods = world.cluster.pods();
    let people: [&Place; 4] = [&pods[1], &pods[3], &pods[4], world.cluster.client()];
    for family in Family::BOTH {
        for from in people {
            let outside = from.name() == "client";
            let target = if outside { on_node(2, 1, family) } else { vip(1, family) };
            let ask = Ask::new(Transport::Tcp, target).timeout_ms(500);
            within(SLOW, || answered(ask, from, &name).map(drop)).unwrap();
        }
    }
    world.endpoints(1, &[3]).unwrap();
    world.cluster.remove_pod().unwrap();
    let ask = Ask::new(Transport::Tcp, vip(1, Family::V4)).timeout_ms(500);
    let pod = world.cluster.pod(1).unwrap();
    within(SLOW, || answered(ask, pod, "pod3").map(drop)).unwrap();
}
