//! The thread that sweeps the flow tables.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};

use crate::{
    dataplane::{
        aya::{
            Error,
            flows::{FlowTables, Swept},
            pin::Pins,
        },
        flows::{Alarm, Change, Occupancy, Sweep},
    },
    vitals::Vitals,
};

/// Between two sweeps.
const EVERY: Duration = Duration::from_secs(30);

/// The running thread; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct FlowSweeper {
    _running: Sender<()>,
}

impl FlowSweeper {
    /// Starts it, with a sweep at once.
    pub(super) fn start(pins: &Pins, vitals: Arc<Vitals>) -> Result<Self, Error> {
        let tables = FlowTables::open(pins)?;
        let (running, stopped) = channel();
        thread::Builder::new()
            .name("flow-sweep".into())
            .spawn(move || run(&tables, &vitals, &stopped))
            .map_err(|e| Error::os("starting the thread that sweeps the flow tables", &e))?;
        Ok(Self { _running: running })
    }
}

fn run(tables: &FlowTables, vitals: &Vitals, stopped: &Receiver<()>) {
    let (mut alarm_v4, mut alarm_v6) = (Alarm::default(), Alarm::default());
    for round in 0.. {
        let began = Instant::now();
        match sweep(tables, round) {
            Ok(swept) => {
                let took = began.elapsed();
                tracing::debug!(?took, removed = swept.removed, "swept the flow tables");
                note(vitals, &swept, took);
                warn("FLOWS_V4", alarm_v4.observe(&swept.v4), &swept.v4);
                warn("FLOWS_V6", alarm_v6.observe(&swept.v6), &swept.v6);
            }
            Err(e) => tracing::warn!("{e}; the next sweep is in {EVERY:?}"),
        }
        match stopped.recv_timeout(EVERY) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn sweep(tables: &FlowTables, round: u32) -> Result<Swept, Error> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(|e| Error::new("reading the clock", e))?
        .tv_sec() as u32;
    tables.sweep(Sweep { now, round })
}

fn note(vitals: &Vitals, swept: &Swept, took: Duration) {
    vitals.update(|figures| {
        (figures.flows_v4, figures.flows_v6) = (swept.v4, swept.v6);
        figures.flow_entries_removed += u64::from(swept.removed);
        figures.sweep = took;
    });
}

fn warn(map: &str, change: Option<Change>, occupancy: &Occupancy) {
    let Occupancy { entries, capacity, .. } = occupancy;
    let percent = occupancy.percent();
    match change {
        Some(Change::Raised) => tracing::warn!(
            "flow table {map} is {percent} % full ({entries} of {capacity}): when it is full, the \
             least recently used flows are forgotten; raise --max-flows"
        ),
        Some(Change::Cleared) => {
            tracing::info!("flow table {map} is {percent} % full again ({entries} of {capacity})");
        }
        None => {}
    }
}
