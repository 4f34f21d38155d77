//! A Service with a Maglev table: one flow comes by two nodes in turns, and loses its entries.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use sluice::dataplane::aya::{batch::BatchMap, pin::Pins};
use sluice_common::{
    flow::{Flow, FlowKey},
    net::{V4, V6},
};
use testbed::{
    Node, Place, Topology,
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, SLOW, within},
    world::{World, vip},
};

/// The client's ports: enough for more than one backend to be met.
const PORTS: std::ops::Range<u16> = 43_000..43_008;

#[test]
fn a_flow_keeps_its_backend_on_either_node_and_without_its_entries() {
    let mut world = World::bare(Topology::Routed);
    world.service(1, |service| service.annotated("sluice.io/lb-algorithm", "maglev"));
    world.service(2, |service| service);
    for number in [1, 2] {
        world.endpoints(number, &[1, 2, 3, 4]).unwrap();
    }
    world.start();
    let mut cases = Cases::new("maglev");
    for family in Family::BOTH {
        for transport in [Transport::Udp, Transport::UdpUnconnected] {
            cases.case(format!("two nodes, {family:?} {transport:?}"), || {
                by_turns(&world, family, transport)
            });
        }
        for transport in [Transport::Tcp, Transport::Udp] {
            cases.case(format!("evicted, {family:?} {transport:?}"), || {
                evicted(&world, world.cluster.pod(1)?, 1, family, transport)?;
                by_node(&world, 1, family)?;
                evicted(&world, world.cluster.client(), 1, family, transport)
            });
        }
    }
    cases.case("the annotation changes", || {
        // Service 2 becomes one with a table, without being made anew.
        world.service(2, |service| service.annotated("sluice.io/lb-algorithm", "maglev"));
        within(SLOW, || evicted(&world, world.cluster.pod(1)?, 2, Family::V4, Transport::Tcp))
    });
    cases.finish();
}

/// Has the client's packets to all Services' addresses come by a node.
fn by_node(world: &World, node: usize, family: Family) -> Result<()> {
    let ip = match family {
        Family::V4 => "ip",
        Family::V6 => "ip -6",
    };
    let by = world.cluster.node(node)?.address().ip(family);
    let to = vip(1, family).ip();
    world.cluster.client().shell(&format!("{ip} route replace {to} via {by}")).map(drop)
}

fn by_turns(world: &World, family: Family, transport: Transport) -> Result<()> {
    let client = world.cluster.client();
    let mut met = BTreeSet::new();
    for port in PORTS {
        by_node(world, 1, family)?;
        let held = client.open(Ask::new(transport, vip(1, family)).from_port(port))?;
        let first = held.echo()?.who;
        for node in [2, 1, 2] {
            by_node(world, node, family)?;
            let who = held.echo()?.who;
            ensure!(who == first, "port {port}: {first} by node1, {who} by node{node}");
        }
        met.insert(first);
    }
    ensure!(met.len() > 1, "every port led to {met:?}");
    Ok(())
}

/// A connection goes on when node 1 has forgotten all its flows.
fn evicted(
    world: &World,
    from: &Place,
    number: u8,
    family: Family,
    transport: Transport,
) -> Result<()> {
    let held = from.open(Ask::new(transport, vip(number, family)))?;
    let first = held.echo()?.who;
    for _ in 0..3 {
        forget_flows(world.cluster.node(1)?)?;
        let who = held.echo()?.who;
        ensure!(who == first, "{}: {first}, then {who}", from.name());
    }
    Ok(())
}

fn forget_flows(node: &Node) -> Result<()> {
    let pins = Pins::new(node.bpf_root());
    forget::<V4>(&pins, "FLOWS_V4").and_then(|()| forget::<V6>(&pins, "FLOWS_V6"))
}

fn forget<const N: usize>(pins: &Pins, name: &'static str) -> Result<()>
where
    FlowKey<N>: aya::Pod,
    Flow<N>: aya::Pod,
{
    let map = BatchMap::<FlowKey<N>, Flow<N>>::open(pins, name)?;
    let mut keys = Vec::new();
    map.for_each(|key, _| keys.push(*key)).with_context(|| format!("reading {name}"))?;
    for key in keys {
        map.take(&key).with_context(|| format!("emptying {name}"))?;
    }
    Ok(())
}
