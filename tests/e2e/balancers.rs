//! Load balancers, and pods that replace one another behind a Service.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use testbed::{
    Place, Service,
    address::{self, Family},
    wire::{Ask, Transport},
};

use crate::{
    bed::{Bed, PORT, Svc, ingress, vip},
    conntrack,
    endpoint::{Endpoint, pod, pods},
    expect::{answers, dropped, each, health, refused, serves, shared, soon, unserved},
    suite::Group,
};

pub(crate) const LOAD_BALANCERS: Group = Group {
    title: "LoadBalancers",
    cases: &[
        ("should be able to change the type and ports of a TCP service [Slow]", |bed| {
            changes(bed, Transport::Tcp)
        }),
        ("should be able to change the type and ports of a UDP service [Slow]", |bed| {
            changes(bed, Transport::Udp)
        }),
        ("should only allow access from service loadbalancer source ranges [Slow]", source_ranges),
        (
            "should be able to create LoadBalancer Service without NodePort and change it [Slow]",
            without_node_port,
        ),
        (
            "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on different nodes",
            |bed| {
                let service = bed.load_balancer(|it| it, &[])?;
                conntrack::cycles(&service, bed.client(), |f| service.ingress(f), &[1, 3, 1])
            },
        ),
        (
            "should be able to preserve UDP traffic when server pod cycles for a LoadBalancer service on the same nodes",
            |bed| {
                let service = bed.load_balancer(|it| it, &[])?;
                conntrack::cycles(&service, bed.client(), |f| service.ingress(f), &[1, 2, 1])
            },
        ),
        (
            "should not have connectivity disruption during rolling update with externalTrafficPolicy=Cluster [Slow]",
            |bed| {
                let service = bed.load_balancer(|it| it, &pods(&[1, 3]))?;
                rolls(&service, bed.client(), ingress, [1, 3], [2, 4])
            },
        ),
        (
            "should not have connectivity disruption during rolling update with externalTrafficPolicy=Local [Slow]",
            |bed| {
                let service = bed.load_balancer(Service::external_local, &pods(&[1, 3]))?;
                rolls(&service, bed.client(), ingress, [1, 3], [2, 4])
            },
        ),
    ],
};

pub(crate) const LOCAL: Group = Group {
    title: "LoadBalancers ExternalTrafficPolicy: Local",
    cases: &[
        ("should work for type=LoadBalancer", |bed| {
            let service = bed.load_balancer(Service::external_local, &[pod(1)])?;
            each(|family, transport| {
                let reply = answers(bed.client(), transport, service.ingress(family), "pod1")?;
                let seen = reply.seen_source.ip();
                ensure!(seen == address::client().ip(family), "seen as {seen}");
                Ok(())
            })
        }),
        ("should only target nodes with endpoints", |bed| {
            for p in [1, 3] {
                targets(bed, &[pod(p)], [p == 1, p == 3])?;
            }
            Ok(())
        }),
        ("should target all nodes with endpoints", |bed| {
            targets(bed, &pods(&[1, 3]), [true, true])?;
            targets(bed, &pods(&[1, 2, 3, 4]), [true, true])
        }),
        ("should work from pods", |bed| {
            let service = bed.load_balancer(Service::external_local, &[pod(1)])?;
            for p in [2, 3, 4] {
                let from = bed.pod(p);
                let reply = answers(from, Transport::Tcp, service.ingress(Family::V4), "pod1")?;
                let seen = reply.seen_source.ip();
                let own = bed.cluster.seen_as(from, 1).ip(Family::V4);
                ensure!(seen == own, "{} is seen as {seen}", from.name());
                serves(from, |f| service.ingress(f), "pod1")?;
            }
            Ok(())
        }),
    ],
};

pub(crate) const LIFECYCLE: Group = Group {
    title: "Connectivity Pod Lifecycle",
    cases: &[(
        "should be able to have zero downtime on a Blue Green deployment using Services and Readiness Gates",
        |bed| {
            let service = bed.service(|it| it, &pods(&[1, 3]))?;
            rolls(&service, bed.pod(2), vip, [1, 3], [2, 4])
        },
    )],
};

/// ClusterIP, NodePort, LoadBalancer, other ports, no endpoints, and all the way back.
fn changes(bed: &Bed, transport: Transport) -> Result<()> {
    let client = bed.client();
    for family in Family::BOTH {
        let service = bed.inward(&pods(&[1]))?;
        let (node, ingress) = (service.on_node(1, family), service.ingress(family));
        answers(bed.pod(2), transport, service.vip(family), "pod1")?;
        refused(client, transport, node)?;
        service.update(|it| it)?;
        answers(client, transport, node, "pod1")?;
        service.balance(|it| it)?;
        answers(client, transport, ingress, "pod1")?;
        answers(client, transport, node, "pod1")?;
        let moved = moved(&service);
        service.balance(|it| it.with("ports", moved))?;
        let at = |pair: address::Pair, port| pair.port(family, port);
        let other = at(address::node(1), service.node_port() + OTHER);
        answers(client, transport, other, "pod1")?;
        answers(client, transport, at(service.ingress_ip(), PORT + 1), "pod1")?;
        answers(bed.pod(2), transport, at(service.cluster_ip(), PORT + 1), "pod1")?;
        refused(client, transport, node)?;
        unserved(client, transport, ingress)?;
        service.endpoints(&[])?;
        refused(client, transport, other)?;
        service.endpoints(&pods(&[3]))?;
        answers(client, transport, other, "pod3")?;
        let without: serde_json::Value = ["TCP", "UDP"]
            .map(|it| json!({"name": it.to_lowercase(), "protocol": it, "port": PORT + 1}))
            .into_iter()
            .collect();
        service.inward(|it| it.with("ports", without))?;
        refused(client, transport, other)?;
        unserved(client, transport, at(service.ingress_ip(), PORT + 1))?;
        answers(bed.pod(2), transport, at(service.cluster_ip(), PORT + 1), "pod3")?;
    }
    Ok(())
}

/// How much higher a changed NodePort is; health check node ports are in between.
const OTHER: u16 = 1_500;

/// The same ports with other numbers.
fn moved(service: &Svc<'_>) -> serde_json::Value {
    let port = |name: &str, protocol: &str| json!({"name": name, "protocol": protocol, "port": PORT + 1, "nodePort": service.node_port() + OTHER});
    json!([port("tcp", "TCP"), port("udp", "UDP")])
}

/// Others are dropped at the balancer's address, and nowhere else (A60, A61).
fn source_ranges(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    service.endpoints(&pods(&[1]))?;
    let own = address::client();
    let client = json!([format!("{}/32", own.v4), format!("{}/128", own.v6)]);
    let nobody = json!(["192.0.2.0/24", "2001:db8::/32"]);
    service.balance(|it| it.with("loadBalancerSourceRanges", client))?;
    serves(bed.client(), |f| service.ingress(f), "pod1")?;
    each(|family, transport| dropped(bed.cluster.outsider(), transport, service.ingress(family)))?;
    service.balance(|it| it.with("loadBalancerSourceRanges", nobody))?;
    each(|family, transport| {
        dropped(bed.client(), transport, service.ingress(family))?;
        answers(bed.client(), transport, service.on_node(1, family), "pod1")?;
        answers(bed.pod(4), transport, service.vip(family), "pod1").map(drop)
    })?;
    service.balance(|it| it)?;
    serves(bed.client(), |f| service.ingress(f), "pod1")?;
    serves(bed.cluster.outsider(), |f| service.ingress(f), "pod1")
}

fn without_node_port(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let ports = json!([
        {"name": "tcp", "protocol": "TCP", "port": PORT},
        {"name": "udp", "protocol": "UDP", "port": PORT},
    ]);
    service.balance(|it| it.with("allocateLoadBalancerNodePorts", false).with("ports", ports))?;
    service.endpoints(&pods(&[1, 3]))?;
    each(|family, transport| {
        shared(bed.client(), transport, service.ingress(family), &["pod1", "pod3"])?;
        refused(bed.client(), transport, service.on_node(1, family))
    })?;
    service.balance(|it| it)?;
    each(|family, transport| {
        shared(bed.client(), transport, service.ingress(family), &["pod1", "pod3"])?;
        shared(bed.client(), transport, service.on_node(2, family), &["pod1", "pod3"])
    })
}

/// New pods get ready, old ones end after a while: no exchange fails. Each of `old` gives way to
/// the one of `new` on its node.
fn rolls(
    service: &Svc<'_>,
    from: &Place,
    target: fn(&Svc<'_>, Family) -> std::net::SocketAddr,
    old: [u8; 2],
    new: [u8; 2],
) -> Result<()> {
    let mut traffic = Vec::new();
    for family in Family::BOTH {
        let target = target(service, family);
        for transport in [Transport::Tcp, Transport::Udp] {
            soon(|| Ok(from.once(Ask::new(transport, target).timeout_ms(300))?))?;
            traffic.push((target, from.traffic(Ask::new(transport, target), 5, true)?));
        }
    }
    let pause = || std::thread::sleep(Duration::from_millis(300));
    let mut steps: Vec<Vec<Endpoint>> = Vec::new();
    for (old, new) in [(old, new), (new, old)] {
        steps.push(vec![pod(old[0]), pod(old[1]), pod(new[0]).unready()]);
        steps.push(vec![pod(old[0]).terminating(), pod(old[1]), pod(new[0])]);
        steps.push(vec![pod(old[1]), pod(new[0]), pod(new[1])]);
        steps.push(vec![pod(old[1]).terminating(), pod(new[0]), pod(new[1])]);
        steps.push(vec![pod(new[0]), pod(new[1])]);
    }
    for step in steps {
        service.endpoints(&step)?;
        pause();
    }
    for (target, traffic) in traffic {
        let tally = traffic.stop()?;
        ensure!(tally.failed == 0 && tally.answered > 50, "{target}: {tally:?}");
    }
    Ok(())
}

/// Nodes are healthy as said, and only healthy ones answer.
fn targets(bed: &Bed, endpoints: &[Endpoint], healthy: [bool; 2]) -> Result<()> {
    let service = bed.unborn();
    let port = service.health_port();
    service.balance(|it| it.external_local().with("healthCheckNodePort", port))?;
    service.endpoints(endpoints)?;
    for (n, healthy) in [1, 2].into_iter().zip(healthy) {
        for family in Family::BOTH {
            let status = if healthy { 200 } else { 503 };
            health(bed.client(), address::node(n).port(family, port), Some(status))?;
            let at = service.on_node(n, family);
            if healthy {
                soon(|| Ok(bed.client().once(Ask::new(Transport::Tcp, at).timeout_ms(300))?))?;
            } else {
                dropped(bed.client(), Transport::Tcp, at)?;
            }
        }
    }
    Ok(())
}
