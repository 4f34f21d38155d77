//! Cases that take the controller, its server or its programs away, one after another.

use std::{net::SocketAddr, os::fd::AsFd, time::Duration};

use anyhow::{Context, Result, ensure};
use sluice::dataplane::aya::{
    pin::{Pins, entries},
    sys,
};
use testbed::{address::Family, wire::Transport};

use crate::{
    bed::{Bed, Svc},
    endpoint::pods,
    expect::{each, serves, shared, status, unserved, within},
    suite::Disruptive,
};

/// How long a controller may take to find its API server again: its longest wait is 8 s.
const BACK: Duration = Duration::from_secs(30);

pub(crate) const SERVICES: Disruptive = Disruptive {
    title: "Services",
    cases: &[
        ("should work after restarting kube-proxy [Disruptive]", restart_proxy),
        ("should work after restarting apiserver [Disruptive]", restart_server),
    ],
};

pub(crate) const NETWORKING: Disruptive =
    Disruptive { title: "Networking", cases: &[("should check kube-proxy urls", urls)] };

pub(crate) const GRANULAR: Disruptive = Disruptive {
    title: "Networking Granular Checks: Services",
    cases: &[("should recreate its iptables rules if they are deleted [Disruptive]", detached)],
};

/// By ClusterIP from both nodes' pods, and by NodePort from outside.
fn works(bed: &Bed, service: &Svc<'_>, who: &[&str]) -> Result<()> {
    each(|family, transport| {
        shared(bed.pod(2), transport, service.vip(family), who)?;
        shared(bed.pod(4), transport, service.vip(family), who)?;
        shared(bed.client(), transport, service.on_node(1, family), who)
    })
}

/// What changed meanwhile is seen, too.
fn restart_proxy(bed: &mut Bed) -> Result<()> {
    bed.sluices[0].stop()?;
    let again = {
        let first = bed.service(|it| it, &pods(&[1, 3]))?;
        let mut again = bed.start(1);
        again.wait_ready()?;
        works(bed, &first, &["pod1", "pod3"])?;
        let second = bed.service(|it| it, &pods(&[2, 4]))?;
        works(bed, &second, &["pod2", "pod4"])?;
        works(bed, &first, &["pod1", "pod3"])?;
        again
    };
    bed.sluices[0] = again;
    Ok(())
}

fn restart_server(bed: &mut Bed) -> Result<()> {
    let number = {
        let first = bed.service(|it| it, &pods(&[1, 3]))?;
        works(bed, &first, &["pod1", "pod3"])?;
        first.leave()
    };
    bed.server.stop();
    let first = bed.born(number);
    works(bed, &first, &["pod1", "pod3"])?;
    first.leave();
    let node = bed.cluster.node(1)?;
    let server = &mut bed.server;
    node.run(|| server.restart())??;
    let second = bed.service(|it| it, &pods(&[2, 4]))?;
    within(BACK, || serves_once(bed, second.vip(Family::V4)))?;
    works(bed, &second, &["pod2", "pod4"])?;
    works(bed, &bed.born(number), &["pod1", "pod3"])
}

fn serves_once(bed: &Bed, target: SocketAddr) -> Result<()> {
    for p in [2, 4] {
        crate::expect::ask(bed.pod(p), Transport::Tcp, target)?;
    }
    Ok(())
}

/// Kubernetes asks for iptables' rules; here it is programs that something detached (A93).
fn detached(bed: &mut Bed) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1]))?;
    serves(bed.pod(2), |f| service.vip(f), "pod1")?;
    let pins = Pins::new(bed.node(1).bpf_root());
    for link in entries(&pins.links()) {
        let link = sys::open(&link, false)?;
        sys::link_detach(link.as_fd())?;
    }
    unserved(bed.pod(2), Transport::Tcp, service.vip(Family::V4))?;
    serves(bed.pod(2), |f| service.vip(f), "pod1")?;
    serves(bed.node(1), |f| service.vip(f), "pod1")
}

/// Health for everybody, the mode for processes of the node.
fn urls(bed: &mut Bed) -> Result<()> {
    for node in bed.cluster.nodes() {
        let healthz = node.address().port(Family::V4, 10_256);
        for from in [&**node, bed.client()] {
            let (code, _page) = status(from, healthz, "/healthz")?.context("no /healthz")?;
            ensure!(code == 200, "/healthz answers {code}");
        }
        let metrics: SocketAddr = ([127, 0, 0, 1], 10_249).into();
        let (code, mode) = status(node, metrics, "/proxyMode")?.context("no /proxyMode")?;
        ensure!((code, mode.as_str()) == (200, "ebpf"), "/proxyMode answers {code} {mode}");
    }
    Ok(())
}
