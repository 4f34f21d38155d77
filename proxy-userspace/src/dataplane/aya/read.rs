//! The maps as values: what a starting controller adopts, and what the command line shows.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    os::fd::AsFd,
};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError, PerCpuArray},
};
use sluice_common::{
    backend::Backend,
    flow::{Flow, FlowKey},
    frontend::{Frontend, FrontendKey, Range},
    iface::Iface,
    net::{V4, V6},
    reason::Reason,
    settings::Settings,
};

use super::{
    Error,
    maps::{self, NAMES_V4, NAMES_V6, Names},
    pin::Pins,
    prefixes::{Prefixes, Scoped},
    sys,
};
use crate::{
    model::mirror::{FamilyMirror, Mirror},
    node::addresses::NodeAddrs,
};

/// Reads the controller's maps. Consistent as long as nobody writes.
pub fn read_mirror(pins: &Pins) -> Result<Mirror, Error> {
    let settings = maps::array::<Settings>(pins, "SETTINGS", true)?;
    let settings = settings.get(&0, 0).map_err(|e| reading("SETTINGS", &e))?;
    Ok(Mirror {
        services: pairs(pins, "SERVICES")?.into_iter().collect(),
        v4: family(pins, &NAMES_V4)?,
        v6: family(pins, &NAMES_V6)?,
        settings: Some(settings),
    })
}

/// The node's own addresses, with what each is good for.
pub fn node_addresses(pins: &Pins) -> Result<NodeAddrs, Error> {
    let v4 = pairs(pins, "NODE_ADDRS_V4")?.into_iter().collect();
    Ok((v4, pairs(pins, "NODE_ADDRS_V6")?.into_iter().collect()))
}

/// What the programs know of the interface with this index; `None` where they are not attached.
pub fn iface(pins: &Pins, ifindex: u32) -> Result<Option<Iface>, Error> {
    let map: HashMap<MapData, u32, Iface> = maps::hash(pins, "IFACES", true)?;
    match map.get(&ifindex, 0) {
        Ok(iface) => Ok(Some(iface)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(e) => Err(reading("IFACES", &e)),
    }
}

/// IPv4 flow entries.
pub fn flows_v4(pins: &Pins) -> Result<Vec<(FlowKey<V4>, Flow<V4>)>, Error> {
    pairs(pins, NAMES_V4.flows)
}

/// IPv6 flow entries.
pub fn flows_v6(pins: &Pins) -> Result<Vec<(FlowKey<V6>, Flow<V6>)>, Error> {
    pairs(pins, NAMES_V6.flows)
}

/// Packets by reason, over all processors.
pub fn reasons(pins: &Pins) -> Result<Vec<(Reason, u64)>, Error> {
    let map = maps::open(pins, "REASONS", true)?;
    let counters: PerCpuArray<MapData, u64> =
        PerCpuArray::try_from(map).map_err(|e| reading("REASONS", &e))?;
    let count = |reason: Reason| {
        let values = counters.get(&(reason as u32), 0).map_err(|e| reading("REASONS", &e))?;
        Ok((reason, values.iter().sum()))
    };
    Reason::ALL.iter().copied().map(count).collect()
}

/// A hash map's entries. An entry that goes or comes meanwhile may be missed, none is read twice.
pub fn pairs<K: Pod + Ord, V: Pod>(pins: &Pins, name: &str) -> Result<Vec<(K, V)>, Error> {
    let map: HashMap<MapData, K, V> = maps::hash(pins, name, true)?;
    let mut found = BTreeMap::new();
    for entry in &map {
        match entry {
            Ok((key, value)) => drop(found.insert(key, value)),
            // Deleted between finding its key and reading it.
            Err(MapError::KeyNotFound) => {}
            Err(e) => return Err(reading(name, &e)),
        }
    }
    Ok(found.into_iter().collect())
}

fn family<const N: usize>(pins: &Pins, names: &Names) -> Result<FamilyMirror<N>, Error>
where
    FrontendKey<N>: Pod + Ord,
    Backend<N>: Pod,
    Scoped<N>: Pod,
{
    let frontends: Vec<(FrontendKey<N>, Frontend)> = pairs(pins, names.frontends)?;
    let used = values::<Backend<N>>(pins, names.backends)?
        .into_iter()
        .filter(|(_, backend)| backend.flags != 0 || backend.generation != 0)
        .collect();
    let slots = slots(pins, names, frontends.iter().flat_map(|(_, f)| [f.cluster, f.local]))?;
    let prefixes = Prefixes::<N>::open(pins, names.prefixes, true)?;
    let prefixes = prefixes.keys().collect::<Result<_, _>>();
    Ok(FamilyMirror {
        frontends: frontends.into_iter().collect(),
        backends: used,
        slots,
        prefixes: prefixes.map_err(|e| reading(names.prefixes, &e))?,
    })
}

/// An array's values, by index.
fn values<V: Pod>(pins: &Pins, name: &str) -> Result<Vec<(u32, V)>, Error> {
    let map = maps::array::<V>(pins, name, true)?;
    let first = map.get(&0, 0).map_err(|e| reading(name, &e))?;
    let mut found = vec![first; map.len() as usize];
    let count = sys::open(&pins.map(name), true)
        .and_then(|map| sys::read_array(map.as_fd(), &mut found))
        .map_err(|e| Error::os(format!("reading map {name}"), &e))?;
    found.truncate(count);
    Ok((0..).zip(found).collect())
}

fn slots(
    pins: &Pins,
    names: &Names,
    ranges: impl Iterator<Item = Range>,
) -> Result<BTreeMap<u32, u32>, Error> {
    let map = maps::array::<u32>(pins, names.slots, true)?;
    let mut found = BTreeMap::new();
    for range in ranges {
        // A range beyond the map's end is damage, and what it names is not there.
        let end = range.start.saturating_add(range.len).min(map.len());
        for index in range.start..end {
            if let Entry::Vacant(entry) = found.entry(index) {
                entry.insert(map.get(&index, 0).map_err(|e| reading(names.slots, &e))?);
            }
        }
    }
    Ok(found)
}

fn reading(name: &str, error: &MapError) -> Error {
    Error::new(format!("reading map {name}"), error)
}
