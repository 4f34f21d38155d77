//! SLOTS: ranges that never change while a frontend looks at them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use sluice_common::frontend::Range;

use super::{
    built::{BuiltRanges, Key},
    counts::Counts,
    delta::Delta,
    maglev,
    ranges::Ranges,
};

/// What a service port wants a range to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    /// Backends, by address.
    pub(super) ids: Vec<u32>,
    /// Whether as a Maglev table, rather than each once.
    is_table: bool,
}

impl Listing {
    /// A list for random numbers, or for hashes.
    pub(super) fn new(ids: Vec<u32>, is_hashed: bool) -> Self {
        let is_table = is_hashed && maglev::slots(ids.len()).is_some();
        Self { ids, is_table }
    }

    /// How many slots it takes.
    fn len(&self) -> u32 {
        let list = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let table = maglev::slots(self.ids.len()).filter(|_| self.is_table);
        table.unwrap_or(list)
    }
}

/// A range that a frontend names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) service: u32,
    pub(super) range: Range,
    pub(super) is_hashed: bool,
}

/// The slots of a family.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) delta: Delta<u32, u32>,
    pub(super) built: BuiltRanges,
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
            built: BuiltRanges::default(),
            ranges: Ranges::new(limit),
            limit,
            owned: BTreeSet::new(),
            live: Counts::default(),
            listed: Counts::default(),
            adoptable: BTreeMap::new(),
            broken: BTreeSet::new(),
        }
    }

    /// Takes over the slots and the ranges that frontends name.
    pub(super) fn adopt(&mut self, mut content: BTreeMap<u32, u32>, mut named: Vec<Named>) {
        named.sort_by_key(|named| (named.range.start, named.range.len, named.service));
        let mut whole: Option<(u32, u64)> = None;
        let mut group: Vec<Named> = Vec::new();
        for this in named {
            let range = this.range;
            let end = u64::from(range.start) + u64::from(range.len);
            whole = match whole {
                Some((start, until)) if u64::from(range.start) < until => {
                    Some((start, until.max(end)))
                }
                Some((start, until)) => {
                    self.adopt_group(start, until, &group, &mut content);
                    group.clear();
                    Some((range.start, end))
                }
                None => Some((range.start, end)),
            };
            group.push(this);
        }
        if let Some((start, until)) = whole {
            self.adopt_group(start, until, &group, &mut content);
        }
        self.delta.adopt(content);
    }

    /// Ranges that overlap: one range, named by one service, is sound; anything else is broken. The
    /// slots of tables are taken out of the content.
    fn adopt_group(
        &mut self,
        start: u32,
        until: u64,
        group: &[Named],
        content: &mut BTreeMap<u32, u32>,
    ) {
        let until = u32::try_from(until).unwrap_or(u32::MAX);
        let len = until.min(self.limit).saturating_sub(start);
        let reserved = len > 0 && self.ranges.adopt(Range { start, len });
        let Named { service, range, .. } = group[0];
        let is_one = |named: &Named| named.service == service && named.range == range;
        if !reserved || until > self.limit || !group.iter().all(is_one) {
            self.broken.extend(group.iter().map(|named| (named.range.start, named.range.len)));
            return;
        }
        let slots = || content.range(start..until).map(|(_, id)| *id).collect::<Vec<u32>>();
        let is_hashed = group.iter().any(|named| named.is_hashed);
        if is_hashed && self.built.adopt(service, range, &slots()) {
            for slot in start..until {
                content.remove(&slot);
            }
            return;
        }
        self.adoptable.entry(service).or_default().push(range);
    }

    pub(super) fn drop_adopted(&mut self) {
        self.adoptable.clear();
        self.built.drop_adopted();
    }

    /// A range with exactly these backends; as many of them as fit when there is little room. A table
    /// that finds no room becomes a list.
    pub(super) fn place(&mut self, service: u32, listing: &Listing) -> Range {
        let ids = &listing.ids;
        if listing.is_table {
            if let Some(range) = self.built.take_over(service, ids) {
                self.owned.insert((range.start, range.len));
                return range;
            }
            if let Some(range) = self.ranges.take(listing.len()) {
                self.owned.insert((range.start, range.len));
                self.delta.forget(range.start..range.start + range.len);
                self.built.begin(range, ids);
                return range;
            }
        }
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

    /// Whether the range has fewer slots than the listing takes.
    pub(super) fn is_short(range: Range, listing: &Listing) -> bool {
        range.len < listing.len()
    }

    /// Whether a range that was too short for its listing could now be replaced by a better one.
    pub(super) fn could_improve(&self, range: Range, listing: &Listing) -> bool {
        let missing = Self::is_short(range, listing) && self.ranges.fits(listing.len());
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
        match self.built.is_filled(range) {
            Some(_) => self.built.abandon(range),
            None => (range.start..range.start + range.len).for_each(|s| self.delta.release(&s)),
        }
        self.free(range);
    }

    /// Gives a range back that nobody owns, names or writes to.
    fn free(&mut self, range: Range) {
        let key = (range.start, range.len);
        let in_use = self.owned.contains(&key) || self.live.contains(&key);
        if !in_use && !self.broken.contains(&key) && !self.built.is_written_to(range) {
            self.built.forget(range);
            self.ranges.give_back(range);
        }
    }

    /// An order to write a table was carried out, or failed.
    pub(super) fn built(&mut self, range: Range, outcome: Option<u64>) {
        let was_written_to = self.built.is_written_to(range);
        self.built.done(range, outcome);
        if was_written_to {
            self.free(range);
        }
    }

    /// A written frontend names the range.
    pub(super) fn enliven(&mut self, range: Range) {
        if range.len == 0 {
            return;
        }
        if self.live.add((range.start, range.len)) {
            for id in self.backends_of(range) {
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
        for id in self.backends_of(range) {
            self.listed.remove(&id);
        }
        self.free(range);
    }

    /// Whether a frontend that is in the map may lead to the backend.
    pub(super) fn lists(&self, id: u32) -> bool {
        self.listed.contains(&id)
    }

    /// The backends of a range, if every slot of it is written.
    pub(super) fn filled(&self, range: Range) -> Option<Vec<u32>> {
        if let Some(is_filled) = self.built.is_filled(range) {
            return self.built.ids(range).filter(|_| is_filled).map(<[u32]>::to_vec);
        }
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

    /// Slots in use.
    pub(super) fn len(&self) -> usize {
        self.delta.wanted().len() + self.built.len()
    }

    fn backends_of(&self, range: Range) -> Vec<u32> {
        if let Some(ids) = self.built.ids(range) {
            return ids.to_vec();
        }
        let end = range.start.saturating_add(range.len);
        self.delta.written().range(range.start..end).map(|(_, id)| *id).collect()
    }
}
