//! Keeps the programs on the node's interfaces, and the maps that describe them, in step with what
//! netlink reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::AsFd,
    path::Path,
};

use aya::{
    Pod,
    maps::{HashMap, MapData, MapError},
};
use sluice_common::{
    iface::Iface,
    net::{Addr, V4, V6},
};

use super::{
    Error,
    attach::{self, Device},
    load::Programs,
    maps::{self, errno},
    pin::{self, Pins},
    probe::Features,
    read, sys,
};
use crate::{
    model::problem::{Problem, Subject},
    node::{IfacePlan, NodeState},
};

/// The instrumented interfaces.
#[derive(Debug)]
pub struct Interfaces {
    programs: Programs,
    features: Features,
    attached: BTreeMap<u32, Device>,
    ifaces: Table<u32, Iface>,
    addrs_v4: Table<Addr<V4>, u32>,
    addrs_v6: Table<Addr<V6>, u32>,
}

impl Interfaces {
    /// Starts with what an earlier run left: its links stay until [`Self::reconcile`] has put the
    /// new programs into them.
    pub fn new(programs: Programs, features: Features) -> Result<Self, Error> {
        let pins = &programs.pins;
        let (ifaces, addrs_v4, addrs_v6) = (
            Table::open(pins, "IFACES")?,
            Table::open(pins, "NODE_ADDRS_V4")?,
            Table::open(pins, "NODE_ADDRS_V6")?,
        );
        Ok(Self { programs, features, attached: BTreeMap::new(), ifaces, addrs_v4, addrs_v6 })
    }

    /// The loaded programs.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// What is attached now.
    pub fn attached(&self) -> impl Iterator<Item = &Device> {
        self.attached.values()
    }

    /// Makes kernel and maps follow. Must run in the node's network namespace. What fails for one
    /// interface is reported and tried again at the next call; the others go on.
    pub fn reconcile(&mut self, state: &NodeState) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut note = |subject: String, result: Result<(), Error>| {
            if let Err(e) = result {
                problems.push(Problem { subject: Subject::Other(subject), text: e.to_string() });
            }
        };
        note("node addresses".into(), self.addrs_v4.follow(&state.addrs_v4));
        note("node addresses".into(), self.addrs_v6.follow(&state.addrs_v6));
        let wanted = state.ifaces.iter().map(|plan| (plan.ifindex, plan.iface)).collect();
        note("interfaces".into(), self.ifaces.add(&wanted));
        for plan in &state.ifaces {
            note(format!("interface {}", plan.name), self.attach(plan));
        }
        for ifindex in self.strangers(state) {
            note(format!("interface {ifindex}"), self.forget(ifindex));
        }
        note("interfaces".into(), self.ifaces.remove_others(&wanted));
        problems
    }

    fn attach(&mut self, plan: &IfacePlan) -> Result<(), Error> {
        let IfacePlan { ifindex, l3, upper, .. } = *plan;
        let device = Device { ifindex, name: plan.name.clone(), l3, upper };
        if self.attached.get(&plan.ifindex).is_some_and(|old| old.is_like(&device)) {
            // An interface may be renamed; an index is not given away again so soon that netlink
            // would not have reported the first one's end.
            self.attached.insert(plan.ifindex, device);
            return Ok(());
        }
        attach::attach(&mut self.programs, self.features.tcx, &device)?;
        tracing::debug!(interface = device.name, ifindex = device.ifindex, "attached");
        self.attached.insert(plan.ifindex, device);
        Ok(())
    }

    /// Interfaces that are attached, by this run or an earlier one, and no longer wanted.
    fn strangers(&self, state: &NodeState) -> BTreeSet<u32> {
        let pinned = self.programs.pins.tc_interfaces();
        let known = self.attached.keys().copied().chain(pinned);
        let wanted: BTreeSet<u32> = state.ifaces.iter().map(|plan| plan.ifindex).collect();
        known.filter(|ifindex| !wanted.contains(ifindex)).collect()
    }

    fn forget(&mut self, ifindex: u32) -> Result<(), Error> {
        let unknown = || Device { ifindex, name: String::new(), l3: false, upper: false };
        let device = self.attached.get(&ifindex).cloned().unwrap_or_else(unknown);
        attach::detach(&self.programs, self.features.tcx, &device)?;
        self.attached.remove(&ifindex);
        Ok(())
    }
}

/// A small map that mirrors a small set.
#[derive(Debug)]
struct Table<K: Pod, V: Pod> {
    name: &'static str,
    map: HashMap<MapData, K, V>,
    written: BTreeMap<K, V>,
}

impl<K: Pod + Ord, V: Pod + PartialEq> Table<K, V> {
    fn open(pins: &Pins, name: &'static str) -> Result<Self, Error> {
        let written = read::pairs(pins, name)?.into_iter().collect();
        Ok(Self { name, map: maps::hash(pins, name, false)?, written })
    }

    fn follow(&mut self, wanted: &BTreeMap<K, V>) -> Result<(), Error> {
        self.add(wanted)?;
        self.remove_others(wanted)
    }

    fn add(&mut self, wanted: &BTreeMap<K, V>) -> Result<(), Error> {
        for (key, value) in wanted {
            if self.written.get(key) != Some(value) {
                self.map.insert(key, value, 0).map_err(|e| self.failed(&e))?;
                self.written.insert(*key, *value);
            }
        }
        Ok(())
    }

    fn remove_others(&mut self, wanted: &BTreeMap<K, V>) -> Result<(), Error> {
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

/// Detaches and removes everything of ours, of every version; tells what it removed. Must run in
/// the node's network namespace. Links go first, so that no program runs on half the maps.
pub fn cleanup(bpf_root: &Path) -> Result<Vec<String>, Error> {
    let pins = Pins::new(bpf_root);
    let mut removed = Vec::new();
    for version in pin::entries(&pins.all_versions()) {
        for path in pin::entries(&version.join("links")) {
            // A link whose interface is gone is detached already; unpinning ends it anyway.
            let _ = sys::open(&path, false).and_then(|link| sys::link_detach(link.as_fd()));
            pin::unpin(&path)?;
            removed.push(path.display().to_string());
        }
        for path in pin::entries(&version.join("maps")) {
            pin::unpin(&path)?;
            removed.push(path.display().to_string());
        }
    }
    super::clsact::detach_all()?;
    match fs::remove_dir_all(pins.all_versions()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::os(format!("removing {}", pins.all_versions().display()), &e))
        }
        Ok(()) | Err(_) => Ok(removed),
    }
}
