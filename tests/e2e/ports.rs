//! Ports of pods: more than one, by name and by number, and those that they have on their node.

use anyhow::Result;
use serde_json::{Value, json};
use testbed::{
    Place,
    address::{self, Family, SERVER_PORT},
    wire::Transport::{Tcp, Udp},
};

use crate::{
    bed::{Bed, PORT},
    endpoint::pods,
    expect::{answers, serves},
    suite::{Disruptive, Group},
};

/// The port of a container that starts before the others and goes on.
const SIDECAR: u16 = 9_095;
/// The port on the node.
const HOST_PORT_NUMBER: u16 = 54_323;

pub(crate) const SIDECARS: Group = Group {
    title: "Services",
    cases: &[
        ("should connect to the ports exposed by restartable init containers", |bed| {
            sidecar(bed, 1, &json!(SIDECAR))
        }),
        ("should connect to the named ports exposed by restartable init containers", |bed| {
            sidecar(bed, 3, &json!("sidecar-port"))
        }),
    ],
};

pub(crate) const HOST_PORT: Disruptive = Disruptive {
    title: "HostPort",
    cases: &[(
        "validates that there is no conflict between pods with same hostPort but different hostIP and protocol [LinuxOnly]",
        host_ports,
    )],
};

/// A Service with a port for each of two containers of one pod. The controller writes the number
/// that a name stands for.
fn sidecar(bed: &Bed, p: u8, target: &Value) -> Result<()> {
    let server = bed.pod(p.into());
    let any = Family::BOTH.map(|f| server.address().port(f, SIDECAR));
    server.serve("sidecar", &any)?;
    let service = bed.unborn();
    service.inward(|it| {
        let ports = json!([
            {"name": "main", "protocol": "TCP", "port": PORT, "targetPort": SERVER_PORT},
            {"name": "sidecar", "protocol": "TCP", "port": PORT + 1, "targetPort": target},
        ]);
        it.with("ports", ports)
    })?;
    let ports = [("main", "TCP", SERVER_PORT), ("sidecar", "TCP", SIDECAR)];
    service.part(0, &ports, &pods(&[p]))?;
    let people: [&Place; 3] = [bed.pod(2), bed.pod(4), bed.node(1)];
    for from in people {
        for family in Family::BOTH {
            let at = |port| service.cluster_ip().port(family, port);
            answers(from, Tcp, at(PORT), server.name())?;
            answers(from, Tcp, at(PORT + 1), "sidecar")?;
        }
    }
    Ok(())
}

/// One number, three pods, by CNI's real `portmap`: the pods are endpoints, too, and both their
/// Service and their ports work.
fn host_ports(bed: &mut Bed) -> Result<()> {
    let third = bed.cluster.add_pod(1)?.name().to_owned();
    let result = three_on_one_port(bed, &third);
    bed.cluster.remove_pod()?;
    result
}

fn three_on_one_port(bed: &Bed, third: &str) -> Result<()> {
    let own = address::node(1).v4;
    let map = |p: u8, ip: Value, protocol: &str| {
        let mapping = json!({
            "hostPort": HOST_PORT_NUMBER, "containerPort": SERVER_PORT,
            "hostIP": ip, "protocol": protocol,
        });
        bed.cluster.map_ports(p, &json!([mapping]))
    };
    let _mapped = (
        map(1, json!("127.0.0.1"), "tcp")?,
        map(2, json!(own), "tcp")?,
        map(5, json!(own), "udp")?,
    );
    let service = bed.service(|it| it, &pods(&[1, 2]))?;
    let (node, loopback) = (bed.node(1), ([127, 0, 0, 1], HOST_PORT_NUMBER).into());
    let at = address::node(1).port(Family::V4, HOST_PORT_NUMBER);
    for _time in 0..5 {
        answers(node, Tcp, loopback, "pod1")?;
        answers(node, Tcp, at, "pod2")?;
        answers(node, Udp, at, third)?;
        for from in [bed.client(), bed.pod(3)] {
            answers(from, Tcp, at, "pod2")?;
            answers(from, Udp, at, third)?;
        }
    }
    service.endpoints(&pods(&[2]))?;
    serves(bed.client(), |f| service.on_node(1, f), "pod2")
}
