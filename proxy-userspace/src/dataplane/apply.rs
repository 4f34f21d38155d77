//! What runs a plan against the maps.

use std::collections::BTreeMap;

use crate::model::{
    Model,
    op::{MapOp, Op},
    plan::{Build, Plan},
};

/// Why a map did not take a write.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum WriteError {
    /// The map holds as much as it can.
    #[error("map {map} is full ({capacity}); raise {flag}")]
    Full {
        /// Name of the map.
        map: &'static str,
        /// Its size.
        capacity: u32,
        /// The option that makes it larger.
        flag: &'static str,
    },
    /// Anything else, with the system's words for it.
    #[error("map {map}: {cause}")]
    Failed {
        /// Name of the map.
        map: &'static str,
        /// The cause.
        cause: String,
    },
}

/// The maps that a plan is written to: the kernel's, or a fake.
pub trait Maps {
    /// Does one write. Deleting what is not there is a success.
    fn write(&mut self, op: &Op) -> Result<(), WriteError>;

    /// Whether the maps are already as this write would leave them.
    fn holds(&self, op: &Op) -> Result<bool, WriteError>;

    /// Has a table written, and returns its checksum. `None`: others do it, and will tell.
    fn build(&mut self, build: &Build) -> Option<Result<u64, WriteError>>;
}

/// What became of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Writes that succeeded.
    pub written: usize,
    /// Writes that failed; they are in the next plan.
    pub failed: usize,
    /// Writes that were not tried, because what they rely on is not there yet. They are in the
    /// next plan.
    pub deferred: usize,
    /// One line for each kind of write and cause of failure.
    pub failures: Vec<String>,
}

impl Report {
    /// Whether the maps follow the plan.
    pub fn is_complete(&self) -> bool {
        self.failed + self.deferred == 0
    }
}

/// Runs a plan in its order. A failure stops what relies on it and nothing else.
///
/// After an incomplete report the caller asks the model for a plan again, after a while.
pub fn apply(plan: &Plan, maps: &mut impl Maps, model: &mut Model) -> Report {
    let mut report = Report::default();
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    let mut failed: BTreeMap<(&str, WriteError), usize> = BTreeMap::new();
    for build in &plan.tables {
        model.gave(build);
        let Some(outcome) = maps.build(build) else { continue };
        *tried.entry(TABLES).or_default() += 1;
        model.built(build, outcome.as_ref().ok().copied());
        match outcome {
            Ok(_) => report.written += 1,
            Err(error) => {
                report.failed += 1;
                *failed.entry((TABLES, error)).or_default() += 1;
            }
        }
    }
    for op in plan.ops() {
        if !model.allows(&op) {
            report.deferred += 1;
            continue;
        }
        let things = words(&op);
        *tried.entry(things).or_default() += 1;
        match maps.write(&op) {
            Ok(()) => {
                report.written += 1;
                model.wrote(&op);
            }
            Err(error) => {
                report.failed += 1;
                *failed.entry((things, error)).or_default() += 1;
            }
        }
    }
    report.failures = failed
        .into_iter()
        .map(|((things, error), count)| {
            let all = tried.get(things).copied().unwrap_or(count);
            format!("writing {count} of {all} {things} failed: {error}")
        })
        .collect();
    report
}

/// What an operator calls the things that a [`Build`] is about.
pub const TABLES: &str = "Maglev tables";

/// What an operator calls the things that a write is about.
pub(super) fn words(op: &Op) -> &'static str {
    match op {
        Op::NameService(..) => "service names",
        Op::ForgetService(_) => "deletions of service names",
        Op::Settings(_) => "settings",
        Op::V4(op) => map_words(op),
        Op::V6(op) => map_words(op),
    }
}

fn map_words<const N: usize>(op: &MapOp<N>) -> &'static str {
    match op {
        MapOp::Frontend(_, Some(_)) => "frontends",
        MapOp::Frontend(_, None) => "deletions of frontends",
        MapOp::Backend(..) => "backends",
        MapOp::Slot(..) => "slots",
        MapOp::AddPrefix(_) => "prefixes",
        MapOp::RemovePrefix(_) => "deletions of prefixes",
    }
}
