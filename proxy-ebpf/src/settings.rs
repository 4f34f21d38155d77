//! The settings that every program reads.

use sluice_common::settings::Settings;

use crate::maps::SETTINGS;

/// The settings. An array's only element is always there; `None` only satisfies the verifier.
#[inline(always)]
pub fn get() -> Option<&'static Settings> {
    SETTINGS.get(0)
}
