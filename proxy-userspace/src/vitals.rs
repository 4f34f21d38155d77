//! Figures of the running proxy, as its metrics show them: written where things happen, read
//! whenever somebody asks.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::dataplane::flows::Occupancy;

/// The figures at one moment. Counts are since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// FLOWS_V4 after the last sweep.
    pub flows_v4: Occupancy,
    /// FLOWS_V6 after the last sweep.
    pub flows_v6: Occupancy,
    /// Entries of flows that were over, which sweeps removed.
    pub flow_entries_removed: u64,
    /// How long the last sweep took.
    pub sweep: Duration,
    /// Connected UDP sockets that were ended because their endpoint left.
    pub sockets_ended: u64,
    /// Audits of the maps.
    pub audits: u64,
    /// Map entries that an audit found different and wrote again.
    pub audit_repairs: u64,
    /// Programs that were attached, and maps that were pinned, again because something else had
    /// taken them away (A93).
    pub reattached: u64,
}

/// The figures, shared by who writes and who reads them.
#[derive(Debug, Default)]
pub struct Vitals(Mutex<Figures>);

impl Vitals {
    /// A copy.
    pub fn figures(&self) -> Figures {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes some of them.
    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
