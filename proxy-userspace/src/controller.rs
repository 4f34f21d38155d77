//! The loop: what sources and the node report goes through the model into the maps.

mod arrivals;
mod audit;
mod flows;
pub(crate) mod settings;
mod sockets;
mod tables;
mod upkeep;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    config::Config,
    dataplane::{
        apply,
        aya::{cgroup, interfaces::Interfaces, load, maps::KernelMaps, probe, read, stale},
    },
    model::{
        Model,
        problem::Problem,
        spec::{Event, NodeSpec},
    },
    node::{self, NodeState},
    report::Reports,
    vitals::Vitals,
};
use audit::Auditor;
use flows::FlowSweeper;
use sockets::StaleSocketWatch;
use tables::TableBuilder;

/// Events that a source may be ahead of the loop.
const QUEUE: usize = 4096;
/// Events taken together into one plan, so that a burst is written once and signals still count.
const BATCH: usize = 1024;
/// How often what was retired is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Waits before a failed write is tried again: from, to.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// Runs the proxy until SIGTERM or SIGINT. The datapath stays in place.
pub async fn run(config: Config, reports: Reports, vitals: Arc<Vitals>) -> anyhow::Result<()> {
    let mut controller = Controller::start(config.clone(), reports, vitals)?;
    let (sender, arrivals) = mpsc::channel(QUEUE);
    let (stamped, mut events) = mpsc::channel(QUEUE);
    let source =
        tokio::spawn(arrivals::follow(config.clone(), controller.reports.requests(), sender));
    tokio::spawn(arrivals::stamp(arrivals, stamped, controller.reports.health()));
    let (node_config, configs) = watch::channel(controller.node_config());
    let mut nodes = node::watch(configs).await.context("following the node's interfaces")?;
    controller.follow_node(nodes.borrow_and_update().clone());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut audit_now = signal(SignalKind::user_defined1())?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut verifications = interval(upkeep::VERIFY);
    verifications.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let retry_at = controller.retry_at;
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            count = events.recv_many(&mut batch, BATCH) => {
                if count == 0 {
                    source.await?;
                    anyhow::bail!("the source of Services ended");
                }
                controller.take(batch.drain(..));
                controller.tell_node_watch(&node_config);
            }
            changed = nodes.changed() => {
                changed.context("following the node's interfaces ended")?;
                controller.follow_node(nodes.borrow_and_update().clone());
            }
            _ = ticks.tick() => {
                controller.tick();
                controller.tell_node_watch(&node_config);
            }
            _ = verifications.tick() => controller.verify(),
            _ = audit_now.recv() => controller.auditor.look(),
            found = controller.auditor.read() => controller.audit(&found),
            built = controller.tables.done() => controller.take_tables(built),
            () = wait_until(retry_at) => controller.write(),
        }
    }
    tracing::info!("stopping; the datapath stays in place and goes on forwarding");
    Ok(())
}

/// Sleeps until `when`, or for ever.
async fn wait_until(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when.into()).await,
        None => std::future::pending().await,
    }
}

struct Controller {
    config: Config,
    reports: Reports,
    model: Model,
    maps: KernelMaps,
    interfaces: Interfaces,
    sockets: StaleSocketWatch,
    auditor: Auditor,
    tables: TableBuilder,
    _flows: FlowSweeper,
    vitals: Arc<Vitals>,
    cgroup_root: PathBuf,
    features: probe::Features,
    netns_cookie: u64,
    node: NodeSpec,
    started: Instant,
    /// Whether interfaces have been attached once.
    attached: bool,
    /// Whether readiness has been announced.
    ready: bool,
    retry_at: Option<Instant>,
    retry_after: Duration,
    /// Interfaces and addresses as last reported.
    node_state: NodeState,
    /// What of them could not be attached or written.
    interface_problems: Vec<Problem>,
    /// What the last look at programs and pins found.
    upkeep_problems: Vec<Problem>,
}

impl Controller {
    /// Loads programs onto maps, old or new, and takes up what the maps hold.
    fn start(config: Config, reports: Reports, vitals: Arc<Vitals>) -> anyhow::Result<Self> {
        let features = probe::features()?;
        let programs = load::load(&settings::load_options(&config))?;
        let mut maps = KernelMaps::open(&programs.pins)?;
        let (tables, builders) = TableBuilder::start(&programs.pins)?;
        maps.build_elsewhere(builders);
        let mirror = read::read_mirror(&programs.pins)?;
        let cgroup_root = match &config.cgroup_root {
            Some(root) => root.clone(),
            None => cgroup::find_root()?,
        };
        let model_config = settings::model_config(&config);
        let mut controller = Self {
            netns_cookie: probe::netns_cookie()?,
            sockets: StaleSocketWatch::start(&programs.pins, Arc::clone(&vitals)),
            auditor: Auditor::start(&programs.pins)?,
            tables,
            _flows: FlowSweeper::start(&programs.pins, Arc::clone(&vitals))?,
            vitals,
            cgroup_root,
            model: Model::adopt(model_config, mirror),
            interfaces: Interfaces::new(programs, features)?.with_xdp(config.xdp),
            config,
            reports,
            maps,
            features,
            node: NodeSpec::default(),
            started: Instant::now(),
            attached: false,
            ready: false,
            retry_at: None,
            retry_after: RETRY.0,
            node_state: NodeState::default(),
            interface_problems: Vec::new(),
            upkeep_problems: Vec::new(),
        };
        controller.decide();
        controller.write();
        cgroup::attach(controller.interfaces.programs(), &controller.cgroup_root)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            node = controller.config.node_name,
            tcx = controller.features.tcx,
            "started"
        );
        Ok(controller)
    }

    fn node_config(&self) -> node::Config {
        let provisional = !self.model.is_listed();
        node::Config { provisional, ..settings::node_config(&self.config, &self.node) }
    }

    /// Has interfaces and addresses looked at anew if it matters what is known of the Node by now.
    fn tell_node_watch(&self, node_config: &watch::Sender<node::Config>) {
        let config = self.node_config();
        node_config.send_if_modified(|told| std::mem::replace(told, config.clone()) != config);
    }

    /// Takes what a source reports.
    fn take(&mut self, events: impl Iterator<Item = (Instant, Event)>) {
        for (arrived, event) in events {
            self.reports.arrived(&event, arrived);
            if let Event::Node(node) = &event
                && self.node != *node
            {
                self.node = node.clone();
                self.decide();
            }
            self.model.handle(event);
        }
        self.write();
    }

    /// Takes the node's interfaces and addresses.
    fn follow_node(&mut self, state: NodeState) {
        let problems = self.interfaces.reconcile(&state);
        for problem in problems.iter().filter(|p| !self.interface_problems.contains(p)) {
            tracing::warn!("{problem}");
            self.reports.problem(problem);
        }
        self.reports.interfaces(
            self.interfaces.attached().count(),
            problems.len(),
            settings::restricted_node_ports(&self.config, &state),
        );
        self.interface_problems = problems;
        self.model.set_local_addresses(state.local_addresses());
        self.node_state = state;
        self.attached = true;
        self.write();
    }

    fn tick(&mut self) {
        self.model.tick(self.started.elapsed());
        self.reports.look(&self.model);
        if !self.interface_problems.is_empty() {
            // An interface that could not be attached is tried again, not only at the next change.
            self.follow_node(self.node_state.clone());
        }
        if !self.model.is_settled() && self.retry_at.is_none() {
            self.write();
        }
    }

    /// Brings the maps to what the model wants.
    fn write(&mut self) {
        self.retry_at = None;
        let (plan, problems) = self.model.plan();
        for problem in problems {
            tracing::warn!("{problem}");
            self.reports.problem(&problem);
        }
        let began = Instant::now();
        let report = apply(&plan, &mut self.maps, &mut self.model);
        self.reports.synced(&mut self.model, &report, began.elapsed());
        for failure in &report.failures {
            tracing::error!("{failure}");
        }
        if report.written > 0 {
            tracing::debug!(writes = report.written, took = ?began.elapsed(), "programmed");
        }
        if stale::concerns(&plan) {
            self.sockets.look();
        }
        match report.is_complete() {
            true => self.retry_after = RETRY.0,
            // What is deferred waits for tables, whose thread will tell.
            false if report.failed == 0 && self.model.is_building() => {}
            false => self.retry_later(),
        }
        self.announce();
    }

    fn retry_later(&mut self) {
        self.retry_at = Some(Instant::now() + self.retry_after);
        self.retry_after = (self.retry_after * 2).min(RETRY.1);
    }

    /// Tells the model what follows from the configuration and the Node object.
    fn decide(&mut self) {
        let csum_ipv6 = self.features.csum_ipv6;
        let cookie = self.netns_cookie;
        self.model.set_settings(settings::settings(&self.config, &self.node, cookie, csum_ipv6));
        self.model.set_primary_addresses(settings::primary_addresses(&self.config, &self.node));
    }

    fn announce(&mut self) {
        if !self.ready && self.attached && self.model.is_listed() && self.model.is_settled() {
            self.ready = true;
            self.reports.ready();
            tracing::info!(after = ?self.started.elapsed(), "datapath ready");
        }
    }
}
