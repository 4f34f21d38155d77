//! The node itself: addresses that it gets later (A24), ports that it keeps free (A25), and what it
//! remembers over a restart (A72).

use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Result, ensure};
use testbed::{
    Place, Service, Sluice, Source, Topology,
    address::{Family, Pair},
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, SLOW, answered, within},
    world::{World, node_port, on_node, vip},
};

/// Asks that would show a second of three endpoints, all but once in 10^9.
const MANY: u32 = 20;
const STICKY: u8 = 2;

#[test]
fn what_a_node_keeps_and_does_not_keep() {
    let mut world = World::bare(Topology::Bridge);
    world.serve(1, &[1]);
    world.service(STICKY, Service::sticky);
    world.endpoints(STICKY, &[1, 3, 4]).unwrap();
    world.start();
    let mut cases = Cases::new("a node");
    cases.case("A24", || later_addresses(&world));
    cases.case("A25", || ports_are_free(&world));
    cases.finish();
    affinity_survives(&mut world).unwrap();
}

/// An address that is added counts at once, and one that is taken away no longer.
fn later_addresses(world: &World) -> Result<()> {
    let (node, client) = (world.cluster.node(1)?, world.cluster.client());
    let later = Pair { v4: "192.168.100.60".parse()?, v6: "fd00:192:168::60".parse()? };
    for (family, address) in
        [(Family::V4, format!("{}/24", later.v4)), (Family::V6, format!("{}/64 nodad", later.v6))]
    {
        let ask = |transport| Ask::new(transport, later.port(family, node_port(1))).timeout_ms(500);
        node.shell(&format!("ip addr add {address} dev eth0"))?;
        for transport in [Transport::Tcp, Transport::Udp] {
            within(SLOW, || answered(ask(transport), client, "pod1").map(drop))?;
            answered(ask(transport), world.cluster.pod(2)?, "pod1")?;
        }
        let device = address.replace(" nodad", "");
        node.shell(&format!("ip addr del {device} dev eth0"))?;
        within(SLOW, || {
            let reply = client.once(ask(Transport::Udp));
            ensure!(reply.is_err(), "{reply:?}");
            Ok(())
        })?;
    }
    Ok(())
}

/// No socket is there, another process may have one, and it gets nothing of the Service's.
fn ports_are_free(world: &World) -> Result<()> {
    let (node, client) = (world.cluster.node(1)?, world.cluster.client());
    let number = node_port(1);
    let sockets = node.shell("ss -Hlntu")?;
    ensure!(!sockets.contains(&format!(":{number} ")), "{sockets}");
    for family in Family::BOTH {
        let any: SocketAddr = match family {
            Family::V4 => ([0; 4], number).into(),
            Family::V6 => ([0_u16; 8], number).into(),
        };
        let held = node.run(|| -> std::io::Result<_> {
            Ok((TcpListener::bind(any)?, UdpSocket::bind(any)?))
        })??;
        for transport in [Transport::Tcp, Transport::Udp] {
            answered(Ask::new(transport, on_node(1, 1, family)), client, "pod1")?;
        }
        drop(held);
    }
    Ok(())
}

/// Each client stays with its endpoint, whether the controller ends or dies (A72).
fn affinity_survives(world: &mut World) -> Result<()> {
    let before = endpoints(world)?;
    for end in [Sluice::stop, Sluice::kill] {
        end(&mut world.sluices[0])?;
        let source = Source::Manifests(world.manifests.dir());
        world.sluices[0] = Sluice::start(world.cluster.node(1)?, source)?;
        world.sluices[0].wait_ready()?;
        let after = endpoints(world)?;
        ensure!(before == after, "{before:?}, and after a restart {after:?}");
    }
    Ok(())
}

/// Who answers whom on node 1, by the ClusterIP, and by a NodePort from outside.
fn endpoints(world: &World) -> Result<Vec<String>> {
    let cluster = &world.cluster;
    let people: [&Place; 4] =
        [cluster.pod(1)?, cluster.pod(2)?, cluster.node(1)?, cluster.client()];
    let mut endpoints = Vec::new();
    for family in Family::BOTH {
        for (n, from) in people.iter().enumerate() {
            let outside = n == 3;
            let target = if outside { on_node(1, STICKY, family) } else { vip(STICKY, family) };
            let mut replies = Vec::new();
            for reply in from.many(Ask::new(Transport::Tcp, target).times(MANY))? {
                replies.push(reply?.who);
            }
            replies.dedup();
            ensure!(replies.len() == 1, "{} reached {replies:?}", from.name());
            endpoints.append(&mut replies);
        }
    }
    Ok(endpoints)
}
