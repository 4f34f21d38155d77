//! What an audit finds: where maps differ from what was written to them.

use sluice_common::{
    backend::Backend,
    net::{Addr, Port},
};

use super::{
    Model,
    mirror::{FamilyMirror, Mirror},
    plan::{FamilyPlan, Plan},
    tables::Tables,
};

impl Model {
    /// The writes that bring the maps back to what they were when the last plan had succeeded.
    /// They are candidates: where the mirror is older than the model, the maps hold more than it
    /// shows. Empty while a plan is unfinished.
    ///
    /// Nothing of the model changes: it goes on believing what it was told, and that is what is
    /// restored. So these writes are not reported to [`Model::wrote`].
    pub fn restore(&self, found: &Mirror) -> Plan {
        if !self.is_settled() {
            return Plan::default();
        }
        let names = self.services.delta.written();
        let renamed = names.iter().filter(|(id, name)| found.services.get(id) != Some(name));
        let strange = found.services.keys().filter(|id| !names.contains_key(id));
        Plan {
            name_services: renamed.map(|(id, name)| (*id, *name)).collect(),
            v4: family(&self.v4, &found.v4),
            v6: family(&self.v6, &found.v6),
            forget_services: strange.copied().collect(),
            settings: self.settings.filter(|settings| found.settings != Some(*settings)),
            tables: Vec::new(),
        }
    }

    /// Has the next plan write the Maglev tables once more that are not as they were written. They
    /// are not in [`Self::restore`], because writing one takes a while. Returns how many there are.
    pub fn distrust_tables(&mut self, found: &Mirror) -> usize {
        if !self.is_settled() {
            return 0;
        }
        self.v4.slots.built.distrust(&found.v4.slots)
            + self.v6.slots.built.distrust(&found.v6.slots)
    }
}

fn family<const N: usize>(tables: &Tables<N>, found: &FamilyMirror<N>) -> FamilyPlan<N> {
    let mut plan = FamilyPlan::default();
    let frontends = tables.frontends.written();
    for (key, value) in frontends {
        if found.frontends.get(key) != Some(value) {
            plan.switch_frontend(*key, *value);
        }
    }
    plan.retire_frontends =
        found.frontends.keys().filter(|key| !frontends.contains_key(key)).copied().collect();
    let backends = tables.backends.delta.written();
    for (id, value) in backends.iter().filter(|(id, value)| found.backends.get(id) != Some(value)) {
        let phase = match value.flags {
            0 => &mut plan.retire_backends,
            _ => &mut plan.upsert_backends,
        };
        phase.push((*id, *value));
    }
    let strange = found.backends.keys().filter(|id| !backends.contains_key(id));
    plan.retire_backends.extend(strange.map(|id| (*id, never_used())));
    // Only wanted ranges are in use; what is left in the others does no harm.
    for (slot, id) in tables.slots.delta.wanted() {
        if found.slots.get(slot) != Some(id) {
            plan.fill_slots.push((*slot, *id));
        }
    }
    let prefixes = tables.prefixes.written();
    plan.add_prefixes = prefixes.difference(&found.prefixes).copied().collect();
    plan.narrow_prefixes = found.prefixes.difference(&prefixes).copied().collect();
    plan
}

/// What BACKENDS holds where no backend ever was.
fn never_used<const N: usize>() -> Backend<N> {
    Backend {
        addr: Addr::UNSPECIFIED,
        port: Port::new(0),
        proto: 0,
        flags: 0,
        service: 0,
        generation: 0,
    }
}
