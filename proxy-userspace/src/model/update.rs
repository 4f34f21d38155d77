//! From what a service port wants to what the maps of a family should hold of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_common::{
    backend,
    frontend::{FrontendKey, Range},
    net::Addr,
};

use super::{
    endpoint::Target,
    expand::Wanted,
    family,
    name::PortKey,
    shortage::Shortage,
    slots::{Listing, Slots},
    spec::Algorithm,
    tables::Tables,
};

/// What a service port has in the maps.
#[derive(Debug)]
pub(super) struct Held<const N: usize> {
    frontends: Vec<FrontendKey<N>>,
    backends: BTreeMap<Target<N>, u32>,
    ranges: Vec<(Listing, Range)>,
    cluster_ips: BTreeSet<Addr<N>>,
}

impl<const N: usize> Default for Held<N> {
    fn default() -> Self {
        Self {
            frontends: Vec::new(),
            backends: BTreeMap::new(),
            ranges: Vec::new(),
            cluster_ips: BTreeSet::new(),
        }
    }
}

/// A service port's id and name.
pub(super) struct Owner<'a> {
    pub(super) id: u32,
    pub(super) key: &'a Arc<PortKey>,
}

impl<const N: usize> Tables<N> {
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
        self.want_prefixes(owner.id, wanted, &mut shortage);
        for (key, kind) in &wanted.frontends {
            let value = wanted.value((key, *kind), owner.id, (cluster, local));
            self.frontends.claim(*key, owner.key, value);
        }
        let keys = wanted.frontends.keys().copied().collect();
        for key in std::mem::replace(&mut held.frontends, keys) {
            if !wanted.frontends.contains_key(&key) {
                self.frontends.disclaim(key, owner.key);
            }
        }
        self.mark_cluster_ips(held, wanted);
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
        let excess = wanted.backends.len().saturating_sub(self.backends_share);
        let mut shortage = Shortage { excess, ..Shortage::default() };
        let mut ids = BTreeMap::new();
        for (target, flags) in first.chain(then).take(self.backends_share) {
            let Some(id) = self.backends.want(service, *target, proto, *flags) else {
                shortage.backends += 1;
                continue;
            };
            ids.insert(*target, id);
            if !held.backends.contains_key(target) {
                self.frontends.mark_endpoint(FrontendKey::new(target.0, target.1, proto));
            }
        }
        let old = std::mem::replace(&mut held.backends, ids);
        for (target, id) in old.iter().filter(|(target, _)| !held.backends.contains_key(target)) {
            self.backends.unwant(service, *target, *id);
            self.frontends.unmark_endpoint(FrontendKey::new(target.0, target.1, proto));
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
            let listing = Listing::new(ids, wanted.algorithm == Algorithm::Maglev);
            if let Some((_, range)) = held.ranges.iter().find(|(list, _)| *list == listing) {
                return *range;
            }
            let keeps = |(list, range): &(Listing, Range)| {
                *list == listing && !self.slots.could_improve(*range, &listing)
            };
            let range = match old.iter().position(keeps) {
                Some(found) => old.swap_remove(found).1,
                None => self.slots.place(service, &listing),
            };
            let listed = listing.ids.len();
            shortage.slots += listed.saturating_sub(range.len as usize);
            shortage.tables += usize::from(Slots::is_short(range, &listing));
            held.ranges.push((listing, range));
            range
        };
        let ranges = (place(&wanted.choice.cluster), place(&wanted.choice.local));
        for (_, range) in old {
            self.slots.disown(range);
        }
        ranges
    }

    /// The set of sources that a guard lets in; what does not fit is kept out.
    fn want_prefixes(&mut self, service: u32, wanted: &Wanted<N>, shortage: &mut Shortage) {
        let Some(guard) = &wanted.guard else {
            self.prefixes.set(service, None);
            return;
        };
        let fitting = guard.sources.iter().take(self.prefixes_share).copied().collect();
        shortage.excess_sources = guard.sources.len().saturating_sub(self.prefixes_share);
        shortage.sources = self.prefixes.set(service, Some(&fitting));
    }

    fn mark_cluster_ips(&mut self, held: &mut Held<N>, wanted: &Wanted<N>) {
        let old = std::mem::replace(&mut held.cluster_ips, wanted.cluster_ips.clone());
        for addr in held.cluster_ips.difference(&old) {
            self.frontends.mark_cluster_ip(*addr);
        }
        for addr in old.difference(&held.cluster_ips) {
            self.frontends.unmark_cluster_ip(*addr);
        }
    }
}
