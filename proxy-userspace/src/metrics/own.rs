//! Metrics that only Sluice has.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    exponential_buckets,
};

/// The metrics.
#[derive(Clone, Debug)]
pub struct Own {
    /// From the arrival of the oldest change of a batch to its last map write.
    pub programming: Histogram,
    /// Map writes by `result`.
    pub writes: IntCounterVec,
    /// Entries by `map`.
    pub entries: IntGaugeVec,
    /// Sizes by `map`.
    pub max_entries: IntGaugeVec,
    /// Interfaces with programs.
    pub interfaces: IntGauge,
    /// Things that cannot be used as they are, by `kind`.
    pub problems: IntGaugeVec,
    /// Whether the maps hold everything and all interfaces are attached.
    pub ready: IntGauge,
}

/// Kinds of problems, so that each has a series from the start.
const KINDS: [&str; 5] = ["service", "endpointslice", "file", "interface", "other"];

impl Own {
    /// Registers all of them.
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let programming = HistogramOpts::new(
            "sluice_programming_duration_seconds",
            "Time from the arrival of a change to its last map write",
        );
        let own = Self {
            programming: Histogram::with_opts(
                programming.buckets(exponential_buckets(0.0001, 2.0, 18)?),
            )?,
            writes: counters("map_writes_total", "Map writes by result", "result")?,
            entries: gauges("map_entries", "Entries in use by map", "map")?,
            max_entries: gauges("map_max_entries", "Entries that fit by map", "map")?,
            interfaces: gauge("interfaces_attached", "Network interfaces with programs")?,
            problems: gauges(
                "problems",
                "Objects that cannot be used as they are, by kind",
                "kind",
            )?,
            ready: gauge("ready", "1 once Services are in the maps and interfaces attached")?,
        };
        registry.register(Box::new(own.programming.clone()))?;
        registry.register(Box::new(own.writes.clone()))?;
        for gauges in [&own.entries, &own.max_entries, &own.problems] {
            registry.register(Box::new(gauges.clone()))?;
        }
        for gauge in [&own.interfaces, &own.ready] {
            registry.register(Box::new(gauge.clone()))?;
        }
        registry.register(Box::new(build_info()?))?;
        for kind in KINDS {
            own.problems.with_label_values(&[kind]);
        }
        for result in ["ok", "failed", "deferred"] {
            own.writes.with_label_values(&[result]);
        }
        Ok(own)
    }

    /// Sets the number of problems of each kind.
    pub fn set_problems(&self, kinds: impl Iterator<Item = &'static str>) {
        let mut counts = KINDS.map(|kind| (kind, 0));
        for kind in kinds {
            if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == kind) {
                *count += 1;
            }
        }
        for (kind, count) in counts {
            self.problems.with_label_values(&[kind]).set(count);
        }
    }
}

fn build_info() -> prometheus::Result<Gauge> {
    let opts = opts("build_info", "The program that runs; always 1")
        .const_label("version", env!("CARGO_PKG_VERSION"))
        .const_label("kubernetes", crate::KUBERNETES);
    let gauge = Gauge::with_opts(opts)?;
    gauge.set(1.0);
    Ok(gauge)
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("sluice_{name}"), help)
}

fn gauge(name: &str, help: &str) -> prometheus::Result<IntGauge> {
    IntGauge::with_opts(opts(name, help))
}

fn gauges(name: &str, help: &str, label: &str) -> prometheus::Result<IntGaugeVec> {
    IntGaugeVec::new(opts(name, help), &[label])
}

fn counters(name: &str, help: &str, label: &str) -> prometheus::Result<IntCounterVec> {
    IntCounterVec::new(opts(name, help), &[label])
}
