//! What a sweep over the flow table costs the controller.

use std::{net::Ipv4Addr, time::Instant};

use anyhow::{Context, Result};
use sluice::dataplane::{
    aya::{
        flows::FlowTables,
        interfaces::cleanup,
        load::{Options, load},
        maps::hash,
    },
    flows::Sweep,
};
use sluice_common::{
    flow::{Flow, FlowKey, INGRESS, flags::ESTABLISHED},
    net::{Addr, Port, V4, proto},
};

use crate::report::Table;

/// Entries in the table.
const ENTRIES: u32 = 1_000_000;
/// Its size: Linux makes room for the next power of two.
const CAPACITY: u32 = 1 << 20;
/// Sweeps, of which the median is reported.
const ROUNDS: u32 = 9;
/// Seconds of `CLOCK_MONOTONIC` that the bench pretends it is.
const NOW: u32 = 1_000_000;

/// Measures and reports.
pub(crate) fn run() -> Result<Table> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("bpf");
    let result = measure(&root);
    cleanup(&root).context("cleaning up")?;
    nix::mount::umount2(&root, nix::mount::MntFlags::MNT_DETACH)?;
    result
}

fn measure(root: &std::path::Path) -> Result<Table> {
    let mut options = Options::new(root);
    options.map_sizes.insert("FLOWS".into(), CAPACITY);
    let programs = load(&options)?;
    let mut flows = hash::<FlowKey<V4>, Flow<V4>>(&programs.pins, "FLOWS_V4", false)?;
    let tables = FlowTables::open(&programs.pins)?;
    let mut table = Table::new(
        "A sweep over 1,000,000 entries (ms: median and spread; percent of a core, every 30 s)",
        &["entries are", "ms", "percent", "removed"],
    );
    // Cheapest first, and the last leaves nothing.
    for (name, flags, idle, rounds) in [
        ("in use", ESTABLISHED, 0, ROUNDS),
        ("connections that have been idle for two hours", ESTABLISHED, 7_200, ROUNDS),
        ("half of them over", 0, 0, 1),
    ] {
        for client in 0..ENTRIES / 2 {
            let over = rounds == 1 && client % 2 == 0;
            let idle = if over { 100 } else { idle };
            for (key, flow) in pair(client, flags, idle) {
                flows.insert(key, flow, 0)?;
            }
        }
        let mut removed = 0;
        let mut milliseconds = Vec::new();
        for round in 0..rounds {
            let began = Instant::now();
            removed += tables.sweep(Sweep { now: NOW, round })?.removed;
            milliseconds.push(began.elapsed().as_secs_f64() * 1e3);
        }
        milliseconds.sort_by(f64::total_cmp);
        let (low, high) = (milliseconds[0], milliseconds[milliseconds.len() - 1]);
        let median = milliseconds[milliseconds.len() / 2];
        table.row(vec![
            name.to_owned(),
            format!("{median:.0} ({low:.0}–{high:.0})"),
            format!("{:.1}", median / 300.0),
            removed.to_string(),
        ]);
    }
    Ok(table)
}

/// Both entries of a TCP flow.
fn pair(client: u32, flags: u32, idle: u32) -> [(FlowKey<V4>, Flow<V4>); 2] {
    let key = FlowKey {
        src: Addr::new(Ipv4Addr::from(0x0a00_0000 + client).octets()),
        dst: Addr::new([172, 16, 0, 1]),
        src_port: Port::new(40_000),
        dst_port: Port::new(80),
        proto: proto::TCP,
        direction: INGRESS,
        pad: [0; 2],
    };
    let flow = Flow {
        addr: Addr::new([172, 17, 0, 1]),
        port: Port::new(8080),
        client_port: key.src_port,
        service: 1,
        backend: 1,
        generation: 1,
        seen: NOW - idle,
        flags,
    };
    let answers = Flow { addr: key.dst, port: key.dst_port, ..flow };
    [(key, flow), (key.opposite(&flow), answers)]
}
