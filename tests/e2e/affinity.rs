//! Session affinity by client address (A70).

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail, ensure};
use serde_json::json;
use testbed::{
    Place, Service,
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    bed::{Bed, Svc, ingress, vip},
    endpoint::pods,
    expect::{BOTH, answers, ask, shared, soon},
    suite::Group,
};

/// The endpoints of every Service here: the first is on node 1, the others are on node 2.
const PODS: [u8; 3] = [1, 3, 4];
/// Exchanges that would show a second endpoint, all but once in 10^9.
const MANY: u32 = 20;
/// The timeout of the tests that wait for it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How a Service is made or changed.
type Make = for<'a> fn(&Svc<'a>, fn(Service) -> Service) -> Result<()>;
/// Whom a client asks.
type Target = fn(&Svc<'_>, Family) -> SocketAddr;

pub(crate) const SERVICES: Group = Group {
    title: "Services",
    cases: &[
        ("should have session affinity work for service with type clusterIP [LinuxOnly]", |bed| {
            works(bed, bed.pod(2), cluster_ip, vip, Service::sticky)
        }),
        (
            "should have session affinity timeout work for service with type clusterIP [LinuxOnly]",
            |bed| ends(bed, bed.pod(2), cluster_ip, vip),
        ),
        (
            "should be able to switch session affinity for service with type clusterIP [LinuxOnly]",
            |bed| switches(bed, bed.pod(2), cluster_ip, vip),
        ),
        ("should have session affinity work for NodePort service [LinuxOnly]", |bed| {
            works(bed, bed.client(), node_port, on_node_1, Service::sticky)
        }),
        ("should have session affinity timeout work for NodePort service [LinuxOnly]", |bed| {
            ends(bed, bed.client(), node_port, on_node_1)
        }),
        ("should be able to switch session affinity for NodePort service [LinuxOnly]", |bed| {
            switches(bed, bed.client(), node_port, on_node_1)
        }),
    ],
};

pub(crate) const LOAD_BALANCERS: Group = Group {
    title: "LoadBalancers",
    cases: &[
        (
            "should have session affinity work for LoadBalancer service with Local traffic policy [Slow]",
            |bed| {
                let sticky = |it: Service| it.sticky().external_local();
                works(bed, bed.client(), balancer, ingress, sticky)
            },
        ),
        (
            "should be able to switch session affinity for LoadBalancer service with Local traffic policy [Slow]",
            |bed| switches(bed, bed.pod(2), local_balancer, ingress),
        ),
        (
            "should have session affinity work for LoadBalancer service with Cluster traffic policy [Slow]",
            |bed| works(bed, bed.client(), balancer, ingress, Service::sticky),
        ),
        (
            "should be able to switch session affinity for LoadBalancer service with Cluster traffic policy [Slow]",
            |bed| switches(bed, bed.client(), balancer, ingress),
        ),
    ],
};

pub(crate) const NETWORKING: Group = Group {
    title: "Networking Granular Checks: Services",
    cases: &[
        ("should function for client IP based session affinity: http [LinuxOnly]", |bed| {
            by_client(bed, Family::V4, Transport::Tcp)
        }),
        ("should function for client IP based session affinity: udp [LinuxOnly]", |bed| {
            by_client(bed, Family::V4, Transport::Udp)
        }),
    ],
};

pub(crate) const SECONDARY: Group = Group {
    title: "[Feature:IPv6DualStack] Granular Checks: Services Secondary IP Family [LinuxOnly]",
    cases: &[
        ("should function for client IP based session affinity: http [LinuxOnly]", |bed| {
            by_client(bed, Family::V6, Transport::Tcp)
        }),
        ("should function for client IP based session affinity: udp [LinuxOnly]", |bed| {
            by_client(bed, Family::V6, Transport::Udp)
        }),
    ],
};

fn cluster_ip(service: &Svc<'_>, change: fn(Service) -> Service) -> Result<()> {
    service.inward(change)
}

fn node_port(service: &Svc<'_>, change: fn(Service) -> Service) -> Result<()> {
    service.update(change)
}

fn balancer(service: &Svc<'_>, change: fn(Service) -> Service) -> Result<()> {
    service.balance(change)
}

fn local_balancer(service: &Svc<'_>, change: fn(Service) -> Service) -> Result<()> {
    service.balance(|it| change(it).external_local())
}

fn on_node_1(service: &Svc<'_>, family: Family) -> SocketAddr {
    service.on_node(1, family)
}

/// One endpoint answers again and again.
fn sticks(from: &Place, transport: Transport, target: SocketAddr) -> Result<()> {
    soon(|| {
        let first = ask(from, transport, target)?.who;
        for reply in from.many(Ask::new(transport, target).times(MANY))? {
            let who = reply?.who;
            ensure!(who == first, "{target}: {first}, then {who}");
        }
        Ok(())
    })
}

fn works(
    bed: &Bed,
    from: &Place,
    make: Make,
    target: Target,
    sticky: fn(Service) -> Service,
) -> Result<()> {
    let service = bed.unborn();
    make(&service, sticky)?;
    service.endpoints(&pods(&PODS))?;
    for family in Family::BOTH {
        for transport in BOTH {
            sticks(from, transport, target(&service, family))?;
        }
    }
    Ok(())
}

/// A client that rests longer than the timeout is free again; one that does not is not.
fn ends(bed: &Bed, from: &Place, make: Make, target: Target) -> Result<()> {
    let service = bed.unborn();
    make(&service, |it| {
        let timeout = json!({"clientIP": {"timeoutSeconds": TIMEOUT.as_secs()}});
        it.sticky().with("sessionAffinityConfig", timeout)
    })?;
    service.endpoints(&pods(&PODS))?;
    let target = target(&service, Family::V4);
    let first = soon(|| ask(from, Transport::Tcp, target))?.who;
    for _moment in 0..6 {
        std::thread::sleep(TIMEOUT / 4);
        let who = ask(from, Transport::Tcp, target)?.who;
        ensure!(who == first, "{who} before the timeout, not {first}");
    }
    // The same of three endpoints twelve times running: once in half a million.
    for _rest in 0..12 {
        std::thread::sleep(TIMEOUT + Duration::from_millis(500));
        if ask(from, Transport::Tcp, target)?.who != first {
            return Ok(());
        }
    }
    bail!("{first} still answers")
}

/// On, off and on again.
fn switches(bed: &Bed, from: &Place, make: Make, target: Target) -> Result<()> {
    let service = bed.unborn();
    make(&service, |it| it)?;
    service.endpoints(&pods(&PODS))?;
    let all = ["pod1", "pod3", "pod4"];
    for family in Family::BOTH {
        let target = target(&service, family);
        make(&service, |it| it)?;
        shared(from, Transport::Tcp, target, &all)?;
        make(&service, Service::sticky)?;
        sticks(from, Transport::Tcp, target)?;
    }
    make(&service, |it| it)?;
    shared(from, Transport::Tcp, target(&service, Family::V4), &all)
}

/// Clients of one Service are told apart by their addresses, and each sticks to its own.
fn by_client(bed: &Bed, family: Family, transport: Transport) -> Result<()> {
    let service = bed.service(Service::sticky, &pods(&PODS))?;
    let people: [&Place; 3] = [bed.pod(2), bed.pod(4), bed.node(1)];
    for from in people {
        sticks(from, transport, service.vip(family))?;
    }
    // An endpoint that leaves takes its clients' affinity along.
    service.endpoints(&pods(&[2]))?;
    people
        .iter()
        .try_for_each(|from| answers(from, transport, service.vip(family), "pod2").map(drop))
}
