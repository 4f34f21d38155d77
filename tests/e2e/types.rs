//! Services that change their type.

use anyhow::Result;
use serde_json::json;
use testbed::{address::Family, wire::Transport};

use crate::{
    bed::{Bed, Svc},
    endpoint::pods,
    expect::{each, refused, serves, shared, unserved},
    services::protocols_apart,
    suite::Group,
};

pub(crate) const SERVICES: Group = Group {
    title: "Services",
    cases: &[
        (
            "should be able to update service type to NodePort listening on same port number but different protocols",
            same_number,
        ),
        ("should be able to change the type from ExternalName to ClusterIP", |bed| {
            from_name(bed, |service| service.inward(|it| it))
        }),
        ("should be able to change the type from ExternalName to NodePort", |bed| {
            from_name(bed, |service| service.update(|it| it))
        }),
        ("should be able to change the type from ClusterIP to ExternalName", |bed| {
            to_name(bed, |service| service.inward(|it| it))
        }),
        ("should be able to change the type from NodePort to ExternalName", |bed| {
            to_name(bed, |service| service.update(|it| it))
        }),
        (
            "should serve endpoints on same port and different protocol for internal traffic on Type LoadBalancer",
            |bed| {
                let service = bed.load_balancer(|it| it, &[])?;
                protocols_apart(bed, &service)
            },
        ),
    ],
};

/// A ClusterIP Service becomes one with the same NodePort for TCP and UDP.
fn same_number(bed: &Bed) -> Result<()> {
    let service = bed.inward(&pods(&[1]))?;
    serves(bed.pod(2), |f| service.vip(f), "pod1")?;
    service.update(|it| it)?;
    for n in [1, 2] {
        serves(bed.client(), |f| service.on_node(n, f), "pod1")?;
        serves(bed.pod(4), |f| service.on_node(n, f), "pod1")?;
    }
    Ok(())
}

/// What the API server has of an ExternalName Service.
fn named(service: &Svc<'_>) -> Result<()> {
    service.put(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": service.name(), "namespace": "default"},
        "spec": {"type": "ExternalName", "externalName": "example.invalid"},
    }))
}

fn from_name(bed: &Bed, change: fn(&Svc<'_>) -> Result<()>) -> Result<()> {
    let service = bed.unborn();
    named(&service)?;
    service.endpoints(&pods(&[1, 3]))?;
    unserved(bed.pod(2), Transport::Tcp, service.vip(Family::V4))?;
    change(&service)?;
    each(|family, transport| shared(bed.pod(2), transport, service.vip(family), &["pod1", "pod3"]))
}

fn to_name(bed: &Bed, before: fn(&Svc<'_>) -> Result<()>) -> Result<()> {
    let service = bed.unborn();
    before(&service)?;
    service.endpoints(&pods(&[1, 3]))?;
    shared(bed.pod(2), Transport::Tcp, service.vip(Family::V4), &["pod1", "pod3"])?;
    named(&service)?;
    each(|family, transport| {
        unserved(bed.pod(2), transport, service.vip(family))?;
        unserved(bed.node(1), transport, service.vip(family))?;
        refused(bed.client(), transport, service.on_node(1, family))
    })
}
