//! Which entries of the flow table are over, decided without touching a map, and what a sweep over
//! the table counts.

use sluice_common::{
    age::State,
    flow::{
        EGRESS, Flow, FlowKey, INGRESS,
        flags::{ESTABLISHED, FIN, MASQUERADE, RST},
    },
    net::proto,
};

/// Seconds beyond a flow's limit before the sweep ends it: the programs read a coarse clock, and
/// the sweep its own once, before it reads the table.
const MARGIN: u32 = 2;

/// Idle seconds after which an entry whose opposite is gone is over, if its own state does not end
/// sooner. Such a flow works in one direction only.
const ORPHAN: u32 = State::Closed.limit();

/// An established connection may be idle for a day. Whether its other entry is still there is asked
/// after an hour, and then in one sweep of so many: a million idle connections would otherwise be
/// a million look-ups every time.
const STRIDE: u32 = 16;

/// The moment of a sweep.
#[derive(Clone, Copy, Debug)]
pub struct Sweep {
    /// Seconds of `CLOCK_MONOTONIC`, from before the first entry was read.
    pub now: u32,
    /// Number of the sweep.
    pub round: u32,
}

impl Sweep {
    /// Whether an entry might be over, as far as it can tell without its opposite. Most entries
    /// are not, and cost nothing more.
    pub fn suspects<const N: usize>(&self, key: &FlowKey<N>, flow: &Flow<N>) -> bool {
        let idle = self.idle(flow.seen);
        let is_due = |limit: u32| idle >= limit + MARGIN;
        if key.proto != proto::TCP {
            return is_due(State::Unanswered.limit());
        }
        match flow.flags & (ESTABLISHED | FIN | RST) {
            // Whatever the opposite says, the flow lives until then: an opposite with FIN or RST
            // is a suspect itself.
            ESTABLISHED => {
                let is_asked = flow.seen.wrapping_add(self.round).is_multiple_of(STRIDE);
                is_due(State::Established.limit())
                    || (is_due(State::HalfClosed.limit()) && is_asked)
            }
            0 => is_due(State::Handshake.limit()),
            flags if flags & RST != 0 => is_due(State::Reset.limit()),
            _ => is_due(State::Closed.limit()),
        }
    }

    /// Whether a flow is over: one entry, and the entry at its opposite key.
    pub fn is_over<const N: usize>(
        &self,
        key: &FlowKey<N>,
        flow: &Flow<N>,
        opposite: Option<&Flow<N>>,
    ) -> bool {
        // Another flow may have taken that key.
        let opposite = opposite.filter(|other| key.opposite(flow).opposite(other) == *key);
        let (limit, seen) = match opposite {
            Some(other) => (Self::limit_of(key.proto, flow, other), flow.seen.max(other.seen)),
            None => (State::of(key.proto, flow.flags, 0).limit().min(ORPHAN), flow.seen),
        };
        self.idle(seen) >= limit + MARGIN
    }

    /// The limit of a whole flow. A RST that ends an open connection is given as much time as two
    /// FINs: the programs cannot know whether the other side believed it, and a forged one is not to
    /// cut off a connection that pauses. (Its tuple may be taken over sooner.)
    fn limit_of<const N: usize>(proto: u8, flow: &Flow<N>, other: &Flow<N>) -> u32 {
        let (either, both) = (flow.flags | other.flags, flow.flags & other.flags);
        match State::of(proto, either, both) {
            State::Reset if both & ESTABLISHED != 0 => State::Closed.limit(),
            state => state.limit(),
        }
    }

    /// Whether a packet used the entry just now. One whose flow is over has been idle for longer
    /// than the shortest limit.
    pub fn is_fresh<const N: usize>(&self, flow: &Flow<N>) -> bool {
        self.idle(flow.seen) < State::Reset.limit()
    }

    fn idle(&self, seen: u32) -> u32 {
        self.now.saturating_sub(seen)
    }
}

/// The keys of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKeys<const N: usize> {
    /// Key and opposite of the pair that an entry belongs to.
    pub pair: [FlowKey<N>; 2],
    /// With an entry of a masqueraded flow's outer pair: the answers' key of the flow that it is
    /// for. As long as that is there, its own end decides; the outer pair must not go first, or
    /// packets would leave under the client's address.
    pub inner: Option<FlowKey<N>>,
    /// Otherwise: where the masquerade of the flow is, if it has one.
    pub onward: Option<FlowKey<N>>,
}

impl<const N: usize> FlowKeys<N> {
    /// The keys that go with an entry.
    pub fn of(key: &FlowKey<N>, flow: &Flow<N>) -> Self {
        let opposite = key.opposite(flow);
        let egress = if key.direction == EGRESS { *key } else { opposite };
        // Answers, B:bp → c:cp′, and onward, c:cp′ → B:bp, are each other's reverse.
        let reverse = Some(egress.reversed(EGRESS));
        let is_outer = flow.flags & MASQUERADE != 0;
        let (inner, onward) = if is_outer { (reverse, None) } else { (None, reverse) };
        // A packet that comes meanwhile finds no entry for its direction, and begins anew.
        let pair = if key.direction == INGRESS { [*key, opposite] } else { [opposite, *key] };
        Self { pair, inner, onward }
    }
}

/// What the flow table of one family holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// Entries that fit; with more, the least recently used go.
    pub capacity: u32,
    /// Entries: two a flow, four a masqueraded one.
    pub entries: u32,
    /// Of them: entries for masquerading.
    pub masquerade: u32,
    /// Flows to services, by the state that the client's packets tell ([`State::ALL`]'s order).
    pub services: [u32; State::ALL.len()],
    /// Flows straight to endpoints, which only claim their tuples.
    pub direct: u32,
}

impl Occupancy {
    /// Counts an entry.
    pub fn count<const N: usize>(&mut self, key: &FlowKey<N>, flow: &Flow<N>) {
        self.entries += 1;
        if let Some(counter) = self.counter(key, flow) {
            *counter += 1;
        }
    }

    /// Takes back the count of an entry that went.
    pub fn uncount<const N: usize>(&mut self, key: &FlowKey<N>, flow: &Flow<N>) {
        self.entries = self.entries.saturating_sub(1);
        if let Some(counter) = self.counter(key, flow) {
            *counter = counter.saturating_sub(1);
        }
    }

    /// Where an entry is counted besides. A flow is counted at ingress.
    fn counter<const N: usize>(&mut self, key: &FlowKey<N>, flow: &Flow<N>) -> Option<&mut u32> {
        if flow.flags & MASQUERADE != 0 {
            Some(&mut self.masquerade)
        } else if key.direction == EGRESS {
            None
        } else if flow.service == 0 {
            Some(&mut self.direct)
        } else {
            Some(&mut self.services[as_told(key, flow) as usize])
        }
    }

    /// Entries, in percent of those that fit.
    pub fn percent(&self) -> u32 {
        let percent = u64::from(self.entries) * 100 / u64::from(self.capacity.max(1));
        percent as u32
    }
}

/// A flow's state, by its client's half.
fn as_told<const N: usize>(key: &FlowKey<N>, flow: &Flow<N>) -> State {
    let both = if key.proto == proto::TCP { 0 } else { flow.flags };
    State::of(key.proto, flow.flags, both)
}

/// From which percentage on a full flow table is warned of.
const RAISE: u32 = 75;
/// Below which percentage it is not full any more: less, so that a table at the border does not
/// say so every time.
const CLEAR: u32 = 65;

/// Whether a flow table has been reported as nearly full.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alarm {
    is_raised: bool,
}

/// What an [`Alarm`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The table has become nearly full.
    Raised,
    /// It no longer is.
    Cleared,
}

impl Alarm {
    /// Whether there is something to say.
    pub fn observe(&mut self, occupancy: &Occupancy) -> Option<Change> {
        let percent = occupancy.percent();
        let is_raised = percent >= if self.is_raised { CLEAR } else { RAISE };
        let change = (is_raised != self.is_raised).then_some(match is_raised {
            true => Change::Raised,
            false => Change::Cleared,
        });
        self.is_raised = is_raised;
        change
    }
}

#[cfg(test)]
mod tests;
