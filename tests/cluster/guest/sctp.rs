//! Real SCTP sockets through services: handshake, data both ways, an end in order. The kernel drops
//! what has a wrong CRC32c and counts it, so this proves that the programs update it.

use std::fs;

use anyhow::{Context, Result, ensure};
use testbed::address::{Family, SERVER_PORT};
use testbed::wire::{Ask, Transport};
use testbed::{Cluster, Place, Topology};

use crate::cases::{Cases, answered};
use crate::world::{PORT, World, is_nodes, node_port, on_node, slice, vip};

/// Both services have another port than their pods; pod1 shares a node with the clients, pod3 not.
const BACKENDS: [(u8, usize, &str); 2] = [(1, 1, "pod1"), (2, 3, "pod3")];
/// Enough for every length of packet that path and kernel make.
const BYTES: u64 = 300_000;

#[test]
fn associations_with_and_without_crc_offload() {
    let mut world = World::bare(Topology::Bridge);
    for (number, pod, who) in BACKENDS {
        world.service(number, |service| service.sctp(PORT, Some(node_port(number))));
        world.manifests.slice(&slice(&world.cluster, number, &[pod]).unwrap().sctp()).unwrap();
        let any = [([0; 4], SERVER_PORT).into(), ([0_u16; 8], SERVER_PORT).into()];
        world.cluster.pod(pod).unwrap().serve_sctp(who, &any).unwrap();
    }
    world.start();
    // A device that computes CRCs lets them stay zero all the way; without, the sender computes.
    for offload in ["on", "off"] {
        let mut cases = Cases::new(format!("SCTP, CRC offload {offload}"));
        for place in places(&world.cluster) {
            place.shell(&format!("ethtool -K eth0 tx-checksum-sctp {offload}")).unwrap();
        }
        paths(&world.cluster, &mut cases).unwrap();
        two_clients(&world.cluster, &mut cases).unwrap();
        for place in places(&world.cluster) {
            cases.case(format!("what {} counted", place.name()), || unharmed(place));
        }
        cases.finish();
    }
}

/// Everybody with sockets.
fn places(cluster: &Cluster) -> impl Iterator<Item = &Place> {
    let pods = cluster.pods().iter().map(|pod| -> &Place { pod });
    pods.chain([cluster.client(), cluster.outsider()])
}

/// ClusterIPs keep the source (A40), NodePorts from outside do not (A41), nor do hairpins (A46).
fn paths(cluster: &Cluster, cases: &mut Cases) -> Result<()> {
    let (pod, client) = (cluster.pod(2)?, cluster.client());
    for (number, backend, who) in BACKENDS {
        let server = cluster.pod(backend)?;
        for family in Family::BOTH {
            let direct = server.address().port(family, SERVER_PORT);
            let own = pod.address().ip(family);
            let outside = on_node(1, number, family);
            for (from, target, keeps) in [
                (&**pod, direct, true),
                (pod, vip(number, family), true),
                (client, outside, false),
                (cluster.outsider(), outside, false),
            ] {
                let name = format!("{who} as {target}, by {}", from.name());
                cases.case(&name, || {
                    let reply = answered(Ask::new(Transport::Sctp, target), from, who)?;
                    let seen = reply.seen_source.ip();
                    let fits = if keeps { seen == own } else { is_nodes(1, family, seen) };
                    ensure!(fits, "the backend saw {seen}");
                    Ok(())
                });
                cases.case(format!("{name}, {BYTES} bytes"), || {
                    Ok(from.bulk_by(Transport::Sctp, target, BYTES)?)
                });
            }
        }
    }
    let server = cluster.pod(1)?;
    for family in Family::BOTH {
        cases.case(format!("hairpin {family:?}"), || {
            answered(Ask::new(Transport::Sctp, vip(1, family)), server, "pod1").map(drop)
        });
    }
    Ok(())
}

/// Two clients with one source port share a server: masqueraded, one of them gets another.
fn two_clients(cluster: &Cluster, cases: &mut Cases) -> Result<()> {
    for (number, _, who) in BACKENDS {
        for family in Family::BOTH {
            cases.case(format!("two clients of {who}, {family:?}"), || {
                let ask = Ask::new(Transport::Sctp, on_node(1, number, family));
                let ask = ask.from_port(40_000 + u16::from(number));
                let held = [cluster.client().open(ask)?, cluster.outsider().open(ask)?];
                for _ in 0..3 {
                    let replies = [held[0].echo()?, held[1].echo()?];
                    ensure!(replies.iter().all(|reply| reply.who == who), "{replies:?}");
                    ensure!(replies[0].seen_source != replies[1].seen_source, "{replies:?}");
                }
                Ok(())
            });
        }
    }
    Ok(())
}

/// No packet was damaged, and no association ended but by a shutdown.
fn unharmed(place: &Place) -> Result<()> {
    let text = place.run(|| fs::read_to_string("/proc/thread-self/net/sctp/snmp"))??;
    for name in ["SctpChecksumErrors", "SctpAborteds", "SctpOutOfBlues"] {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let count: u64 = line.with_context(|| format!("no {name} in {text}"))?.trim().parse()?;
        ensure!(count == 0, "{name}: {count}");
    }
    Ok(())
}
