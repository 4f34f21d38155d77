//! FRONTENDS: who claims an address and port, who gets it, and which are endpoints' own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_common::frontend::{Frontend, FrontendKey, Range, flags};

use super::{delta::Delta, name::PortKey};

const MARK: Frontend = Frontend {
    service: 0,
    flags: flags::ENDPOINT,
    cluster: Range { start: 0, len: 0 },
    local: Range { start: 0, len: 0 },
    affinity_timeout: 0,
};

/// The frontends of a family.
#[derive(Debug)]
pub(super) struct Frontends<const N: usize> {
    pub(super) delta: Delta<FrontendKey<N>, Frontend>,
    capacity: usize,
    claims: BTreeMap<FrontendKey<N>, BTreeMap<Arc<PortKey>, Frontend>>,
    /// Endpoints' addresses, and how many backends have each.
    marks: BTreeMap<FrontendKey<N>, u32>,
    /// Keys that found the map full.
    refused: BTreeSet<FrontendKey<N>>,
    /// Keys whose claims may have become, or ceased to be, a problem.
    disputed: BTreeSet<FrontendKey<N>>,
}

impl<const N: usize> Frontends<N> {
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            delta: Delta::default(),
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            claims: BTreeMap::new(),
            marks: BTreeMap::new(),
            refused: BTreeSet::new(),
            disputed: BTreeSet::new(),
        }
    }

    pub(super) fn claim(&mut self, key: FrontendKey<N>, owner: &Arc<PortKey>, value: Frontend) {
        let claims = self.claims.entry(key).or_default();
        let is_new = claims.insert(Arc::clone(owner), value).is_none();
        if is_new && claims.len() > 1 {
            self.disputed.insert(key);
        }
        self.settle(key);
    }

    pub(super) fn disclaim(&mut self, key: FrontendKey<N>, owner: &PortKey) {
        let Some(claims) = self.claims.get_mut(&key) else { return };
        if claims.len() > 1 {
            self.disputed.insert(key);
        }
        claims.remove(owner);
        if claims.is_empty() {
            self.claims.remove(&key);
        }
        self.settle(key);
    }

    pub(super) fn mark(&mut self, key: FrontendKey<N>) {
        *self.marks.entry(key).or_default() += 1;
        self.settle(key);
    }

    pub(super) fn unmark(&mut self, key: FrontendKey<N>) {
        if let Some(count) = self.marks.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.marks.remove(&key);
            }
        }
        self.settle(key);
    }

    /// The claims of a key, the winner first: whose name is lowest, whoever came first.
    pub(super) fn claims(&self, key: &FrontendKey<N>) -> impl Iterator<Item = &PortKey> {
        self.claims.get(key).into_iter().flatten().map(|(owner, _)| &**owner)
    }

    pub(super) fn is_refused(&self, key: &FrontendKey<N>) -> bool {
        self.refused.contains(key)
    }

    /// Endpoints' addresses that found the map full.
    pub(super) fn refused_marks(&self) -> usize {
        self.refused.iter().filter(|key| !self.claims.contains_key(key)).count()
    }

    pub(super) fn take_disputed(&mut self) -> BTreeSet<FrontendKey<N>> {
        std::mem::take(&mut self.disputed)
    }

    /// Tries again what found the map full, as far as there is room now.
    pub(super) fn retry(&mut self) {
        let room = self.capacity.saturating_sub(self.delta.wanted().len());
        let keys: Vec<_> = self.refused.iter().take(room).copied().collect();
        for key in keys {
            self.settle(key);
        }
    }

    /// Lowest and highest NodePort: they stand at the unspecified address, so they sort first.
    pub(super) fn node_ports(&self) -> Option<(u16, u16)> {
        let mut keys = self.delta.wanted().keys();
        let low = keys.next().filter(|key| key.addr.is_unspecified())?;
        let end = super::family::key(low.addr, u16::MAX, u8::MAX);
        let high = self.delta.wanted().range(low..=&end).next_back()?.0;
        Some((low.port.number(), high.port.number()))
    }

    fn settle(&mut self, key: FrontendKey<N>) {
        let claimed = self.claims.get(&key).and_then(|claims| claims.first_key_value());
        let marked = self.marks.contains_key(&key).then_some(MARK);
        let Some(value) = claimed.map(|(_, value)| *value).or(marked) else {
            self.refuse(key, false);
            self.delta.unwant(&key);
            return;
        };
        let is_full = self.delta.wanted().len() >= self.capacity;
        let fits = !is_full || self.delta.wanted().contains_key(&key);
        self.refuse(key, !fits);
        if fits {
            self.delta.want(key, value);
        }
    }

    fn refuse(&mut self, key: FrontendKey<N>, refused: bool) {
        let changed = if refused { self.refused.insert(key) } else { self.refused.remove(&key) };
        if changed {
            self.disputed.insert(key);
        }
    }
}
