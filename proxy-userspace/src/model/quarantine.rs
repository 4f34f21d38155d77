//! What must not be reused yet: a packet on its way may still be looking at it.

use std::{collections::VecDeque, time::Duration};

/// Long enough for any packet that read a value before it was replaced: a program runs for
/// microseconds, and a socket hook that is preempted for milliseconds.
pub const GRACE: Duration = Duration::from_secs(2);

/// Things that wait for the grace period to pass.
///
/// Nothing knows the time between two ticks, so the period begins at the tick after a thing came
/// in: later than it might, never earlier than it must.
#[derive(Debug)]
pub(super) struct Quarantine<T> {
    fresh: Vec<T>,
    waiting: VecDeque<(Duration, T)>,
}

impl<T> Default for Quarantine<T> {
    fn default() -> Self {
        Self { fresh: Vec::new(), waiting: VecDeque::new() }
    }
}

impl<T> Quarantine<T> {
    pub(super) fn push(&mut self, thing: T) {
        self.fresh.push(thing);
    }

    /// What may be reused at `now`, a monotonic time.
    pub(super) fn tick(&mut self, now: Duration) -> Vec<T> {
        self.waiting.extend(self.fresh.drain(..).map(|thing| (now, thing)));
        let ripe = |(since, _): &(Duration, T)| now.saturating_sub(*since) >= GRACE;
        let count = self.waiting.iter().take_while(|entry| ripe(entry)).count();
        self.waiting.drain(..count).map(|(_, thing)| thing).collect()
    }
}
