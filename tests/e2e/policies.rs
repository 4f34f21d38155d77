//! Traffic policies, and what counts as an endpoint (A44–A54).

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use testbed::{
    Place, Service,
    address::{self, Family},
    wire::Transport,
};

use crate::{
    bed::{Bed, Svc},
    endpoint::{Endpoint, host, pod, pods},
    expect::{answers, dropped, each, health, refused, serves, shared, unserved},
    suite::Group,
};

pub(crate) const GROUP: Group = Group {
    title: "Services",
    cases: &[
        ("should be rejected when no endpoints exist", |bed| {
            rejected(bed, &bed.service(|it| it, &[])?)
        }),
        ("should be rejected for evicted pods (no endpoints exist)", |bed| {
            rejected(bed, &bed.service(|it| it, &[pod(1).unready(), pod(3).unready()])?)
        }),
        ("should respect internalTrafficPolicy=Local Pod to Pod", |bed| {
            let service = bed.service(Service::internal_local, &[pod(1)])?;
            near_and_far(&service, bed.pod(2), bed.pod(3), "pod1")
        }),
        ("should respect internalTrafficPolicy=Local Pod (hostNetwork: true) to Pod", |bed| {
            let service = bed.service(Service::internal_local, &[pod(1)])?;
            near_and_far(&service, bed.node(1), bed.node(2), "pod1")
        }),
        (
            "should respect internalTrafficPolicy=Local Pod and Node, to Pod (hostNetwork: true)",
            |bed| {
                let service = bed.service(Service::internal_local, &[host(1)])?;
                near_and_far(&service, bed.pod(2), bed.pod(3), "node1")?;
                near_and_far(&service, bed.node(1), bed.node(2), "node1")
            },
        ),
        ("should support externalTrafficPolicy=Local for type=NodePort", external_local),
        ("should create endpoints for unready pods", unready),
        (
            "should be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is true",
            unready_and_terminating,
        ),
        (
            "should not be able to connect to terminating and unready endpoints if PublishNotReadyAddresses is false",
            |bed| {
                let service = bed.service(|it| it, &[pod(1).failing(), pod(3).failing()])?;
                rejected(bed, &service)
            },
        ),
        (
            "should fail health check node port if there are only terminating endpoints",
            terminating_health,
        ),
        (
            "should fallback to terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Cluster",
            |bed| {
                let service = bed.service(|it| it, &LEAVING.map(Leaving::endpoint))?;
                let people: [&Place; 4] = [bed.pod(2), bed.pod(4), bed.node(1), bed.node(2)];
                people.iter().try_for_each(|from| serves(from, |f| service.vip(f), "pod1"))
            },
        ),
        (
            "should fallback to local terminating endpoints when there are no ready endpoints with internalTrafficPolicy=Local",
            |bed| {
                let service =
                    bed.service(Service::internal_local, &LEAVING.map(Leaving::endpoint))?;
                near_and_far(&service, bed.pod(2), bed.pod(3), "pod1")
            },
        ),
        (
            "should fallback to terminating endpoints when there are no ready endpoints with externallTrafficPolicy=Cluster",
            |bed| {
                let service = bed.service(|it| it, &LEAVING.map(Leaving::endpoint))?;
                [1, 2]
                    .into_iter()
                    .try_for_each(|n| serves(bed.client(), |f| service.on_node(n, f), "pod1"))
            },
        ),
        (
            "should fallback to local terminating endpoints when there are no ready endpoints with externalTrafficPolicy=Local",
            |bed| {
                let service =
                    bed.service(Service::external_local, &LEAVING.map(Leaving::endpoint))?;
                serves(bed.client(), |f| service.on_node(1, f), "pod1")?;
                each(|f, transport| dropped(bed.client(), transport, service.on_node(2, f)))
            },
        ),
        (
            "should implement NodePort and HealthCheckNodePort correctly when ExternalTrafficPolicy changes",
            policy_changes,
        ),
    ],
};

/// What a deleted pod may still be.
#[derive(Clone, Copy)]
enum Leaving {
    Answering,
    Failing,
}

/// Pod 1 still answers, pod 3 does not: there is no ready endpoint.
const LEAVING: [Leaving; 2] = [Leaving::Answering, Leaving::Failing];

impl Leaving {
    fn endpoint(self) -> Endpoint {
        match self {
            Self::Answering => pod(1).terminating(),
            Self::Failing => pod(3).failing(),
        }
    }
}

/// Pods, nodes and outsiders are refused at once.
fn rejected(bed: &Bed, service: &Svc<'_>) -> Result<()> {
    let inside: [&Place; 3] = [bed.pod(2), bed.pod(4), bed.node(1)];
    each(|family, transport| {
        for from in inside {
            refused(from, transport, service.vip(family))?;
        }
        refused(bed.pod(2), transport, service.on_node(2, family))?;
        refused(bed.client(), transport, service.on_node(1, family))
    })
}

/// Only who is on the endpoint's node gets an answer.
fn near_and_far(service: &Svc<'_>, near: &Place, far: &Place, who: &str) -> Result<()> {
    serves(near, |f| service.vip(f), who)?;
    each(|family, transport| unserved(far, transport, service.vip(family)))
}

fn external_local(bed: &Bed) -> Result<()> {
    let service = bed.service(Service::external_local, &[pod(3)])?;
    let keeps = |from: &Place, own: address::Pair, n| {
        each(|family, transport| {
            let reply = answers(from, transport, service.on_node(n, family), "pod3")?;
            let seen = reply.seen_source.ip();
            ensure!(seen == own.ip(family), "{} is seen as {seen}", from.name());
            Ok(())
        })
    };
    keeps(bed.client(), address::client(), 2)?;
    keeps(bed.pod(2), bed.cluster.seen_as(bed.pod(2), 2), 1)?;
    keeps(bed.pod(4), bed.pod(4).address(), 2)?;
    serves(bed.node(1), |f| service.on_node(1, f), "pod3")?;
    each(|family, transport| dropped(bed.client(), transport, service.on_node(1, family)))
}

fn publish(service: Service) -> Service {
    service.with("publishNotReadyAddresses", true)
}

/// From inside and outside.
fn served_by_3(bed: &Bed, service: &Svc<'_>) -> Result<()> {
    let inside: [&Place; 3] = [bed.pod(2), bed.pod(4), bed.node(1)];
    inside.iter().try_for_each(|from| serves(from, |f| service.vip(f), "pod3"))?;
    serves(bed.client(), |f| service.on_node(1, f), "pod3")
}

/// The controller calls unready pods of such a Service ready: while it is such a one, on and off.
fn unready(bed: &Bed) -> Result<()> {
    let service = bed.service(publish, &[pod(3).unready_but_published()])?;
    served_by_3(bed, &service)?;
    service.update(|it| it)?;
    service.endpoints(&[pod(3).unready()])?;
    rejected(bed, &service)?;
    service.update(publish)?;
    service.endpoints(&[pod(3).unready_but_published()])?;
    served_by_3(bed, &service)?;
    service.endpoints(&[])?;
    rejected(bed, &service)
}

/// And also while they end.
fn unready_and_terminating(bed: &Bed) -> Result<()> {
    let service = bed.service(publish, &[pod(3).failing_but_published()])?;
    served_by_3(bed, &service)?;
    service.update(|it| it)?;
    service.endpoints(&[pod(3).failing()])?;
    rejected(bed, &service)
}

fn healthy(service: &Svc<'_>, n: u8) -> SocketAddr {
    address::node(n).port(Family::V4, service.health_port())
}

fn terminating_health(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let port = service.health_port();
    service.balance(|it| it.external_local().with("healthCheckNodePort", port))?;
    service.endpoints(&pods(&[1, 3]))?;
    for n in [1, 2] {
        health(bed.client(), healthy(&service, n), Some(200))?;
    }
    service.endpoints(&[pod(1).terminating(), pod(3).terminating()])?;
    for n in [1, 2] {
        health(bed.client(), healthy(&service, n), Some(503))?;
    }
    // The balancer may send a little more: it is still served.
    serves(bed.client(), |f| service.ingress(f), "pod1")
}

fn policy_changes(bed: &Bed) -> Result<()> {
    let service = bed.unborn();
    let port = service.health_port();
    service.endpoints(&[pod(3)])?;
    for _round in 0..2 {
        service.balance(|it| it.external_local().with("healthCheckNodePort", port))?;
        health(bed.client(), healthy(&service, 1), Some(503))?;
        health(bed.client(), healthy(&service, 2), Some(200))?;
        serves(bed.client(), |f| service.on_node(2, f), "pod3")?;
        each(|family, transport| dropped(bed.client(), transport, service.on_node(1, family)))?;
        service.balance(|it| it)?;
        for n in [1, 2] {
            health(bed.client(), healthy(&service, n), None)?;
            let target = service.on_node(n, Family::V4);
            shared(bed.client(), Transport::Tcp, target, &["pod3"])?;
            serves(bed.client(), |f| service.on_node(n, f), "pod3")?;
        }
    }
    Ok(())
}
