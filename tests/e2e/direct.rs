//! Traffic that is no Service's, though its pods are endpoints: a proxy must leave it alone.

use anyhow::{Result, ensure};
use testbed::{
    Place,
    address::{self, Family, SERVER_PORT},
    wire::Transport::{self, Tcp, Udp},
};

use crate::{
    bed::Bed,
    endpoint::{pod, pods},
    expect::{answers, ask, each, serves, shared, soon},
    suite::Group,
};

/// Where the machine outside serves.
const OUTSIDE_PORT: u16 = 8_443;

pub(crate) const NO_SNAT: Group = Group {
    title: "NoSNAT",
    cases: &[("Should be able to send traffic between Pods without SNAT", no_snat)],
};

pub(crate) const PODS: Group = Group {
    title: "Networking Granular Checks: Pods",
    cases: &[
        ("should function for intra-pod", |bed| {
            let _service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
            [1, 2, 3, 4].into_iter().try_for_each(|from| to_pods(bed, bed.pod(from)))
        }),
        ("should function for node-pod", |bed| {
            let _service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
            [1, 2].into_iter().try_for_each(|from| to_pods(bed, bed.node(from)))
        }),
    ],
};

pub(crate) const OUTSIDE: Group = Group {
    title: "Networking",
    cases: &[
        ("should provide Internet connection for containers [Feature:NetworkingIPv4]", |bed| {
            outside(bed, Family::V4)
        }),
        ("should provide Internet connection for containers [Feature:NetworkingIPv6]", |bed| {
            outside(bed, Family::V6)
        }),
        (
            "should provider Internet connection for containers using DNS [Feature:NetworkingDNS]",
            by_name,
        ),
    ],
};

pub(crate) const LIFECYCLE: Group = Group {
    title: "Connectivity Pod Lifecycle",
    cases: &[
        ("should be able to connect from a Pod to a terminating Pod", |bed| {
            terminating(bed, [3, 1], 2)
        }),
        ("should be able to connect to other Pod from a terminating Pod", |bed| {
            terminating(bed, [2, 2], 3)
        }),
    ],
};

/// Every pod sees every other's own address, unless the CNI masquerades between nodes.
pub(crate) fn no_snat(bed: &Bed) -> Result<()> {
    for (from, to) in [(1, 2), (2, 1), (1, 3), (3, 1), (2, 4), (4, 2)] {
        for family in Family::BOTH {
            let target = bed.pod(to).address().port(family, SERVER_PORT);
            let reply = answers(bed.pod(from), Tcp, target, &format!("pod{to}"))?;
            let seen = reply.seen_source.ip();
            let own = bed.cluster.seen_as(bed.pod(from), bed.pod(to).node()).ip(family);
            ensure!(seen == own, "pod{from} is seen as {seen}");
        }
    }
    Ok(())
}

/// Every pod answers at its own address, by every transport.
fn to_pods(bed: &Bed, from: &Place) -> Result<()> {
    (1..=4).try_for_each(|to| {
        let target = |family| bed.pod(to).address().port(family, SERVER_PORT);
        serves(from, target, &format!("pod{to}"))
    })
}

/// A server that is no part of the cluster; each case has its own port.
fn serve_outside(bed: &Bed, port: u16) -> Result<impl Fn(Family) -> std::net::SocketAddr> {
    let at = address::outsider().ports(port);
    bed.cluster.outsider().serve("outside", &at)?;
    Ok(move |family| address::outsider().port(family, port))
}

fn outside(bed: &Bed, family: Family) -> Result<()> {
    let port = if family == Family::V4 { OUTSIDE_PORT } else { OUTSIDE_PORT + 1 };
    let target = serve_outside(bed, port)?;
    for transport in [Tcp, Udp] {
        for p in [1, 3] {
            answers(bed.pod(p), transport, target(family), "outside")?;
        }
        answers(bed.node(1), transport, target(family), "outside")?;
    }
    Ok(())
}

/// The question is a datagram to a Service, as to the cluster's DNS; then comes the connection.
fn by_name(bed: &Bed) -> Result<()> {
    let target = serve_outside(bed, OUTSIDE_PORT + 2)?;
    let dns = bed.inward(&pods(&[1, 4]))?;
    for p in [2, 3] {
        for family in Family::BOTH {
            soon(|| ask(bed.pod(p), Udp, dns.vip(family)))?;
            answers(bed.pod(p), Tcp, target(family), "outside")?;
        }
    }
    Ok(())
}

/// Pods of a Service that end still answer directly, and still reach others.
fn terminating(bed: &Bed, ending: [u8; 2], other: usize) -> Result<()> {
    let service = bed.service(|it| it, &pods(&[1, 2, 3, 4]))?;
    let reach = |transport: Transport, family: Family, name: u8| -> Result<()> {
        let (ending, other) = (bed.pod(name.into()), bed.pod(other));
        let at = |to: &testbed::Pod| to.address().port(family, SERVER_PORT);
        answers(other, transport, at(ending), ending.name())?;
        answers(ending, transport, at(other), other.name())?;
        Ok(())
    };
    for name in ending {
        each(|family, transport| reach(transport, family, name))?;
    }
    let left: Vec<_> =
        (1..=4).map(|p| if ending.contains(&p) { pod(p).terminating() } else { pod(p) }).collect();
    service.endpoints(&left)?;
    let stay: Vec<String> =
        (1..=4).filter(|p| !ending.contains(p)).map(|p| format!("pod{p}")).collect();
    let stay: Vec<&str> = stay.iter().map(String::as_str).collect();
    shared(bed.pod(other), Tcp, service.vip(Family::V4), &stay)?;
    for name in ending {
        each(|family, transport| reach(transport, family, name))?;
    }
    Ok(())
}
