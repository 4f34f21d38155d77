//! One write to one map: what a plan is made of, what the executor runs and the model confirms.

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey},
    net::{V4, V6},
    prefix::{PrefixKey, SERVICE_CIDRS},
    service::ServiceName,
    settings::Settings,
};

use super::plan::{FamilyPlan, Plan};

/// A write to one of the maps of an address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapOp<const N: usize> {
    /// FRONTENDS: write, or with `None` delete.
    Frontend(FrontendKey<N>, Option<Frontend>),
    /// BACKENDS: write; without flags the id is free, and its generation is remembered.
    Backend(u32, Backend<N>),
    /// SLOTS: index, backend id.
    Slot(u32, u32),
    /// PREFIXES: write.
    AddPrefix(PrefixKey<N>),
    /// PREFIXES: delete.
    RemovePrefix(PrefixKey<N>),
}

impl<const N: usize> MapOp<N> {
    /// The service id that the write brings into use.
    pub(super) fn service(&self) -> Option<u32> {
        match self {
            Self::Frontend(_, Some(frontend)) => Some(frontend.service).filter(|id| *id != 0),
            Self::Backend(_, backend) => Some(backend.service).filter(|_| backend.flags != 0),
            Self::AddPrefix(prefix) => Some(prefix.scope).filter(|id| *id != SERVICE_CIDRS),
            Self::Frontend(_, None) | Self::Slot(..) | Self::RemovePrefix(_) => None,
        }
    }
}

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// SERVICES: write a name.
    NameService(u32, ServiceName),
    /// SERVICES: delete a name.
    ForgetService(u32),
    /// SETTINGS: write.
    Settings(Settings),
    /// A map of IPv4.
    V4(MapOp<V4>),
    /// A map of IPv6.
    V6(MapOp<V6>),
}

impl<const N: usize> FamilyPlan<N> {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.retire_frontends.len()
            + self.upsert_backends.len()
            + self.fill_slots.len()
            + self.switch_open_frontends.len()
            + self.switch_guarded_frontends.len()
            + self.mark_cluster_ips.len()
            + self.retire_backends.len()
            + self.add_prefixes.len()
            + self.narrow_prefixes.len()
            + self.retire_prefixes.len()
    }

    fn retired(&self) -> impl Iterator<Item = MapOp<N>> {
        self.retire_frontends.iter().map(|key| MapOp::Frontend(*key, None))
    }

    fn switched(&self) -> impl Iterator<Item = MapOp<N>> {
        let upserts = self.upsert_backends.iter().map(|(id, b)| MapOp::Backend(*id, *b));
        let slots = self.fill_slots.iter().map(|(slot, id)| MapOp::Slot(*slot, *id));
        let additions = self.add_prefixes.iter().copied().map(MapOp::AddPrefix);
        let narrowing = self.narrow_prefixes.iter().copied().map(MapOp::RemovePrefix);
        let write = |(key, value): &(_, _)| MapOp::Frontend(*key, Some(*value));
        let open = self.switch_open_frontends.iter().map(write);
        let guarded = self.switch_guarded_frontends.iter().map(write);
        let marks = self.mark_cluster_ips.iter().map(write);
        let retires = self.retire_backends.iter().map(|(id, b)| MapOp::Backend(*id, *b));
        let removals = self.retire_prefixes.iter().copied().map(MapOp::RemovePrefix);
        let before = upserts.chain(slots).chain(open).chain(additions).chain(narrowing);
        before.chain(guarded).chain(marks).chain(retires).chain(removals)
    }
}

impl Plan {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of writes.
    pub fn len(&self) -> usize {
        self.name_services.len()
            + self.tables.len()
            + self.v4.len()
            + self.v6.len()
            + self.forget_services.len()
            + usize::from(self.settings.is_some())
    }

    /// The writes in the order in which they have to happen.
    ///
    /// The settings are written while the old NodePorts and cluster IPs are gone and the new ones
    /// not yet there.
    pub fn ops(&self) -> impl Iterator<Item = Op> {
        let names = self.name_services.iter().map(|(id, name)| Op::NameService(*id, *name));
        let settings = self.settings.iter().copied().map(Op::Settings);
        names
            .chain(self.v4.retired().map(Op::V4))
            .chain(self.v6.retired().map(Op::V6))
            .chain(settings)
            .chain(self.v4.switched().map(Op::V4))
            .chain(self.v6.switched().map(Op::V6))
            .chain(self.forget_services.iter().map(|id| Op::ForgetService(*id)))
    }
}
