//! The content of the maps as a value.

use std::collections::{BTreeMap, BTreeSet};

use super::Model;

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

impl Mirror {
    /// The service ids that something has, be there a name for them or not.
    pub(super) fn services_used(&self) -> impl Iterator<Item = u32> {
        let v4 = self.v4.frontends.values().map(|frontend| frontend.service);
        let v6 = self.v6.frontends.values().map(|frontend| frontend.service);
        let backends4 = self.v4.backends.values().map(|backend| backend.service);
        let backends6 = self.v6.backends.values().map(|backend| backend.service);
        let prefixes4 = self.v4.prefixes.iter().map(|prefix| prefix.scope);
        let prefixes6 = self.v6.prefixes.iter().map(|prefix| prefix.scope);
        v4.chain(v6).chain(backends4).chain(backends6).chain(prefixes4).chain(prefixes6)
    }
}

impl Model {
    /// What the maps hold, as far as the model was told.
    pub fn written(&self) -> Mirror {
        Mirror {
            services: self.services.delta.written().clone(),
            v4: self.v4.written(),
            v6: self.v6.written(),
            settings: self.settings,
        }
    }

    /// What the maps should hold.
    pub fn wanted(&self) -> Mirror {
        Mirror {
            services: self.services.delta.wanted().clone(),
            v4: self.v4.wanted(),
            v6: self.v6.wanted(),
            settings: self.wanted_settings(),
        }
    }
}
