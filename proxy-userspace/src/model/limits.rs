//! How much the model may put into the maps.

use sluice_common::limits;

/// Sizes of the maps, per family but for `services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// FRONTENDS.
    pub frontends: u32,
    /// SLOTS.
    pub slots: u32,
    /// BACKENDS.
    pub backends: u32,
    /// SERVICES.
    pub services: u32,
    /// PREFIXES.
    pub prefixes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frontends: limits::FRONTENDS,
            slots: limits::SLOTS,
            backends: limits::BACKENDS,
            services: limits::SERVICES,
            prefixes: limits::PREFIXES,
        }
    }
}

impl Limits {
    /// The endpoints that one service port may have.
    pub(super) fn backends_share(&self) -> usize {
        share(self.backends)
    }

    /// The source ranges that one service port may have.
    pub(super) fn prefixes_share(&self) -> usize {
        share(self.prefixes)
    }
}

/// A quarter of all, so that one absurd Service does not starve the others.
fn share(all: u32) -> usize {
    usize::try_from(all / 4).unwrap_or(usize::MAX).max(1)
}
