//! What the maps should hold, computed from objects alone: no clock, no randomness, no I/O, no
//! failure.
//!
//! Events go in, a [`plan::Plan`] comes out; whoever runs it asks [`Model::allows`] before each
//! write and tells [`Model::wrote`] after each that succeeded. What failed is in the next plan.

mod backends;
pub mod built;
mod counts;
mod delta;
mod endpoint;
mod expand;
pub(crate) mod family;
pub mod figures;
mod frontends;
pub mod health;
mod ids;
mod ledger;
pub mod limits;
pub mod maglev;
pub mod mirror;
pub mod name;
mod node;
mod objects;
pub mod op;
pub mod plan;
mod prefixes;
pub mod problem;
pub mod quarantine;
mod ranges;
mod refresh;
mod restore;
mod settings;
mod shortage;
mod slots;
mod sources;
pub mod spec;
mod tables;
pub mod text;
mod topology;
mod update;
mod validate;
pub mod why;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use sluice_common::{
    net::{V4, V6},
    settings::Settings,
};

use ledger::{Ledger, Origin};
use limits::Limits;
use mirror::Mirror;
use name::{PortKey, Services};
use objects::Objects;
use op::Op;
use plan::Plan;
use problem::Problem;
use spec::{Algorithm, Event, ObjectName};
use tables::Tables;
use update::Held;

/// What the model is told once.
#[derive(Clone, Debug, Default)]
pub struct ModelConfig {
    /// Name of the own node (A8).
    pub node_name: String,
    /// Sizes of the maps.
    pub limits: Limits,
    /// How backends are chosen for Services that do not say.
    pub algorithm: Algorithm,
}

/// What one service port has in the maps.
#[derive(Debug)]
struct HeldPort {
    id: u32,
    v4: Held<V4>,
    v6: Held<V6>,
}

/// Objects, what follows from them, and what of that has been written.
#[derive(Debug)]
pub struct Model {
    node_name: String,
    algorithm: Algorithm,
    zone: String,
    local_addresses: BTreeSet<IpAddr>,
    primary_addresses: Vec<IpAddr>,
    /// `None` until they have been told.
    service_cidrs: Option<Vec<IpNet>>,
    /// How many of them do not fit, IPv4 and IPv6.
    refused_cidrs: [usize; 2],
    objects: Objects,
    held: BTreeMap<ObjectName, BTreeMap<Arc<PortKey>, HeldPort>>,
    services: Services,
    v4: Tables<V4>,
    v6: Tables<V6>,
    /// What the controller decided of the settings.
    base: Option<Settings>,
    /// The settings as written.
    settings: Option<Settings>,
    ledger: Ledger,
    outward: health::Outward,
    /// Services of which something did not fit.
    starved: BTreeSet<ObjectName>,
    /// Whether the first plan after listing is still to come.
    is_first: bool,
    /// Whether the own Node has been told, or is not waited for (any more).
    knows_node: bool,
    /// When time began to be told.
    began: Option<Duration>,
}

impl Model {
    /// A model that knows of nothing and believes the maps empty.
    pub fn new(config: ModelConfig) -> Self {
        let limits = config.limits;
        Self {
            node_name: config.node_name,
            algorithm: config.algorithm,
            zone: String::new(),
            local_addresses: BTreeSet::new(),
            primary_addresses: Vec::new(),
            service_cidrs: None,
            refused_cidrs: [0; 2],
            objects: Objects::default(),
            held: BTreeMap::new(),
            services: Services::new(limits.services),
            v4: Tables::new(&limits),
            v6: Tables::new(&limits),
            base: None,
            settings: None,
            ledger: Ledger::default(),
            outward: health::Outward::default(),
            starved: BTreeSet::new(),
            is_first: true,
            knows_node: true,
            began: None,
        }
    }

    /// A model that starts from what pinned maps hold (A90): ids and ranges stay as they are, and
    /// what no object asks for goes with the first plan.
    pub fn adopt(config: ModelConfig, mirror: Mirror) -> Self {
        let mut model = Self::new(config);
        let used: Vec<u32> = mirror.services_used().collect();
        model.services.adopt(mirror.services, &used);
        model.v4.adopt(mirror.v4);
        model.v6.adopt(mirror.v6);
        model.settings = mirror.settings;
        model.knows_node = false;
        model
    }

    /// Takes note of a change; [`Self::plan`] acts on it.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Services(change) => self.objects.change_services(change),
            Event::Slices(change) => self.objects.change_slices(change),
            Event::Node(node) => self.set_node(node),
            Event::ServiceCidrs(nets) => self.set_service_cidrs(nets),
            Event::Problem(problem) => {
                self.ledger.add(Origin::Source(problem.subject.clone()), problem);
            }
            Event::Cleared(subject) => self.ledger.set(Origin::Source(subject), Vec::new()),
        }
    }

    /// What is to be written now, and the Problems that came up since the last call.
    ///
    /// Nothing but the controller's settings until [`Self::is_listed`]. Costs as much as what
    /// changed, plus what failed before.
    pub fn plan(&mut self) -> (Plan, Vec<Problem>) {
        if !self.is_listed() {
            let plan = Plan { settings: self.pending_settings(), ..Plan::default() };
            return (plan, self.ledger.take_new());
        }
        for name in self.objects.take_dirty() {
            self.refresh(&name);
        }
        if std::mem::take(&mut self.is_first) {
            self.services.delta.touch_all();
            self.v4.drop_adopted();
            self.v6.drop_adopted();
        }
        self.note_disputes();
        (self.pending(), self.ledger.take_new())
    }

    /// Whether a write's own preconditions have been written. If not, it waits for a later plan.
    pub fn allows(&self, op: &Op) -> bool {
        match op {
            Op::NameService(..) | Op::Settings(_) => true,
            Op::ForgetService(id) => !self.v4.uses(*id) && !self.v6.uses(*id),
            Op::V4(op) => self.is_named(op.service()) && self.v4.allows(op),
            Op::V6(op) => self.is_named(op.service()) && self.v6.allows(op),
        }
    }

    /// Takes note of a write that succeeded.
    pub fn wrote(&mut self, op: &Op) {
        match op {
            Op::NameService(id, name) => self.services.delta.wrote(*id, Some(*name)),
            Op::ForgetService(id) => self.services.forgot(*id),
            Op::Settings(settings) => self.settings = Some(*settings),
            Op::V4(op) => self.v4.wrote(op),
            Op::V6(op) => self.v6.wrote(op),
        }
    }

    /// Tells the time, from any fixed start, so that what was retired long enough ago is reused.
    pub fn tick(&mut self, now: Duration) {
        self.wait_for_node(now);
        let freed = [self.services.tick(now), self.v4.tick(now), self.v6.tick(now)];
        self.v4.frontends.retry();
        self.v6.frontends.retry();
        if freed.contains(&true) {
            self.want_service_cidrs();
            for name in std::mem::take(&mut self.starved) {
                self.objects.mark(name);
            }
        }
    }

    /// Whether Services and EndpointSlices have been listed (A90), and, where there are maps to adopt,
    /// the own Node is known: without its zone and addresses a restart would change what the maps
    /// say, and then change it back. A Node that does not come is not waited for longer than
    /// kube-proxy does (A17).
    pub fn is_listed(&self) -> bool {
        self.objects.are_listed() && self.knows_node
    }

    /// Whether the maps hold everything that is wanted.
    pub fn is_settled(&self) -> bool {
        let pending = (self.is_listed() && self.objects.are_dirty())
            || self.services.delta.has_pending()
            || self.v4.has_pending()
            || self.v6.has_pending()
            || self.pending_settings().is_some();
        !pending
    }

    /// Every Problem there is.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.ledger.all().into_iter()
    }

    /// An id is given away again when its name is gone, so nothing uses one without a name.
    fn is_named(&self, service: Option<u32>) -> bool {
        service.is_none_or(|id| self.services.delta.is_settled(&id))
    }

    fn pending(&self) -> Plan {
        let mut plan = Plan {
            v4: self.v4.plan(),
            v6: self.v6.plan(),
            settings: self.pending_settings(),
            tables: self.v4.builds().chain(self.v6.builds()).collect(),
            ..Plan::default()
        };
        for (id, name) in self.services.delta.pending() {
            match name {
                Some(name) => plan.name_services.push((id, name)),
                None => plan.forget_services.push(id),
            }
        }
        plan
    }
}
