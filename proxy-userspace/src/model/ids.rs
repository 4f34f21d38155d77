//! Small numbers, lowest first.

use std::{collections::BTreeSet, time::Duration};

use super::quarantine::Quarantine;

/// Ids from 1 to below a limit; 0 means none everywhere.
#[derive(Debug)]
pub(super) struct Ids {
    limit: u32,
    /// Every id from here on is free.
    next: u32,
    /// The free ids below `next`.
    free: BTreeSet<u32>,
    quarantine: Quarantine<u32>,
}

impl Ids {
    pub(super) fn new(limit: u32) -> Self {
        Self { limit, next: 1, free: BTreeSet::new(), quarantine: Quarantine::default() }
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop_first() {
            return Some(id);
        }
        let id = (self.next < self.limit).then_some(self.next)?;
        self.next += 1;
        Some(id)
    }

    /// Takes exactly this id, which a map already uses. What lies between stays free.
    pub(super) fn adopt(&mut self, id: u32) {
        if id >= self.limit {
            return;
        }
        while self.next <= id {
            self.free.insert(self.next);
            self.next += 1;
        }
        self.free.remove(&id);
    }

    pub(super) fn give_back(&mut self, id: u32) {
        if id < self.limit {
            self.quarantine.push(id);
        }
    }

    /// Frees what waited long enough; says whether there was any.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let ripe = self.quarantine.tick(now);
        let any = !ripe.is_empty();
        self.free.extend(ripe);
        any
    }
}
