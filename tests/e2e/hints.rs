//! Hints about zones and nodes (A32), slices in several parts, and other ranges.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use serde_json::json;
use testbed::{
    Place, Service,
    address::{Family, Pair},
    wire::Transport,
};

use crate::{
    bed::{Bed, PORT, Svc},
    endpoint::{pod, pods},
    expect::{refused, serves, shared},
    suite::Group,
};

/// Another port that pods listen on for this file.
const SECOND: u16 = 9_092;
/// And one more.
const THIRD: u16 = 9_094;

pub(crate) const DISTRIBUTION: Group = Group {
    title: "Traffic Distribution",
    cases: &[
        ("should route traffic to an endpoint in the same zone when using PreferClose", |bed| {
            zones(bed, "PreferClose")
        }),
        (
            "should route traffic correctly between pods on multiple nodes when using PreferClose",
            |bed| nodes(bed, "PreferClose"),
        ),
        ("should route traffic to an endpoint in the same zone when using PreferSameZone", |bed| {
            zones(bed, "PreferSameZone")
        }),
        (
            "should route traffic correctly between pods on multiple nodes when using PreferSameZone",
            |bed| nodes(bed, "PreferSameZone"),
        ),
        (
            "should route traffic to an endpoint on the same node or fall back to same zone when using PreferSameNode",
            same_node,
        ),
        (
            "should route traffic to an endpoint on the same node when using PreferSameNode and fall back when the endpoint becomes unavailable",
            same_node_gone,
        ),
    ],
};

pub(crate) const TOPOLOGY: Group =
    Group { title: "Topology Hints", cases: &[("should distribute endpoints evenly", evenly)] };

pub(crate) const SLICES: Group = Group {
    title: "EndpointSlice",
    cases: &[
        (
            "should support a Service with multiple ports specified in multiple EndpointSlices",
            many_ports,
        ),
        (
            "should support a Service with multiple endpoint IPs specified in multiple EndpointSlices",
            many_addresses,
        ),
    ],
};

pub(crate) const MIRRORING: Group = Group {
    title: "EndpointSliceMirroring",
    cases: &[(
        "should mirror a custom Endpoint with multiple subsets and same IP address",
        one_address_twice,
    )],
};

pub(crate) const CIDRS: Group = Group {
    title: "Service CIDRs",
    cases: &[("should create Services and serve on different Service CIDRs", other_range)],
};

fn distributed(kind: &'static str) -> impl FnOnce(Service) -> Service {
    move |it| it.with("trafficDistribution", kind)
}

/// These endpoints, and no others, answer pods and processes of each node.
fn split(bed: &Bed, service: &Svc<'_>, first: &[&str], second: &[&str]) -> Result<()> {
    let people: [(&Place, &[&str]); 4] =
        [(bed.pod(2), first), (bed.node(1), first), (bed.pod(4), second), (bed.node(2), second)];
    people.iter().try_for_each(|(from, who)| {
        Family::BOTH.iter().try_for_each(|f| shared(from, Transport::Tcp, service.vip(*f), who))
    })
}

/// Each zone has an endpoint.
fn zones(bed: &Bed, kind: &'static str) -> Result<()> {
    let endpoints = [pod(1).for_zones(&["zone1"]), pod(3).for_zones(&["zone2"])];
    let service = bed.service(distributed(kind), &endpoints)?;
    split(bed, &service, &["pod1"], &["pod3"])
}

/// Two endpoints in one zone, none in the other: whoever is there gets all that is left.
fn nodes(bed: &Bed, kind: &'static str) -> Result<()> {
    let both = || [pod(1).for_zones(&["zone1"]), pod(2).for_zones(&["zone1"])];
    let service = bed.service(distributed(kind), &both())?;
    split(bed, &service, &["pod1", "pod2"], &["pod1", "pod2"])?;
    let [first, second] = both();
    service.endpoints(&[first, second, pod(3).for_zones(&["zone2"])])?;
    split(bed, &service, &["pod1", "pod2"], &["pod3"])
}

/// Node 2 has no endpoint of its own, but its zone is named by one of pod 2's hints.
fn same_node(bed: &Bed) -> Result<()> {
    let endpoints = [
        pod(1).for_node("node1").for_zones(&["zone1"]),
        pod(2).for_node("node9").for_zones(&["zone2"]),
    ];
    let service = bed.service(distributed("PreferSameNode"), &endpoints)?;
    split(bed, &service, &["pod1"], &["pod2"])
}

fn same_node_gone(bed: &Bed) -> Result<()> {
    let near = || pod(1).for_node("node1").for_zones(&["zone1"]);
    let far = || pod(3).for_node("node2").for_zones(&["zone2"]);
    let service = bed.service(distributed("PreferSameNode"), &[near(), far()])?;
    split(bed, &service, &["pod1"], &["pod3"])?;
    service.endpoints(&[far()])?;
    split(bed, &service, &["pod3"], &["pod3"])?;
    service.endpoints(&[near(), far()])?;
    split(bed, &service, &["pod1"], &["pod3"])
}

/// One endpoint for each of two zones, then a controller that shares a third between them.
fn evenly(bed: &Bed) -> Result<()> {
    let endpoints = [
        pod(1).for_zones(&["zone1"]),
        pod(2).for_zones(&["zone1", "zone2"]),
        pod(3).for_zones(&["zone2"]),
    ];
    let service = bed.service(|it| it, &endpoints)?;
    split(bed, &service, &["pod1", "pod2"], &["pod2", "pod3"])
}

fn many_ports(bed: &Bed) -> Result<()> {
    let at = Family::BOTH.map(|f| bed.pod(3).address().port(f, SECOND));
    bed.pod(3).serve("second-port", &at)?;
    let service = bed.unborn();
    service.inward(|it| {
        let ports = json!([
            {"name": "first", "protocol": "TCP", "port": PORT},
            {"name": "second", "protocol": "TCP", "port": PORT + 1},
        ]);
        it.with("ports", ports)
    })?;
    service.part(0, &[("first", "TCP", testbed::address::SERVER_PORT)], &pods(&[1]))?;
    service.part(1, &[("second", "TCP", SECOND)], &pods(&[3]))?;
    for family in Family::BOTH {
        shared(bed.pod(2), Transport::Tcp, service.vip(family), &["pod1"])?;
        let second = service.cluster_ip().port(family, PORT + 1);
        shared(bed.pod(2), Transport::Tcp, second, &["second-port"])?;
    }
    Ok(())
}

fn many_addresses(bed: &Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1]))?;
    let ports = [("tcp", "TCP", testbed::address::SERVER_PORT)];
    service.part(1, &ports, &pods(&[2, 3]))?;
    service.part(2, &ports, &pods(&[3, 4]))?;
    let all = ["pod1", "pod2", "pod3", "pod4"];
    Family::BOTH.iter().try_for_each(|f| shared(bed.pod(2), Transport::Tcp, service.vip(*f), &all))
}

/// What the controller makes of two subsets: two slices, one pod, a port each (A4, A9).
fn one_address_twice(bed: &Bed) -> Result<()> {
    let at = Family::BOTH.map(|f| bed.pod(4).address().port(f, THIRD));
    bed.pod(4).serve("third-port", &at)?;
    let service = bed.unborn();
    service.inward(|it| {
        let port =
            |number| json!({"name": format!("port{number}"), "protocol": "TCP", "port": number});
        it.with("ports", json!([port(PORT), port(PORT + 1)]))
    })?;
    service.part(0, &[("port80", "TCP", testbed::address::SERVER_PORT)], &pods(&[4]))?;
    service.part(1, &[("port81", "TCP", THIRD)], &pods(&[4]))?;
    for from in [bed.pod(3), bed.pod(1)] {
        for family in Family::BOTH {
            let at = |port| service.cluster_ip().port(family, port);
            shared(from, Transport::Tcp, at(PORT), &["pod4"])?;
            shared(from, Transport::Tcp, at(PORT + 1), &["third-port"])?;
        }
    }
    Ok(())
}

/// A second range comes while everything runs.
fn other_range(bed: &Bed) -> Result<()> {
    let cidrs = ["10.97.0.0/24", "fd00:10:97::/112"];
    bed.server.apply_value(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "second"}, "spec": {"cidrs": cidrs},
    }))?;
    let address = Pair {
        v4: Ipv4Addr::new(10, 97, 0, 7),
        v6: Ipv6Addr::new(0xfd00, 0x10, 0x97, 0, 0, 0, 0, 7),
    };
    let first = bed.service(|it| it, &pods(&[1]))?;
    let second = bed.unborn();
    second.put(Service::new(&second.name(), address).tcp(PORT, None).udp(PORT, None).to_value())?;
    second.endpoints(&pods(&[3]))?;
    let people: [&Place; 2] = [bed.pod(2), bed.node(2)];
    for from in people {
        serves(from, |f| first.vip(f), "pod1")?;
        serves(from, |f| address.port(f, PORT), "pod3")?;
        refused(from, Transport::Tcp, address.port(Family::V4, PORT + 1))?;
    }
    bed.server.delete("ServiceCIDR", "", "second");
    Ok(())
}
