//! What the programs count, read when a scrape asks for it.

use prometheus::{
    IntCounterVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sluice_common::reason::{Outcome, Reason};

/// Reads the counters; nothing where there are no maps yet.
pub type ReadReasons = Box<dyn Fn() -> Vec<(Reason, u64)> + Send + Sync>;

/// `sluice_packets_total` by reason and outcome.
pub struct Packets {
    read: ReadReasons,
    // Only its description is used: a counter cannot be set to what the kernel counted.
    shape: IntCounterVec,
}

impl Packets {
    /// A collector over a way to read.
    ///
    /// # Errors
    /// The name is not valid, which a test would have found.
    pub fn new(read: ReadReasons) -> prometheus::Result<Self> {
        Ok(Self { read, shape: shape()? })
    }
}

fn shape() -> prometheus::Result<IntCounterVec> {
    let help = "Packets and socket calls that the programs handled, by reason; docs/dataplane.md \
                explains each";
    IntCounterVec::new(Opts::new("sluice_packets_total", help), &["reason", "outcome"])
}

const fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Reject => "reject",
        Outcome::Drop => "drop",
    }
}

impl Collector for Packets {
    fn desc(&self) -> Vec<&Desc> {
        self.shape.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(counts) = shape() else { return Vec::new() };
        for (reason, count) in (self.read)() {
            let labels = [reason.label(), outcome(reason.outcome())];
            counts.with_label_values(&labels).inc_by(count);
        }
        counts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn the_kernels_counts_are_shown_as_they_are() {
        let metrics = Metrics::new().unwrap();
        let read = || vec![(Reason::NewFlow, 7), (Reason::NoLocalEndpoint, 2)];
        metrics.register(Box::new(Packets::new(Box::new(read)).unwrap())).unwrap();
        for _ in 0..2 {
            let page = metrics.scrape().body;
            assert!(
                page.contains("sluice_packets_total{outcome=\"pass\",reason=\"new-flow\"} 7\n")
            );
            let drops = "sluice_packets_total{outcome=\"drop\",reason=\"no-local-endpoint\"} 2\n";
            assert!(page.contains(drops), "{page}");
        }
    }
}
