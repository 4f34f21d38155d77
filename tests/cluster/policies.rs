//! Traffic policies: who may reach which endpoints, and whose address they see.

use anyhow::{Result, ensure};
use testbed::address::{self, Family};
use testbed::wire::{Ask, Transport};
use testbed::{Place, Service, Slice, Topology};

use crate::cases::{Cases, answered, dropped, refused};
use crate::world::{PORT, World, is_nodes, name, node_port, on_node, vip};

/// `externalTrafficPolicy: Local`, its endpoint on node 2.
const EXTERNAL: u8 = 11;
/// `internalTrafficPolicy: Local`, its endpoint on node 1.
const INTERNAL: u8 = 12;
/// `externalTrafficPolicy: Local`, one endpoint on each node.
const SPLIT: u8 = 13;
/// Services without endpoints.
const EMPTY: [u8; 3] = [21, 22, 23];

/// Writes the Services of [`local_policies`].
pub(crate) fn serve_local(world: &World) {
    world.service(EXTERNAL, Service::external_local);
    world.endpoints(EXTERNAL, &[3]).unwrap();
    world.service(INTERNAL, Service::internal_local);
    world.endpoints(INTERNAL, &[1]).unwrap();
    world.service(SPLIT, Service::external_local);
    world.endpoints(SPLIT, &[1, 3]).unwrap();
}

/// Who reaches what under the policy Local.
pub(crate) fn local_policies(world: &World, cases: &mut Cases) {
    outside(world, cases);
    short_circuit(world, cases).unwrap();
    internal(world, cases).unwrap();
}

fn outside(world: &World, cases: &mut Cases) {
    let people = [
        (world.cluster.client(), address::client()),
        (world.cluster.outsider(), address::outsider()),
    ];
    for (person, own) in people {
        cases.each(format!("A44 {} is seen", person.name()), |family, transport| {
            let ask = Ask::new(transport, on_node(2, EXTERNAL, family));
            let reply = answered(ask, person, "pod3")?;
            ensure!(reply.seen_source.ip() == own.ip(family), "seen as {}", reply.seen_source);
            Ok(())
        });
        cases.each(format!("A44 {} stays on the node", person.name()), |family, transport| {
            for (node, who) in [(1, "pod1"), (2, "pod3")] {
                let ask = Ask::new(transport, on_node(node, SPLIT, family)).times(5);
                for reply in person.many(ask)? {
                    let reply = reply?;
                    ensure!(reply.who == who, "node{node} let {} answer", reply.who);
                    ensure!(reply.seen_source.ip() == own.ip(family));
                }
            }
            Ok(())
        });
        cases.each(format!("A49 {} at the wrong node", person.name()), |family, transport| {
            dropped(Ask::new(transport, on_node(1, EXTERNAL, family)), person)
        });
        cases.each(format!("A37 {} at an internal policy", person.name()), |family, transport| {
            answered(Ask::new(transport, on_node(1, INTERNAL, family)), person, "pod1")?;
            answered(Ask::new(transport, on_node(2, INTERNAL, family)), person, "pod1").map(drop)
        });
    }
}

fn short_circuit(world: &World, cases: &mut Cases) -> Result<()> {
    let (pod, host) = (world.cluster.pod(2)?, world.cluster.node(1)?);
    cases.each("A42 a pod at its own node", |family, transport| {
        let reply = answered(Ask::new(transport, on_node(1, EXTERNAL, family)), pod, "pod3")?;
        let own = pod.address().ip(family);
        ensure!(reply.seen_source.ip() == own, "seen as {}", reply.seen_source);
        Ok(())
    });
    cases.each("A43 the node itself", |family, transport| {
        let reply = answered(Ask::new(transport, on_node(1, EXTERNAL, family)), host, "pod3")?;
        ensure!(is_nodes(1, family, reply.seen_source.ip()), "seen as {}", reply.seen_source);
        Ok(())
    });
    Ok(())
}

fn internal(world: &World, cases: &mut Cases) -> Result<()> {
    let (near, far) = (world.cluster.pod(2)?, world.cluster.pod(3)?);
    cases.each("A48 a pod beside the endpoint", |family, transport| {
        let reply = answered(Ask::new(transport, vip(INTERNAL, family)), near, "pod1")?;
        let own = near.address().ip(family);
        ensure!(reply.seen_source.ip() == own, "seen as {}", reply.seen_source);
        Ok(())
    });
    cases.each("A48 a pod on another node", |family, transport| {
        dropped(Ask::new(transport, vip(INTERNAL, family)), far)
    });
    cases.each("A48 the endpoint's node", |family, transport| {
        answered(Ask::new(transport, vip(INTERNAL, family)), world.cluster.node(1)?, "pod1")
            .map(drop)
    });
    // A socket hook cannot drop: it fails the call. Whatever the error, nobody answers.
    cases.each("A48 another node", |family, transport| {
        let ask = Ask::new(transport, vip(INTERNAL, family)).timeout_ms(300);
        let reply = world.cluster.node(2)?.once(ask);
        ensure!(reply.is_err(), "{reply:?}");
        Ok(())
    });
    Ok(())
}

#[test]
fn loopback_node_ports() {
    for topology in [Topology::Bridge, Topology::Routed] {
        let mut world = World::bare(topology);
        world.serve(1, &[1]);
        world.serve(2, &[3]);
        world.serve_host(3, 1);
        world.serve_host(4, 2);
        let networks = format!("{},127.0.0.0/8,::1/128", address::NODEPORT_CIDRS);
        world.start_with(&["--nodeport-addresses", &networks]);
        let mut cases = Cases::new(format!("loopback, {topology:?}"));
        let host = world.cluster.node(1).unwrap();
        for (number, who) in [(1, "pod1"), (2, "pod3"), (3, "node1"), (4, "node2")] {
            cases.each(format!("A101 {who}"), |family, transport| {
                answered(Ask::new(transport, loopback(family, node_port(number))), host, who)
                    .map(drop)
            });
        }
        cases.finish();
    }
}

#[test]
fn loopback_node_ports_are_served_where_the_addresses_say() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    // Networks of both families, neither of which has a loopback address.
    world.start();
    let mut cases = Cases::new("loopback left out");
    let host = world.cluster.node(1).unwrap();
    cases.each("A23 A101", |family, transport| {
        let ask = Ask::new(transport, loopback(family, node_port(1))).timeout_ms(300);
        let reply = host.once(ask);
        ensure!(reply.is_err(), "{reply:?}");
        Ok(())
    });
    cases.finish();
}

fn loopback(family: Family, port: u16) -> std::net::SocketAddr {
    match family {
        Family::V4 => ([127, 0, 0, 1], port).into(),
        Family::V6 => (std::net::Ipv6Addr::LOCALHOST, port).into(),
    }
}

/// Writes the Services of [`without_endpoints`].
pub(crate) fn serve_empty(world: &World) {
    world.serve(EMPTY[0], &[]);
    // A Service without any slice, and one whose policies change nothing about it.
    world.service(EMPTY[1], |service| service);
    world.service(EMPTY[2], |service| service.external_local().internal_local());
    world.endpoints(EMPTY[2], &[]).unwrap();
}

/// Everybody is refused by Services without endpoints.
pub(crate) fn without_endpoints(world: &World, cases: &mut Cases) {
    for number in EMPTY {
        refusals(world, cases, number).unwrap();
    }
}

/// A47, A50: everybody hears at once. A socket that is not connected cannot hear of ICMP errors.
fn refusals(world: &World, cases: &mut Cases, number: u8) -> Result<()> {
    let cluster = &world.cluster;
    let people: [&Place; 5] =
        [cluster.pod(1)?, cluster.pod(3)?, cluster.node(1)?, cluster.client(), cluster.outsider()];
    let mut asks = Vec::new();
    for person in people {
        for family in Family::BOTH {
            for transport in [Transport::Tcp, Transport::Udp] {
                if (family, transport) == (Family::V6, Transport::Tcp) {
                    continue;
                }
                let targets =
                    [vip(number, family), on_node(1, number, family), on_node(2, number, family)];
                asks.extend(targets.map(|target| (person, Ask::new(transport, target))));
            }
        }
    }
    // Not more at once, or the time that each takes says nothing.
    for asks in asks.chunks(9) {
        cases.together(asks, |(person, ask)| {
            let name = format!("{} by {:?} at {}", name(number), ask.transport, ask.target);
            (format!("{name} by {}", person.name()), refused(*ask, person))
        });
    }
    Ok(())
}

#[test]
fn target_ports_differ() {
    let mut world = World::bare(Topology::Bridge);
    world.service(1, |service| service);
    let pod = world.cluster.pod(3).unwrap();
    let any: [std::net::SocketAddr; 2] = [([0; 4], 9090).into(), ([0_u16; 8], 9090).into()];
    pod.serve("other", &any).unwrap();
    world.manifests.slice(&Slice::new(&name(1)).port(9090).pod(pod)).unwrap();
    world.start();
    let mut cases = Cases::new("target port");
    cases.each("9090", |family, transport| {
        let target = address::service(1).port(family, PORT);
        answered(Ask::new(transport, target), world.cluster.pod(1)?, "other").map(drop)
    });
    cases.finish();
}
