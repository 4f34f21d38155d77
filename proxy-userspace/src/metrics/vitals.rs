//! What sweeps, audits and looks found ([`Vitals`]), read when a scrape asks for it.

use std::sync::Arc;

use prometheus::{
    Gauge, IntCounter, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use sluice_common::age::State;

use crate::{
    dataplane::flows::Occupancy,
    vitals::{Figures, Vitals},
};

/// The figures as metrics.
pub struct Shown {
    vitals: Arc<Vitals>,
    // Only their descriptions are used: each scrape fills its own.
    shapes: Shapes,
}

impl Shown {
    /// A collector over the figures.
    ///
    /// # Errors
    /// A name is not valid, which a test would have found.
    pub fn new(vitals: Arc<Vitals>) -> prometheus::Result<Self> {
        Ok(Self { vitals, shapes: Shapes::new()? })
    }
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        self.shapes.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(shapes) = Shapes::new() else { return Vec::new() };
        shapes.fill(&self.vitals.figures());
        shapes.all().into_iter().flat_map(Collector::collect).collect()
    }
}

struct Shapes {
    entries: IntGaugeVec,
    flows: IntGaugeVec,
    removed: IntCounter,
    sweep: Gauge,
    sockets: IntCounter,
    audits: IntCounter,
    repairs: IntCounter,
    reattached: IntCounter,
}

impl Shapes {
    fn new() -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| IntCounter::new(format!("sluice_{name}"), help);
        Ok(Self {
            entries: IntGaugeVec::new(
                Opts::new(
                    "sluice_flow_entries",
                    "Entries of the flow table after the last sweep; a flow has two, a \
                     masqueraded one four",
                ),
                &["ip_family", "kind"],
            )?,
            flows: IntGaugeVec::new(
                Opts::new("sluice_flows", "Flows to services after the last sweep, by state"),
                &["ip_family", "state"],
            )?,
            removed: counter("flow_entries_removed_total", "Entries that sweeps removed")?,
            sweep: Gauge::new("sluice_flow_sweep_seconds", "Duration of the last sweep")?,
            sockets: counter(
                "sockets_ended_total",
                "Connected UDP sockets that were ended because their endpoint left",
            )?,
            audits: counter("audits_total", "Audits of the maps")?,
            repairs: counter("audit_repairs_total", "Map entries that audits wrote again")?,
            reattached: counter(
                "reattached_total",
                "Programs and pins that were put back after something else took them away",
            )?,
        })
    }

    fn all(&self) -> [&dyn Collector; 8] {
        [
            &self.entries,
            &self.flows,
            &self.removed,
            &self.sweep,
            &self.sockets,
            &self.audits,
            &self.repairs,
            &self.reattached,
        ]
    }

    fn fill(&self, figures: &Figures) {
        self.fill_family("IPv4", &figures.flows_v4);
        self.fill_family("IPv6", &figures.flows_v6);
        self.removed.inc_by(figures.flow_entries_removed);
        self.sweep.set(figures.sweep.as_secs_f64());
        self.sockets.inc_by(figures.sockets_ended);
        self.audits.inc_by(figures.audits);
        self.repairs.inc_by(figures.audit_repairs);
        self.reattached.inc_by(figures.reattached);
    }

    fn fill_family(&self, family: &str, flows: &Occupancy) {
        let set = |gauges: &IntGaugeVec, label: &str, value: u32| {
            gauges.with_label_values(&[family, label]).set(value.into());
        };
        set(&self.entries, "all", flows.entries);
        set(&self.entries, "masquerade", flows.masquerade);
        set(&self.flows, "direct", flows.direct);
        for (state, count) in State::ALL.iter().zip(flows.services) {
            set(&self.flows, state.label(), count);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn figures_are_shown_as_they_are_at_the_scrape() {
        let vitals = Arc::new(Vitals::default());
        let metrics = Metrics::new().unwrap();
        metrics.register(Box::new(Shown::new(Arc::clone(&vitals)).unwrap())).unwrap();
        vitals.update(|figures| {
            figures.audits = 3;
            figures.flows_v6.entries = 7;
        });
        for _ in 0..2 {
            let page = metrics.scrape().body;
            assert!(page.contains("sluice_audits_total 3\n"), "{page}");
            let flows = "sluice_flow_entries{ip_family=\"IPv6\",kind=\"all\"} 7\n";
            assert!(page.contains(flows), "{page}");
        }
    }
}
