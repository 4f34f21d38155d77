//! The maps of one address family: what they should hold, what they do, what may be written next.

use std::{collections::BTreeMap, time::Duration};

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, Range, flags},
    net::V6,
    prefix::SERVICE_CIDRS,
};

use super::{
    backends::Backends,
    counts::Counts,
    frontends::Frontends,
    limits::Limits,
    maglev::{self, Member},
    mirror::FamilyMirror,
    op::MapOp,
    plan::{Build, FamilyPlan},
    prefixes::Prefixes,
    slots::{Named, Slots},
};

/// The maps of one family.
#[derive(Debug)]
pub(super) struct Tables<const N: usize> {
    pub(super) frontends: Frontends<N>,
    pub(super) backends: Backends<N>,
    pub(super) slots: Slots,
    pub(super) prefixes: Prefixes<N>,
    /// Service ids, by written frontend, backend and prefix.
    uses: Counts<u32>,
    /// The backends that one service port may have.
    pub(super) backends_share: usize,
    /// The source ranges that one service port may have.
    pub(super) prefixes_share: usize,
}

impl<const N: usize> Tables<N> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            frontends: Frontends::new(limits.frontends),
            backends: Backends::new(limits.backends),
            slots: Slots::new(limits.slots),
            prefixes: Prefixes::new(limits.prefixes),
            uses: Counts::default(),
            backends_share: limits.backends_share(),
            prefixes_share: limits.prefixes_share(),
        }
    }

    /// Takes over what the maps hold; all of it stays until [`Self::drop_adopted`].
    pub(super) fn adopt(&mut self, mirror: FamilyMirror<N>) {
        let ranges = |frontend: &Frontend| {
            let is_hashed = frontend.flags & flags::HASHED != 0;
            let service = frontend.service;
            [frontend.cluster, frontend.local].map(|range| Named { service, range, is_hashed })
        };
        let named = mirror.frontends.values().flat_map(ranges);
        self.slots.adopt(mirror.slots, named.filter(|named| named.range.len > 0).collect());
        for frontend in mirror.frontends.values() {
            self.count_in(frontend);
        }
        for backend in mirror.backends.values().filter(|backend| backend.flags != 0) {
            self.uses.add(backend.service);
        }
        for prefix in &mirror.prefixes {
            self.uses.add(prefix.scope);
        }
        self.prefixes.adopt(&mirror.prefixes);
        self.backends.adopt(mirror.backends);
        self.frontends.adopt(mirror.frontends);
    }

    /// Everything was seen: what was adopted and is not wanted may go (A90).
    pub(super) fn drop_adopted(&mut self) {
        self.frontends.drop_adopted();
        self.backends.drop_adopted();
        self.slots.drop_adopted();
        self.prefixes.drop_adopted();
    }

    /// What is to be written, in phases.
    pub(super) fn plan(&self) -> FamilyPlan<N> {
        let mut plan = FamilyPlan {
            add_prefixes: self.prefixes.additions().collect(),
            narrow_prefixes: self.prefixes.removals(true).collect(),
            retire_prefixes: self.prefixes.removals(false).collect(),
            ..FamilyPlan::default()
        };
        for (key, value) in self.frontends.pending() {
            match value {
                Some(value) => plan.switch_frontend(key, value),
                None => plan.retire_frontends.push(key),
            }
        }
        for (id, value) in self.backends.delta.pending() {
            match value {
                Some(value) if self.backends.demotes(id, &value) => {
                    plan.retire_backends.push((id, value));
                }
                Some(value) => plan.upsert_backends.push((id, value)),
                None => plan.retire_backends.extend(self.backends.retired(id).map(|b| (id, b))),
            }
        }
        for (slot, id) in self.slots.delta.pending() {
            plan.fill_slots.extend(id.map(|id| (slot, id)));
        }
        plan
    }

    /// The tables that are to be written.
    pub(super) fn builds(&self) -> impl Iterator<Item = Build> {
        let members = |ids| members(ids, self.backends.delta.wanted());
        let due = self.slots.built.due();
        due.map(move |(range, ids)| Build { v6: N == V6, range, members: members(ids) })
    }

    /// Whether everything that a write relies on has been written.
    pub(super) fn allows(&self, op: &MapOp<N>) -> bool {
        match op {
            MapOp::Frontend(_, None) => true,
            MapOp::Frontend(key, Some(frontend)) => {
                let is = |flag| frontend.flags & flag != 0;
                let ranges = [frontend.cluster, frontend.local];
                ranges.iter().all(|range| self.leads_somewhere(*range))
                    && (!is(flags::SOURCE_RANGES) || self.prefixes.is_settled(frontend.service))
                    && (!is(flags::CLUSTER_IP) || self.frontends.are_served(key.addr))
            }
            MapOp::AddPrefix(_) => true,
            MapOp::RemovePrefix(prefix) => {
                let scope = prefix.scope;
                let is_asked = scope == SERVICE_CIDRS || self.frontends.asks(scope);
                let narrows = self.prefixes.is_complete(scope) && !self.frontends.is_leaving(scope);
                !is_asked || narrows
            }
            MapOp::Slot(_, id) => self.backends.delta.is_settled(id),
            MapOp::Backend(id, backend) if backend.flags == 0 => !self.slots.lists(*id),
            MapOp::Backend(id, backend) => {
                !self.backends.demotes(*id, backend) || !self.slots.lists(*id)
            }
        }
    }

    fn leads_somewhere(&self, range: Range) -> bool {
        let Some(ids) = self.slots.filled(range) else { return false };
        ids.iter().all(|id| self.backends.delta.is_settled(id))
    }

    /// Takes note of a write that succeeded.
    pub(super) fn wrote(&mut self, op: &MapOp<N>) {
        match op {
            MapOp::Frontend(key, value) => {
                let old = self.frontends.written().get(key).copied();
                if let Some(new) = value {
                    self.count_in(new);
                }
                if let Some(old) = old {
                    self.count_out(&old);
                }
                self.frontends.wrote(*key, *value);
            }
            MapOp::Backend(id, backend) => {
                let was = self.backends.is_active(*id);
                if !was && backend.flags != 0 {
                    self.uses.add(backend.service);
                } else if was && backend.flags == 0 {
                    self.uses.remove(&backend.service);
                }
                self.backends.wrote(*id, *backend);
            }
            MapOp::Slot(slot, id) => self.slots.delta.wrote(*slot, Some(*id)),
            MapOp::AddPrefix(prefix) => {
                if self.prefixes.wrote(prefix, true) {
                    self.uses.add(prefix.scope);
                }
            }
            MapOp::RemovePrefix(prefix) => {
                if self.prefixes.wrote(prefix, false) {
                    self.uses.remove(&prefix.scope);
                }
            }
        }
    }

    /// Whether anything in the maps has this service id.
    pub(super) fn uses(&self, service: u32) -> bool {
        self.uses.contains(&service)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.frontends.has_pending()
            || self.backends.delta.has_pending()
            || self.slots.delta.has_pending()
            || self.slots.built.has_pending()
            || self.prefixes.has_pending()
    }

    /// Frees what waited long enough; says whether there was any.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let freed = [self.backends.tick(now), self.slots.tick(now), self.prefixes.take_freed()];
        freed.contains(&true)
    }

    /// What the maps hold.
    pub(super) fn written(&self) -> FamilyMirror<N> {
        let lists = self.slots.delta.written().clone();
        FamilyMirror {
            frontends: self.frontends.written().clone(),
            slots: self.with_tables(lists, false, self.backends.delta.written()),
            backends: self.backends.delta.written().clone(),
            prefixes: self.prefixes.written(),
        }
    }

    /// What the maps should hold.
    pub(super) fn wanted(&self) -> FamilyMirror<N> {
        let lists = self.slots.delta.wanted().clone();
        FamilyMirror {
            frontends: self.frontends.wanted().clone(),
            slots: self.with_tables(lists, true, self.backends.delta.wanted()),
            backends: self.backends.delta.wanted().clone(),
            prefixes: self.prefixes.wanted(),
        }
    }

    /// The slots of lists, and those of the tables, which are computed.
    fn with_tables(
        &self,
        mut slots: BTreeMap<u32, u32>,
        unfilled: bool,
        backends: &BTreeMap<u32, Backend<N>>,
    ) -> BTreeMap<u32, u32> {
        for (range, ids) in self.slots.built.tables(unfilled) {
            slots.extend((range.start..).zip(maglev::table(&members(ids, backends))));
        }
        slots
    }

    fn count_in(&mut self, frontend: &Frontend) {
        self.uses.add(frontend.service);
        self.slots.enliven(frontend.cluster);
        self.slots.enliven(frontend.local);
    }

    fn count_out(&mut self, frontend: &Frontend) {
        self.uses.remove(&frontend.service);
        self.slots.unliven(frontend.cluster);
        self.slots.unliven(frontend.local);
    }
}

/// Backends as a table knows them.
fn members<const N: usize>(ids: &[u32], backends: &BTreeMap<u32, Backend<N>>) -> Vec<Member> {
    let member = |id: &u32| {
        let backend = backends.get(id)?;
        Some(Member { id: *id, key: maglev::key(&backend.addr, backend.port) })
    };
    ids.iter().filter_map(member).collect()
}
