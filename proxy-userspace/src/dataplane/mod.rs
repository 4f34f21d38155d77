//! The way out: from a plan to the kernel's maps and programs.

pub mod apply;
pub mod aya;
#[cfg(test)]
pub(crate) mod fake;

pub use apply::{Maps, Report, WriteError, apply};
