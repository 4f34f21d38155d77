//! What the controller's loop tells the outside: metrics, health, health checks and Events. Nothing
//! here waits, and nothing can fail.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use crate::{
    config::Sizes,
    dataplane::Report,
    events::{Events, Message},
    health::{Checks, Family, Health, Moment, checks::targets},
    metrics::Metrics,
    model::{
        Model,
        health::{HealthCheck, NoLocal},
        problem::Problem,
        spec::{Change, Event, ObjectName, Trigger},
    },
    source::kube::Observer,
};

/// The ways out.
#[derive(Debug)]
pub struct Reports {
    metrics: Metrics,
    health: Health,
    events: Events,
    checks: watch::Sender<Checks>,
    node_ports: Option<BTreeSet<IpAddr>>,
    wanted_checks: BTreeMap<ObjectName, HealthCheck>,
    /// Triggers older than this are another process's (A97).
    started: Duration,
    /// Of changes that are not in the maps yet.
    triggers: Vec<Trigger>,
    /// Arrival of the oldest change that is not in the maps yet.
    oldest: Option<Instant>,
    /// Whether everything has been looked at once.
    full_sync_done: bool,
    interface_problems: usize,
}

impl Reports {
    /// Reports through these; `sizes` are the maps'.
    pub fn new(
        metrics: Metrics,
        health: Health,
        events: Events,
        checks: watch::Sender<Checks>,
        sizes: &Sizes,
    ) -> Self {
        show_sizes(&metrics, sizes);
        Self {
            metrics,
            health,
            events,
            checks,
            node_ports: None,
            wanted_checks: BTreeMap::new(),
            started: since_epoch(),
            triggers: Vec::new(),
            oldest: None,
            full_sync_done: false,
            interface_problems: 0,
        }
    }

    /// For whoever asks the API server.
    pub fn requests(&self) -> Observer {
        self.metrics.rest_client().observer()
    }

    /// For whoever notes arrivals while the loop may be stuck.
    pub fn health(&self) -> Health {
        self.health.clone()
    }

    /// A source reported something, at `arrived`.
    pub fn arrived(&mut self, event: &Event, arrived: Instant) {
        let metrics = self.metrics.kube_proxy();
        let changes = match event {
            Event::Services(change) => {
                let count = size(change);
                metrics.service_changes.inc_by(count);
                metrics.service_changes_pending.add(count.cast_signed());
                count
            }
            Event::Slices(change) => {
                let count = size(change);
                metrics.endpoint_changes.inc_by(count);
                metrics.endpoint_changes_pending.add(count.cast_signed());
                // A list that is repeated repeats old triggers, so only single changes count.
                if let Change::Apply(_, slice) = change {
                    let own = |trigger: &Trigger| trigger.at >= self.started;
                    self.triggers.extend(slice.trigger.filter(own));
                }
                count
            }
            Event::Node(node) => {
                self.health.set_leaving(node.leaving);
                return;
            }
            Event::ServiceCidrs(_) | Event::Problem(_) | Event::Cleared(_) => return,
        };
        if changes > 0 {
            self.oldest.get_or_insert(arrived);
            self.health.queued(arrived);
            let now = since_epoch().as_secs_f64();
            for family in Family::BOTH {
                metrics.last_queued.with_label_values(&[family.label()]).set(now);
            }
        }
    }

    /// Something cannot be used as it is.
    pub fn problem(&self, problem: &Problem) {
        self.events.tell(Message::about_problem(problem));
    }

    /// Interfaces were attached and detached, and node addresses changed. `node_ports` are the
    /// addresses that serve NodePorts, if not all do.
    pub fn interfaces(
        &mut self,
        attached: usize,
        problems: usize,
        node_ports: Option<BTreeSet<IpAddr>>,
    ) {
        self.metrics.own().interfaces.set(i64::try_from(attached).unwrap_or(i64::MAX));
        self.interface_problems = problems;
        if self.node_ports != node_ports {
            self.node_ports = node_ports;
            self.serve_checks();
        }
    }

    /// A plan was applied, in `took`.
    pub fn synced(&mut self, model: &mut Model, report: &Report, took: Duration) {
        self.count_writes(report);
        for failure in &report.failures {
            self.events.tell(Message::about_node(true, "FailedToWriteMaps", failure));
        }
        if let Some(checks) = model.changed_health_checks() {
            self.wanted_checks = checks;
            self.serve_checks();
        }
        for (map, entries) in model.figures() {
            let entries = i64::try_from(entries).unwrap_or(i64::MAX);
            self.metrics.own().entries.with_label_values(&[map]).set(entries);
        }
        if !model.is_listed() {
            return;
        }
        self.time_sync(took);
        self.show_no_local(model);
        if report.is_complete() {
            self.caught_up();
        }
    }

    /// Once a second: what costs too much to look at after every plan.
    pub fn look(&self, model: &Model) {
        let interfaces = std::iter::repeat_n("interface", self.interface_problems);
        let problems = model.problems().map(|problem| problem.subject.kind());
        self.metrics.own().set_problems(problems.chain(interfaces));
    }

    /// The datapath is ready.
    pub fn ready(&self) {
        self.metrics.own().ready.set(1);
    }

    fn serve_checks(&self) {
        let targets = targets(&self.wanted_checks, self.node_ports.as_ref());
        self.checks.send_if_modified(|old| {
            let changed = *old != targets;
            *old = targets;
            changed
        });
    }

    fn count_writes(&self, report: &Report) {
        let counts =
            [("ok", report.written), ("failed", report.failed), ("deferred", report.deferred)];
        for (result, count) in counts {
            self.metrics.own().writes.with_label_values(&[result]).inc_by(count as u64);
        }
    }

    fn time_sync(&mut self, took: Duration) {
        let metrics = self.metrics.kube_proxy();
        let partial = std::mem::replace(&mut self.full_sync_done, true);
        let kind = if partial { &metrics.sync_partial } else { &metrics.sync_full };
        for family in Family::BOTH.map(Family::label) {
            metrics.sync.with_label_values(&[family]).observe(took.as_secs_f64());
            kind.with_label_values(&[family]).observe(took.as_secs_f64());
        }
    }

    fn show_no_local(&self, model: &Model) {
        let counts = model.no_local_endpoints();
        for v6 in [false, true] {
            for external in [false, true] {
                let count = counts.get(&NoLocal { v6, external }).copied().unwrap_or(0);
                let policy = if external { "external" } else { "internal" };
                let labels = [family(v6).label(), policy];
                let gauge = self.metrics.kube_proxy().no_local_endpoints.with_label_values(&labels);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// The maps hold everything that has arrived.
    fn caught_up(&mut self) {
        let (metrics, now) = (self.metrics.kube_proxy(), since_epoch());
        for trigger in self.triggers.drain(..) {
            let took = now.saturating_sub(trigger.at).as_secs_f64();
            let family = family(trigger.v6).label();
            metrics.network_programming.with_label_values(&[family]).observe(took);
        }
        metrics.endpoint_changes_pending.set(0);
        metrics.service_changes_pending.set(0);
        for family in Family::BOTH {
            metrics.last_sync.with_label_values(&[family.label()]).set(now.as_secs_f64());
            self.health.updated(family, Moment::now());
        }
        if let Some(arrived) = self.oldest.take() {
            self.metrics.own().programming.observe(arrived.elapsed().as_secs_f64());
        }
    }
}

const fn family(v6: bool) -> Family {
    if v6 { Family::V6 } else { Family::V4 }
}

fn size<K, T>(change: &Change<K, T>) -> u64 {
    match change {
        Change::Replace(all) => all.len() as u64,
        Change::Apply(..) | Change::Delete(_) => 1,
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

fn show_sizes(metrics: &Metrics, sizes: &Sizes) {
    for (map, size) in [
        ("SERVICES", sizes.max_services),
        ("FRONTENDS_V4", sizes.max_frontends),
        ("FRONTENDS_V6", sizes.max_frontends),
        ("BACKENDS_V4", sizes.max_backends),
        ("BACKENDS_V6", sizes.max_backends),
        ("SLOTS_V4", sizes.max_slots),
        ("SLOTS_V6", sizes.max_slots),
        ("FLOWS_V4", sizes.max_flows),
        ("FLOWS_V6", sizes.max_flows),
    ] {
        metrics.own().max_entries.with_label_values(&[map]).set(size.into());
    }
}
