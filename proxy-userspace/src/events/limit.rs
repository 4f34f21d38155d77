//! How many Events are written: no repetition, and not too many at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Message, Regarding};

/// The same Event is written again after so long.
const REPEAT: Duration = Duration::from_mins(30);
/// Events that may be written at once.
const BURST: u32 = 25;
/// One more is allowed after each of these.
const REFILL: Duration = Duration::from_secs(10);

type Key = (Regarding, &'static str, String);

/// Decides which Events are written.
#[derive(Debug)]
pub(super) struct Limit {
    told: BTreeMap<Key, Instant>,
    tokens: u32,
    refilled: Instant,
}

impl Limit {
    pub(super) fn new(now: Instant) -> Self {
        Self { told: BTreeMap::new(), tokens: BURST, refilled: now }
    }

    /// Whether to write it.
    pub(super) fn admits(&mut self, message: &Message, now: Instant) -> bool {
        self.told.retain(|_, told| now.duration_since(*told) < REPEAT);
        let key = (message.regarding.clone(), message.reason, message.note.clone());
        if self.told.contains_key(&key) || !self.take(now) {
            return false;
        }
        self.told.insert(key, now);
        true
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && now.duration_since(self.refilled) >= REFILL {
            self.tokens += 1;
            self.refilled += REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
        let taken = self.tokens.checked_sub(1);
        self.tokens = taken.unwrap_or(0);
        taken.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(note: &str) -> Message {
        Message::about_node(true, "Test", note)
    }

    #[test]
    fn a_repetition_is_left_out_for_a_while() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        assert!(limit.admits(&message("a"), start));
        assert!(!limit.admits(&message("a"), start + Duration::from_mins(29)));
        assert!(limit.admits(&message("b"), start));
        assert!(limit.admits(&message("a"), start + Duration::from_mins(31)));
    }

    #[test]
    fn a_flood_is_cut_off() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let mut admitted = |round: u64, at| {
            (0..100).filter(|n| limit.admits(&message(&format!("{round} {n}")), at)).count()
        };
        assert_eq!(admitted(0, start), 25);
        assert_eq!(admitted(1, start + Duration::from_secs(35)), 3);
        assert_eq!(admitted(2, start + Duration::from_hours(1)), 25);
    }
}
