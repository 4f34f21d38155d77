//! SLOTS: ranges that never change while a frontend looks at them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_common::frontend::Range;

use super::{counts::Counts, delta::Delta, ranges::Ranges};

type Key = (u32, u32);

/// The slots of a family.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) delta: Delta<u32, u32>,
    ranges: Ranges,
    limit: u32,
    /// Ranges that some service port wants.
    owned: BTreeSet<Key>,
    /// Ranges that written frontends name.
    live: Counts<Key>,
    /// Backends that slots of live ranges name.
    listed: Counts<u32>,
    /// Live ranges from before a restart that may be taken over, by service id.
    adoptable: BTreeMap<u32, Vec<Range>>,
    /// Adopted ranges that overlap or overrun: never reused, so that they do no more harm.
    broken: BTreeSet<Key>,
}

impl Slots {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            delta: Delta::default(),
            ranges: Ranges::new(limit),
            limit,
            owned: BTreeSet::new(),
            live: Counts::default(),
            listed: Counts::default(),
            adoptable: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// Takes over the slots and the ranges that frontends name: service id, range.
    pub(super) fn adopt(&mut self, content: BTreeMap<u32, u32>, mut named: Vec<(u32, Range)>) {
        self.delta.adopt(content);
        named.sort_by_key(|(service, range)| (range.start, range.len, *service));
        let mut whole: Option<(u32, u64)> = None;
        let mut group: Vec<(u32, Range)> = Vec::new();
        for (service, range) in named {
            let end = u64::from(range.start) + u64::from(range.len);
            whole = match whole {
                Some((start, until)) if u64::from(range.start) < until => {
                    Some((start, until.max(end)))
                }
                Some((start, until)) => {
                    self.adopt_group(start, until, &group);
                    group.clear();
                    Some((range.start, end))
                }
                None => Some((range.start, end)),
            };
            group.push((service, range));
        }
        if let Some((start, until)) = whole {
            self.adopt_group(start, until, &group);
        }
    }

    /// Ranges that overlap: one range, named by one service, is sound; anything else is broken.
    fn adopt_group(&mut self, start: u32, until: u64, group: &[(u32, Range)]) {
        let until = u32::try_from(until).unwrap_or(u32::MAX);
        let len = until.min(self.limit).saturating_sub(start);
        let reserved = len > 0 && self.ranges.adopt(Range { start, len });
        let (service, range) = group[0];
        let is_sound = until <= self.limit && group.iter().all(|named| *named == group[0]);
        if reserved && is_sound {
            self.adoptable.entry(service).or_default().push(range);
            return;
        }
        self.broken.extend(group.iter().map(|(_, range)| (range.start, range.len)));
    }

    pub(super) fn drop_adopted(&mut self) {
        self.adoptable.clear();
    }

    /// A range with exactly these backends; as many of them as fit when there is little room.
    pub(super) fn place(&mut self, service: u32, ids: &[u32]) -> Range {
        if let Some(range) = self.take_over(service, ids) {
            self.own(range, ids);
            return range;
        }
        let mut len = u32::try_from(ids.len()).unwrap_or(u32::MAX);
        while len > 0 {
            if let Some(range) = self.ranges.take(len) {
                self.own(range, ids);
                return range;
            }
            len /= 2;
        }
        Range::default()
    }

    /// Whether a range that was too short for its list could now be replaced by a better one.
    pub(super) fn could_improve(&self, range: Range, ids: usize) -> bool {
        let missing = u32::try_from(ids).is_ok_and(|ids| range.len < ids && self.ranges.fits(ids));
        missing || range.len == 0
    }

    fn own(&mut self, range: Range, ids: &[u32]) {
        self.owned.insert((range.start, range.len));
        for (slot, id) in (range.start..range.start + range.len).zip(ids) {
            self.delta.want(slot, *id);
        }
    }

    fn take_over(&mut self, service: u32, ids: &[u32]) -> Option<Range> {
        let ranges = self.adoptable.get_mut(&service)?;
        let written = self.delta.written();
        let same = |range: &Range| {
            let slots = written.range(range.start..range.start + range.len);
            slots.map(|(_, id)| id).eq(ids)
        };
        let found = ranges.iter().position(same)?;
        Some(ranges.swap_remove(found))
    }

    /// No service port wants the range any more. It stays as long as a frontend names it.
    pub(super) fn disown(&mut self, range: Range) {
        if !self.owned.remove(&(range.start, range.len)) {
            return;
        }
        for slot in range.start..range.start + range.len {
            self.delta.release(&slot);
        }
        if !self.live.contains(&(range.start, range.len)) {
            self.ranges.give_back(range);
        }
    }

    /// A written frontend names the range.
    pub(super) fn enliven(&mut self, range: Range) {
        if range.len == 0 {
            return;
        }
        if self.live.add((range.start, range.len)) {
            for id in contents(&self.delta, range) {
                self.listed.add(id);
            }
        }
    }

    /// One written frontend less names the range.
    pub(super) fn unliven(&mut self, range: Range) {
        let key = (range.start, range.len);
        if !self.live.remove(&key) {
            return;
        }
        for id in contents(&self.delta, range) {
            self.listed.remove(&id);
        }
        if !self.owned.contains(&key) && !self.broken.contains(&key) {
            self.ranges.give_back(range);
        }
    }

    /// Whether a frontend that is in the map may lead to the backend.
    pub(super) fn lists(&self, id: u32) -> bool {
        self.listed.contains(&id)
    }

    /// The backends of a range, if every slot of it is written.
    pub(super) fn filled(&self, range: Range) -> Option<Vec<u32>> {
        let slots = range.start..range.start.checked_add(range.len)?;
        slots
            .map(|slot| {
                let id = self.delta.written().get(&slot).copied();
                id.filter(|_| self.delta.is_settled(&slot))
            })
            .collect()
    }

    pub(super) fn tick(&mut self, now: Duration) -> bool {
        self.ranges.tick(now)
    }
}

fn contents(delta: &Delta<u32, u32>, range: Range) -> Vec<u32> {
    let end = range.start.saturating_add(range.len);
    delta.written().range(range.start..end).map(|(_, id)| *id).collect()
}
