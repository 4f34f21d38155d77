//! The granular checks of both families.

use anyhow::Result;
use serde_json::json;
use testbed::{
    Place, Service,
    address::{self, Family},
    wire::{Ask, Transport},
};

use crate::{
    bed::{Bed, PORT, Svc},
    direct::no_snat,
    endpoint::{host, pods},
    expect::{answers, refused, serves, shared, soon, unserved},
    suite::Group,
};

use Family::{V4, V6};
use Transport::{Tcp, Udp};

const ALL: [&str; 4] = ["pod1", "pod2", "pod3", "pod4"];
/// What one datagram, and one stream, carries in the tests of large requests.
const LARGE_DATAGRAM: u16 = 20_000;
const LARGE_STREAM: u64 = 1_000_000;
/// What a client of each node streams, both ways.
const IPERF_STREAM: u64 = 10_000_000;

pub(crate) const PRIMARY: Group = Group {
    title: "Networking Granular Checks: Services",
    cases: &[
        ("should function for pod-Service: http", |bed| reaches(bed, bed.pod(2), V4, Tcp)),
        ("should function for pod-Service: udp", |bed| reaches(bed, bed.pod(2), V4, Udp)),
        ("should function for node-Service: http", |bed| reaches(bed, bed.node(1), V4, Tcp)),
        ("should function for node-Service: udp", |bed| reaches(bed, bed.node(1), V4, Udp)),
        ("should function for endpoint-Service: http", |bed| reaches(bed, bed.pod(1), V4, Tcp)),
        ("should function for endpoint-Service: udp", |bed| reaches(bed, bed.pod(3), V4, Udp)),
        ("should function for multiple endpoint-Services with same selector", two_of_a_kind),
        ("should update endpoints: http", |bed| updates(bed, V4, Tcp)),
        ("should update endpoints: udp", |bed| updates(bed, V4, Udp)),
        ("should update nodePort: http [Slow]", |bed| node_port_goes(bed, Tcp)),
        ("should support basic nodePort: udp functionality", |bed| {
            let service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
            [1, 2]
                .into_iter()
                .try_for_each(|n| shared(bed.client(), Udp, service.on_node(n, V4), &ALL))
        }),
        ("should update nodePort: udp [Slow]", |bed| node_port_goes(bed, Udp)),
        ("should be able to handle large requests: http", |bed| large(bed, V4, Tcp)),
        ("should be able to handle large requests: udp", |bed| large(bed, V4, Udp)),
        ("should function for service endpoints using hostNetwork", |bed| host_network(bed, V4)),
    ],
};

pub(crate) const SECONDARY: Group = Group {
    title: "[Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly]",
    cases: &[
        ("should function for pod-Service: http", |bed| reaches(bed, bed.pod(2), V6, Tcp)),
        ("should function for pod-Service: udp", |bed| reaches(bed, bed.pod(2), V6, Udp)),
        ("should function for node-Service: http", |bed| reaches(bed, bed.node(1), V6, Tcp)),
        ("should function for node-Service: udp", |bed| reaches(bed, bed.node(1), V6, Udp)),
        ("should function for endpoint-Service: http", |bed| reaches(bed, bed.pod(1), V6, Tcp)),
        ("should function for endpoint-Service: udp", |bed| reaches(bed, bed.pod(3), V6, Udp)),
        ("should update endpoints: http", |bed| updates(bed, V6, Tcp)),
        ("should update endpoints: udp", |bed| updates(bed, V6, Udp)),
        ("should be able to handle large requests: http", |bed| large(bed, V6, Tcp)),
        ("should be able to handle large requests: udp", |bed| large(bed, V6, Udp)),
        ("should function for service endpoints using hostNetwork", |bed| host_network(bed, V6)),
    ],
};

pub(crate) const DUAL_STACK: Group = Group {
    title: "[Feature:IPv6DualStack]",
    cases: &[
        ("should be able to reach pod on ipv4 and ipv6 ip", no_snat),
        ("should create service with ipv4 cluster ip", |bed| families(bed, &[V4])),
        ("should create service with ipv6 cluster ip", |bed| families(bed, &[V6])),
        ("should create service with ipv4,v6 cluster ip", |bed| families(bed, &[V4, V6])),
        ("should create service with ipv6,v4 cluster ip", |bed| families(bed, &[V6, V4])),
    ],
};

pub(crate) const IPERF: Group = Group {
    title: "Networking IPerf2",
    cases: &[("should run iperf2", |bed| {
        let service = bed.inward(&pods(&[1]))?;
        for from in [bed.pod(2), bed.pod(4)] {
            for family in Family::BOTH {
                answers(from, Tcp, service.vip(family), "pod1")?;
                from.bulk(service.vip(family), IPERF_STREAM)?;
            }
        }
        Ok(())
    })],
};

/// All endpoints, through the ClusterIP and both nodes' NodePorts.
fn reaches(bed: &Bed, from: &Place, family: Family, transport: Transport) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
    for target in [service.vip(family), service.on_node(1, family), service.on_node(2, family)] {
        shared(from, transport, target, &ALL)?;
    }
    Ok(())
}

/// Two Services of the same endpoints; one goes.
fn two_of_a_kind(bed: &Bed) -> Result<()> {
    let (first, second) =
        (bed.service(|it| it, &pods(&[1, 3]))?, bed.service(|it| it, &pods(&[1, 3]))?);
    let works = |service: &Svc<'_>| {
        for transport in [Tcp, Udp] {
            shared(bed.pod(1), transport, service.vip(V4), &["pod1", "pod3"])?;
            shared(bed.client(), transport, service.on_node(2, V4), &["pod1", "pod3"])?;
        }
        Ok::<(), anyhow::Error>(())
    };
    works(&first)?;
    works(&second)?;
    drop(second);
    works(&first)
}

fn updates(bed: &Bed, family: Family, transport: Transport) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
    shared(bed.pod(2), transport, service.vip(family), &ALL)?;
    service.endpoints(&pods(&[2, 3, 4]))?;
    shared(bed.pod(2), transport, service.vip(family), &ALL[1..])?;
    shared(bed.client(), transport, service.on_node(1, family), &ALL[1..])
}

fn node_port_goes(bed: &Bed, transport: Transport) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
    shared(bed.client(), transport, service.on_node(1, V4), &ALL)?;
    service.delete();
    for n in [1, 2] {
        refused(bed.client(), transport, service.on_node(n, V4))?;
        unserved(bed.node(1), transport, service.on_node(n, V4))?;
    }
    Ok(())
}

/// More than one packet's worth, to an endpoint of either node, asked by a pod and a node.
fn large(bed: &Bed, family: Family, transport: Transport) -> Result<()> {
    let people: [&Place; 3] = [bed.pod(2), bed.node(1), bed.client()];
    for p in [1, 3] {
        let service = bed.service(|it| it, &pods(&[p]))?;
        for from in people {
            let target = service.on_node(1, family);
            answers(from, transport, target, &format!("pod{p}"))?;
            if transport == Tcp {
                from.bulk(target, LARGE_STREAM)?;
            } else {
                let ask = Ask::new(transport, target).padding(LARGE_DATAGRAM).timeout_ms(1_000);
                soon(|| Ok(from.once(ask)?))?;
            }
        }
    }
    Ok(())
}

fn host_network(bed: &Bed, family: Family) -> Result<()> {
    let service = bed.service(|it| it, &[host(1), host(2)])?;
    let both = ["node1", "node2"];
    let people: [&Place; 4] = [bed.pod(2), bed.node(1), bed.pod(4), bed.client()];
    // A103: node 1 forwards from pods to node 2, and from others only where FORWARD lets it.
    let outside = if bed.cluster.drops_forwarded() { 2 } else { 4 };
    for transport in [Tcp, Udp] {
        for from in &people[..outside] {
            shared(from, transport, service.on_node(1, family), &both)?;
        }
        for from in &people[..3] {
            shared(from, transport, service.vip(family), &both)?;
        }
    }
    Ok(())
}

/// A Service of these families, its endpoints in slices of both: only its own are served.
fn families(bed: &Bed, families: &[Family]) -> Result<()> {
    let service = bed.unborn();
    let cluster_ip = service.cluster_ip();
    let ips: Vec<_> = families.iter().map(|f| cluster_ip.ip(*f)).collect();
    let names: Vec<_> = families.iter().map(|f| if *f == V4 { "IPv4" } else { "IPv6" }).collect();
    let policy = if families.len() == 1 { "SingleStack" } else { "RequireDualStack" };
    service.put(
        Service::new(&service.name(), cluster_ip)
            .tcp(PORT, None)
            .udp(PORT, None)
            .with("clusterIP", json!(ips[0]))
            .with("clusterIPs", json!(ips))
            .with("ipFamilies", json!(names))
            .with("ipFamilyPolicy", policy)
            .to_value(),
    )?;
    service.endpoints(&pods(&[1]))?;
    let people: [&Place; 2] = [bed.pod(2), bed.node(2)];
    for from in people {
        for family in families {
            serves(from, |_| address::Pair::port(cluster_ip, *family, PORT), "pod1")?;
        }
        for family in Family::BOTH.iter().filter(|family| !families.contains(family)) {
            unserved(from, Tcp, service.vip(*family))?;
        }
    }
    Ok(())
}
