//! The way out: from a plan to the kernel's maps and programs.

pub mod apply;
pub mod audit;
pub mod aya;
#[cfg(test)]
pub(crate) mod fake;
pub mod flows;
pub mod sock_diag;

pub use apply::{Maps, Report, TABLES, WriteError, apply};
