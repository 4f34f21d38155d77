//! Who owns which part of SLOTS: first fit over a free list.

use std::{collections::BTreeMap, time::Duration};

use sluice_common::frontend::Range;

use super::quarantine::Quarantine;

/// The free parts of an array of slots.
#[derive(Debug)]
pub(super) struct Ranges {
    /// Start → length; never two that touch.
    free: BTreeMap<u32, u32>,
    quarantine: Quarantine<Range>,
}

impl Ranges {
    pub(super) fn new(slots: u32) -> Self {
        Self { free: BTreeMap::from([(0, slots)]), quarantine: Quarantine::default() }
    }

    /// The first part that is long enough.
    pub(super) fn take(&mut self, len: u32) -> Option<Range> {
        let (&start, &room) = self.free.iter().find(|(_, room)| **room >= len)?;
        self.free.remove(&start);
        if room > len {
            self.free.insert(start + len, room - len);
        }
        Some(Range { start, len })
    }

    /// Whether some part is long enough.
    pub(super) fn fits(&self, len: u32) -> bool {
        self.free.values().any(|room| *room >= len)
    }

    /// Takes exactly this range, which a frontend already uses; false if that is not possible.
    pub(super) fn adopt(&mut self, range: Range) -> bool {
        let Some(end) = range.start.checked_add(range.len) else { return false };
        let Some((&start, &room)) = self.free.range(..=range.start).next_back() else {
            return false;
        };
        if start + room < end {
            return false;
        }
        self.free.remove(&start);
        if start < range.start {
            self.free.insert(start, range.start - start);
        }
        if end < start + room {
            self.free.insert(end, start + room - end);
        }
        true
    }

    pub(super) fn give_back(&mut self, range: Range) {
        self.quarantine.push(range);
    }

    /// Frees what waited long enough; says whether there was any.
    pub(super) fn tick(&mut self, now: Duration) -> bool {
        let ripe = self.quarantine.tick(now);
        let any = !ripe.is_empty();
        for range in ripe {
            self.free_now(range);
        }
        any
    }

    fn free_now(&mut self, mut range: Range) {
        if let Some((&start, &len)) = self.free.range(..range.start).next_back()
            && start + len == range.start
        {
            self.free.remove(&start);
            range = Range { start, len: len + range.len };
        }
        if let Some(len) = self.free.remove(&(range.start + range.len)) {
            range.len += len;
        }
        self.free.insert(range.start, range.len);
    }
}
