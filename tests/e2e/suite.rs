//! Runs cases by their Kubernetes names and tells which failed.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use anyhow::Result;
use testbed::patience;

use crate::bed::Bed;

/// Cases that run at once: most of a case is waiting.
const AT_ONCE: usize = 12;
/// The same where the processor is emulated, and has enough to do with fewer.
const AT_ONCE_EMULATED: usize = 4;

/// Cases of one kind, each with its own Services: they may run at the same time.
pub(crate) struct Group<Run: 'static = fn(&Bed) -> Result<()>> {
    /// What Kubernetes calls the group.
    pub(crate) title: &'static str,
    /// The names within it.
    pub(crate) cases: &'static [(&'static str, Run)],
}

/// Cases that take something away from all others.
pub(crate) type Disruptive = Group<fn(&mut Bed) -> Result<()>>;

impl<Run> Group<Run> {
    /// Full names.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.cases.iter().map(|(name, _)| format!("{} {name}", self.title))
    }
}

/// What came of the cases so far.
#[derive(Default)]
pub(crate) struct Suite {
    ran: usize,
    failed: Vec<String>,
}

impl Suite {
    /// Runs groups whose cases do not mind each other.
    pub(crate) fn together(&mut self, bed: &Bed, groups: &[Group]) {
        let cases: Vec<_> =
            groups.iter().flat_map(|group| group.names().zip(group.cases)).collect();
        let at_once = if patience() > 1 { AT_ONCE_EMULATED } else { AT_ONCE };
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _worker in 0..at_once {
                scope.spawn(|| {
                    while let Some((name, (_, run))) =
                        cases.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let result = timed(name, || run(bed));
                        let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                        results.push((name.clone(), result));
                    }
                });
            }
        });
        for (name, result) in results.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.record(&name, result);
        }
    }

    /// Runs a group's cases one after another.
    pub(crate) fn alone(&mut self, bed: &mut Bed, group: &Disruptive) {
        for (name, (_, run)) in group.names().zip(group.cases) {
            let result = timed(&name, || run(bed));
            self.record(&name, result);
        }
    }

    fn record(&mut self, name: &str, result: Result<()>) {
        self.ran += 1;
        if let Err(error) = result {
            self.failed.push(format!("{name}: {error:#}"));
        }
    }

    /// Panics if any failed, so that every `Sluice` prints its log.
    pub(crate) fn finish(self) {
        let Self { ran, failed } = self;
        println!("{ran} cases, {} failed", failed.len());
        assert!(failed.is_empty(), "{} of {ran}:\n{}", failed.len(), failed.join("\n"));
    }
}

fn timed(name: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let began = Instant::now();
    let result = run();
    let verdict = if result.is_ok() { "ok" } else { "FAILED" };
    println!("{verdict:6} {:5.1} s  {name}", began.elapsed().as_secs_f32());
    result
}
