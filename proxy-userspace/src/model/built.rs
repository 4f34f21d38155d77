//! Ranges of SLOTS that hold Maglev tables. They are computed and written elsewhere, so that no
//! other change waits for them; here is only which there are, of whom, and how far they are.

use std::collections::BTreeMap;

use sluice_common::frontend::Range;

use super::{Model, maglev, plan::Build};

pub(super) type Key = (u32, u32);

/// The tables of a family.
#[derive(Debug, Default)]
pub(super) struct BuiltRanges {
    tables: BTreeMap<Key, Table>,
    /// Tables from before a restart that may be taken over, by service id.
    adoptable: BTreeMap<u32, Vec<Range>>,
}

#[derive(Debug)]
struct Table {
    /// Ids of the backends, by address.
    ids: Vec<u32>,
    /// Whether the range holds the table, so that a frontend may name it.
    is_filled: bool,
    order: Order,
}

/// What becomes of the order to write a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// To be given.
    Due,
    /// Given: until it is done, the range belongs to whoever writes it.
    Given,
    /// Done; [`checksum`] of what was written.
    Done(u64),
    /// Given, and wanted by nobody any more.
    Abandoned,
}

impl BuiltRanges {
    /// Takes over the range of a service, if it holds a table of these backends.
    pub(super) fn adopt(&mut self, service: u32, range: Range, content: &[u32]) -> bool {
        let mut ids = content.to_vec();
        ids.sort_unstable();
        ids.dedup();
        if maglev::slots(ids.len()) != Some(range.len) || content.len() != range.len as usize {
            return false;
        }
        // Whether each is in its place is not known: it is written once more.
        let table = Table { ids, is_filled: true, order: Order::Due };
        self.tables.insert(key(range), table);
        self.adoptable.entry(service).or_default().push(range);
        true
    }

    pub(super) fn drop_adopted(&mut self) {
        for range in std::mem::take(&mut self.adoptable).into_values().flatten() {
            self.abandon(range);
        }
    }

    /// The adopted range with a table of these backends.
    pub(super) fn take_over(&mut self, service: u32, ids: &[u32]) -> Option<Range> {
        let ranges = self.adoptable.get_mut(&service)?;
        let mut sorted = ids.to_vec();
        sorted.sort_unstable();
        let same = |range: &Range| self.tables.get(&key(*range)).is_some_and(|t| t.ids == sorted);
        let found = ranges.iter().position(same)?;
        let range = ranges.swap_remove(found);
        if let Some(table) = self.tables.get_mut(&key(range)) {
            table.ids = ids.to_vec();
        }
        Some(range)
    }

    /// Wants a table of these backends in a free range.
    pub(super) fn begin(&mut self, range: Range, ids: &[u32]) {
        let table = Table { ids: ids.to_vec(), is_filled: false, order: Order::Due };
        self.tables.insert(key(range), table);
    }

    /// Nobody wants the table any more.
    pub(super) fn abandon(&mut self, range: Range) {
        let Some(table) = self.tables.get_mut(&key(range)) else { return };
        table.order = match table.order {
            Order::Given | Order::Abandoned => Order::Abandoned,
            Order::Due | Order::Done(_) => Order::Done(UNKNOWN),
        };
    }

    /// Whether somebody is writing to the range.
    pub(super) fn is_written_to(&self, range: Range) -> bool {
        let order = self.tables.get(&key(range)).map(|table| table.order);
        matches!(order, Some(Order::Given | Order::Abandoned))
    }

    /// The range no longer holds a table.
    pub(super) fn forget(&mut self, range: Range) {
        self.tables.remove(&key(range));
    }

    /// The backends of a table.
    pub(super) fn ids(&self, range: Range) -> Option<&[u32]> {
        self.tables.get(&key(range)).map(|table| table.ids.as_slice())
    }

    /// Whether the range is a table's, and if so, whether it holds it.
    pub(super) fn is_filled(&self, range: Range) -> Option<bool> {
        self.tables.get(&key(range)).map(|table| table.is_filled)
    }

    /// Orders to be given: range, backends.
    pub(super) fn due(&self) -> impl Iterator<Item = (Range, &[u32])> {
        let due = self.tables.iter().filter(|(_, table)| table.order == Order::Due);
        due.map(|(key, table)| (range(*key), table.ids.as_slice()))
    }

    /// Whether an order is to be given, or not yet done.
    pub(super) fn has_pending(&self) -> bool {
        self.tables.values().any(|table| !matches!(table.order, Order::Done(_)))
    }

    /// An order was given.
    pub(super) fn gave(&mut self, range: Range) {
        if let Some(table) = self.tables.get_mut(&key(range))
            && table.order == Order::Due
        {
            table.order = Order::Given;
        }
    }

    /// An order was carried out, with this [`checksum`], or failed.
    pub(super) fn done(&mut self, range: Range, outcome: Option<u64>) {
        let Some(table) = self.tables.get_mut(&key(range)) else { return };
        table.order = match (table.order, outcome) {
            (Order::Given, None) => Order::Due,
            (Order::Given, Some(sum)) => {
                table.is_filled = true;
                Order::Done(sum)
            }
            (Order::Abandoned, _) => Order::Done(UNKNOWN),
            (other @ (Order::Due | Order::Done(_)), _) => other,
        };
    }

    /// Has tables written once more whose slots, as `found` has them, are not what was written.
    /// Returns how many.
    pub(super) fn distrust(&mut self, found: &BTreeMap<u32, u32>) -> usize {
        let mut count = 0;
        for (key, table) in &mut self.tables {
            let slots = found.range(key.0..key.0.saturating_add(key.1));
            if let Order::Done(sum) = table.order
                && sum != UNKNOWN
                && checksum(slots.map(|(_, id)| *id)) != sum
            {
                table.order = Order::Due;
                count += 1;
            }
        }
        count
    }

    /// Ranges and backends of the tables that are there, or, with `unfilled`, wanted.
    pub(super) fn tables(&self, unfilled: bool) -> impl Iterator<Item = (Range, &[u32])> {
        let tables = self.tables.iter().filter(move |(_, table)| unfilled || table.is_filled);
        tables.map(|(key, table)| (range(*key), table.ids.as_slice()))
    }

    /// Slots of all tables.
    pub(super) fn len(&self) -> usize {
        self.tables.keys().map(|(_, len)| *len as usize).sum()
    }
}

impl Model {
    /// Takes note that somebody began to write a table of a plan.
    pub fn gave(&mut self, build: &Build) {
        match build.v6 {
            false => self.v4.slots.built.gave(build.range),
            true => self.v6.slots.built.gave(build.range),
        }
    }

    /// Takes note that a table was written, with this checksum, or, with `None`, that it could not
    /// be: then it is in the next plan.
    pub fn built(&mut self, build: &Build, outcome: Option<u64>) {
        match build.v6 {
            false => self.v4.slots.built(build.range, outcome),
            true => self.v6.slots.built(build.range, outcome),
        }
    }

    /// Whether tables are being written, for which other writes may be waiting.
    pub fn is_building(&self) -> bool {
        self.v4.slots.built.has_pending() || self.v6.slots.built.has_pending()
    }
}

/// No [`checksum`]: nobody cares what the range holds.
const UNKNOWN: u64 = 0;

/// What a table's content is recognised by; never 0.
pub fn checksum(ids: impl Iterator<Item = u32>) -> u64 {
    // FNV-1a over words.
    let fold = |hash: u64, id: u32| (hash ^ u64::from(id)).wrapping_mul(0x0100_0000_01b3);
    ids.fold(0xcbf2_9ce4_8422_2325, fold) | 1
}

fn key(range: Range) -> Key {
    (range.start, range.len)
}

fn range((start, len): Key) -> Range {
    Range { start, len }
}
