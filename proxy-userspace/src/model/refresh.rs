//! One Service after a change: what it wants, what it gets, what is wrong with it.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{
    Held, HeldPort, Model,
    endpoint::union,
    expand::{Site, Wanted},
    ledger::Origin,
    name::PortKey,
    problem::{Problem, Subject},
    shortage,
    shortage::Shortage,
    spec::{ObjectName, ServicePort, ServiceSpec},
    tables::Tables,
    topology::Place,
    update::Owner,
    validate,
};

impl Model {
    /// Recomputes one Service. Costs as much as the Service is large.
    pub(super) fn refresh(&mut self, name: &ObjectName) {
        let mut old = self.held.remove(name).unwrap_or_default();
        let mut new = BTreeMap::new();
        let mut problems = Vec::new();
        self.starved.remove(name);
        if let Some(spec) = self.objects.service(name).cloned() {
            problems = validate::service(name, &spec);
            problems.extend(self.objects.slices(name).filter_map(|(n, s)| validate::slice(n, s)));
            for port in spec.ports.iter().filter(|port| port.port != 0) {
                self.refresh_port((name, &spec, port), &mut old, &mut new, &mut problems);
            }
        }
        for (key, held) in old {
            self.retire(&key, held);
        }
        if !new.is_empty() {
            self.held.insert(name.clone(), new);
        }
        self.ledger.set(Origin::Service(name.clone()), problems);
        self.refresh_outward(name);
    }

    fn refresh_port(
        &mut self,
        (name, spec, port): (&ObjectName, &ServiceSpec, &ServicePort),
        old: &mut BTreeMap<Arc<PortKey>, HeldPort>,
        new: &mut BTreeMap<Arc<PortKey>, HeldPort>,
        problems: &mut Vec<Problem>,
    ) {
        let Some(text) = validate::service_name(name, &port.name, port.protocol) else { return };
        let key =
            PortKey { object: name.clone(), port: port.name.clone(), protocol: port.protocol };
        let key = Arc::new(key);
        let Entry::Vacant(entry) = new.entry(Arc::clone(&key)) else {
            let text = format!("port {key} is there twice; the first counts, rename the other");
            problems.push(Problem { subject: Subject::Service(name.clone()), text });
            return;
        };
        let Some(id) = self.services.want(&key, text) else {
            problems.push(shortage::services(&key));
            self.starved.insert(name.clone());
            return;
        };
        let held = old.remove(&key);
        let mut held =
            held.unwrap_or_else(|| HeldPort { id, v4: Held::default(), v6: Held::default() });
        let site = Site {
            place: Place { node: &self.node_name, zone: &self.zone },
            addresses: &self.local_addresses,
            primary: &self.primary_addresses,
            algorithm: self.algorithm,
        };
        let slices = || self.objects.slices(name).map(|(_, slice)| slice);
        let owner = Owner { id, key: &key };
        let wanted = Wanted::of(spec, port, &union(slices(), port), &site);
        let short4 = self.v4.update(&owner, &mut held.v4, &wanted);
        let wanted = Wanted::of(spec, port, &union(slices(), port), &site);
        let short6 = self.v6.update(&owner, &mut held.v6, &wanted);
        for (version, short) in [(4, short4), (6, short6)] {
            problems.extend(shortage::problems(&key, version, &short));
        }
        if [short4, short6].iter().any(Shortage::may_pass) {
            self.starved.insert(name.clone());
        }
        entry.insert(held);
    }

    fn retire(&mut self, key: &Arc<PortKey>, mut held: HeldPort) {
        let owner = Owner { id: held.id, key };
        self.v4.update(&owner, &mut held.v4, &Wanted::nothing());
        self.v6.update(&owner, &mut held.v6, &Wanted::nothing());
        self.services.unwant(key, held.id);
    }

    /// Restates the problems of the addresses whose claims changed.
    pub(super) fn note_disputes(&mut self) {
        let v4 = disputes(&mut self.v4);
        let v6 = disputes(&mut self.v6);
        let v4 = v4.into_iter().map(|(key, problems)| (Origin::Frontend4(key), problems));
        let v6 = v6.into_iter().map(|(key, problems)| (Origin::Frontend6(key), problems));
        for (origin, problems) in v4.chain(v6) {
            self.ledger.set(origin, problems);
        }
        let marks =
            [(4, self.v4.frontends.refused_marks()), (6, self.v6.frontends.refused_marks())];
        for (version, count) in marks {
            self.ledger.set(Origin::Marks(version), shortage::marks(version, count));
        }
        for (version, count) in [4, 6].into_iter().zip(self.refused_cidrs) {
            let problems = shortage::service_cidrs(version, count);
            self.ledger.set(Origin::ServiceCidrs(version), problems);
        }
    }
}

type Disputes<const N: usize> = Vec<(sluice_common::frontend::FrontendKey<N>, Vec<Problem>)>;

fn disputes<const N: usize>(tables: &mut Tables<N>) -> Disputes<N> {
    let keys: BTreeSet<_> = tables.frontends.take_disputed();
    let mut disputes = Vec::new();
    for key in keys {
        let mut claims = tables.frontends.claims(&key);
        let mut problems = Vec::new();
        if let Some(winner) = claims.next() {
            if tables.frontends.is_refused(&key) {
                problems.push(shortage::frontend(&key, winner));
            }
            problems.extend(claims.map(|loser| shortage::duplicate(&key, winner, loser)));
        }
        disputes.push((key, problems));
    }
    disputes
}
