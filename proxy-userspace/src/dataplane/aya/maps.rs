//! The maps as typed handles, and the write side of a plan.

use std::{path::Path, sync::mpsc::Sender};

use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, MapInfo},
};
use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey},
    net::{V4, V6},
    service::ServiceName,
    settings::Settings,
};

use super::{
    Error,
    pin::Pins,
    prefixes::{Prefixes, Scoped},
    sys,
    tables::TableWriter,
};
use crate::{
    dataplane::{Maps, WriteError},
    model::{
        op::{MapOp, Op},
        plan::Build,
    },
};

/// Opens a pinned map; `read_only` needs nobody's consent and lets nobody write.
pub fn open(pins: &Pins, name: &str, read_only: bool) -> Result<Map, Error> {
    let path = pins.map(name);
    open_at(&path, read_only).map_err(|e| {
        Error::new(format!("opening map {}", path.display()), e)
            .advise("is Sluice running on this node, and is --bpf-root right?")
    })
}

fn open_at(path: &Path, read_only: bool) -> Result<Map, Box<dyn std::error::Error>> {
    let fd = sys::open(path, read_only)?;
    Ok(Map::from_map_data(MapData::from_fd(fd)?)?)
}

/// Opens a hash map, or an LRU hash map.
pub fn hash<K: Pod, V: Pod>(
    pins: &Pins,
    name: &str,
    read_only: bool,
) -> Result<HashMap<MapData, K, V>, Error> {
    let map = open(pins, name, read_only)?;
    HashMap::try_from(map).map_err(|e| Error::new(format!("opening map {name}"), e))
}

/// Opens an array.
pub fn array<V: Pod>(pins: &Pins, name: &str, read_only: bool) -> Result<Array<MapData, V>, Error> {
    let map = open(pins, name, read_only)?;
    Array::try_from(map).map_err(|e| Error::new(format!("opening map {name}"), e))
}

/// The maps of one address family that the controller writes.
pub struct Family<const N: usize>
where
    Backend<N>: Pod,
{
    names: &'static Names,
    frontends: HashMap<MapData, FrontendKey<N>, Frontend>,
    max_frontends: u32,
    backends: Array<MapData, Backend<N>>,
    slots: Array<MapData, u32>,
    prefixes: Prefixes<N>,
    max_prefixes: u32,
}

/// Names of one family's maps.
#[derive(Debug)]
pub struct Names {
    /// FRONTENDS.
    pub frontends: &'static str,
    /// BACKENDS.
    pub backends: &'static str,
    /// SLOTS.
    pub slots: &'static str,
    /// FLOWS.
    pub flows: &'static str,
    /// PREFIXES.
    pub prefixes: &'static str,
}

/// The maps of IPv4.
pub static NAMES_V4: Names = Names {
    frontends: "FRONTENDS_V4",
    backends: "BACKENDS_V4",
    slots: "SLOTS_V4",
    flows: "FLOWS_V4",
    prefixes: "PREFIXES_V4",
};

/// The maps of IPv6.
pub static NAMES_V6: Names = Names {
    frontends: "FRONTENDS_V6",
    backends: "BACKENDS_V6",
    slots: "SLOTS_V6",
    flows: "FLOWS_V6",
    prefixes: "PREFIXES_V6",
};

/// The kernel's maps, as a plan writes them.
pub struct KernelMaps {
    tables: TableWriter,
    builders: Option<Sender<Build>>,
    v4: Family<V4>,
    v6: Family<V6>,
    services: HashMap<MapData, u32, ServiceName>,
    max_services: u32,
    settings: Array<MapData, Settings>,
}

impl KernelMaps {
    /// Opens the pinned maps for writing; [`super::load::load`] makes them.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            tables: TableWriter::open(pins)?,
            builders: None,
            v4: Family::open(pins, &NAMES_V4)?,
            v6: Family::open(pins, &NAMES_V6)?,
            services: hash(pins, "SERVICES", false)?,
            max_services: capacity(pins, "SERVICES")?,
            settings: array(pins, "SETTINGS", false)?,
        })
    }

    /// Has tables written by whoever listens, who then tells the model.
    pub fn build_elsewhere(&mut self, builders: Sender<Build>) {
        self.builders = Some(builders);
    }
}

impl<const N: usize> Family<N>
where
    FrontendKey<N>: Pod,
    Backend<N>: Pod,
    Scoped<N>: Pod,
{
    fn open(pins: &Pins, names: &'static Names) -> Result<Self, Error> {
        Ok(Self {
            names,
            frontends: hash(pins, names.frontends, false)?,
            max_frontends: capacity(pins, names.frontends)?,
            backends: array(pins, names.backends, false)?,
            slots: array(pins, names.slots, false)?,
            prefixes: Prefixes::open(pins, names.prefixes, false)?,
            max_prefixes: capacity(pins, names.prefixes)?,
        })
    }

    fn write(&mut self, op: &MapOp<N>) -> Result<(), WriteError> {
        let names = self.names;
        match op {
            MapOp::Frontend(key, Some(value)) => {
                let result = self.frontends.insert(key, value, 0);
                result.map_err(|e| full(names.frontends, "--max-frontends", self.max_frontends, &e))
            }
            MapOp::Frontend(key, None) => {
                absent_is_fine(names.frontends, self.frontends.remove(key))
            }
            MapOp::Backend(id, value) => {
                let result = self.backends.set(*id, value, 0);
                result.map_err(|e| full(names.backends, "--max-backends", self.backends.len(), &e))
            }
            MapOp::Slot(index, id) => {
                let result = self.slots.set(*index, id, 0);
                result.map_err(|e| full(names.slots, "--max-slots", self.slots.len(), &e))
            }
            MapOp::AddPrefix(prefix) => {
                let result = self.prefixes.insert(prefix);
                result.map_err(|e| full(names.prefixes, "--max-prefixes", self.max_prefixes, &e))
            }
            MapOp::RemovePrefix(prefix) => {
                absent_is_fine(names.prefixes, self.prefixes.remove(prefix))
            }
        }
    }

    fn holds(&self, op: &MapOp<N>) -> Result<bool, WriteError> {
        let names = self.names;
        match op {
            MapOp::Frontend(key, value) => {
                Ok(present(names.frontends, self.frontends.get(key, 0))? == *value)
            }
            MapOp::Backend(id, value) => {
                Ok(present(names.backends, self.backends.get(id, 0))? == Some(*value))
            }
            MapOp::Slot(index, id) => {
                Ok(present(names.slots, self.slots.get(index, 0))? == Some(*id))
            }
            MapOp::AddPrefix(prefix) => {
                self.prefixes.contains(prefix).map_err(|e| failed(names.prefixes, &e))
            }
            MapOp::RemovePrefix(prefix) => {
                let found = self.prefixes.contains(prefix);
                found.map(|found| !found).map_err(|e| failed(names.prefixes, &e))
            }
        }
    }
}

impl Maps for KernelMaps {
    fn write(&mut self, op: &Op) -> Result<(), WriteError> {
        match op {
            Op::NameService(id, name) => {
                let result = self.services.insert(id, name, 0);
                result.map_err(|e| full("SERVICES", "--max-services", self.max_services, &e))
            }
            Op::ForgetService(id) => absent_is_fine("SERVICES", self.services.remove(id)),
            Op::Settings(settings) => {
                self.settings.set(0, settings, 0).map_err(|e| failed("SETTINGS", &e))
            }
            Op::V4(op) => self.v4.write(op),
            Op::V6(op) => self.v6.write(op),
        }
    }

    fn build(&mut self, build: &Build) -> Option<Result<u64, WriteError>> {
        // If nobody listens any more, it is done here.
        match self.builders.as_ref().map(|builders| builders.send(build.clone())) {
            Some(Ok(())) => None,
            Some(Err(_)) | None => Some(self.tables.write(build)),
        }
    }

    fn holds(&self, op: &Op) -> Result<bool, WriteError> {
        match op {
            Op::NameService(id, name) => {
                Ok(present("SERVICES", self.services.get(id, 0))? == Some(*name))
            }
            Op::ForgetService(id) => Ok(present("SERVICES", self.services.get(id, 0))?.is_none()),
            Op::Settings(settings) => {
                Ok(present("SETTINGS", self.settings.get(&0, 0))?.as_ref() == Some(settings))
            }
            Op::V4(op) => self.v4.holds(op),
            Op::V6(op) => self.v6.holds(op),
        }
    }
}

fn capacity(pins: &Pins, name: &str) -> Result<u32, Error> {
    let info = MapInfo::from_pin(pins.map(name));
    info.map(|info| info.max_entries()).map_err(|e| Error::new(format!("opening map {name}"), e))
}

/// The system's error behind one of aya's.
pub(super) fn errno(error: &MapError) -> Option<i32> {
    match error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    }
}

fn failed(map: &'static str, error: &MapError) -> WriteError {
    let cause = match error {
        MapError::SyscallError(error) => error.io_error.to_string(),
        other => other.to_string(),
    };
    WriteError::Failed { map, cause }
}

/// A hash map refuses with E2BIG, an array with an index beyond its end.
fn full(map: &'static str, flag: &'static str, capacity: u32, error: &MapError) -> WriteError {
    let beyond = matches!(error, MapError::OutOfBounds { .. });
    if beyond || matches!(errno(error), Some(libc::E2BIG | libc::ENOSPC)) {
        WriteError::Full { map, capacity, flag }
    } else {
        failed(map, error)
    }
}

/// What a look-up found, if anything.
fn present<V>(map: &'static str, result: Result<V, MapError>) -> Result<Option<V>, WriteError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound | MapError::OutOfBounds { .. }) => Ok(None),
        Err(e) => Err(failed(map, &e)),
    }
}

fn absent_is_fine(map: &'static str, result: Result<(), MapError>) -> Result<(), WriteError> {
    match result {
        Ok(()) | Err(MapError::KeyNotFound) => Ok(()),
        Err(e) if errno(&e) == Some(libc::ENOENT) => Ok(()),
        Err(e) => Err(failed(map, &e)),
    }
}
