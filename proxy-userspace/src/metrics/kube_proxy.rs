//! kube-proxy's metrics, with its names, labels and buckets.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, exponential_buckets,
};

use crate::health::Family;

/// The metrics. Labels are `ip_family` where kube-proxy has it.
#[derive(Clone, Debug)]
pub struct KubeProxy {
    /// One plan, whole or in part, applied.
    pub sync: HistogramVec,
    /// The first plan after a start, which looks at everything.
    pub sync_full: HistogramVec,
    /// Every other plan.
    pub sync_partial: HistogramVec,
    /// When the maps last followed.
    pub last_sync: GaugeVec,
    /// When a change last arrived.
    pub last_queued: GaugeVec,
    /// A97.
    pub network_programming: HistogramVec,
    /// EndpointSlice changes not yet in the maps.
    pub endpoint_changes_pending: IntGauge,
    /// EndpointSlice changes seen.
    pub endpoint_changes: IntCounter,
    /// Service changes not yet in the maps.
    pub service_changes_pending: IntGauge,
    /// Service changes seen.
    pub service_changes: IntCounter,
    /// Services that a Local policy leaves without an endpoint here; by `traffic_policy`, too.
    pub no_local_endpoints: IntGaugeVec,
    /// Answers of /healthz by `code`.
    pub healthz: IntCounterVec,
    /// Answers of /livez by `code`.
    pub livez: IntCounterVec,
    /// `/metrics/slis`: the last result of the metrics port's own /healthz.
    pub healthcheck: IntGaugeVec,
    /// `/metrics/slis`: all its results.
    pub healthchecks: IntCounterVec,
}

const FAMILY: &[&str] = &["ip_family"];

impl KubeProxy {
    /// Registers all of them.
    pub(super) fn new(registry: &Registry, slis: &Registry) -> prometheus::Result<Self> {
        let metrics = Self {
            sync: latency("sync_proxy_rules", "a sync of Services and EndpointSlices to the maps")?,
            sync_full: latency("sync_full_proxy_rules", "a sync of everything")?,
            sync_partial: latency("sync_partial_proxy_rules", "a sync of what changed")?,
            last_sync: timestamp(
                "sync_proxy_rules_last",
                "When the maps last followed Services and EndpointSlices",
            )?,
            last_queued: timestamp("sync_proxy_rules_last_queued", "When a change last arrived")?,
            network_programming: histogram(
                "network_programming_duration_seconds",
                "Time from the change of a Service or Pod to its being in the maps",
                programming_buckets(),
            )?,
            endpoint_changes_pending: pending("endpoint", "EndpointSlice")?,
            endpoint_changes: changes("endpoint", "EndpointSlice")?,
            service_changes_pending: pending("service", "Service")?,
            service_changes: changes("service", "Service")?,
            no_local_endpoints: IntGaugeVec::new(
                opts(
                    "sync_proxy_rules_no_local_endpoints_total",
                    "Services with a Local traffic policy and no endpoint on this node",
                ),
                &["ip_family", "traffic_policy"],
            )?,
            healthz: answers("healthz")?,
            livez: answers("livez")?,
            healthcheck: IntGaugeVec::new(
                Opts::new("kubernetes_healthcheck", "The last result of a health check"),
                &["name", "type"],
            )?,
            healthchecks: IntCounterVec::new(
                Opts::new("kubernetes_healthchecks_total", "Results of health checks"),
                &["name", "status", "type"],
            )?,
        };
        metrics.register(registry, slis)?;
        metrics.show_zeros();
        Ok(metrics)
    }

    fn register(&self, registry: &Registry, slis: &Registry) -> prometheus::Result<()> {
        let conntrack_sync = latency(
            "conntrack_reconciler_sync",
            "a clean-up of conntrack; the datapath needs none",
        )?;
        let conntrack_deleted = IntCounterVec::new(
            opts(
                "conntrack_reconciler_deleted_entries_total",
                "Entries deleted from conntrack; the datapath needs none deleted",
            ),
            FAMILY,
        )?;
        for family in Family::BOTH {
            conntrack_sync.with_label_values(&[family.label()]);
            conntrack_deleted.with_label_values(&[family.label()]);
        }
        for histogram in [
            &self.sync,
            &self.sync_full,
            &self.sync_partial,
            &self.network_programming,
            &conntrack_sync,
        ] {
            registry.register(Box::new(histogram.clone()))?;
        }
        for counter in [&self.healthz, &self.livez, &conntrack_deleted] {
            registry.register(Box::new(counter.clone()))?;
        }
        registry.register(Box::new(self.last_sync.clone()))?;
        registry.register(Box::new(self.last_queued.clone()))?;
        registry.register(Box::new(self.endpoint_changes_pending.clone()))?;
        registry.register(Box::new(self.endpoint_changes.clone()))?;
        registry.register(Box::new(self.service_changes_pending.clone()))?;
        registry.register(Box::new(self.service_changes.clone()))?;
        registry.register(Box::new(self.no_local_endpoints.clone()))?;
        slis.register(Box::new(self.healthcheck.clone()))?;
        slis.register(Box::new(self.healthchecks.clone()))
    }

    /// Series that exist from the start, so that rates and alerts have something to stand on.
    fn show_zeros(&self) {
        for family in Family::BOTH.map(Family::label) {
            self.sync.with_label_values(&[family]);
            self.sync_full.with_label_values(&[family]);
            self.sync_partial.with_label_values(&[family]);
            self.last_sync.with_label_values(&[family]);
            self.last_queued.with_label_values(&[family]);
            self.network_programming.with_label_values(&[family]);
            for policy in ["internal", "external"] {
                self.no_local_endpoints.with_label_values(&[family, policy]);
            }
        }
        for code in ["200", "503"] {
            self.healthz.with_label_values(&[code]);
            self.livez.with_label_values(&[code]);
        }
    }

    /// Counts an answer of the metrics port's own /healthz.
    pub fn count_ping(&self) {
        self.healthcheck.with_label_values(&["ping", "healthz"]).set(1);
        self.healthchecks.with_label_values(&["ping", "success", "healthz"]).inc();
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("kubeproxy_{name}"), help)
}

/// `…_duration_seconds` with the buckets that kube-proxy has for what it does itself.
fn latency(name: &str, of: &str) -> prometheus::Result<HistogramVec> {
    let buckets = exponential_buckets(0.001, 2.0, 15)?;
    histogram(&format!("{name}_duration_seconds"), &format!("Duration of {of}"), buckets)
}

fn timestamp(name: &str, help: &str) -> prometheus::Result<GaugeVec> {
    GaugeVec::new(opts(&format!("{name}_timestamp_seconds"), help), FAMILY)
}

fn pending(what: &str, kind: &str) -> prometheus::Result<IntGauge> {
    let help = format!("{kind} changes that are not in the maps yet");
    IntGauge::with_opts(opts(&format!("sync_proxy_rules_{what}_changes_pending"), &help))
}

fn changes(what: &str, kind: &str) -> prometheus::Result<IntCounter> {
    let name = format!("sync_proxy_rules_{what}_changes_total");
    IntCounter::with_opts(opts(&name, &format!("{kind} changes")))
}

fn answers(path: &str) -> prometheus::Result<IntCounterVec> {
    let opts = opts(&format!("proxy_{path}_total"), &format!("Answers of /{path} by code"));
    IntCounterVec::new(opts, &["code"])
}

fn histogram(name: &str, help: &str, buckets: Vec<f64>) -> prometheus::Result<HistogramVec> {
    let opts = HistogramOpts::new(format!("kubeproxy_{name}"), help).buckets(buckets);
    HistogramVec::new(opts, FAMILY)
}

/// kube-proxy's: 0, ¼ s and ½ s, then each second of the first minute, every 5 s of the second,
/// every 30 s up to 5 minutes.
fn programming_buckets() -> Vec<f64> {
    let first = [0.0, 0.25, 0.5].into_iter();
    let seconds = (1..=59).map(f64::from);
    let fives = (60..120).step_by(5).map(f64::from);
    let thirties = (120..=300).step_by(30).map(f64::from);
    first.chain(seconds).chain(fives).chain(thirties).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_buckets_are_kube_proxys() {
        let buckets = programming_buckets();
        assert_eq!(buckets.len(), 3 + 59 + 12 + 7);
        assert_eq!(
            (buckets[1], buckets[73], buckets[74], buckets[80]),
            (0.25, 115.0, 120.0, 300.0)
        );
        assert!(buckets.is_sorted());
    }
}
