//! Keeps the programs on the node's interfaces, and the maps that describe them, in step with what
//! netlink reports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::AsFd,
    path::Path,
};

use sluice_common::{
    iface::Iface,
    net::{Addr, V4, V6},
};

use super::{
    Error,
    attach::{self, Device},
    cgroup,
    load::Programs,
    pin::{self, Direction, Pins},
    probe::Features,
    sys,
    table::{Changes, Table},
    uplinks::Uplinks,
};
use crate::{
    config::Xdp,
    model::problem::{Problem, Subject},
    node::{IfacePlan, NodeState},
};

/// The instrumented interfaces.
#[derive(Debug)]
pub struct Interfaces {
    programs: Programs,
    features: Features,
    attached: BTreeMap<u32, Device>,
    uplinks: Uplinks,
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
        let uplinks = Uplinks::open(pins)?;
        let attached = BTreeMap::new();
        Ok(Self { programs, features, attached, uplinks, ifaces, addrs_v4, addrs_v6 })
    }

    /// The same, with XDP on the node's uplinks.
    pub fn with_xdp(mut self, xdp: Xdp) -> Self {
        self.uplinks.set(xdp);
        self
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
                problems.push(problem(subject, &e.to_string()));
            }
        };
        let changes = if state.provisional { Changes::Await } else { Changes::Write };
        note("node addresses".into(), self.addrs_v4.follow(&state.addrs_v4, changes));
        note("node addresses".into(), self.addrs_v6.follow(&state.addrs_v6, changes));
        let wanted = state.ifaces.iter().map(|plan| (plan.ifindex, plan.iface)).collect();
        note("interfaces".into(), self.ifaces.add(&wanted, changes));
        for plan in &state.ifaces {
            note(format!("interface {}", plan.name), self.attach(plan));
        }
        for ifindex in self.strangers(state) {
            note(format!("interface {ifindex}"), self.forget(ifindex));
        }
        note("interfaces".into(), self.ifaces.remove_others(&wanted));
        self.uplinks.follow(&mut self.programs, &state.uplinks, &mut note);
        problems
    }

    /// Looks whether programs and pins are still there. Socket hooks and pins are put back at once;
    /// an interface that lost its programs is attached again by the next [`Self::reconcile`].
    /// Returns what was lost, and what could not be looked at or is in the way.
    pub fn verify(&mut self, cgroup_root: &Path) -> (Vec<String>, Vec<Problem>) {
        let (mut lost, mut problems) = (Vec::new(), Vec::new());
        let mut note = |subject: &str, result: Result<Vec<String>, Error>| match result {
            Ok(names) => lost.extend(names),
            Err(e) => problems.push(problem(subject.to_owned(), &e.to_string())),
        };
        note("pinned maps", self.programs.repin());
        note("socket hooks", cgroup::restore(&self.programs, cgroup_root));
        let devices: Vec<Device> = self.attached.values().cloned().collect();
        for device in devices {
            match attach::state(&mut self.programs, self.features.tcx, &device) {
                attach::State::Attached => {}
                attach::State::Lost => {
                    self.attached.remove(&device.ifindex);
                    lost.push(format!("the programs of {}", device.name));
                }
                attach::State::Behind(direction) => {
                    problems.push(behind(&device, direction));
                }
            }
        }
        lost.extend(self.uplinks.lost(&self.programs));
        (lost, problems)
    }

    /// Reads the maps of interfaces and addresses: how many entries are not as they were written,
    /// which the next [`Self::reconcile`] then writes, and which maps could not be read.
    pub fn audit(&mut self) -> (usize, Vec<String>) {
        let pins = self.programs.pins.clone();
        let mut differ = 0;
        let mut failures = Vec::new();
        let results = [
            self.ifaces.reread(&pins),
            self.addrs_v4.reread(&pins),
            self.addrs_v6.reread(&pins),
            self.uplinks.reread(&pins),
        ];
        for result in results {
            match result {
                Ok(count) => differ += count,
                Err(e) => failures.push(e.to_string()),
            }
        }
        (differ, failures)
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

fn problem(subject: String, text: &str) -> Problem {
    Problem { subject: Subject::Other(subject), text: text.to_owned() }
}

fn behind(device: &Device, direction: Direction) -> Problem {
    let text = format!(
        "another program now runs before Sluice's at {}: packets that it ends, or passes without \
         asking the next program, are not translated; have it attached behind Sluice's, or return \
         TCX_NEXT",
        direction.name()
    );
    problem(format!("interface {}", device.name), &text)
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
    super::clsact::detach_all(&Direction::ALL)?;
    match fs::remove_dir_all(pins.all_versions()) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::os(format!("removing {}", pins.all_versions().display()), &e))
        }
        Ok(()) | Err(_) => Ok(removed),
    }
}
