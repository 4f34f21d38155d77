//! The audit: the maps against what was written to them. It finds what another program, a person or
//! a fault of ours did to them, and undoes it.

use std::collections::BTreeMap;

use super::apply::{Maps, words};
use crate::model::{Model, mirror::Mirror};

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Entries that differed and were written again, by what an operator calls them.
    pub repaired: BTreeMap<&'static str, usize>,
    /// Entries that could not be compared or written; the next audit tries again.
    pub failures: Vec<String>,
}

impl Findings {
    /// Number of entries that were written again.
    pub fn repairs(&self) -> usize {
        self.repaired.values().sum()
    }
}

/// Compares a mirror with what the model was told, and writes what differs, in the order of a plan.
///
/// The mirror may be some seconds old: it names candidates, and each is read once more before it is
/// touched. So nothing may write to the maps meanwhile.
pub fn audit(found: &Mirror, maps: &mut impl Maps, model: &Model) -> Findings {
    let mut findings = Findings::default();
    for op in model.restore(found).ops() {
        let things = words(&op);
        let result = match maps.holds(&op) {
            Ok(true) => continue,
            Ok(false) => maps.write(&op),
            Err(e) => Err(e),
        };
        match result {
            Ok(()) => *findings.repaired.entry(things).or_default() += 1,
            Err(e) => findings.failures.push(format!("repairing {things} failed: {e}")),
        }
    }
    findings.failures.sort();
    findings.failures.dedup();
    findings
}
