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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frontends: limits::FRONTENDS,
            slots: limits::SLOTS,
            backends: limits::BACKENDS,
            services: limits::SERVICES,
        }
    }
}

impl Limits {
    /// The endpoints that one service port may have: a quarter of all, so that one absurd Service
    /// does not starve the others.
    pub(super) fn share(&self) -> usize {
        usize::try_from(self.backends / 4).unwrap_or(usize::MAX).max(1)
    }
}
