//! `sluice flow list`: the flow entries, as the programs see them.

use std::{collections::BTreeMap, path::Path};

use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use sluice_common::{
    backend::Backend,
    flow::{Flow, FlowKey, INGRESS, flags},
    net::Addr,
};

use super::output::{Output, ToIp, protocol, service_name, socket};
use crate::dataplane::aya::{
    Error,
    pin::Pins,
    read::{flows_v4, flows_v6, read_mirror},
};
use crate::model::mirror::Mirror;

/// One direction of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// "in" or "out".
    pub direction: &'static str,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// Source, as observed.
    pub source: String,
    /// Destination, as observed.
    pub destination: String,
    /// What becomes of it.
    pub rewrite: String,
    /// `namespace/name:port`; empty for direct traffic.
    pub service: String,
    /// `addr:port`; empty for direct traffic, or when the backend has left.
    pub backend: String,
    /// Seconds since a packet used it.
    pub age: u32,
    /// Names of its flags.
    pub state: Vec<&'static str>,
}

/// The list as text.
pub fn list(bpf_root: &Path, output: Output) -> Result<String, Error> {
    let header =
        ["DIR", "PROTO", "SOURCE", "DESTINATION", "REWRITE", "SERVICE", "BACKEND", "AGE", "STATE"];
    output.print(&rows(bpf_root)?, &header, |row| {
        vec![
            row.direction.to_owned(),
            row.protocol.clone(),
            row.source.clone(),
            row.destination.clone(),
            row.rewrite.clone(),
            row.service.clone(),
            row.backend.clone(),
            format!("{}s", row.age),
            row.state.join(","),
        ]
    })
}

/// The list as values, in the order of the keys.
pub fn rows(bpf_root: &Path) -> Result<Vec<Row>, Error> {
    let pins = Pins::new(bpf_root);
    let Mirror { services, v4, v6, .. } = read_mirror(&pins)?;
    let names = services.iter().map(|(id, name)| (*id, service_name(name))).collect();
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(|e| Error::new("reading the clock", e))?
        .tv_sec() as u32;
    let mut rows = family(&flows_v4(&pins)?, &v4.backends, &names, now);
    rows.extend(family(&flows_v6(&pins)?, &v6.backends, &names, now));
    Ok(rows)
}

fn family<const N: usize>(
    flows: &[(FlowKey<N>, Flow<N>)],
    backends: &BTreeMap<u32, Backend<N>>,
    names: &BTreeMap<u32, String>,
    now: u32,
) -> Vec<Row>
where
    Addr<N>: ToIp,
{
    let row = |(key, flow): &(FlowKey<N>, Flow<N>)| Row {
        direction: if key.direction == INGRESS { "in" } else { "out" },
        protocol: protocol(key.proto),
        source: socket(&key.src, key.src_port),
        destination: socket(&key.dst, key.dst_port),
        rewrite: rewrite(key, flow),
        service: match flow.service {
            0 => String::new(),
            id => names.get(&id).cloned().unwrap_or_else(|| format!("#{id}")),
        },
        backend: match backends.get(&flow.backend) {
            Some(b) if flow.service != 0 && b.generation == flow.generation => {
                socket(&b.addr, b.port)
            }
            Some(_) | None => String::new(),
        },
        age: now.saturating_sub(flow.seen),
        state: state(flow.flags),
    };
    flows.iter().map(row).collect()
}

fn rewrite<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>) -> String
where
    Addr<N>: ToIp,
{
    if flow.flags & flags::IDENTITY != 0 {
        return String::new();
    }
    if flow.flags & flags::PENDING != 0 {
        return "src:=?".to_owned();
    }
    let (end, other, client) = match key.direction {
        INGRESS => ("dst", "sport", key.src_port),
        _ => ("src", "dport", key.dst_port),
    };
    let changed = socket(&flow.addr, flow.port);
    if flow.client_port == client {
        format!("{end}:={changed}")
    } else {
        format!("{end}:={changed} {other}:={}", flow.client_port.number())
    }
}

fn state(bits: u32) -> Vec<&'static str> {
    let names = [
        (flags::IDENTITY, "direct"),
        (flags::MASQUERADE, "masquerade"),
        (flags::PENDING, "pending"),
        (flags::TURNING, "turning"),
        (flags::ESTABLISHED, "established"),
        (flags::FIN, "fin"),
        (flags::RST, "rst"),
    ];
    names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect()
}
