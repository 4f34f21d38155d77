//! The Problems there are, by what causes them.

use std::collections::{BTreeMap, BTreeSet};

use sluice_common::{
    frontend::FrontendKey,
    net::{V4, V6},
};

use super::{
    problem::{Problem, Subject},
    spec::ObjectName,
};

/// What a problem goes away with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// What a source says of an object.
    Source(Subject),
    /// A Service with its slices.
    Service(ObjectName),
    /// The claims of an IPv4 address.
    Frontend4(FrontendKey<V4>),
    /// The claims of an IPv6 address.
    Frontend6(FrontendKey<V6>),
    /// The marks of a family, endpoints' and cluster IPs'.
    Marks(u8),
    /// The ServiceCIDRs of a family.
    ServiceCidrs(u8),
}

/// Current problems, and those that came up since last asked.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    current: BTreeMap<Origin, Vec<Problem>>,
    /// What changed causes had before.
    before: BTreeMap<Origin, Vec<Problem>>,
}

impl Ledger {
    /// Replaces the problems of one cause.
    pub(super) fn set(&mut self, origin: Origin, problems: Vec<Problem>) {
        let old = if problems.is_empty() {
            self.current.remove(&origin)
        } else {
            self.current.insert(origin.clone(), problems)
        };
        self.before.entry(origin).or_insert_with(|| old.unwrap_or_default());
    }

    /// Adds one problem to a cause.
    pub(super) fn add(&mut self, origin: Origin, problem: Problem) {
        let mut problems = self.current.get(&origin).cloned().unwrap_or_default();
        problems.push(problem);
        self.set(origin, problems);
    }

    /// Every problem there is, each once.
    pub(super) fn all(&self) -> BTreeSet<&Problem> {
        self.current.values().flatten().collect()
    }

    /// The problems that came up since the last call.
    pub(super) fn take_new(&mut self) -> Vec<Problem> {
        let mut new = BTreeSet::new();
        for (origin, before) in std::mem::take(&mut self.before) {
            let now = self.current.get(&origin).into_iter().flatten();
            new.extend(now.filter(|problem| !before.contains(problem)).cloned());
        }
        new.into_iter().collect()
    }
}
