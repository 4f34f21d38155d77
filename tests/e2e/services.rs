//! What every Service does: it is there, has ports, changes and goes.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testbed::{
    Place, Service,
    address::{self, Family, SERVER_PORT},
    wire::{Ask, Transport},
};

use crate::{
    bed::{Bed, PORT, Svc},
    endpoint::{host, pod, pods},
    expect::{answers, each, refused, serves, shared, unserved},
    suite::Group,
};

/// Another port that pods listen on for this file.
const SECOND: u16 = 9_093;

pub(crate) const GROUP: Group = Group {
    title: "Services",
    cases: &[
        ("should serve a basic endpoint from pods", basic),
        ("should serve multiport endpoints from pods", multiport),
        ("should be updated after adding or deleting ports", ports_change),
        (
            "should preserve source pod IP for traffic thru service cluster IP [LinuxOnly]",
            source_stays,
        ),
        ("should allow pods to hairpin back to themselves through services", hairpin),
        ("should be able to up and down services", up_and_down),
        ("should work after the service has been recreated", recreated),
        ("should be able to create a functioning NodePort service", |bed| {
            let service = bed.service(|it| it, &pods(&[1, 3]))?;
            everywhere(bed, &service, &["pod1", "pod3"])
        }),
        (
            "should be possible to connect to a service via ExternalIP when the external IP is not assigned to a node",
            external_ip,
        ),
        ("should release NodePorts on delete", released),
        ("should implement service.kubernetes.io/service-proxy-name", |bed| {
            labelled(bed, &json!({"service.kubernetes.io/service-proxy-name": "another"}))
        }),
        ("should implement service.kubernetes.io/headless", |bed| {
            labelled(bed, &json!({"service.kubernetes.io/headless": ""}))
        }),
        ("should serve endpoints on same port and different protocols", |bed| {
            let service = bed.unborn();
            service.inward(|it| it)?;
            protocols_apart(bed, &service)
        }),
        (
            "should support named targetPorts that resolve to different ports on different endpoints",
            named_ports,
        ),
    ],
};

fn basic(bed: &Bed) -> Result<()> {
    let service = bed.inward(&[])?;
    each(|family, transport| refused(bed.pod(2), transport, service.vip(family)))?;
    for (numbers, who) in
        [(&[1][..], &["pod1"][..]), (&[1, 3], &["pod1", "pod3"]), (&[3], &["pod3"])]
    {
        service.endpoints(&pods(numbers))?;
        each(|family, transport| shared(bed.pod(2), transport, service.vip(family), who))?;
    }
    service.endpoints(&[])?;
    each(|family, transport| refused(bed.pod(2), transport, service.vip(family)))
}

/// A list of TCP ports by name and number.
fn ports(list: &[(&str, u16)]) -> Value {
    list.iter().map(|(name, port)| json!({"name": name, "protocol": "TCP", "port": port})).collect()
}

/// Two ports, each with endpoints of its own.
fn multiport(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let two = ports(&[("one", PORT), ("two", PORT + 1)]);
    service.inward(|it| it.with("ports", two))?;
    let target = |family, port| service.cluster_ip().port(family, port);
    for (one, two) in [(1, 3), (3, 1), (2, 2)] {
        service.part(0, &[("one", "TCP", SERVER_PORT)], &[pod(one)])?;
        service.part(1, &[("two", "TCP", SERVER_PORT)], &[pod(two)])?;
        for family in Family::BOTH {
            answers(bed.pod(4), Transport::Tcp, target(family, PORT), &format!("pod{one}"))?;
            answers(bed.pod(4), Transport::Tcp, target(family, PORT + 1), &format!("pod{two}"))?;
        }
    }
    Ok(())
}

fn ports_change(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let set = |list: &[(&str, u16)]| service.inward(|it| it.with("ports", ports(list)));
    let both = [("one", "TCP", SERVER_PORT), ("two", "TCP", SERVER_PORT)];
    service.part(0, &both, &pods(&[1, 3]))?;
    let target = |port| service.cluster_ip().port(Family::V4, port);
    let all = ["pod1", "pod3"];
    set(&[("one", PORT)])?;
    shared(bed.pod(2), Transport::Tcp, target(PORT), &all)?;
    set(&[("one", PORT), ("two", PORT + 1)])?;
    shared(bed.pod(2), Transport::Tcp, target(PORT), &all)?;
    shared(bed.pod(2), Transport::Tcp, target(PORT + 1), &all)?;
    set(&[("two", PORT + 1)])?;
    unserved(bed.pod(2), Transport::Tcp, target(PORT))?;
    shared(bed.pod(2), Transport::Tcp, target(PORT + 1), &all)
}

fn source_stays(bed: &Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1]))?;
    for p in [2, 3, 4] {
        let from = bed.pod(p);
        each(|family, transport| {
            let seen = answers(from, transport, service.vip(family), "pod1")?.seen_source.ip();
            let own = bed.cluster.seen_as(from, 1).ip(family);
            ensure!(seen == own, "{} is seen as {seen}", from.name());
            Ok(())
        })?;
    }
    Ok(())
}

fn hairpin(bed: &Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1]))?;
    serves(bed.pod(1), |f| service.vip(f), "pod1")?;
    serves(bed.pod(1), |f| service.on_node(1, f), "pod1")?;
    // The same of a host-network pod.
    service.endpoints(&[host(1)])?;
    serves(bed.node(1), |f| service.vip(f), "node1")
}

fn up_and_down(bed: &Bed) -> Result<()> {
    let (first, second) =
        (bed.service(|it| it, &pods(&[1, 2]))?, bed.service(|it| it, &pods(&[3, 4]))?);
    let people: [&Place; 2] = [bed.pod(2), bed.node(2)];
    let up = |service: &Svc<'_>, who: &[&str]| {
        people
            .iter()
            .try_for_each(|from| shared(from, Transport::Tcp, service.vip(Family::V4), who))
    };
    up(&first, &["pod1", "pod2"])?;
    up(&second, &["pod3", "pod4"])?;
    first.delete();
    for from in people {
        unserved(from, Transport::Tcp, first.vip(Family::V4))?;
    }
    up(&second, &["pod3", "pod4"])?;
    let third = bed.service(|it| it, &pods(&[1, 4]))?;
    up(&second, &["pod3", "pod4"])?;
    up(&third, &["pod1", "pod4"])
}

/// The same name, addresses and ports after a time without.
fn recreated(bed: &Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1, 3]))?;
    everywhere(bed, &service, &["pod1", "pod3"])?;
    service.delete();
    unserved(bed.pod(2), Transport::Tcp, service.vip(Family::V4))?;
    refused(bed.client(), Transport::Tcp, service.on_node(1, Family::V4))?;
    service.update(|it| it)?;
    everywhere(bed, &service, &["pod1", "pod3"])
}

/// ClusterIP and the NodePorts of both nodes, from inside and outside.
fn everywhere(bed: &Bed, service: &Svc<'_>, who: &[&str]) -> Result<()> {
    let inside: [&Place; 2] = [bed.pod(2), bed.node(2)];
    each(|family, transport| {
        for from in inside {
            shared(from, transport, service.vip(family), who)?;
            shared(from, transport, service.on_node(1, family), who)?;
        }
        [1, 2]
            .iter()
            .try_for_each(|n| shared(bed.client(), transport, service.on_node(*n, family), who))
    })
}

/// The addresses that only the router knows; no node has them.
fn external_ip(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let external = service.ingress_ip();
    service.inward(|it| it.with("externalIPs", json!([external.v4, external.v6])))?;
    service.endpoints(&pods(&[1, 3]))?;
    let people: [&Place; 4] = [bed.pod(2), bed.pod(4), bed.node(1), bed.client()];
    people.iter().try_for_each(|from| {
        each(|family, transport| {
            shared(from, transport, service.ingress(family), &["pod1", "pod3"])
        })
    })
}

/// A deleted Service's NodePort is closed, and another Service may have it.
fn released(bed: &Bed) -> Result<()> {
    let first = bed.service(|it| it, &pods(&[1]))?;
    serves(bed.client(), |f| first.on_node(1, f), "pod1")?;
    first.delete();
    each(|family, transport| refused(bed.client(), transport, first.on_node(1, family)))?;
    let second = bed.unborn();
    second.put(
        Service::new(&second.name(), second.cluster_ip())
            .tcp(PORT, Some(first.node_port()))
            .udp(PORT, Some(first.node_port()))
            .to_value(),
    )?;
    second.endpoints(&pods(&[3]))?;
    serves(bed.client(), |f| first.on_node(1, f), "pod3")
}

/// Somebody else's while it has the label, from the start or later (A1, A2).
fn labelled(bed: &Bed, labels: &Value) -> Result<()> {
    let service = bed.unborn();
    service.label(labels.clone())?;
    service.labelled_endpoints(&pods(&[1, 3]), labels)?;
    let other = bed.service(|it| it, &pods(&[2]))?;
    serves(bed.pod(4), |f| other.vip(f), "pod2")?;
    for labels in [labels, &json!({}), labels] {
        service.label(labels.clone())?;
        service.labelled_endpoints(&pods(&[1, 3]), labels)?;
        for family in Family::BOTH {
            for from in [&**bed.pod(2), &**bed.node(2)] {
                if labels.as_object().is_some_and(serde_json::Map::is_empty) {
                    shared(from, Transport::Tcp, service.vip(family), &["pod1", "pod3"])?;
                } else {
                    unserved(from, Transport::Tcp, service.vip(family))?;
                }
            }
        }
    }
    Ok(())
}

/// One port number, and other endpoints for TCP than for UDP.
pub(crate) fn protocols_apart(bed: &Bed, service: &Svc<'_>) -> Result<()> {
    service.part(0, &[("tcp", "TCP", SERVER_PORT)], &pods(&[1]))?;
    service.part(1, &[("udp", "UDP", SERVER_PORT)], &pods(&[3]))?;
    let people: [&Place; 2] = [bed.pod(2), bed.node(2)];
    for from in people {
        for family in Family::BOTH {
            answers(from, Transport::Tcp, service.vip(family), "pod1")?;
            answers(from, Transport::Udp, service.vip(family), "pod3")?;
        }
    }
    Ok(())
}

/// The controller makes a slice for each number that a name stands for.
fn named_ports(bed: &Bed) -> Result<()> {
    let at = Family::BOTH.map(|f| bed.pod(3).address().port(f, SECOND));
    bed.pod(3).serve("pod3-elsewhere", &at)?;
    let service = bed.unborn();
    service.update(|it| it)?;
    service.part(0, &[("tcp", "TCP", SERVER_PORT), ("udp", "UDP", SERVER_PORT)], &pods(&[1]))?;
    service.part(1, &[("tcp", "TCP", SECOND), ("udp", "UDP", SECOND)], &pods(&[3]))?;
    everywhere(bed, &service, &["pod1", "pod3-elsewhere"])?;
    // The direct way still tells both numbers apart.
    let direct = address::pod(2, 3).port(Family::V4, SERVER_PORT);
    let reply = bed.pod(2).once(Ask::new(Transport::Tcp, direct))?;
    ensure!(reply.who == "pod3", "{reply:?}");
    Ok(())
}
