//! HANDSHAKES: how many TCP connections of a client have begun and not been answered and continued.

use crate::abi;

/// A client's unfinished connections, as if one a second ended by itself for every
/// [`FADING`] of them that are allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handshakes {
    /// Connections that began and were not established, less those that time has taken off.
    pub open: u32,
    /// When `open` was last brought up to date, in seconds of `CLOCK_MONOTONIC`.
    pub since: u32,
}

/// Seconds in which a full count fades to nothing: a little more than a handshake lasts
/// ([`crate::age::State::Handshake`]).
pub const FADING: u32 = 64;

impl Handshakes {
    /// Brings the count up to date.
    #[inline(always)]
    pub const fn fade(&mut self, now: u32, allowed: u32) {
        let passed = now.wrapping_sub(self.since);
        if passed != 0 {
            let faded = (allowed / FADING).saturating_mul(passed);
            self.open = self.open.saturating_sub(faded);
            self.since = now;
        }
    }
}

abi! {
    Handshakes = 8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_count_fades_within_its_time() {
        let mut all = Handshakes { open: 4096, since: 10 };
        all.fade(10, 4096);
        assert_eq!(all.open, 4096);
        all.fade(11, 4096);
        assert_eq!(all, Handshakes { open: 4032, since: 11 });
        all.fade(10 + FADING, 4096);
        assert_eq!(all.open, 0);
        all.fade(u32::MAX, 4096);
        assert_eq!(all, Handshakes { open: 0, since: u32::MAX });
    }
}
