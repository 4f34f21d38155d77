//! Small maps that follow small sets.

use std::collections::BTreeMap;

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};

use super::{
    Error,
    maps::{self, errno},
    pin::Pins,
    read,
};

/// What becomes of entries that are there with another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    /// They are written.
    Write,
    /// They stay until more is known.
    Await,
}

/// A small map that mirrors a small set.
#[derive(Debug)]
pub(super) struct Table<K: Pod, V: Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    written: BTreeMap<K, V>,
}

impl<K: Pod + Ord, V: Pod + PartialEq> Table<K, V> {
    /// Opens it, with what it holds.
    pub(super) fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let written = read::pairs(pins, name)?.into_iter().collect();
        Ok(Self { name, map: maps::hash(pins, name, false)?, written })
    }

    /// Takes over what the map really holds; says how many entries that changes.
    pub(super) fn reread(&mut self, pins: &Pins) -> Result<usize, Error> {
        let found: BTreeMap<K, V> = read::pairs(pins, self.name)?.into_iter().collect();
        let gone = self.written.keys().filter(|key| !found.contains_key(key)).count();
        let other =
            found.iter().filter(|(key, value)| self.written.get(key) != Some(value)).count();
        self.written = found;
        Ok(gone + other)
    }

    /// Makes it hold just this.
    pub(super) fn follow(
        &mut self,
        wanted: &BTreeMap<K, V>,
        changes: Changes,
    ) -> Result<(), Error> {
        self.add(wanted, changes)?;
        self.remove_others(wanted)
    }

    /// Adds what is missing.
    pub(super) fn add(&mut self, wanted: &BTreeMap<K, V>, changes: Changes) -> Result<(), Error> {
        for (key, value) in wanted {
            let is_due = match (self.written.get(key), changes) {
                (Some(written), Changes::Write) => written != value,
                (Some(_), Changes::Await) => false,
                (None, Changes::Write | Changes::Await) => true,
            };
            if is_due {
                self.map.insert(key, value, 0).map_err(|e| self.failed(&e))?;
                self.written.insert(*key, *value);
            }
        }
        Ok(())
    }

    /// Removes the rest.
    pub(super) fn remove_others(&mut self, wanted: &BTreeMap<K, V>) -> Result<(), Error> {
        let gone: Vec<K> =
            self.written.keys().filter(|key| !wanted.contains_key(key)).copied().collect();
        for key in gone {
            match self.map.remove(&key) {
                Err(e) if errno(&e) != Some(libc::ENOENT) => return Err(self.failed(&e)),
                Ok(()) | Err(_) => drop(self.written.remove(&key)),
            }
        }
        Ok(())
    }

    fn failed(&self, error: &MapError) -> Error {
        Error::new(format!("writing map {}", self.name), error)
    }
}
