//! The maps of one address family: what they should hold, what they do, what may be written next.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluice_common::{
    backend,
    frontend::{Frontend, FrontendKey, Range},
};

use super::{
    backends::Backends, endpoint::Target, expand::Wanted, family, frontends::Frontends,
    limits::Limits, mirror::FamilyMirror, name::PortKey, op::MapOp, plan::FamilyPlan,
    shortage::Shortage, slots::Slots,
};

/// What a service port has in the maps.
#[derive(Debug)]
pub(super) struct Held<const N: usize> {
    frontends: Vec<FrontendKey<N>>,
    backends: BTreeMap<Target<N>, u32>,
    ranges: Vec<(Vec<u32>, Range)>,
}

impl<const N: usize> Default for Held<N> {
    fn default() -> Self {
        Self { frontends: Vec::new(), backends: BTreeMap::new(), ranges: Vec::new() }
    }
}

/// A service port's id and name.
pub(super) struct Owner<'a> {
    pub(super) id: u32,
    pub(super) key: &'a Arc<PortKey>,
}

/// The maps of one family.
#[derive(Debug)]
pub(super) struct Tables<const N: usize> {
    pub(super) frontends: Frontends<N>,
    backends: Backends<N>,
    slots: Slots,
    /// How many written frontends and backends have a service id.
    uses: BTreeMap<u32, u32>,
    share: usize,
}

impl<const N: usize> Tables<N> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            frontends: Frontends::new(limits.frontends),
            backends: Backends::new(limits.backends),
            slots: Slots::new(limits.slots),
            uses: BTreeMap::new(),
            share: limits.share(),
        }
    }

    /// Takes over what the maps hold; all of it stays until [`Self::drop_adopted`].
    pub(super) fn adopt(&mut self, mirror: FamilyMirror<N>) {
        let ranges = |frontend: &Frontend| {
            [frontend.cluster, frontend.local].map(|range| (frontend.service, range))
        };
        let named = mirror.frontends.values().flat_map(ranges);
        self.slots.adopt(mirror.slots, named.filter(|(_, range)| range.len > 0).collect());
        for frontend in mirror.frontends.values() {
            self.count_in(frontend);
        }
        for backend in mirror.backends.values().filter(|backend| backend.flags != 0) {
            *self.uses.entry(backend.service).or_default() += 1;
        }
        self.backends.adopt(mirror.backends);
        self.frontends.delta.adopt(mirror.frontends);
    }

    /// Everything was seen: what was adopted and is not wanted may go (A90).
    pub(super) fn drop_adopted(&mut self) {
        self.frontends.delta.touch_all();
        self.backends.drop_adopted();
        self.slots.drop_adopted();
    }

    /// Makes a service port hold what is wanted of it.
    pub(super) fn update(
        &mut self,
        owner: &Owner<'_>,
        held: &mut Held<N>,
        wanted: &Wanted<N>,
    ) -> Shortage {
        let proto = family::number(owner.key.protocol);
        let mut shortage = self.want_backends(owner.id, proto, held, wanted);
        let (cluster, local) = self.want_ranges(owner.id, held, wanted, &mut shortage);
        for (key, kind) in &wanted.frontends {
            let value = wanted.value(*kind, owner.id, cluster, local);
            self.frontends.claim(*key, owner.key, value);
        }
        let keys = wanted.frontends.keys().copied().collect();
        for key in std::mem::replace(&mut held.frontends, keys) {
            if !wanted.frontends.contains_key(&key) {
                self.frontends.disclaim(key, owner.key);
            }
        }
        shortage
    }

    /// Those that may be chosen first, in case not all of them fit.
    fn want_backends(
        &mut self,
        service: u32,
        proto: u8,
        held: &mut Held<N>,
        wanted: &Wanted<N>,
    ) -> Shortage {
        let eligible = |flags: u8| flags & backend::flags::ELIGIBLE != 0;
        let first = wanted.backends.iter().filter(|(_, flags)| eligible(**flags));
        let then = wanted.backends.iter().filter(|(_, flags)| !eligible(**flags));
        let excess = wanted.backends.len().saturating_sub(self.share);
        let mut shortage = Shortage { excess, ..Shortage::default() };
        let mut ids = BTreeMap::new();
        for (target, flags) in first.chain(then).take(self.share) {
            let Some(id) = self.backends.want(service, *target, proto, *flags) else {
                shortage.backends += 1;
                continue;
            };
            ids.insert(*target, id);
            if !held.backends.contains_key(target) {
                self.frontends.mark(FrontendKey::new(target.0, target.1, proto));
            }
        }
        let old = std::mem::replace(&mut held.backends, ids);
        for (target, id) in old.iter().filter(|(target, _)| !held.backends.contains_key(target)) {
            self.backends.unwant(service, *target, *id);
            self.frontends.unmark(FrontendKey::new(target.0, target.1, proto));
        }
        shortage
    }

    /// The cluster and the local range. A list that did not change keeps its range; a new one
    /// never overwrites a range in use; equal lists share one.
    fn want_ranges(
        &mut self,
        service: u32,
        held: &mut Held<N>,
        wanted: &Wanted<N>,
        shortage: &mut Shortage,
    ) -> (Range, Range) {
        let mut old = std::mem::take(&mut held.ranges);
        let mut place = |targets: &[Target<N>]| {
            let ids: Vec<u32> =
                targets.iter().filter_map(|t| held.backends.get(t).copied()).collect();
            if ids.is_empty() || wanted.frontends.is_empty() {
                return Range::default();
            }
            if let Some((_, range)) = held.ranges.iter().find(|(list, _)| *list == ids) {
                return *range;
            }
            let keeps = |(list, range): &(Vec<u32>, Range)| {
                *list == ids && !self.slots.could_improve(*range, ids.len())
            };
            let range = match old.iter().position(keeps) {
                Some(found) => old.swap_remove(found).1,
                None => self.slots.place(service, &ids),
            };
            shortage.slots += ids.len() - range.len as usize;
            held.ranges.push((ids, range));
            range
        };
        let ranges = (place(&wanted.choice.cluster), place(&wanted.choice.local));
        for (_, range) in old {
            self.slots.disown(range);
        }
        ranges
    }

    /// What is to be written, in phases.
    pub(super) fn plan(&self) -> FamilyPlan<N> {
        let mut plan = FamilyPlan::default();
        for (key, value) in self.frontends.delta.pending() {
            match value {
                Some(value) => plan.switch_frontends.push((key, value)),
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

    /// Whether everything that a write relies on has been written.
    pub(super) fn allows(&self, op: &MapOp<N>) -> bool {
        match op {
            MapOp::Frontend(_, None) => true,
            MapOp::Frontend(_, Some(frontend)) => {
                [frontend.cluster, frontend.local].iter().all(|range| self.leads_somewhere(*range))
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
                let old = self.frontends.delta.written().get(key).copied();
                if let Some(new) = value {
                    self.count_in(new);
                }
                if let Some(old) = old {
                    self.count_out(&old);
                }
                self.frontends.delta.wrote(*key, *value);
            }
            MapOp::Backend(id, backend) => {
                let was = self.backends.is_active(*id);
                if !was && backend.flags != 0 {
                    *self.uses.entry(backend.service).or_default() += 1;
                } else if was && backend.flags == 0 {
                    self.unuse(backend.service);
                }
                self.backends.wrote(*id, *backend);
            }
            MapOp::Slot(slot, id) => self.slots.delta.wrote(*slot, Some(*id)),
        }
    }

    /// Whether anything in the maps has this service id.
    pub(super) fn uses(&self, service: u32) -> bool {
        self.uses.contains_key(&service)
    }

    pub(super) fn has_pending(&self) -> bool {
        self.frontends.delta.has_pending()
            || self.backends.delta.has_pending()
            || self.slots.delta.has_pending()
    }

    /// Frees what waited long enough; says whether there was any.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let backends = self.backends.tick(now);
        self.slots.tick(now) || backends
    }

    /// What the maps hold.
    pub(super) fn written(&self) -> FamilyMirror<N> {
        FamilyMirror {
            frontends: self.frontends.delta.written().clone(),
            slots: self.slots.delta.written().clone(),
            backends: self.backends.delta.written().clone(),
            ..FamilyMirror::default()
        }
    }

    /// What the maps should hold.
    pub(super) fn wanted(&self) -> FamilyMirror<N> {
        FamilyMirror {
            frontends: self.frontends.delta.wanted().clone(),
            slots: self.slots.delta.wanted().clone(),
            backends: self.backends.delta.wanted().clone(),
            ..FamilyMirror::default()
        }
    }

    fn count_in(&mut self, frontend: &Frontend) {
        *self.uses.entry(frontend.service).or_default() += 1;
        self.slots.enliven(frontend.cluster);
        self.slots.enliven(frontend.local);
    }

    fn count_out(&mut self, frontend: &Frontend) {
        self.unuse(frontend.service);
        self.slots.unliven(frontend.cluster);
        self.slots.unliven(frontend.local);
    }

    fn unuse(&mut self, service: u32) {
        if let Some(count) = self.uses.get_mut(&service) {
            *count -= 1;
            if *count == 0 {
                self.uses.remove(&service);
            }
        }
    }
}
