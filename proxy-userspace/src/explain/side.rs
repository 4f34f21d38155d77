//! One address family's part of a view, with the look-ups that the programs make in it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey, Range},
    net::{Addr, Port, Prefix, V4, V6},
    prefix::{PrefixKey, SCOPE_BITS},
    settings::{Settings, flags},
};

use super::{Detection, View};
use crate::model::{
    family,
    mirror::{FamilyMirror, Mirror},
    name::PortKey,
    spec::Unserved,
    why::Why,
};

/// A question in the terms of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<const N: usize> {
    pub(super) src: Addr<N>,
    pub(super) dst: Addr<N>,
    /// The source port, if known.
    pub(super) src_port: Option<Port>,
    pub(super) port: Port,
    pub(super) proto: u8,
    /// Flags of the interface it enters by.
    pub(super) input: u32,
}

/// A view in the terms of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a, const N: usize> {
    all: &'a Mirror,
    maps: &'a FamilyMirror<N>,
    addresses: &'a BTreeMap<Addr<N>, u32>,
    pub(super) settings: &'a Settings,
    pub(super) detector: u8,
    pub(super) pods: Prefix<N>,
    /// What holds every cluster IP and ServiceCIDR, if unknown ones are decided (A51, A52).
    services: Option<Prefix<N>>,
    pub(super) detection: Detection,
    why: Option<&'a BTreeMap<u32, [Why; 2]>>,
    pub(super) unserved: &'a [Unserved],
}

impl<'a> Side<'a, V4> {
    pub(super) fn v4(view: &'a View) -> Self {
        let settings = &view.settings;
        let services = (settings.services_v4, flags::CLUSTER_IPS_V4);
        let pods = (settings.detector_v4, settings.pods_v4);
        Self::of(view, &view.maps.v4, &view.addresses.0, pods, services)
    }
}

impl<'a> Side<'a, V6> {
    pub(super) fn v6(view: &'a View) -> Self {
        let settings = &view.settings;
        let services = (settings.services_v6, flags::CLUSTER_IPS_V6);
        let pods = (settings.detector_v6, settings.pods_v6);
        Self::of(view, &view.maps.v6, &view.addresses.1, pods, services)
    }
}

impl<'a, const N: usize> Side<'a, N> {
    fn of(
        view: &'a View,
        maps: &'a FamilyMirror<N>,
        addresses: &'a BTreeMap<Addr<N>, u32>,
        (detector, pods): (u8, Prefix<N>),
        (services, decided): (Prefix<N>, u32),
    ) -> Self {
        Self {
            all: &view.maps,
            maps,
            addresses,
            settings: &view.settings,
            detector,
            pods,
            services: (view.settings.flags & decided != 0).then_some(services),
            detection: view.detection,
            why: view.why.as_ref(),
            unserved: &view.unserved,
        }
    }

    /// FRONTENDS.
    pub(super) fn frontend(&self, addr: Addr<N>, port: Port, proto: u8) -> Option<&'a Frontend> {
        self.maps.frontends.get(&FrontendKey::new(addr, port, proto))
    }

    /// NODE_ADDRS: the flags of one of the node's own addresses.
    pub(super) fn own(&self, addr: &Addr<N>) -> Option<u32> {
        self.addresses.get(addr).copied()
    }

    /// PREFIXES.
    pub(super) fn lists(&self, scope: u32, addr: &Addr<N>) -> bool {
        self.maps.prefixes.iter().any(|key| key.scope == scope && covers(key, addr))
    }

    /// Whether `addr` may be a cluster IP (A51, A52).
    pub(super) fn in_services(&self, addr: &Addr<N>) -> bool {
        self.services.is_some_and(|services| services.contains(addr))
    }

    /// The different backends of a range, and how many slots name none.
    pub(super) fn resolve(&self, range: Range) -> (Vec<Backend<N>>, usize) {
        let mut found: BTreeMap<(Addr<N>, Port), Backend<N>> = BTreeMap::new();
        let mut missing = 0;
        for slot in range.start..range.start.saturating_add(range.len) {
            match self.at(slot) {
                Some(backend) => drop(found.insert((backend.addr, backend.port), backend)),
                None => missing += 1,
            }
        }
        (found.into_values().collect(), missing)
    }

    /// The backend of a slot.
    pub(super) fn at(&self, slot: u32) -> Option<Backend<N>> {
        let backend = self.maps.backends.get(self.maps.slots.get(&slot)?)?;
        Some(*backend).filter(|backend| backend.flags != 0)
    }

    /// How the lists of a service port came about, where that is known.
    pub(super) fn why(&self, service: u32) -> Option<Why> {
        let [v4, v6] = self.why?.get(&service).copied()?;
        Some(if N == V4 { v4 } else { v6 })
    }

    /// `namespace/name:port`, or the id that has no name.
    pub(super) fn name(&self, service: u32) -> String {
        match self.all.services.get(&service).and_then(PortKey::parse) {
            Some(key) => key.to_string(),
            None => format!("#{service}"),
        }
    }
}

/// An address for people.
pub(super) fn ip<const N: usize>(addr: &Addr<N>) -> IpAddr {
    family::ip(addr)
}

/// A backend for people.
pub(super) fn socket<const N: usize>(backend: &Backend<N>) -> SocketAddr {
    SocketAddr::new(ip(&backend.addr), backend.port.number())
}

/// Whether the address begins with the key's prefix.
fn covers<const N: usize>(key: &PrefixKey<N>, addr: &Addr<N>) -> bool {
    let mut left = key.bits.saturating_sub(SCOPE_BITS);
    std::iter::zip(key.addr.bytes, addr.bytes).all(|(prefix, byte)| {
        let bits = left.min(8);
        left -= bits;
        bits == 0 || (prefix ^ byte) >> (8 - bits) == 0
    })
}
