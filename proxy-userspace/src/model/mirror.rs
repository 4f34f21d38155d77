//! The content of the maps as a value.

use std::collections::{BTreeMap, BTreeSet};

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey},
    net::{V4, V6},
    prefix::PrefixKey,
    service::ServiceName,
    settings::Settings,
};

/// The maps of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FamilyMirror<const N: usize> {
    /// FRONTENDS.
    pub frontends: BTreeMap<FrontendKey<N>, Frontend>,
    /// SLOTS, as far as frontends name them; more does no harm.
    pub slots: BTreeMap<u32, u32>,
    /// BACKENDS, with the free ones that have a generation.
    pub backends: BTreeMap<u32, Backend<N>>,
    /// PREFIXES.
    pub prefixes: BTreeSet<PrefixKey<N>>,
}

impl<const N: usize> Default for FamilyMirror<N> {
    fn default() -> Self {
        Self {
            frontends: BTreeMap::new(),
            slots: BTreeMap::new(),
            backends: BTreeMap::new(),
            prefixes: BTreeSet::new(),
        }
    }
}

/// All maps that the model governs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// SERVICES.
    pub services: BTreeMap<u32, ServiceName>,
    /// IPv4.
    pub v4: FamilyMirror<V4>,
    /// IPv6.
    pub v6: FamilyMirror<V6>,
    /// SETTINGS, if known.
    pub settings: Option<Settings>,
}
