//! UDP sockets that go on sending while the endpoints behind a Service change (A73, A74).

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use testbed::{
    Place,
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    bed::{Bed, Svc},
    endpoint::{Endpoint, pod, pods},
    expect::{moves_nowhere, moves_to},
    suite::Group,
};

/// The source port that every client keeps, as in Kubernetes' test.
const CLIENT_PORT: u16 = 12_345;
/// What a server listens on besides the usual port.
const OTHER_PORT: u16 = 9_091;

pub(crate) const GROUP: Group = Group {
    title: "Conntrack",
    cases: &[
        (
            "should be able to preserve UDP traffic when server pod cycles for a NodePort service",
            |bed| {
                let service = bed.service(|it| it, &[])?;
                cycles(&service, bed.client(), |f| service.on_node(1, f), &[1, 3, 4])
            },
        ),
        (
            "should be able to preserve UDP traffic when server pod cycles for a ClusterIP service",
            |bed| {
                let service = bed.service(|it| it, &[])?;
                cycles(&service, bed.pod(2), |f| service.vip(f), &[1, 3, 4])
            },
        ),
        (
            "should be able to preserve UDP traffic when server pod cycles for a ClusterIP service with InternalTrafficPolicy set to Local",
            |bed| {
                let service = bed.service(testbed::Service::internal_local, &[])?;
                cycles(&service, bed.pod(1), |f| service.vip(f), &[2, 1, 2])
            },
        ),
        (
            "should be able to preserve UDP traffic when server pod cycles for a ClusterIP service and client is hostNetwork",
            |bed| {
                let service = bed.service(|it| it, &[])?;
                cycles(&service, bed.node(1), |f| service.vip(f), &[1, 3, 4])
            },
        ),
        (
            "should be able to preserve UDP traffic when initial unready endpoints get ready",
            initially_unready,
        ),
        (
            "should be able to cleanup conntrack entries when UDP service target port changes for a NodePort service",
            target_port_changes,
        ),
    ],
};

/// A socket of one source port, opened before there is an endpoint, reaches each of the pods that
/// replace one another.
pub(crate) fn cycles(
    service: &Svc<'_>,
    from: &Place,
    target: impl Fn(Family) -> SocketAddr,
    numbers: &[u8],
) -> Result<()> {
    for family in Family::BOTH {
        service.endpoints(&[])?;
        let ask = Ask::new(Transport::UdpUnconnected, target(family));
        let held = from.open(ask.from_port(service.node_port()).timeout_ms(200))?;
        // Datagrams before there is anybody.
        let _refused_or_dropped = held.echo_within(200);
        for number in numbers {
            service.endpoints(&pods(&[*number]))?;
            moves_to(&held, &format!("pod{number}"))?;
        }
    }
    Ok(())
}

fn initially_unready(bed: &Bed) -> Result<()> {
    let service = bed.service(|it| it, &[pod(1).unready(), pod(3).unready()])?;
    for (from, outside) in [(&**bed.pod(2), false), (bed.client(), true)] {
        for family in Family::BOTH {
            let unready: [Endpoint; 2] = [pod(1).unready(), pod(3).unready()];
            service.endpoints(&unready)?;
            let target = if outside { service.on_node(1, family) } else { service.vip(family) };
            let ask = Ask::new(Transport::UdpUnconnected, target);
            let held = from.open(ask.from_port(CLIENT_PORT))?;
            moves_nowhere(&held)?;
            service.endpoints(&[pod(1), pod(3).unready()])?;
            moves_to(&held, "pod1")?;
        }
    }
    Ok(())
}

fn target_port_changes(bed: &Bed) -> Result<()> {
    let other: [SocketAddr; 2] = Family::BOTH.map(|f| bed.pod(3).address().port(f, OTHER_PORT));
    bed.pod(3).serve("other-port", &other)?;
    let service = bed.service(|it| it, &pods(&[3]))?;
    for family in Family::BOTH {
        service.endpoints(&pods(&[3]))?;
        let ask = Ask::new(Transport::UdpUnconnected, service.on_node(1, family));
        let held = bed.client().open(ask.from_port(service.node_port()))?;
        moves_to(&held, "pod3")?;
        service.part(0, &[("udp", "UDP", OTHER_PORT)], &pods(&[3]))?;
        moves_to(&held, "other-port")?;
        ensure!(held.echo()?.from.port() == service.node_port());
    }
    Ok(())
}
