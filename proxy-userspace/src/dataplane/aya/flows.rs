//! The sweep over the flow tables: removes the entries of flows that are over, and counts the rest.
//!
//! The programs need no sweep: they take a finished flow's tuple over, and when the table is full
//! the least recently used entries go. But only a table without the dead tells how full it is.

use std::io;

use aya::Pod;
use sluice_common::{
    flow::{Flow, FlowKey, flags::MASQUERADE},
    net::{V4, V6},
};

use super::{
    Error,
    batch::BatchMap,
    maps::{NAMES_V4, NAMES_V6},
    pin::Pins,
};
use crate::dataplane::flows::{FlowKeys, Occupancy, Sweep};

/// The flow tables of both families.
#[derive(Debug)]
pub struct FlowTables {
    v4: Table<V4>,
    v6: Table<V6>,
}

/// What a sweep found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// What FLOWS_V4 holds after it.
    pub v4: Occupancy,
    /// The same of FLOWS_V6.
    pub v6: Occupancy,
    /// Entries removed from both.
    pub removed: u32,
}

impl FlowTables {
    /// Opens the pinned maps.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            v4: Table { map: BatchMap::open(pins, NAMES_V4.flows)? },
            v6: Table { map: BatchMap::open(pins, NAMES_V6.flows)? },
        })
    }

    /// Removes the entry of an IPv4 flow's first direction: what TCP has no entry for is not touched.
    pub fn forget_v4(&self, key: &FlowKey<V4>) -> Result<(), Error> {
        self.v4.forget(key)
    }

    /// The same for IPv6.
    pub fn forget_v6(&self, key: &FlowKey<V6>) -> Result<(), Error> {
        self.v6.forget(key)
    }

    /// Reads both tables once. Costs a part of a microsecond for each entry.
    pub fn sweep(&self, moment: Sweep) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        swept.v4 = self.v4.sweep(moment, &mut swept.removed)?;
        swept.v6 = self.v6.sweep(moment, &mut swept.removed)?;
        Ok(swept)
    }
}

/// Flows that one sweep looks at closely, for each family: bounds its memory and its time. The next
/// sweep has the others.
const SUSPECTS: usize = 1 << 18;

type Entry<const N: usize> = (FlowKey<N>, Flow<N>);

#[derive(Debug)]
struct Table<const N: usize> {
    map: BatchMap<FlowKey<N>, Flow<N>>,
}

impl<const N: usize> Table<N>
where
    FlowKey<N>: Pod,
    Flow<N>: Pod,
{
    /// Counts first, then ends: an entry goes with its opposite, which may have been counted before
    /// or come after it.
    fn sweep(&self, moment: Sweep, removed: &mut u32) -> Result<Occupancy, Error> {
        let mut occupancy = Occupancy { capacity: self.map.capacity(), ..Occupancy::default() };
        let mut suspects = Vec::new();
        let read = self.map.for_each(|key, flow| {
            occupancy.count(key, flow);
            if suspects.len() < SUSPECTS && moment.suspects(key, flow) {
                suspects.push(*key);
            }
        });
        let failed = |e| Error::os(format!("sweeping map {}", self.map.name()), &e);
        read.map_err(failed)?;
        for key in &suspects {
            for (key, flow) in self.end(moment, key).map_err(failed)?.into_iter().flatten() {
                occupancy.uncount(&key, &flow);
                *removed += 1;
            }
        }
        Ok(occupancy)
    }

    fn forget(&self, key: &FlowKey<N>) -> Result<(), Error> {
        let failed = |e| Error::os(format!("removing a flow from map {}", self.map.name()), &e);
        self.map.take(key).map(drop).map_err(failed)
    }

    /// Ends the flow of an entry if it is over; returns the entries that went.
    fn end(&self, moment: Sweep, key: &FlowKey<N>) -> io::Result<[Option<Entry<N>>; 4]> {
        // As it is now: it was read a while ago.
        let Some(flow) = self.map.get(key)? else { return Ok([None; 4]) };
        let opposite = self.map.get(&key.opposite(&flow))?;
        if !moment.is_over(key, &flow, opposite.as_ref()) {
            return Ok([None; 4]);
        }
        let keys = FlowKeys::of(key, &flow);
        if let Some(inner) = &keys.inner
            && self.map.get(inner)?.is_some()
        {
            return Ok([None; 4]);
        }
        let Some([a, b]) = self.remove(moment, &keys.pair)? else { return Ok([None; 4]) };
        if let Some(onward) = keys.onward
            && let Some(flow) = self.map.get(&onward)?
            && flow.flags & MASQUERADE != 0
            && let Some([c, d]) = self.remove(moment, &[onward.opposite(&flow), onward])?
        {
            return Ok([a, b, c, d]);
        }
        Ok([a, b, None, None])
    }

    /// Removes the two entries of a flow, as far as they are there and its own: a key may have become
    /// another flow's. `None`: a packet came since they were looked up. What it used, or wrote, is
    /// put back then, unless the next packet has written it again already.
    fn remove(
        &self,
        moment: Sweep,
        [first, second]: &[FlowKey<N>; 2],
    ) -> io::Result<Option<[Option<Entry<N>>; 2]>> {
        let begun = self.take(first, second)?;
        if let Some(flow) = begun.filter(|flow| moment.is_fresh(flow)) {
            self.map.insert_absent(first, &flow)?;
            return Ok(None);
        }
        let answers = self.take(second, first)?;
        if let Some(flow) = answers.filter(|flow| moment.is_fresh(flow)) {
            self.map.insert_absent(second, &flow)?;
            if let Some(begun) = begun {
                self.map.insert_absent(first, &begun)?;
            }
            return Ok(None);
        }
        Ok(Some([begun.map(|flow| (*first, flow)), answers.map(|flow| (*second, flow))]))
    }

    /// Takes the entry of `key` out, if it is the one whose other direction is `opposite`.
    fn take(&self, key: &FlowKey<N>, opposite: &FlowKey<N>) -> io::Result<Option<Flow<N>>> {
        let is_own = |flow: &Flow<N>| key.opposite(flow) == *opposite;
        if !self.map.get(key)?.as_ref().is_some_and(is_own) {
            return Ok(None);
        }
        let Some(taken) = self.map.take(key)? else { return Ok(None) };
        if is_own(&taken) {
            return Ok(Some(taken));
        }
        // It became another's in between.
        self.map.insert_absent(key, &taken)?;
        Ok(None)
    }
}
