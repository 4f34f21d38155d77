//! The version of everything in this crate.

/// Raised with every change of a shared type; part of the folder that maps are pinned in, so that
/// a controller never reads a map of another layout.
pub const ABI: u32 = 1;
