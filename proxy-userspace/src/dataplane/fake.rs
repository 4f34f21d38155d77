//! A fake kernel: maps that check, after every single write, what the real ones rely on.
//!
//! It proves the order of the writes, and that failures are survived. It does not prove what the
//! kernel's programs make of the maps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_common::{
    backend::Backend,
    frontend::{Frontend, FrontendKey, Range},
    prefix::SERVICE_CIDRS,
};

use super::apply::{Maps, WriteError};
use crate::model::{
    built::checksum,
    maglev,
    mirror::{FamilyMirror, Mirror},
    op::{MapOp, Op},
    plan::Build,
    quarantine::GRACE,
};

/// Maps in memory.
#[derive(Debug, Default)]
pub(crate) struct FakeMaps {
    content: Mirror,
    retired4: Retired,
    retired6: Retired,
    /// Set by the test; ranges are retired and reused at this time.
    pub(crate) now: Duration,
    /// Which writes fail: tells from the number of the write, the first being 1.
    pub(crate) fault: Option<fn(usize) -> bool>,
    /// Number of writes so far, failed ones included.
    pub(crate) writes: usize,
    /// What went wrong, in words; a test expects none.
    pub(crate) violations: Vec<String>,
}

/// When which slot was last named by a frontend.
type Retired = BTreeMap<u32, Duration>;

impl FakeMaps {
    /// Maps that hold something already, as after a restart.
    pub(crate) fn holding(content: Mirror) -> Self {
        Self { content, ..Self::default() }
    }

    /// What the maps hold.
    pub(crate) fn content(&self) -> &Mirror {
        &self.content
    }

    /// Lets something else write to the maps.
    pub(crate) fn damage(&mut self, change: impl FnOnce(&mut Mirror)) {
        change(&mut self.content);
    }

    fn check(&mut self) {
        let mut violations = find(&self.content.v4);
        violations.extend(find(&self.content.v6));
        violations.extend(unnamed(&self.content, &self.content.v4));
        violations.extend(unnamed(&self.content, &self.content.v6));
        let writes = self.writes;
        self.violations.extend(violations.into_iter().map(|v| format!("write {writes}: {v}")));
    }
}

impl Maps for FakeMaps {
    fn write(&mut self, op: &Op) -> Result<(), WriteError> {
        self.writes += 1;
        if self.fault.is_some_and(|fails| fails(self.writes)) {
            let cause = format!("injected at write {}", self.writes);
            return Err(WriteError::Failed { map: "FAKE", cause });
        }
        let early = match op {
            Op::NameService(id, name) => {
                self.content.services.insert(*id, *name);
                None
            }
            Op::ForgetService(id) => {
                self.content.services.remove(id);
                None
            }
            Op::Settings(settings) => {
                self.content.settings = Some(*settings);
                None
            }
            Op::V4(op) => write(&mut self.content.v4, &mut self.retired4, self.now, op),
            Op::V6(op) => write(&mut self.content.v6, &mut self.retired6, self.now, op),
        };
        self.violations.extend(early);
        self.check();
        Ok(())
    }

    fn build(&mut self, build: &Build) -> Option<Result<u64, WriteError>> {
        self.writes += 1;
        if self.fault.is_some_and(|fails| fails(self.writes)) {
            let cause = format!("injected at write {}", self.writes);
            return Some(Err(WriteError::Failed { map: "FAKE", cause }));
        }
        let ids = maglev::table(&build.members);
        let start = build.range.start;
        let early = match build.v6 {
            false => fill(&mut self.content.v4, &self.retired4, self.now, start, &ids),
            true => fill(&mut self.content.v6, &self.retired6, self.now, start, &ids),
        };
        self.violations.extend(early);
        if ids.len() != build.range.len as usize {
            self.violations.push(format!("a table of {} in {:?}", ids.len(), build.range));
        }
        self.check();
        Some(Ok(checksum(ids.into_iter())))
    }

    fn holds(&self, op: &Op) -> Result<bool, WriteError> {
        let content = &self.content;
        Ok(match op {
            Op::NameService(id, name) => content.services.get(id) == Some(name),
            Op::ForgetService(id) => !content.services.contains_key(id),
            Op::Settings(settings) => content.settings == Some(*settings),
            Op::V4(op) => holds(&content.v4, op),
            Op::V6(op) => holds(&content.v6, op),
        })
    }
}

/// Fills a range that no frontend names, or that holds the same already.
fn fill<const N: usize>(
    maps: &mut FamilyMirror<N>,
    retired: &Retired,
    now: Duration,
    start: u32,
    ids: &[u32],
) -> Option<String> {
    let slots = start..start.saturating_add(ids.len() as u32);
    let same = slots.clone().zip(ids).all(|(slot, id)| maps.slots.get(&slot) == Some(id));
    maps.slots.extend(slots.clone().zip(ids.iter().copied()));
    let mut named = maps.frontends.values().flat_map(|f| [f.cluster, f.local]);
    let used = named.any(|r| r.len > 0 && r.start < slots.end && slots.start < r.start + r.len);
    let recent = retired.range(slots).any(|(_, since)| now - *since < GRACE);
    (!same && (used || recent)).then(|| format!("table {start} was written too early"))
}

fn holds<const N: usize>(maps: &FamilyMirror<N>, op: &MapOp<N>) -> bool {
    match op {
        MapOp::Frontend(key, value) => maps.frontends.get(key) == value.as_ref(),
        MapOp::Backend(id, backend) => maps.backends.get(id) == Some(backend),
        MapOp::Slot(slot, id) => maps.slots.get(slot) == Some(id),
        MapOp::AddPrefix(prefix) => maps.prefixes.contains(prefix),
        MapOp::RemovePrefix(prefix) => !maps.prefixes.contains(prefix),
    }
}

fn write<const N: usize>(
    maps: &mut FamilyMirror<N>,
    retired: &mut Retired,
    now: Duration,
    op: &MapOp<N>,
) -> Option<String> {
    match op {
        MapOp::Frontend(key, value) => {
            let old = match value {
                Some(value) => maps.frontends.insert(*key, *value),
                None => maps.frontends.remove(key),
            };
            for slot in old.iter().flat_map(slots) {
                retired.insert(slot, now);
            }
            None
        }
        MapOp::Backend(id, backend) => {
            maps.backends.insert(*id, *backend);
            None
        }
        MapOp::AddPrefix(prefix) => {
            maps.prefixes.insert(*prefix);
            None
        }
        MapOp::RemovePrefix(prefix) => {
            maps.prefixes.remove(prefix);
            None
        }
        MapOp::Slot(slot, id) => {
            let same = maps.slots.insert(*slot, *id) == Some(*id);
            let used = maps.frontends.values().any(|f| slots(f).any(|named| named == *slot));
            let recent = retired.get(slot).is_some_and(|since| now - *since < GRACE);
            (!same && (used || recent)).then(|| format!("slot {slot} was reused too early"))
        }
    }
}

fn slots(frontend: &Frontend) -> impl Iterator<Item = u32> {
    let all = |range: Range| range.start..range.start.saturating_add(range.len);
    all(frontend.cluster).chain(all(frontend.local))
}

fn find<const N: usize>(maps: &FamilyMirror<N>) -> Vec<String> {
    let mut violations = Vec::new();
    for (key, frontend) in &maps.frontends {
        for Range { start, len } in [frontend.cluster, frontend.local] {
            let slots = maps.slots.range(start..start.saturating_add(len));
            if slots.clone().count() != len as usize {
                violations.push(format!("{key:?} names {len} slots at {start}, not all filled"));
            }
            let ids: BTreeSet<u32> = slots.map(|(_, id)| *id).collect();
            violations.extend(ids.iter().find_map(|id| fault_of(maps, key, frontend, *id)));
        }
    }
    violations
}

/// Source ranges whose service is not there: the next one with its id would begin with them.
fn unnamed<const N: usize>(all: &Mirror, maps: &FamilyMirror<N>) -> Option<String> {
    let mut scopes = maps.prefixes.iter().map(|prefix| prefix.scope);
    let scope =
        scopes.find(|scope| *scope != SERVICE_CIDRS && !all.services.contains_key(scope))?;
    Some(format!("there are source ranges of service {scope}, which is not there"))
}

fn fault_of<const N: usize>(
    maps: &FamilyMirror<N>,
    key: &FrontendKey<N>,
    frontend: &Frontend,
    id: u32,
) -> Option<String> {
    let backend: Option<&Backend<N>> = maps.backends.get(&id).filter(|b| b.flags != 0);
    match backend {
        None => Some(format!("{key:?} leads to backend {id}, which is not there")),
        Some(b) if b.service != frontend.service => {
            Some(format!("{key:?} leads to backend {id} of another service"))
        }
        Some(b) if b.flags & sluice_common::backend::flags::ELIGIBLE == 0 => {
            Some(format!("{key:?} leads to backend {id}, which may not be chosen"))
        }
        Some(_) => None,
    }
}
