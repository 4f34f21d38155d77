//! The objects as last reported, and which Services a change touches.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::{Change, ObjectName, ServiceSpec, SliceSpec};

/// Services and slices, joined by A3, and the Services to look at again.
#[derive(Debug, Default)]
pub(super) struct Objects {
    services: BTreeMap<ObjectName, ServiceSpec>,
    slices: BTreeMap<ObjectName, SliceSpec>,
    slices_of: BTreeMap<ObjectName, BTreeSet<ObjectName>>,
    services_listed: bool,
    slices_listed: bool,
    dirty: BTreeSet<ObjectName>,
}

impl Objects {
    /// Whether both lists have been seen whole (A90).
    pub(super) fn are_listed(&self) -> bool {
        self.services_listed && self.slices_listed
    }

    pub(super) fn service(&self, name: &ObjectName) -> Option<&ServiceSpec> {
        self.services.get(name)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = (&ObjectName, &ServiceSpec)> {
        self.services.iter()
    }

    /// The slices of a Service, by name.
    pub(super) fn slices(
        &self,
        service: &ObjectName,
    ) -> impl Iterator<Item = (&ObjectName, &SliceSpec)> {
        let names = self.slices_of.get(service).into_iter().flatten();
        names.filter_map(|name| self.slices.get_key_value(name))
    }

    pub(super) fn mark(&mut self, service: ObjectName) {
        self.dirty.insert(service);
    }

    pub(super) fn mark_all(&mut self) {
        self.dirty.extend(self.services.keys().cloned());
    }

    /// Whether there are Services to look at again.
    pub(super) fn are_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(super) fn take_dirty(&mut self) -> BTreeSet<ObjectName> {
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn change_services(&mut self, change: Change<ObjectName, ServiceSpec>) {
        match change {
            Change::Apply(name, spec) => self.set_service(name, Some(spec)),
            Change::Delete(name) => self.set_service(name, None),
            Change::Replace(all) => {
                self.services_listed = true;
                for name in gone(&self.services, &all) {
                    self.set_service(name, None);
                }
                for (name, spec) in all {
                    self.set_service(name, Some(spec));
                }
            }
        }
    }

    pub(super) fn change_slices(&mut self, change: Change<ObjectName, SliceSpec>) {
        match change {
            Change::Apply(name, spec) => self.set_slice(name, Some(spec)),
            Change::Delete(name) => self.set_slice(name, None),
            Change::Replace(all) => {
                self.slices_listed = true;
                for name in gone(&self.slices, &all) {
                    self.set_slice(name, None);
                }
                for (name, spec) in all {
                    self.set_slice(name, Some(spec));
                }
            }
        }
    }

    fn set_service(&mut self, name: ObjectName, spec: Option<ServiceSpec>) {
        if self.services.get(&name) == spec.as_ref() {
            return;
        }
        self.dirty.insert(name.clone());
        match spec {
            Some(spec) => self.services.insert(name, spec),
            None => self.services.remove(&name),
        };
    }

    fn set_slice(&mut self, name: ObjectName, spec: Option<SliceSpec>) {
        if self.slices.get(&name) == spec.as_ref() {
            return;
        }
        if let Some(old) = self.slices.remove(&name) {
            self.unjoin(&old.service, &name);
            self.dirty.insert(old.service);
        }
        if let Some(new) = spec {
            self.dirty.insert(new.service.clone());
            self.slices_of.entry(new.service.clone()).or_default().insert(name.clone());
            self.slices.insert(name, new);
        }
    }

    fn unjoin(&mut self, service: &ObjectName, slice: &ObjectName) {
        if let Some(names) = self.slices_of.get_mut(service) {
            names.remove(slice);
            if names.is_empty() {
                self.slices_of.remove(service);
            }
        }
    }
}

fn gone<T>(old: &BTreeMap<ObjectName, T>, new: &BTreeMap<ObjectName, T>) -> Vec<ObjectName> {
    old.keys().filter(|name| !new.contains_key(name)).cloned().collect()
}
