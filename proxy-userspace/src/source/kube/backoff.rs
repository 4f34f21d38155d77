//! How long to wait before the next try.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The first wait. An API server that restarts is back within seconds, and endpoints are stale
/// until then.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait; short, since a node without news sends traffic to dead endpoints.
const LONGEST: Duration = Duration::from_secs(8);

/// Doubles from failure to failure.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure, and tells how many there were in a row.
    pub(super) fn fail(&mut self) -> u32 {
        self.failures = self.failures.saturating_add(1);
        self.failures
    }

    /// The wait after the latest failure: between half and all of it, so that a thousand nodes
    /// do not return in one instant.
    pub(super) fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(10);
        let full = LONGEST.min(FIRST * 2_u32.pow(doublings));
        let random = RandomState::new().hash_one(self.failures) % 1024;
        full / 2 + full / 2 * u32::try_from(random).unwrap_or(0) / 1024
    }

    /// Counts a success, and tells how many failures came before.
    pub(super) fn succeed(&mut self) -> u32 {
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_cap_and_restarts() {
        let mut backoff = Backoff::default();
        backoff.fail();
        assert!(backoff.wait() <= FIRST);
        for _ in 0..100 {
            backoff.fail();
        }
        assert!((LONGEST / 2..=LONGEST).contains(&backoff.wait()));
        assert_eq!(backoff.succeed(), 101);
        backoff.fail();
        assert!(backoff.wait() <= FIRST);
    }
}
