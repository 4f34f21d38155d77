//! FRONTENDS: who claims an address and port, who gets it, and which are endpoints' own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sluice_common::{
    frontend::{Frontend, FrontendKey, Range, flags},
    net::{Addr, Port},
};

use super::{counts::Counts, delta::Delta, family, name::PortKey};

/// What stands for no service.
const fn mark(flag: u32) -> Frontend {
    let none = Range { start: 0, len: 0 };
    Frontend { service: 0, flags: flag, cluster: none, local: none, affinity_timeout: 0 }
}

/// Where a cluster IP is marked (A51).
pub(super) const fn cluster_ip_key<const N: usize>(addr: Addr<N>) -> FrontendKey<N> {
    FrontendKey::new(addr, Port::new(0), 0)
}

/// The frontends of a family.
#[derive(Debug)]
pub(super) struct Frontends<const N: usize> {
    delta: Delta<FrontendKey<N>, Frontend>,
    capacity: usize,
    claims: BTreeMap<FrontendKey<N>, BTreeMap<Arc<PortKey>, Frontend>>,
    /// Endpoints' addresses, by backend.
    endpoints: Counts<FrontendKey<N>>,
    /// Cluster IPs, by service port.
    cluster_ips: Counts<Addr<N>>,
    /// Services whose source ranges the map's frontends ask, and those of which one is to ask no
    /// more.
    asked: Counts<u32>,
    leaving: Counts<u32>,
    /// How many of the wanted ones are hashed.
    hashed: usize,
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
            endpoints: Counts::default(),
            cluster_ips: Counts::default(),
            asked: Counts::default(),
            leaving: Counts::default(),
            hashed: 0,
            refused: BTreeSet::new(),
            disputed: BTreeSet::new(),
        }
    }

    pub(super) fn adopt(&mut self, content: BTreeMap<FrontendKey<N>, Frontend>) {
        self.delta.adopt(content);
        let keys: Vec<_> = self.delta.written().keys().copied().collect();
        for key in keys {
            self.count(&key);
        }
    }

    /// Puts up for deletion what was adopted and is not wanted.
    pub(super) fn drop_adopted(&mut self) {
        self.delta.touch_all();
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

    pub(super) fn mark_endpoint(&mut self, key: FrontendKey<N>) {
        self.endpoints.add(key);
        self.settle(key);
    }

    pub(super) fn unmark_endpoint(&mut self, key: FrontendKey<N>) {
        self.endpoints.remove(&key);
        self.settle(key);
    }

    pub(super) fn mark_cluster_ip(&mut self, addr: Addr<N>) {
        self.cluster_ips.add(addr);
        self.settle(cluster_ip_key(addr));
    }

    pub(super) fn unmark_cluster_ip(&mut self, addr: Addr<N>) {
        self.cluster_ips.remove(&addr);
        self.settle(cluster_ip_key(addr));
    }

    /// The lowest and the highest cluster IP.
    pub(super) fn cluster_ip_bounds(&self) -> Option<(Addr<N>, Addr<N>)> {
        self.cluster_ips.bounds().map(|(low, high)| (*low, *high))
    }

    /// Whether every service port that is to be reached at the address is: until then, its mark
    /// would reject clients that have but to wait.
    pub(super) fn are_served(&self, addr: Addr<N>) -> bool {
        let ports = family::key(addr, 1, 0)..=family::key(addr, u16::MAX, u8::MAX);
        self.delta.pending_within(ports).all(|(_, value)| value.is_none())
    }

    /// The claims of a key, the winner first: whose name is lowest, whoever came first.
    pub(super) fn claims(&self, key: &FrontendKey<N>) -> impl Iterator<Item = &PortKey> {
        self.claims.get(key).into_iter().flatten().map(|(owner, _)| &**owner)
    }

    pub(super) fn is_refused(&self, key: &FrontendKey<N>) -> bool {
        self.refused.contains(key)
    }

    /// How many addresses of endpoints, and how many cluster IPs, found the map full.
    pub(super) fn refused_marks(&self) -> (usize, usize) {
        let marks = self.refused.iter().filter(|key| !self.claims.contains_key(key));
        let is_cluster_ip = |key: &&FrontendKey<N>| **key == cluster_ip_key(key.addr);
        let cluster_ips = marks.clone().filter(is_cluster_ip).count();
        (marks.count() - cluster_ips, cluster_ips)
    }

    /// Whether a frontend in the map asks the service's source ranges.
    pub(super) fn asks(&self, service: u32) -> bool {
        self.asked.contains(&service)
    }

    /// Whether one of those is to be deleted, or to let everybody in.
    pub(super) fn is_leaving(&self, service: u32) -> bool {
        self.leaving.contains(&service)
    }

    /// Whether a frontend is to be hashed.
    pub(super) fn has_hashed(&self) -> bool {
        self.hashed > 0
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = (FrontendKey<N>, Option<Frontend>)> {
        self.delta.pending()
    }

    pub(super) fn has_pending(&self) -> bool {
        self.delta.has_pending()
    }

    /// Takes note of what the map now holds.
    pub(super) fn wrote(&mut self, key: FrontendKey<N>, value: Option<Frontend>) {
        self.uncount(&key);
        self.delta.wrote(key, value);
        self.count(&key);
    }

    pub(super) fn written(&self) -> &BTreeMap<FrontendKey<N>, Frontend> {
        self.delta.written()
    }

    pub(super) fn wanted(&self) -> &BTreeMap<FrontendKey<N>, Frontend> {
        self.delta.wanted()
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
        let end = family::key(low.addr, u16::MAX, u8::MAX);
        let high = self.delta.wanted().range(low..=&end).next_back()?.0;
        Some((low.port.number(), high.port.number()))
    }

    fn settle(&mut self, key: FrontendKey<N>) {
        let claimed = self.claims.get(&key).and_then(|claims| claims.first_key_value());
        let value = claimed.map(|(_, value)| *value).or(self.mark_at(&key).map(mark));
        self.uncount(&key);
        match value {
            Some(value) => {
                let is_full = self.delta.wanted().len() >= self.capacity;
                let fits = !is_full || self.delta.wanted().contains_key(&key);
                self.refuse(key, !fits);
                if fits {
                    self.delta.want(key, value);
                }
            }
            None => {
                self.refuse(key, false);
                self.delta.unwant(&key);
            }
        }
        self.count(&key);
    }

    fn count(&mut self, key: &FrontendKey<N>) {
        self.hashed += usize::from(self.is_hashed(key));
        if let Some((service, leaves)) = self.asking(key) {
            self.asked.add(service);
            if leaves {
                self.leaving.add(service);
            }
        }
    }

    fn uncount(&mut self, key: &FrontendKey<N>) {
        self.hashed -= usize::from(self.is_hashed(key));
        if let Some((service, leaves)) = self.asking(key) {
            self.asked.remove(&service);
            if leaves {
                self.leaving.remove(&service);
            }
        }
    }

    fn is_hashed(&self, key: &FrontendKey<N>) -> bool {
        self.delta.wanted().get(key).is_some_and(|wanted| wanted.flags & flags::HASHED != 0)
    }

    /// The service whose source ranges the map's frontend asks, and whether it is to ask none.
    fn asking(&self, key: &FrontendKey<N>) -> Option<(u32, bool)> {
        let asks = |frontend: &&Frontend| frontend.flags & flags::SOURCE_RANGES != 0;
        let service = self.delta.written().get(key).filter(asks)?.service;
        Some((service, self.delta.wanted().get(key).filter(asks).is_none()))
    }

    fn mark_at(&self, key: &FrontendKey<N>) -> Option<u32> {
        if *key == cluster_ip_key(key.addr) {
            return self.cluster_ips.contains(&key.addr).then_some(flags::CLUSTER_IP);
        }
        self.endpoints.contains(key).then_some(flags::ENDPOINT)
    }

    fn refuse(&mut self, key: FrontendKey<N>, refused: bool) {
        let changed = if refused { self.refused.insert(key) } else { self.refused.remove(&key) };
        if changed {
            self.disputed.insert(key);
        }
    }
}
