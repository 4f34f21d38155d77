//! Looking after what is in place: the maps' contents now and then, programs and pins every few
//! seconds (A93).

use std::{fmt::Write, time::Duration};

use super::Controller;
use crate::{
    dataplane::{TABLES, audit::audit},
    model::{
        mirror::Mirror,
        problem::{Problem, Subject},
    },
};

/// Between two looks at programs and pins.
pub(super) const VERIFY: Duration = Duration::from_secs(5);

impl Controller {
    /// Repairs maps that are not as they were written.
    pub(super) fn audit(&mut self, found: &Mirror) {
        let findings = audit(found, &mut self.maps, &self.model);
        let (tables, failures) = self.interfaces.audit();
        if tables > 0 {
            self.follow_node(self.node_state.clone());
        }
        let mut repaired = findings.repaired.clone();
        let spoiled = self.model.distrust_tables(found);
        if spoiled > 0 {
            repaired.insert(TABLES, spoiled);
            self.write();
        }
        if tables > 0 {
            repaired.insert("interfaces or node addresses", tables);
        }
        let count: usize = repaired.values().sum();
        self.vitals.update(|figures| {
            figures.audits += 1;
            figures.audit_repairs += count as u64;
        });
        for failure in findings.failures.iter().chain(&failures) {
            tracing::error!("audit: {failure}; the next audit tries again");
        }
        if count > 0 {
            let mut list = String::new();
            for (things, count) in &repaired {
                let comma = if list.is_empty() { "" } else { ", " };
                let _infallible = write!(list, "{comma}{count} {things}");
            }
            self.tell(format!(
                "the maps were not as they had been written: repaired {list}; look for what else \
                 writes to {}",
                self.interfaces.programs().pins.maps().display()
            ));
        }
    }

    /// Attaches and pins again what something else has taken away.
    pub(super) fn verify(&mut self) {
        let (lost, problems) = self.interfaces.verify(&self.cgroup_root);
        for problem in problems.iter().filter(|p| !self.upkeep_problems.contains(p)) {
            tracing::warn!("{problem}");
            self.reports.problem(problem);
        }
        self.upkeep_problems = problems;
        if lost.is_empty() {
            return;
        }
        self.vitals.update(|figures| figures.reattached += lost.len() as u64);
        self.tell(format!(
            "something else took away {}; putting it back: look for what detaches programs, \
             flushes qdiscs or deletes pins on this node",
            lost.join(", ")
        ));
        self.follow_node(self.node_state.clone());
    }

    /// Logs that something else has been at work, and tells the node's readers of Events (A93).
    fn tell(&self, text: String) {
        let problem = Problem { subject: Subject::Other("datapath".to_owned()), text };
        tracing::warn!("{problem}");
        self.reports.problem(&problem);
    }
}
