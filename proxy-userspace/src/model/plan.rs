//! What to write, in the order that keeps every packet's view whole.
//!
//! Retire frontends → upsert backends → fill slots → switch open frontends → add prefixes → narrow
//! prefixes → switch guarded frontends → mark cluster IPs → retire backends → retire prefixes. After each single write no frontend names a slot
//! that is not filled, no slot in use names a backend that is not there, and no source is let in or
//! kept out that neither the old nor the new set of source ranges would.

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey, Range, flags},
    net::{V4, V6},
    prefix::PrefixKey,
    service::ServiceName,
    settings::Settings,
};

use super::maglev::Member;

/// The writes for one address family, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyPlan<const N: usize> {
    /// Frontends to delete.
    pub retire_frontends: Vec<FrontendKey<N>>,
    /// Backends to write, by id.
    pub upsert_backends: Vec<(u32, Backend<N>)>,
    /// Slots to write: index, backend id.
    pub fill_slots: Vec<(u32, u32)>,
    /// Frontends to write that let everybody in.
    pub switch_open_frontends: Vec<(FrontendKey<N>, Frontend)>,
    /// Prefixes to write.
    pub add_prefixes: Vec<PrefixKey<N>>,
    /// Prefixes to delete from sets that frontends go on relying on.
    pub narrow_prefixes: Vec<PrefixKey<N>>,
    /// Frontends to write that ask source ranges.
    pub switch_guarded_frontends: Vec<(FrontendKey<N>, Frontend)>,
    /// Marks of cluster IPs to write, when every port of the address is served.
    pub mark_cluster_ips: Vec<(FrontendKey<N>, Frontend)>,
    /// Backends to free: the value has no flags, and keeps its generation. Or to take out of
    /// choice: the value has flags, but no longer `ELIGIBLE`.
    pub retire_backends: Vec<(u32, Backend<N>)>,
    /// Prefixes to delete with their sets, on which no frontend relies any more.
    pub retire_prefixes: Vec<PrefixKey<N>>,
}

/// A Maglev table to be written to a part of SLOTS that nothing else is written to. It takes a
/// while, so nothing else waits for it but the frontends that are to name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Whether SLOTS_V6 is meant.
    pub v6: bool,
    /// The part.
    pub range: Range,
    /// Backends, by address.
    pub members: Vec<Member>,
}

/// The writes that make the maps follow a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Names to write before anything refers to them.
    pub name_services: Vec<(u32, ServiceName)>,
    /// Tables to be written, before or after anything else.
    pub tables: Vec<Build>,
    /// IPv4.
    pub v4: FamilyPlan<V4>,
    /// IPv6.
    pub v6: FamilyPlan<V6>,
    /// Names to delete after nothing refers to them.
    pub forget_services: Vec<u32>,
    /// Settings to write.
    pub settings: Option<Settings>,
}

impl<const N: usize> Default for FamilyPlan<N> {
    fn default() -> Self {
        Self {
            retire_frontends: Vec::new(),
            upsert_backends: Vec::new(),
            fill_slots: Vec::new(),
            switch_open_frontends: Vec::new(),
            switch_guarded_frontends: Vec::new(),
            mark_cluster_ips: Vec::new(),
            retire_backends: Vec::new(),
            add_prefixes: Vec::new(),
            narrow_prefixes: Vec::new(),
            retire_prefixes: Vec::new(),
        }
    }
}

impl<const N: usize> FamilyPlan<N> {
    /// Has a frontend written in the phase where its value belongs.
    pub(super) fn switch_frontend(&mut self, key: FrontendKey<N>, value: Frontend) {
        let is = |flag: u32| value.flags & flag != 0;
        let phase = match (is(flags::CLUSTER_IP), is(flags::SOURCE_RANGES)) {
            (true, _) => &mut self.mark_cluster_ips,
            (false, true) => &mut self.switch_guarded_frontends,
            (false, false) => &mut self.switch_open_frontends,
        };
        phase.push((key, value));
    }
}
